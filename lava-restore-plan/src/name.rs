//! What may stand on a command line.
//!
//! A backup is read from a store that others may have written to, so every name from it is held
//! against its own alphabet before it becomes an argument: none can be taken for an option, a
//! connection string or a second line.

fn of(text: &str, most: usize, first: impl Fn(u8) -> bool, rest: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= most
        && bytes.first().is_some_and(|b| first(*b))
        && bytes.iter().all(|b| rest(*b))
}

/// A Debian package.
pub(crate) fn is_package(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    of(text, 200, plain, |b| plain(b) || b"+.-".contains(&b))
}

/// A systemd unit.
pub(crate) fn is_unit(text: &str) -> bool {
    of(
        text,
        255,
        |b| b.is_ascii_alphanumeric(),
        |b| b.is_ascii_alphanumeric() || b":_.@\\-".contains(&b),
    )
}

/// A database. `psql -d` takes more than a name for an address, so only what can't be one passes.
pub(crate) fn is_database(text: &str) -> bool {
    of(
        text,
        63,
        |b| b.is_ascii_alphabetic() || b == b'_',
        |b| b.is_ascii_alphanumeric() || b"_-".contains(&b),
    )
}

/// A device or a backup's id.
pub(crate) fn is_plain(text: &str) -> bool {
    of(
        text,
        200,
        |b| b.is_ascii_alphanumeric(),
        |b| b.is_ascii_alphanumeric() || b"_.:@+-".contains(&b),
    )
}

/// A path inside a section.
pub(crate) fn is_member(text: &str) -> bool {
    let component = |part: &str| !matches!(part, "" | "." | "..");
    text.len() <= 4096 && text.split('/').all(component) && is_argument(text)
}

/// What a caller gave for a command line: anything that is not an option.
pub(crate) fn is_argument(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && !text.chars().any(is_hidden)
}

/// Text from a backup, a host or a person as it is shown, up to so many characters of it: on one
/// line, so that it can't begin another, and with nothing hidden in it.
pub(crate) fn shown(text: &str, most: usize) -> String {
    let shown = |c: char| if is_hidden(c) { '\u{fffd}' } else { c };
    text.chars().take(most).map(shown).collect()
}

/// Whether a reader does not see a character and sees others otherwise for it: what moves a
/// terminal's cursor, what turns the direction of text, what is no wider than nothing.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{fffe}'..='\u{ffff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_can_be_an_option_an_address_or_a_second_line() {
        for hostile in [
            "-o",
            "--root=/",
            "a b",
            "a\nb",
            "",
            "host=evil",
            "postgres://evil/x",
            "a/b",
        ] {
            assert!(
                !is_package(hostile) && !is_unit(hostile) && !is_database(hostile),
                "{hostile}"
            );
            assert!(!is_plain(hostile), "{hostile}");
        }
        for hostile in [
            "-x",
            "config/../../x",
            "config//x",
            "/etc",
            "config/a\u{1b}[2J",
            "config/a\u{202e}fnoc",
        ] {
            assert!(!is_member(hostile), "{hostile}");
        }
        assert!(is_package("postgresql-15") && is_unit("lava-docker-worker@a.service"));
        assert!(is_database("lavaserver") && is_plain("qemu-00") && is_member("config/etc/a b"));
    }
}
