//! Text as YAML that means just that text, to YAML and to Ansible.

use std::fmt::Write as _;

/// A scalar: quoted, so that it is no number and no key; on one line; and `!unsafe`, so that it is
/// no template, where it could be taken for one.
pub(super) fn text(text: &str) -> String {
    let template = ["{{", "{%", "{#"].iter().any(|begin| text.contains(begin));
    let mut scalar = String::from(if template { "!unsafe \"" } else { "\"" });
    for c in text.chars() {
        match c {
            '"' | '\\' => scalar.extend(['\\', c]),
            '\n' => scalar.push_str("\\n"),
            ' '..='~' => scalar.push(c),
            c if c.is_alphanumeric() => scalar.push(c),
            c => {
                // Writing to a String can't fail.
                let _ = write!(scalar, "\\U{:08x}", u32::from(c));
            }
        }
    }
    scalar.push('"');
    scalar
}

/// An argument of a command. Ansible replaces `$NAME` and `${NAME}` in it by what the environment
/// has, and looks at what it put in no second time.
pub(super) fn argument(word: &str) -> String {
    let mut kept = String::with_capacity(word.len());
    let mut rest = word.chars().peekable();
    while let Some(c) = rest.next() {
        kept.push(c);
        let name = |next: &char| next.is_alphanumeric() || matches!(next, '_' | '{');
        if c == '$' && rest.peek().is_some_and(name) {
            kept.push_str("{dollar}");
        }
    }
    text(&kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_number_no_second_line_and_no_template() {
        assert_eq!(text("53"), "\"53\"");
        assert_eq!(text("a\n\"b\\"), "\"a\\n\\\"b\\\\\"");
        assert_eq!(text("{{ evil }}"), "!unsafe \"{{ evil }}\"");
        assert_eq!(text("é\u{2028}\u{1b}"), "\"é\\U00002028\\U0000001b\"");
    }

    #[test]
    fn a_dollar_stays_one() {
        assert_eq!(
            argument("-f=${Version} $5"),
            "\"-f=${dollar}{Version} ${dollar}5\""
        );
        assert_eq!(argument("$ a$"), "\"$ a$\"");
    }
}
