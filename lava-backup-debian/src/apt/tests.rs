#![allow(clippy::unwrap_used)]

use std::{fs, process::Command};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn root_with(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["var/lib/dpkg", "etc/apt/sources.list.d"] {
        fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    fs::write(dir.path().join("var/lib/dpkg/status"), "").unwrap();
    fs::write(dir.path().join("etc/os-release"), "ID=debian\n").unwrap();
    for (name, text) in files {
        fs::write(dir.path().join("etc/apt").join(name), text).unwrap();
    }
    dir
}

fn read(files: &[(&str, &str)]) -> Result<Vec<SourceEntry>> {
    read_sources(&Root::open(root_with(files).path())?)
}

fn line(text: &str) -> Result<SourceEntry> {
    read(&[("sources.list", text)]).map(|mut entries| entries.remove(0))
}

/// The `InRelease` files that apt itself would fetch; `None` when it refuses the sources.
fn apt_fetches(dir: &TempDir) -> Option<Vec<String>> {
    let output = Command::new("apt-get")
        .args(["update", "--print-uris"])
        .arg("-o")
        .arg(format!(
            "Dir::Etc::sourcelist={}",
            dir.path().join("etc/apt/sources.list").display()
        ))
        .arg("-o")
        .arg(format!(
            "Dir::Etc::sourceparts={}",
            dir.path().join("etc/apt/sources.list.d").display()
        ))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut uris: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix('\'')?.split_once("'"))
        .map(|(uri, _)| uri.to_owned())
        .filter(|uri| uri.ends_with("/InRelease"))
        .collect();
    uris.sort();
    output.status.success().then_some(uris)
}

/// The same as told from our entries.
fn we_expect(entries: &[SourceEntry]) -> Vec<String> {
    let mut uris = Vec::new();
    for entry in entries.iter().filter(|entry| entry.enabled) {
        for (uri, suite) in entry
            .uris
            .iter()
            .flat_map(|uri| entry.suites.iter().map(move |suite| (uri, suite)))
        {
            uris.push(match suite.ends_with('/') {
                true => format!("{}/{suite}InRelease", uri.as_str().trim_end_matches('/')),
                false => format!(
                    "{}/dists/{suite}/InRelease",
                    uri.as_str().trim_end_matches('/')
                ),
            });
        }
    }
    uris.sort();
    uris.dedup();
    uris
}

#[test]
fn apt_itself_reads_the_same_sources() {
    let dir = root_with(&[
        (
            "sources.list",
            "# deb http://commented.example/d x main\ndeb http://a.example/d x main contrib # more\r\n\n  deb [arch=amd64,i386 trusted=yes lang+=de] http://b.example/d y main\ndeb http://flat.example/d sub/\n",
        ),
        (
            "sources.list.d/c.list",
            "deb [signed-by=/etc/k#1.gpg] http://c.example/d x main\n",
        ),
        (
            "sources.list.d/d.sources",
            "# about it\nTypes: deb\nURIs: http://d.example/d\n# between\n  http://e.example/d\nSuites: x\n y\nCOMPONENTS: main\n \nArchitectures: amd64\n\nEnabled: no\nTypes: deb\nURIs: http://off.example/d\nSuites: x\nComponents: main\n",
        ),
        (
            "sources.list.d/e.sources",
            "Enabled: perhaps\r\nTypes: deb\r\nURIs: http://f.example/d\r\nSuites: x/\r\n",
        ),
        (
            "sources.list.d/ignored.list.save",
            "deb http://g.example/d x main\n",
        ),
        (
            "sources.list.d/ig nored.list",
            "deb http://h.example/d x main\n",
        ),
    ]);
    let entries = read_sources(&Root::open(dir.path()).unwrap()).unwrap();
    let apt = apt_fetches(&dir).unwrap();
    assert_eq!(we_expect(&entries), apt);
    assert_eq!(apt.len(), 9, "{apt:?}");
    assert_eq!(entries.iter().filter(|entry| !entry.enabled).count(), 1);
    assert_eq!(
        entries[1]
            .options
            .iter()
            .map(|(k, v)| format!("{k}={}", v.join(" ")))
            .collect::<Vec<_>>(),
        [
            "architectures=amd64 i386",
            "languages-add=de",
            "trusted=yes"
        ]
    );
    assert_eq!(entries[3].options["signed-by"], ["/etc/k#1.gpg"]);
    assert_eq!((entries[1].line, entries[4].line), (4, 2));
}

