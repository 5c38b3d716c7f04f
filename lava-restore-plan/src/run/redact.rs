//! Leaves secrets out of what programs print, and what would steer a terminal.
//!
//! What is printed is not ours to know, so this errs to the side of leaving out too much: the
//! password of a URL, the value of whatever is called a password, secret, token or key, a header
//! that authorises, a private key, a stored form of PostgreSQL's.

use crate::name::is_hidden;

/// Cleans a text line by line.
#[derive(Debug, Default)]
pub(crate) struct Cleaner {
    in_private_key: bool,
}

const GONE: &str = "***";

/// What names of secrets have in them.
const NAMES: [&str; 10] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "api-key",
    "apikey",
    "private_key",
    "credential",
];

impl Cleaner {
    /// A line without its newline, cleaned.
    pub(crate) fn line(&mut self, line: &str) -> String {
        let begins = line.contains("-----BEGIN ") && line.contains("PRIVATE KEY");
        if begins || self.in_private_key {
            self.in_private_key = !line.contains("-----END ");
            return GONE.to_owned();
        }
        harmless(&stored_forms(&values(&urls(line))))
    }
}

/// Text that a terminal shows as it is.
pub(crate) fn harmless(text: &str) -> String {
    let hides = |c: char| c != '\t' && is_hidden(c);
    text.chars()
        .map(|c| if hides(c) { '\u{fffd}' } else { c })
        .collect()
}

/// A whole text, cleaned, with the newlines that it has, and cut if it is longer than this.
pub(crate) fn text(text: &str, most: usize) -> String {
    let mut cleaner = Cleaner::default();
    let lines: Vec<String> = text.split('\n').map(|line| cleaner.line(line)).collect();
    let mut text = lines.join("\n");
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

/// `scheme://user:PASSWORD@`, and `scheme://TOKEN@`.
fn urls(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let ends = |c: char| c.is_whitespace() || "'\"<>`".contains(c);
        let word = &after[..after.find(ends).unwrap_or(after.len())];
        // A password may hold what ends a host's name.
        let user = word.rfind('@').map(|at| &word[..at]);
        rest = match user {
            None => after,
            Some(user) => {
                match user.split_once(':') {
                    Some((name, _)) => clean.push_str(&format!("{name}:{GONE}")),
                    None if user.len() >= 20 => clean.push_str(GONE),
                    None => clean.push_str(user),
                }
                &after[user.len()..]
            }
        };
    }
    clean + rest
}

/// `NAME = value`, `"name": "value"`, `--name 'value'` and the like.
fn values(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let mut clean = String::with_capacity(line.len());
    let mut from = 0;
    while let Some((end, whole_line)) = next_name(&lower, from) {
        clean.push_str(&line[from..end]);
        from = end;
        let Some((begins, unquoted)) = value_begins(line, end) else {
            continue;
        };
        clean.push_str(&line[end..begins]);
        from = match whole_line {
            true => line.len(),
            false => value_ends(line, begins, unquoted),
        };
        if from > begins {
            clean.push_str(GONE);
        }
    }
    clean + &line[from..]
}

/// Where the next name of a secret ends, and whether all that follows is its value.
fn next_name(lower: &str, from: usize) -> Option<(usize, bool)> {
    let rest = &lower[from..];
    let found = |name: &str| rest.find(name).map(|at| (at, at + name.len()));
    let name = NAMES.iter().filter_map(|name| found(name)).min();
    let header = found("authorization");
    let (chosen, whole_line) = match (name, header) {
        (Some(name), Some(header)) if header < name => (header, true),
        (Some(name), _) => (name, false),
        (None, Some(header)) => (header, true),
        (None, None) => return None,
    };
    let part = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let tail = rest[chosen.1..].find(|c| !part(c));
    let end = tail.map_or(rest.len(), |tail| chosen.1 + tail);
    Some((from + end, whole_line))
}

/// Does a value that no quote ends, end here?
type Ends = fn(char) -> bool;

/// Where the value of a name begins that ends here, if it has one, and what ends it if no quote
/// does.
fn value_begins(line: &str, end: usize) -> Option<(usize, Ends)> {
    let skip = |at: usize, what: &[char]| {
        let rest = &line[at..];
        at + (rest.len() - rest.trim_start_matches(what).len())
    };
    let sign = skip(skip(end, &['\'', '"', ']', ')']), &[' ', '\t']);
    let after = &line[sign..];
    if after.starts_with("=>") || after.starts_with(":=") {
        return Some((skip(sign + 2, &[' ', '\t']), word_ends));
    }
    if after.starts_with('=') {
        return Some((skip(sign + 1, &[' ', '\t']), word_ends));
    }
    if after.starts_with(':') {
        // Words of YAML stand alone to the line's end.
        return Some((skip(sign + 1, &[' ', '\t']), member_ends));
    }
    // A word on its own is prose, one in quotes is not: `PASSWORD 'x'`.
    let apart = sign > end && line[end..].starts_with([' ', '\t']);
    (apart && after.starts_with(['\'', '"'])).then_some((sign, word_ends as Ends))
}

