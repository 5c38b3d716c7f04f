//! apt's configuration.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{Error, ErrorKind, Result, Root, apt::without_credentials, parts};

/// One setting of apt's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AptSetting {
    /// The file, absolute in the root.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: u64,
    /// Its name, as `APT::Periodic::Enable`; one of a list ends in `::`.
    pub name: String,
    /// Its value, without passwords; `None` when the file clears the setting.
    pub value: Option<String>,
    /// Whether there was a password to leave out.
    pub had_secret: bool,
}

const MOST: u64 = 16 << 20;
/// Deeper than any that was seen, and no danger to the stack.
const MOST_DEPTH: usize = 64;

/// Reads `/etc/apt/apt.conf` and the files beside it, in apt's order: the parts first.
///
/// Files that an `#include` names are not read; it is a setting `#include` here.
///
/// # Errors
/// [`ErrorKind::Malformed`] with file and line, and none of its text, for what apt would refuse.
pub fn read_apt_settings(root: &Root) -> Result<Vec<AptSetting>> {
    let mut settings = Vec::new();
    for file in files(root)? {
        let Some(bytes) = root.read(&file, MOST)? else {
            continue;
        };
        let text = String::from_utf8_lossy(&bytes);
        let found = parse(&text).map_err(|(line, why)| {
            let what = format!("read {}, line {line}", root.describe(&file));
            Error::new(ErrorKind::Malformed, what, why)
        })?;
        settings.extend(found.into_iter().map(|(line, name, value)| {
            let (value, had_secret) = match value {
                Some(value) => {
                    let (shown, had_secret) = without_secrets(&name, &value);
                    (Some(shown), had_secret)
                }
                None => (None, false),
            };
            AptSetting {
                file: file.clone(),
                line,
                name,
                value,
                had_secret,
            }
        }));
    }
    Ok(settings)
}

/// The files that apt reads, in its order.
pub(crate) fn files(root: &Root) -> Result<Vec<PathBuf>> {
    let (main, dir) = ("/etc/apt/apt.conf", "/etc/apt/apt.conf.d");
    let mut files = parts::files(root, main, dir, parts::plain_or("conf"))?;
    // apt reads the main file last, so that it has the last word.
    if files.first().is_some_and(|file| file == Path::new(main)) {
        files.rotate_left(1);
    }
    Ok(files)
}

/// The value that counts in the end: the last one that was set and not cleared. Names are told
/// apart by no case.
pub(crate) fn value<'a>(settings: &'a [AptSetting], name: &str) -> Option<&'a str> {
    let is_it = |setting: &&AptSetting| {
        setting.name.eq_ignore_ascii_case(name)
            || (setting.value.is_none()
                && name.len() > setting.name.len()
                && name[..setting.name.len()].eq_ignore_ascii_case(&setting.name)
                && name[setting.name.len()..].starts_with("::"))
    };
    settings.iter().rev().find(is_it)?.value.as_deref()
}

/// A value as it may be shown, and whether something was left out.
pub(crate) fn without_secrets(name: &str, value: &str) -> (String, bool) {
    let last = name
        .trim_end_matches(':')
        .rsplit("::")
        .next()
        .unwrap_or_default();
    let last = last.to_ascii_lowercase();
    let is_secret = ["password", "passwd", "passphrase", "secret", "token"]
        .iter()
        .any(|word| last.contains(word));
    if is_secret && !value.is_empty() {
        return ("…".to_owned(), true);
    }
    // A command may hold a URI somewhere in it.
    without_credentials(value)
}

type Parsed = Vec<(u64, String, Option<String>)>;
type Refused = (u64, &'static str);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Open,
    Close,
    End,
    /// A line that begins with `#`, where that is no comment.
    Directive(String),
}

fn parse(text: &str) -> Result<Parsed, Refused> {
    let tokens = tokens(text)?;
    let mut settings = Vec::new();
    // The names of the braces that are open.
    let mut open: Vec<String> = Vec::new();
    let mut rest = tokens.into_iter().peekable();
    let join = |open: &[String], name: &str| match open.last() {
        Some(prefix) if prefix.ends_with("::") => format!("{prefix}{name}"),
        Some(prefix) => format!("{prefix}::{name}"),
        None => name.to_owned(),
    };
    while let Some((line, token)) = rest.next() {
        let is_open = |next: Option<&(u64, Token)>| matches!(next, Some((_, Token::Open)));
        match token {
            Token::End => {}
            // apt passes over one that was never opened.
            Token::Close => drop(open.pop()),
            Token::Open => return Err((line, "a brace has no name before it")),
            Token::Directive(directive) => {
                let (word, subject) = directive
                    .split_once(char::is_whitespace)
                    .unwrap_or((&directive, ""));
                let subject = subject
                    .trim()
                    .trim_end_matches(';')
                    .trim()
                    .trim_matches('"');
                match word {
                    "clear" => settings.push((line, subject.to_owned(), None)),
                    _ => settings.push((line, format!("#{word}"), Some(subject.to_owned()))),
                }
            }
            // Of a list without names.
            Token::Quoted(value) => settings.push((line, join(&open, ""), Some(value))),
            Token::Word(name) => {
                let name = join(&open, &name);
                let value = match rest.peek() {
                    Some((_, Token::Word(_) | Token::Quoted(_))) => match rest.next() {
                        Some((_, Token::Word(value) | Token::Quoted(value))) => Some(value),
                        _ => None,
                    },
                    _ => None,
                };
                let opens = is_open(rest.peek());
                if value.is_some() || !opens {
                    settings.push((line, name.clone(), Some(value.unwrap_or_default())));
                }
                if opens {
                    rest.next();
                    if open.len() == MOST_DEPTH {
                        return Err((line, "its braces are too deep"));
                    }
                    open.push(name);
                } else if !matches!(rest.peek(), Some((_, Token::End | Token::Close))) {
                    return Err((line, "no semicolon follows a setting"));
                }
            }
        }
    }
    // apt takes the end of a file for the end of all braces.
    Ok(settings)
}

