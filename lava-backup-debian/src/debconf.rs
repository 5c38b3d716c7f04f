//! The answers that debconf keeps.

use std::{collections::BTreeMap, io::BufReader, path::Path};

use serde::Serialize;

use crate::{
    Result, Root,
    apt::without_credentials,
    deb822::{Comments, Scanner},
};

/// The answer to one question of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Selection {
    /// The question's name.
    pub question: String,
    /// The kind of its answer, from its template: `boolean`, `select` …; `None` when the template
    /// is not there.
    pub kind: Option<String>,
    /// The packages that ask, in the order of the file.
    pub owners: Vec<String>,
    /// Whether there is an answer.
    pub answered: bool,
    /// The answer; `None` when there is none, or it is kept secret.
    pub value: Option<String>,
    /// Whether the question was put to somebody.
    pub seen: bool,
    /// Whether the answer is one that is kept secret.
    pub secret: bool,
}

impl Selection {
    /// Whether there is an answer that is kept secret.
    pub(crate) fn is_kept(&self) -> bool {
        self.secret && self.answered
    }
}

const MOST: u64 = 128 << 20;
pub(crate) const CONFIG: &str = "/var/cache/debconf/config.dat";
pub(crate) const TEMPLATES: &str = "/var/cache/debconf/templates.dat";
pub(crate) const PASSWORDS: &str = "/var/cache/debconf/passwords.dat";

/// Reads debconf's answers, sorted by question. The file of passwords is not opened, and an answer
/// whose question is of the type `password`, or speaks of one, is left out here too, as is one that
/// holds a URI with credentials.
///
/// # Errors
/// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed) when a file is not debconf's.
pub fn read_selections(root: &Root) -> Result<Vec<Selection>> {
    let mut kinds = BTreeMap::new();
    each(root, Path::new(TEMPLATES), |paragraph| {
        if let (Some(name), Some(kind)) = (paragraph.text("Name"), paragraph.text("Type")) {
            kinds.insert(name, kind);
        }
    })?;
    let mut selections = Vec::new();
    each(root, Path::new(CONFIG), |paragraph| {
        let Some(question) = paragraph.text("Name") else {
            return;
        };
        let words = |name: &str| -> Vec<String> {
            let text = paragraph.text(name).unwrap_or_default();
            let words = text.split([',', ' ', '\n']).map(str::trim);
            words
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let kind = kinds
            .get(&paragraph.text("Template").unwrap_or_default())
            .cloned();
        let value = paragraph.text("Value");
        // The address of a proxy may hold a password.
        let holds = |value: &String| without_credentials(value).1;
        let secret = kind.as_deref() == Some("password")
            || speaks_of_a_secret(&question)
            || value.as_ref().is_some_and(holds);
        selections.push(Selection {
            kind,
            owners: words("Owners"),
            answered: paragraph
                .get("Value")
                .is_some_and(|value| !value.is_empty()),
            value: value.filter(|_| !secret),
            seen: words("Flags").iter().any(|flag| flag == "seen"),
            secret,
            question,
        });
    })?;
    selections.sort_by(|a, b| a.question.cmp(&b.question));
    Ok(selections)
}

fn speaks_of_a_secret(question: &str) -> bool {
    let question = question.to_ascii_lowercase();
    ["password", "passwd", "passphrase", "secret", "token"]
        .iter()
        .any(|w| question.contains(w))
}

fn each(root: &Root, file: &Path, mut take: impl FnMut(crate::Paragraph)) -> Result<()> {
    let Some(reader) = root.open_file(file, MOST)? else {
        return Ok(());
    };
    let mut scanner = Scanner::new(
        BufReader::new(reader),
        root.describe(file),
        Comments::Refused,
    );
    while let Some(paragraph) = scanner.next_paragraph()? {
        take(paragraph);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    #[test]
    fn answers_have_the_kind_of_their_templates_and_passwords_are_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        for inside in ["var/cache/debconf", "var/lib/dpkg", "etc"] {
            fs::create_dir_all(dir.path().join(inside)).unwrap();
        }
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("var/lib/dpkg/status", "");
        write("etc/os-release", "ID=debian\n");
        write(
            "var/cache/debconf/templates.dat",
            "Name: t/x\nType: boolean\nDescription: a\nOwners: p\n\nName: t/p\nType: password\n",
        );
        write(
            "var/cache/debconf/config.dat",
            "Name: p/x\nTemplate: t/x\nValue: true\nOwners: p, q\nFlags: seen\nVariables:\n a = b\n\n\
             Name: p/p\nTemplate: t/p\nValue: hunter2\n\nName: p/admin-password\nTemplate: t/x\nValue: hunter2\n\n\
             Name: p/proxy\nTemplate: t/x\nValue: via http://u:hunter2@h:3128/ it goes\n\n\
             Name: a/unanswered\nTemplate: gone\n",
        );
        write(
            "var/cache/debconf/passwords.dat",
            "Name: p/p\nTemplate: t/p\nValue: hunter2\n",
        );
        let found = read_selections(&Root::open(dir.path()).unwrap()).unwrap();
        assert!(!format!("{found:?}").contains("hunter2"));
        let said: Vec<_> = found
            .iter()
            .map(|s| {
                (
                    s.question.as_str(),
                    s.kind.as_deref(),
                    s.value.as_deref(),
                    s.seen,
                    s.secret,
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                ("a/unanswered", None, None, false, false),
                ("p/admin-password", Some("boolean"), None, false, true),
                ("p/p", Some("password"), None, false, true),
                ("p/proxy", Some("boolean"), None, false, true),
                ("p/x", Some("boolean"), Some("true"), true, false),
            ]
        );
        assert_eq!(found[4].owners, ["p", "q"]);
    }
}
