//! Which of several programs a name stands for.

use std::{
    ffi::OsStr,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{Error, ErrorKind, Result, Root};

/// One name that several packages can provide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Alternative {
    /// Its name.
    pub name: String,
    /// Whether an admin chose; the choices of an admin alone have to be made again by hand.
    pub manual: bool,
    /// The path that programs use.
    #[serde(serialize_with = "crate::status::lossily")]
    pub link: PathBuf,
    /// What it stands for now, as the link in `/etc/alternatives` says.
    #[serde(serialize_with = "lossily")]
    pub value: Option<PathBuf>,
    /// All that can be chosen, in the order of the file.
    pub choices: Vec<Choice>,
}

/// One program that a name can stand for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// The program.
    #[serde(serialize_with = "crate::status::lossily")]
    pub path: PathBuf,
    /// The highest is taken where no admin chose.
    pub priority: i64,
}

fn lossily<S: serde::Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
    path.as_ref()
        .map(|path| path.to_string_lossy())
        .serialize(to)
}

const DIR: &str = "/var/lib/dpkg/alternatives";

/// Reads all alternatives, in the order of their names.
///
/// # Errors
/// [`ErrorKind::Malformed`] when a file is none of `update-alternatives`.
pub fn read_alternatives(root: &Root) -> Result<Vec<Alternative>> {
    let mut found = Vec::new();
    for name in root.names(DIR)? {
        let file = Path::new(DIR).join(&name);
        // What dpkg was about to write has such an end.
        if name.as_bytes().ends_with(b".dpkg-tmp") {
            continue;
        }
        let Some(bytes) = root.read(&file, 1 << 20)? else {
            continue;
        };
        let mut alternative = parse(&bytes).ok_or_else(|| {
            let what = format!("read {}", root.describe(&file));
            Error::new(
                ErrorKind::Malformed,
                what,
                "it is no file of update-alternatives",
            )
        })?;
        alternative.value = root.link(Path::new("/etc/alternatives").join(&name))?;
        alternative.name = String::from_utf8_lossy(&name.into_vec()).into_owned();
        found.push(alternative);
    }
    Ok(found)
}

fn parse(bytes: &[u8]) -> Option<Alternative> {
    let path = |line: &[u8]| {
        line.starts_with(b"/")
            .then(|| PathBuf::from(OsStr::from_bytes(line)))
    };
    let mut lines = bytes
        .strip_suffix(b"\n")
        .unwrap_or(bytes)
        .split(|b| *b == b'\n');
    let manual = match lines.next()? {
        b"manual" => true,
        b"auto" => false,
        _ => return None,
    };
    let link = path(lines.next()?)?;
    // Names that follow this one, each with its link, then an empty line.
    let mut followers = 0;
    while lines.next().filter(|name| !name.is_empty()).is_some() {
        path(lines.next()?)?;
        followers += 1;
    }
    let mut choices = Vec::new();
    while let Some(line) = lines.next().filter(|line| !line.is_empty()) {
        let priority = std::str::from_utf8(lines.next()?).ok()?.parse().ok()?;
        choices.push(Choice {
            path: path(line)?,
            priority,
        });
        for _ in 0..followers {
            // The end of the file may cut off the last ones, which are empty.
            lines.next();
        }
    }
    Some(Alternative {
        name: String::new(),
        manual,
        link,
        value: None,
        choices,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{fs, process::Command};

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn update(dir: &TempDir, arguments: &[&str]) -> String {
        let at = |name: &str| dir.path().join(name);
        let output = Command::new("update-alternatives")
            .arg("--admindir")
            .arg(at("var/lib/dpkg/alternatives"))
            .arg("--altdir")
            .arg(at("etc/alternatives"))
            .args(["--log", "/dev/null"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn alternatives_are_those_that_update_alternatives_tells() {
        let dir = tempfile::tempdir().unwrap();
        for inside in ["var/lib/dpkg/alternatives", "etc/alternatives", "bin"] {
            fs::create_dir_all(dir.path().join(inside)).unwrap();
        }
        fs::write(dir.path().join("var/lib/dpkg/status"), "").unwrap();
        fs::write(dir.path().join("etc/os-release"), "ID=debian\n").unwrap();
        let link = |name: &str| dir.path().join("bin").join(name).display().to_string();
        let (editor, manual, pager) = (link("editor"), link("editor.1"), link("pager"));
        for program in ["sh", "cat"] {
            let path = format!("/bin/{program}");
            update(
                &dir,
                &[
                    "--install",
                    &editor,
                    "editor",
                    &path,
                    "10",
                    "--slave",
                    &manual,
                    "editor.1",
                    &path,
                ],
            );
            update(&dir, &["--install", &pager, "pager", &path, "-5"]);
        }
        update(&dir, &["--install", &editor, "editor", "/bin/true", "90"]);
        update(&dir, &["--set", "editor", "/bin/cat"]);
        let theirs = update(&dir, &["--get-selections"]);
        let found = read_alternatives(&Root::open(dir.path()).unwrap()).unwrap();
        let ours: Vec<[String; 3]> = found
            .iter()
            .map(|a| {
                let mode = if a.manual { "manual" } else { "auto" };
                [
                    a.name.clone(),
                    mode.to_owned(),
                    a.value.clone().unwrap().display().to_string(),
                ]
            })
            .collect();
        let theirs: Vec<Vec<&str>> = theirs
            .lines()
            .map(|l| l.split_whitespace().collect())
            .collect();
        assert_eq!(ours.len(), 2);
        assert_eq!(
            ours,
            theirs[..]
                .iter()
                .map(|t| [t[0], t[1], t[2]].map(str::to_owned))
                .collect::<Vec<_>>()
        );
        let priorities: Vec<i64> = found[0].choices.iter().map(|c| c.priority).collect();
        assert_eq!((priorities.len(), priorities.iter().sum::<i64>()), (3, 110));
        assert_eq!(found[0].link.display().to_string(), editor);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text in "(auto|manual)\n(/a|b|\n|7){0,12}") {
            let _ = parse(&bytes);
            let _ = parse(text.as_bytes());
        }
    }
}