#[test]
fn what_apt_refuses_is_refused_without_quoting_it() {
    for text in [
        "deb http://u:hunter2@a.example/d x\n",
        "deb http://u:hunter2@a.example/d x/ main\n",
        "deb http://u:hunter2@a.example/d\n",
        "rpm http://u:hunter2@a.example/d x main\n",
        "deb [arch=amd64]http://u:hunter2@a.example/d x main\n",
        "deb [arch=amd64 http://u:hunter2@a.example/d x main\n",
        "deb hunter2 x main\n",
    ] {
        let files = [("sources.list", text)];
        assert_eq!(apt_fetches(&root_with(&files)), None, "{text}");
        let error = read(&files).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert!(
            error.to_string().contains("sources.list, line 1"),
            "{error}"
        );
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

#[test]
fn a_password_is_nowhere() {
    for (uri, shown) in [
        ("http://u:hunter2@a.example/d", "http://…@a.example/d"),
        ("https://hunter2@a.example/d", "https://…@a.example/d"),
        ("http://u:hunter2/x@a.example/d", "http://…@a.example/d"),
        ("http://u:hunter2@x@a.example/d", "http://…@a.example/d"),
        ("http:u:hunter2@a.example/d", "http:…@a.example/d"),
        ("http://u@x:1/hunter2@a.example/d", "http://…@a.example/d"),
        (
            "tor+https://u:hunter2@a.example/d",
            "tor+https://…@a.example/d",
        ),
        ("http://a.example/d?token=hunter2", "http://a.example/d?…"),
        (
            "http://u:hunter2@a.example/d?hunter2",
            "http://…@a.example/d?…",
        ),
        ("http://a.example/d?a=hunter2@hunter2", "http://…"),
        ("http://u:80/hunter2@a.example/d", "http://…@a.example/d"),
    ] {
        let entry = line(&format!("deb {uri} x main\n")).unwrap();
        assert_eq!(entry.uris[0].to_string(), shown);
        assert!(entry.uris[0].had_credentials());
        let json = serde_json::to_string(&entry).unwrap();
        assert!(!format!("{entry:?} {json}").contains("hunter2"), "{json}");
    }
    for plain in [
        "http://a.example:80/d",
        "file:/srv/a@b",
        "cdrom:[Debian @ 12]/",
        "http://a.example/d",
    ] {
        let entry = line(&format!("deb {plain} x main\n")).unwrap();
        assert_eq!(entry.uris[0].as_str(), plain);
        assert!(!entry.uris[0].had_credentials());
    }
}

#[test]
fn a_key_block_is_one_value() {
    let text = "Types: deb deb-src\nURIs: http://a.example/d\nSuites: x\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ\n -----END PGP PUBLIC KEY BLOCK-----\n";
    let entry = read(&[("sources.list.d/a.sources", text)])
        .unwrap()
        .remove(0);
    assert_eq!(entry.types, [SourceType::Deb, SourceType::DebSrc]);
    assert_eq!(
        entry.options["signed-by"],
        ["-----BEGIN PGP PUBLIC KEY BLOCK-----\n.\nmQ\n-----END PGP PUBLIC KEY BLOCK-----"]
    );
}

proptest! {
    #[test]
    fn any_bytes_give_entries_or_an_error(bytes: Vec<u8>) {
        let _ = read_lines(&bytes, Path::new("a"), "a", &mut Vec::new());
        let _ = read_paragraphs(&bytes, Path::new("a"), "a", &mut Vec::new());
    }

    #[test]
    fn text_that_looks_like_a_line_gives_an_entry_or_an_error(
        text in "(deb|deb-src|\\[|\\]|=|#|\"| |http://|@|:|/|x|é|,|\\+|\\?){0,20}"
    ) {
        let _ = read_lines(text.as_bytes(), Path::new("a"), "a", &mut Vec::new());
        let _ = SourceUri::of_text(&text);
    }

    #[test]
    fn a_password_of_any_characters_is_dropped(password in "[!-~]{0,8}SECRET[!-~]{0,8}") {
        for uri in [format!("http://u:{password}@a.example/d"), format!("https:u:{password}@a.example/d")] {
            let shown = SourceUri::of_text(&uri);
            prop_assert!(!shown.as_str().contains("SECRET"), "{}", shown);
            let host = if password.contains('?') { "" } else { "@a.example/d" };
            prop_assert!(shown.as_str().ends_with(&format!("…{host}")), "{}", shown);
        }
    }
}
