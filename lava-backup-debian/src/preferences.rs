//! Which versions apt prefers because an admin said so.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{
    Error, ErrorKind, Result, Root,
    deb822::{Comments, Paragraph, Scanner},
    parts,
};

/// One record of apt's preferences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Preference {
    /// The file, absolute in the root.
    pub file: PathBuf,
    /// The line at which it begins, counted from 1.
    pub line: u64,
    /// The packages it is about, as they are written: names, patterns, `src:` names, `*`.
    pub packages: Vec<String>,
    /// Which versions it is about: `release …`, `version …` or `origin …`. apt passes over a record
    /// with anything else.
    pub pin: String,
    /// How much they are preferred.
    pub priority: i16,
    /// Why, in the words of whoever wrote it, a line each.
    pub explanation: Option<String>,
}

const MOST: u64 = 16 << 20;

/// Reads `/etc/apt/preferences` and the files beside it, in apt's order.
///
/// # Errors
/// [`ErrorKind::Malformed`] with file and line for a record without packages or without a
/// priority that apt takes.
pub fn read_preferences(root: &Root) -> Result<Vec<Preference>> {
    let mut preferences = Vec::new();
    for file in files(root)? {
        if let Some(bytes) = root.read(&file, MOST)? {
            read_records(&bytes, &file, &root.describe(&file), &mut preferences)?;
        }
    }
    Ok(preferences)
}

/// The files that apt reads, in its order.
pub(crate) fn files(root: &Root) -> Result<Vec<PathBuf>> {
    let (main, dir) = ("/etc/apt/preferences", "/etc/apt/preferences.d");
    parts::files(root, main, dir, parts::plain_or("pref"))
}

fn read_records(
    bytes: &[u8],
    file: &Path,
    place: &str,
    preferences: &mut Vec<Preference>,
) -> Result<()> {
    let mut scanner = Scanner::new(bytes, place, Comments::Skipped).repeating("Explanation");
    while let Some(paragraph) = scanner.next_paragraph()? {
        let preference = of_paragraph(&paragraph, file).map_err(|why| {
            let what = format!("read {place}, line {}", paragraph.line);
            Error::new(ErrorKind::Malformed, what, why)
        })?;
        preferences.push(preference);
    }
    Ok(())
}

fn of_paragraph(paragraph: &Paragraph, file: &Path) -> Result<Preference, &'static str> {
    let packages: Vec<String> = paragraph
        .text("Package")
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    if packages.is_empty() {
        return Err("the record names no package");
    }
    let priority: i16 = paragraph
        .text("Pin-Priority")
        .and_then(|text| text.parse().ok())
        .filter(|priority| *priority != 0)
        .ok_or("the record's Pin-Priority is no number that apt takes")?;
    Ok(Preference {
        file: file.to_owned(),
        line: paragraph.line,
        packages,
        pin: paragraph.text("Pin").unwrap_or_default(),
        priority,
        explanation: paragraph.text("Explanation"),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{fs, process::Command};

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn root_with(files: &[(&str, &str)]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["var/lib/dpkg", "etc/apt/preferences.d"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("var/lib/dpkg/status"), "").unwrap();
        fs::write(dir.path().join("etc/os-release"), "ID=debian\n").unwrap();
        for (name, text) in files {
            fs::write(dir.path().join("etc/apt").join(name), text).unwrap();
        }
        dir
    }

    fn read(files: &[(&str, &str)]) -> Result<Vec<Preference>> {
        read_preferences(&Root::open(root_with(files).path())?)
    }

    /// Whether apt itself takes these preferences.
    fn apt_takes(dir: &TempDir) -> bool {
        let at = |name: &str| dir.path().join("etc/apt").join(name).display().to_string();
        let output = Command::new("apt-cache")
            .args(["policy", "-o"])
            .arg(format!("Dir::Etc::preferences={}", at("preferences")))
            .arg("-o")
            .arg(format!(
                "Dir::Etc::preferencesparts={}",
                at("preferences.d")
            ))
            .output()
            .unwrap();
        output.status.success()
    }

    const GOOD: &str = "Explanation: why\nExplanation: and more\nPackage: a b*\n c\nPin: release o=Debian\nPin-Priority: -10\n";

    #[test]
    fn records_are_read_in_apts_order_with_their_explanations() {
        let files = [
            ("preferences", GOOD),
            (
                "preferences.d/z",
                "# c\n\nPackage: *\nPin: origin \"\"\nPin-Priority: 1001\n",
            ),
            (
                "preferences.d/a.pref",
                "Package: a\nPin: version 1*\nPin-Priority: 500\n",
            ),
            ("preferences.d/ignored.txt", "nonsense"),
        ];
        assert!(apt_takes(&root_with(&files)));
        let found = read(&files).unwrap();
        let said: Vec<_> = found
            .iter()
            .map(|p| {
                (
                    p.file.file_name().unwrap().to_str().unwrap(),
                    p.line,
                    p.packages.join(" "),
                    p.pin.as_str(),
                    p.priority,
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                ("preferences", 1, "a b* c".into(), "release o=Debian", -10),
                ("a.pref", 1, "a".into(), "version 1*", 500),
                ("z", 3, "*".into(), "origin \"\"", 1001),
            ]
        );
        assert_eq!(found[0].explanation.as_deref(), Some("why\nand more"));
    }

    #[test]
    fn what_apt_refuses_is_refused() {
        for bad in [
            GOOD.replace("Package: a b*\n c\n", ""),
            GOOD.replace("-10", "0"),
            GOOD.replace("-10", "40000"),
            format!("Explanation: alone\n\n{GOOD}"),
            GOOD.replace("Pin-Priority: -10\n", ""),
        ] {
            let files = [("preferences", bad.as_str())];
            assert!(!apt_takes(&root_with(&files)), "{bad}");
            let error = read(&files).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed);
            assert!(
                error.to_string().contains("preferences, line 1: "),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_records_or_an_error(bytes: Vec<u8>, text in "(Package|Pin|Pin-Priority|Explanation|: |\\*|release|\n| |5){0,24}") {
            for bytes in [&bytes[..], text.as_bytes()] {
                let _ = read_records(bytes, Path::new("a"), "a", &mut Vec::new());
            }
        }
    }
}
