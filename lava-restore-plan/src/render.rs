//! A plan as text: all renderings say the same thing, for each is made from the same commands.
//!
//! A rendered text is looked through for forbidden operations before it is handed out.

mod ansible;
mod bound;
mod html;
mod json;
mod markdown;
mod shell;

pub use ansible::ansible;
pub use html::html;
pub use json::json;
pub use markdown::markdown;
pub use shell::shell;

use crate::{Intent, Plan, name};

/// What a plan does, in a few words; none of them from a backup.
fn title(plan: &Plan) -> String {
    let workers = plan.hosts.len().saturating_sub(1);
    match plan.intent {
        Intent::RestoreMaster => "Restore of a master".to_owned(),
        Intent::RestoreWorker => "Restore of a worker".to_owned(),
        Intent::RestoreLab => format!("Restore of a lab: its master and {workers} workers"),
        Intent::Grow => "A new host like one of a backup".to_owned(),
        Intent::Drill => "Drill of a backup".to_owned(),
    }
}

/// Text from a backup or a person on one line, with nothing hidden in it.
pub(crate) fn one_line(text: &str) -> String {
    name::shown(text, usize::MAX)
}

/// A command as a line of POSIX shell that gives exactly these arguments.
#[must_use]
pub fn command(argv: &[String]) -> String {
    let mut line = Vec::with_capacity(argv.len());
    for (position, word) in argv.iter().enumerate() {
        line.push(quote(word, position == 0));
    }
    line.join(" ")
}

/// A word as the shell must see it. The first of a line could also be taken for an assignment or,
/// were it one, for a keyword.
fn quote(word: &str, first: bool) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:@%+,".contains(&b);
    let keyword = first && !word.contains(['-', '/']);
    let bare = !word.is_empty() && word.bytes().all(|b| plain(b) || (b == b'=' && !first));
    if bare && !(keyword && KEYWORDS.contains(&word)) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

const KEYWORDS: &[&str] = &[
    "case", "do", "done", "elif", "else", "esac", "fi", "for", "if", "in", "then", "until", "while",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn word() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ -~]{0,12}",
            "[-'\"$`\\\\!*?~#;&|<>(){}=\n\t a]{0,12}",
            "\\PC{0,6}",
            Just("-n".to_owned()),
            Just("a=b".to_owned()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn the_shell_sees_the_words_that_were_meant(words in prop::collection::vec(word(), 0..8)) {
            let words: Vec<String> = words.into_iter().map(|word| word.replace('\0', "")).collect();
            let mut argv = vec!["printf".to_owned(), "%s\\0".to_owned()];
            argv.extend(words.iter().cloned());
            let script = command(&argv);
            let output = std::process::Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
            prop_assert!(output.status.success());
            let expected = if words.is_empty() { "\0".to_owned() } else { words.iter().map(|w| format!("{w}\0")).collect() };
            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
        }
    }

    #[test]
    fn a_first_word_is_a_command_and_nothing_else() {
        assert_eq!(quote("A=b", true), "'A=b'");
        assert_eq!(quote("if", true), "'if'");
        assert_eq!(quote("-f=x", false), "-f=x");
    }
}