fn word_ends(c: char) -> bool {
    c.is_whitespace() || ",;&})]'\"".contains(c)
}

fn member_ends(c: char) -> bool {
    ",}]".contains(c)
}

fn value_ends(line: &str, begins: usize, unquoted: Ends) -> usize {
    let rest = &line[begins..];
    let Some(quote) = rest.chars().next().filter(|c| "'\"".contains(*c)) else {
        return begins + rest.find(unquoted).unwrap_or(rest.len());
    };
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return begins + at + 1,
            _ => {}
        }
    }
    line.len()
}

/// What PostgreSQL keeps of passwords.
fn stored_forms(line: &str) -> String {
    let is_one = |word: &str| {
        let hex = |text: &str| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        word.starts_with("SCRAM-SHA-256$") || word.strip_prefix("md5").is_some_and(hex)
    };
    let ends = |c: char| c.is_whitespace() || "'\"(),;|".contains(c);
    line.split_inclusive(ends)
        .map(|piece| {
            let word = piece.trim_end_matches(ends);
            match is_one(word) {
                true => format!("{GONE}{}", &piece[word.len()..]),
                false => piece.to_owned(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(text: &str) -> String {
        Cleaner::default().line(text)
    }

    #[test]
    fn no_secret_is_left_in_a_line() {
        for (line, expected) in [
            (
                "postgres://u:hunter2@db:5432/x",
                "postgres://u:***@db:5432/x",
            ),
            (
                "at http://u:p/w@d@h/ and http://h/",
                "at http://u:***@h/ and http://h/",
            ),
            ("https://ghp_0123456789abcdef0123@x/y", "https://***@x/y"),
            (
                "postgres://lavaserver@localhost/",
                "postgres://lavaserver@localhost/",
            ),
            ("SECRET_KEY: \"a b'c\"", "SECRET_KEY: ***"),
            ("SECRET_KEY: a b c", "SECRET_KEY: ***"),
            ("SECRET_KEY = 'a\\'b' # x", "SECRET_KEY = *** # x"),
            (
                "{'PASSWORD': 'x y', 'HOST': 'h'}",
                "{'PASSWORD': ***, 'HOST': 'h'}",
            ),
            ("{\"token\":\"abc\",\"n\":1}", "{\"token\":***,\"n\":1}"),
            ("password=hunter2 host=db", "password=*** host=db"),
            ("PGPASSWORD=hunter2", "PGPASSWORD=***"),
            (
                "ALTER ROLE x PASSWORD 'hunter2' LOGIN",
                "ALTER ROLE x PASSWORD *** LOGIN",
            ),
            ("?api_key=abc&x=1", "?api_key=***&x=1"),
            ("Authorization: Token abc def", "Authorization: ***"),
            (
                "rolpassword | SCRAM-SHA-256$4096:a$b:c |",
                "rolpassword | *** |",
            ),
            ("x md50123456789abcdef0123456789abcdef", "x ***"),
            ("a token and a secret", "a token and a secret"),
            (
                "password authentication failed for user \"lavaserver\"",
                "password authentication failed for user \"lavaserver\"",
            ),
            (
                "{\"error\": \"Invalid 'token'\"}",
                "{\"error\": \"Invalid 'token'\"}",
            ),
            (
                "/settings.d/00-secret-key.yaml is missing",
                "/settings.d/00-secret-key.yaml is missing",
            ),
            ("password", "password"),
            ("tökén password=é", "tökén password=***"),
        ] {
            assert_eq!(clean(line), expected, "{line}");
        }
    }

    #[test]
    fn a_private_key_is_left_out_to_its_end() {
        let lines = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nafter";
        assert_eq!(text(lines, 100), "***\n***\n***\nafter");
    }

    #[test]
    fn nothing_steers_a_terminal_and_long_texts_are_cut() {
        assert_eq!(clean("a\u{1b}[2J\tb\u{202e}"), "a\u{fffd}[2J\tb\u{fffd}");
        assert_eq!(text("ééé", 3), "é…");
    }
}
