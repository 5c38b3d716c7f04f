#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::status::tests::packages_of;

const SHA: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn stanza(name: &str, architecture: &str, version: &str, depends: &str) -> String {
    format!(
        "Package: {name}\nArchitecture: {architecture}\nVersion: {version}\nInstalled-Size: 10\n\
         Depends: {depends}\nFilename: pool/{name}.deb\nSize: 7\nSHA256: {SHA}\n\n"
    )
}

fn host() -> Vec<PackageState> {
    packages_of(
        "Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0-1\nInstalled-Size: 10\nDepends: b (<= 1)\n\n\
         Package: b\nStatus: install ok installed\nArchitecture: all\nVersion: 2\n\n\
         Package: c\nStatus: hold ok not-installed\n",
    )
}

fn scan_text(text: &str) -> Result<Scanned> {
    let packages = host();
    scan(text.as_bytes(), &Wanted::of(&packages), "test")
}

#[test]
fn what_is_installed_is_found_by_name_architecture_version_and_build() {
    let text = [
        stanza("zz", "amd64", "1", ""),
        stanza("a", "amd64", "1.0-1", "b (<1)"),
        stanza("a", "i386", "9", "b (<1)"),
        stanza("a", "amd64", "1.0-1", "b, other"),
        stanza("a", "amd64", "0.9", "b"),
        stanza("b", "all", "3", ""),
        stanza("c", "all", "3", ""),
    ]
    .concat();
    for text in [
        text.clone(),
        text.replace('\n', "\r\n"),
        text.replace("\n\n", "\n\n\n\n"),
    ] {
        let scanned = scan_text(&text).unwrap();
        let found: Vec<(usize, bool)> = scanned
            .seen
            .found
            .iter()
            .map(|f| (f.package, f.same_build))
            .collect();
        assert_eq!(found, [(0, true), (0, false)]);
        let newest: Vec<(usize, &str)> = scanned
            .seen
            .newest
            .iter()
            .map(|(p, v)| (*p, v.as_str()))
            .collect();
        assert_eq!(newest, [(0, "1.0-1"), (1, "3")]);
        assert_eq!(
            scanned.seen.found[0].deb.as_ref().unwrap().filename,
            "pool/a.deb"
        );
        assert_eq!(scanned.size, text.len() as u64);
        assert_eq!(scanned.sha256, Sha256::of(text.as_bytes()).unwrap());
    }
}

#[test]
fn a_name_that_is_not_the_first_field_is_found_too() {
    let text = stanza("a", "amd64", "1.0-1", "b (<= 1)");
    let (first, rest) = text.split_once('\n').unwrap();
    let text = format!("{}\n{first}\n", rest.trim_end());
    assert!(scan_text(&text).unwrap().seen.found[0].same_build);
}

#[test]
fn of_other_packages_no_more_than_the_names_are_read() {
    let one = stanza("a", "amd64", "1.0-1", "b (<= 1)");
    let text = format!("{one}Package: zz\nno colon\n\n{one}");
    for text in [text.replace('\n', "\r\n"), text] {
        assert_eq!(scan_text(&text).unwrap().seen.found.len(), 2);
    }
}

#[test]
fn stanzas_are_found_wherever_the_reads_end() {
    /// Gives a few bytes at a time.
    struct Dribble<'a>(&'a [u8], usize);
    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let most = self.1.min(buffer.len()).min(self.0.len());
            buffer[..most].copy_from_slice(&self.0[..most]);
            self.0 = &self.0[most..];
            Ok(most)
        }
    }
    let packages = host();
    let wanted = Wanted::of(&packages);
    let one = stanza("a", "amd64", "1.0-1", "b (<= 1)");
    // Long enough that stanzas lie across what is read at once.
    let count = 3 * STEP / one.len();
    let text = one.repeat(count);
    for step in [1 << 20, 65_537, 4_099] {
        let scanned = scan(Dribble(text.as_bytes(), step), &wanted, "test").unwrap();
        assert_eq!(scanned.seen.found.len(), count);
    }
    for end in [one.len() - 1, one.len() - 2] {
        assert_eq!(
            scan(&one.as_bytes()[..end], &wanted, "test")
                .unwrap()
                .seen
                .found
                .len(),
            1
        );
    }
}

#[test]
fn hostile_stanzas_are_an_error_and_other_packages_none_of_ours() {
    let good = stanza("a", "amd64", "1.0-1", "b");
    for (bad, kind) in [
        (
            good.replace("pool/a.deb", "../../etc/passwd"),
            ErrorKind::Malformed,
        ),
        (
            good.replace("pool/a.deb", "/etc/passwd"),
            ErrorKind::Malformed,
        ),
        (
            good.replace("pool/a.deb", "pool/\u{1b}[2J.deb"),
            ErrorKind::Malformed,
        ),
        (
            good.replace("pool/a.deb", "pool/a b.deb"),
            ErrorKind::Malformed,
        ),
        (good.replace("pool/a.deb", ""), ErrorKind::Malformed),
        (good.replace("Size: 7", "Size: -7"), ErrorKind::Malformed),
        (good.replace(SHA, "abc"), ErrorKind::Malformed),
        (
            good.replace("Filename", "Version: 2\nFilename"),
            ErrorKind::Malformed,
        ),
        (
            good.replace("Depends: b", &format!("Depends: {}", "b".repeat(10 << 20))),
            ErrorKind::TooLarge,
        ),
    ] {
        let error = scan_text(&bad).err().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!error.to_string().contains('\u{1b}'));
        // Wherever the reads end.
        let after = stanza("zz", "amd64", "1", "") + &bad;
        assert_eq!(scan_text(&after).err().unwrap().kind(), kind);
        if kind == ErrorKind::Malformed {
            // Of a package that is not here nothing is used.
            scan_text(&bad.replace("Package: a", "Package: other")).unwrap();
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_looked_through(bytes: Vec<u8>, text in "(Package: a|Version: 1|\n|\r\n| |:|Architecture: amd64){0,30}") {
        let packages = host();
        let wanted = Wanted::of(&packages);
        for bytes in [&bytes[..], text.as_bytes()] {
            if let Ok(scanned) = scan(bytes, &wanted, "test") {
                prop_assert_eq!(scanned.size, bytes.len() as u64);
            }
        }
    }
}