fn tokens(text: &str) -> Result<Vec<(u64, Token)>, Refused> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        match first {
            '\n' => {
                line += 1;
                rest = after;
            }
            c if c.is_whitespace() => rest = after,
            ';' | '{' | '}' => {
                tokens.push((
                    line,
                    match first {
                        ';' => Token::End,
                        '{' => Token::Open,
                        _ => Token::Close,
                    },
                ));
                rest = after;
            }
            '"' => {
                let end = after.find('"').ok_or((line, "a quote is never closed"))?;
                tokens.push((line, Token::Quoted(after[..end].replace('\n', " "))));
                line += after[..end].matches('\n').count() as u64;
                rest = &after[end + 1..];
            }
            '#' => {
                let end = after.find('\n').unwrap_or(after.len());
                let directive = after[..end].trim();
                let word = directive.split_whitespace().next().unwrap_or_default();
                if ["clear", "include", "x-apt-configure-index"].contains(&word) {
                    tokens.push((line, Token::Directive(directive.to_owned())));
                }
                rest = &after[end..];
            }
            '/' if after.starts_with('/') => {
                rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
            }
            '/' if after.starts_with('*') => {
                let end = after
                    .find("*/")
                    .ok_or((line, "a comment is never closed"))?;
                line += after[..end].matches('\n').count() as u64;
                rest = &after[end + 2..];
            }
            _ => {
                let ends = |c: char| c.is_whitespace() || ";{}\"".contains(c);
                let mut end = rest.find(ends).unwrap_or(rest.len());
                // A comment may follow without a blank.
                for mark in ["//", "/*"] {
                    end = rest[..end].find(mark).map_or(end, |at| at.max(1));
                }
                tokens.push((line, Token::Word(rest[..end].to_owned())));
                rest = &rest[end..];
            }
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{fs, process::Command};

    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "// about\nAPT::A \"1\"; # b\nAPT { B \"2\"; C { D \"3\"; }; };\n/* a\n comment */\nList { \"x\"; \"y z\"; };\nList:: \"w\";\n#clear Gone;\nE F;\nUri \"http://u:hunter2@a/b\";\nDPkg::Post { \"test ! -e /x || curl 'https://hunter2@h/p' || true\"; };\nAuth::Password \"hunter2\";\n";

    fn with_conf(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for inside in ["etc/apt/apt.conf.d", "var/lib/dpkg"] {
            fs::create_dir_all(dir.path().join(inside)).unwrap();
        }
        fs::write(dir.path().join("var/lib/dpkg/status"), "").unwrap();
        fs::write(dir.path().join("etc/os-release"), "ID=debian\n").unwrap();
        fs::write(dir.path().join("etc/apt/apt.conf.d/10x"), text).unwrap();
        dir
    }

    /// What apt makes of a file alone, `None` when it refuses it.
    fn apt_dumps(text: &str) -> Option<String> {
        let dir = with_conf(text);
        let config = dir.path().join("own");
        let parts = dir.path().join("etc/apt/apt.conf.d");
        fs::write(
            &config,
            format!(
                "Dir::Etc::main \"/dev/null\"; Dir::Etc::parts \"{}\";",
                parts.display()
            ),
        )
        .unwrap();
        let output = Command::new("apt-config")
            .arg("dump")
            .env("APT_CONFIG", &config)
            .output()
            .unwrap();
        output
            .status
            .success()
            .then(|| String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn settings_are_those_that_apt_config_dumps() {
        let dump = apt_dumps(TEXT).unwrap();
        let found = parse(TEXT).unwrap();
        assert_eq!(found.len(), 11);
        for (_, name, value) in found {
            if let Some(value) = value {
                assert!(
                    dump.contains(&format!("{name} \"{value}\";\n")),
                    "{name} {value}\n{dump}"
                );
            } else {
                assert_eq!(name, "Gone");
            }
        }
    }

    #[test]
    fn what_apt_refuses_is_refused_with_its_line_and_without_quoting_it() {
        for bad in ["\nA \"hunter2\"\nB \"2\";", "A;\n\"hunter2"] {
            assert_eq!(apt_dumps(bad), None, "{bad}");
            let dir = with_conf(bad);
            let error = read_apt_settings(&Root::open(dir.path()).unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed);
            assert!(error.to_string().contains("10x, line 2: "), "{error}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_password_is_nowhere_and_the_rest_stays() {
        let dir = with_conf(TEXT);
        let settings = read_apt_settings(&Root::open(dir.path()).unwrap()).unwrap();
        let json = serde_json::to_string(&settings).unwrap();
        assert!(!format!("{settings:?}{json}").contains("hunter2"), "{json}");
        assert_eq!(settings.iter().filter(|s| s.had_secret).count(), 3);
        assert_eq!(
            value(&settings, "DPkg::Post::"),
            Some("test ! -e /x || curl 'https://…@h/p' || true")
        );
        assert_eq!(value(&settings, "apt::c::d"), Some("3"));
        assert_eq!(value(&settings, "Gone::x"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}", bits in "(A|::|\"|;|\\{|\\}|#clear|//|/\\*|\\*/|\n| |é){0,30}") {
            let _ = parse(&text);
            let _ = parse(&bits);
            let _ = without_secrets("a", &bits);
        }
    }
}
