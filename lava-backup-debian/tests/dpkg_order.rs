//! The order of versions against dpkg's own: the program, and its Perl library for a hundred
//! thousand pairs.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::{
    cmp::Ordering,
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    io::Write,
    process::{Command, Stdio},
};

use lava_backup_debian::PackageVersion;
use proptest::prelude::*;

/// A fixed sequence, so that a failure comes back.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % most
    }

    /// Text that is often a version, of the pieces that are easily ordered wrongly.
    fn text(&mut self) -> String {
        const PIECES: [&str; 26] = [
            "~",
            "~",
            "+",
            "-",
            ":",
            ".",
            ".",
            "0",
            "0",
            "1",
            "9",
            "10",
            "00",
            "a",
            "b",
            "z",
            "A",
            "Z",
            "~bpo12+1",
            "+deb12u1",
            "+b1",
            "~rc1",
            "18446744073709551616",
            "2023.01",
            "1:",
            "-0",
        ];
        let start = ["", "0", "1", "1.0", "2023.01", "0:1", "2:1"][self.below(7)];
        let mut text = start.to_owned();
        for _ in 0..self.below(6) {
            text.push_str(PIECES[self.below(PIECES.len())]);
        }
        text
    }

    /// A text one or two small changes away.
    fn near(&mut self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=self.below(2) {
            let at = self.below(bytes.len() + 1);
            match self.below(3) {
                0 if at < bytes.len() => {
                    bytes.remove(at);
                }
                1 if at < bytes.len() => bytes[at] = b"~+-:.0019azA"[self.below(12)],
                _ => bytes.insert(at, b"~+-:.0019azA"[self.below(12)]),
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    fn pair(&mut self) -> (String, String) {
        let a = self.text();
        let b = if self.below(3) == 0 {
            self.text()
        } else {
            self.near(&a)
        };
        (a, b)
    }
}

fn parsed(count: usize, seed: u64) -> Vec<(PackageVersion, PackageVersion)> {
    let mut numbers = Numbers(seed);
    let parse = |(a, b): (String, String)| Some((a.parse().ok()?, b.parse().ok()?));
    std::iter::repeat_with(|| numbers.pair())
        .filter_map(parse)
        .take(count)
        .collect()
}

fn lines(pairs: &[(PackageVersion, PackageVersion)]) -> String {
    pairs.iter().map(|(a, b)| format!("{a} {b}\n")).collect()
}

fn sign(order: Ordering) -> &'static str {
    match order {
        Ordering::Less => "-1",
        Ordering::Equal => "0",
        Ordering::Greater => "1",
    }
}

fn assert_same(pairs: &[(PackageVersion, PackageVersion)], answers: &[String]) {
    assert_eq!(pairs.len(), answers.len());
    for ((a, b), answer) in pairs.iter().zip(answers) {
        assert_eq!(sign(a.cmp(b)), answer, "{a} {b}");
        assert_eq!(sign(b.cmp(a)), sign(a.cmp(b).reverse()), "{a} {b}");
        assert_eq!(a == b, answer == "0", "{a} {b}");
        assert!(a != b || hash(a) == hash(b), "{a} {b}");
    }
}

fn hash(version: &PackageVersion) -> u64 {
    let mut hasher = DefaultHasher::new();
    version.hash(&mut hasher);
    hasher.finish()
}

fn answers(program: &mut Command, input: &str) -> Vec<String> {
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input.as_bytes()).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_hundred_thousand_pairs_sort_as_dpkgs_perl_library_sorts_them() {
    let mut pairs = parsed(130_000, 0x1a7a_bac0);
    // Perl compares numbers as floating point, and finds 1184467440737095516160 equal to
    // 1184467440737095511160; dpkg itself does not, and judges those below.
    let has_huge_number = |version: &PackageVersion| {
        version
            .as_str()
            .split(|c: char| !c.is_ascii_digit())
            .any(|digits| digits.len() > 15)
    };
    pairs.retain(|(a, b)| !(has_huge_number(a) || has_huge_number(b)));
    assert!(pairs.len() >= 100_000, "{}", pairs.len());
    let script = "while (<STDIN>) { my ($a, $b) = split; print version_compare($a, $b), qq(\\n) }";
    let answers = answers(
        Command::new("perl").args(["-MDpkg::Version", "-e", script]),
        &lines(&pairs),
    );
    assert_same(&pairs, &answers);
    for answer in ["-1", "0", "1"] {
        let share = answers.iter().filter(|given| *given == answer).count();
        assert!(
            share > 5_000,
            "{answer} came {share} times: the pairs say too little"
        );
    }
}

#[test]
fn two_thousand_pairs_sort_as_dpkg_itself_sorts_them() {
    let pairs = parsed(2_000, 0xdeb);
    let script = "while read -r a b; do \
                  if dpkg --compare-versions \"$a\" lt \"$b\"; then echo -1; \
                  elif dpkg --compare-versions \"$a\" eq \"$b\"; then echo 0; else echo 1; fi; done";
    assert_same(
        &pairs,
        &answers(Command::new("sh").args(["-c", script]), &lines(&pairs)),
    );
}

#[test]
fn what_dpkg_calls_valid_is_a_version_and_nothing_else_is() {
    let mut numbers = Numbers(0xf00d);
    let texts: Vec<String> = std::iter::repeat_with(|| numbers.text())
        .filter(|text| !text.is_empty() && !text.starts_with('-'))
        .take(3_000)
        .collect();
    let script =
        "while read -r a; do dpkg --validate-version \"$a\" 2>/dev/null && echo 1 || echo 0; done";
    let answers = answers(
        Command::new("sh").args(["-c", script]),
        &(texts.join("\n") + "\n"),
    );
    assert_eq!(texts.len(), answers.len());
    let mut refused = 0;
    for (text, answer) in texts.iter().zip(answers) {
        let valid = text.parse::<PackageVersion>().is_ok();
        refused += usize::from(!valid);
        assert_eq!(valid, answer == "1", "{text}");
    }
    assert!(
        (500..2_500).contains(&refused),
        "{refused} were refused: the texts say too little"
    );
}

#[test]
fn the_pairs_that_others_got_wrong_are_right() {
    for (smaller, larger) in [
        ("1~~", "1~"),
        ("1~", "1"),
        ("1~0~", "1~"),
        ("1.0-1~bpo8+1", "1.0-1"),
        ("1.0-1", "1.0-1+b1"),
        ("1.0-1+b1", "1.0-1+deb9u1"),
        ("1.0-1+deb9u1", "1.0-1.1"),
        ("1.0-1.1", "1.0-2"),
        ("1~bpo1", "1~deb1"),
        ("1+b1", "1+deb1"),
        ("1:4.2", "2:2.2.28"),
        ("1.16.2+ds0-1", "1.16.2+ds-1+b3"),
        ("1.0a", "1.0+"),
        ("1.0Z", "1.0a"),
        ("2023.01-2", "2023.01+12+bookworm"),
        ("3.1.2+dfsg0-1", "3.1.2+dfsg-3"),
        ("8.14.1-2+deb13u2~bpo13+1", "8.14.1-2+deb13u2"),
        ("1.9", "1.10"),
    ] {
        let (a, b): (PackageVersion, PackageVersion) =
            (smaller.parse().unwrap(), larger.parse().unwrap());
        let dpkg = Command::new("dpkg")
            .args(["--compare-versions", smaller, "lt", larger])
            .status()
            .unwrap();
        assert!(dpkg.success(), "the table is wrong: {smaller} {larger}");
        assert!(a.cmp(&b).is_lt() && b.cmp(&a).is_gt(), "{smaller} {larger}");
    }
    for (one, other) in [
        ("1.", "1.0"),
        ("1.0a", "1.0a0"),
        ("1.0", "0:1.0-0"),
        ("00:1", "1"),
        ("1.01", "1.1"),
    ] {
        let dpkg = Command::new("dpkg")
            .args(["--compare-versions", one, "eq", other])
            .status()
            .unwrap();
        let (a, b): (PackageVersion, PackageVersion) =
            (one.parse().unwrap(), other.parse().unwrap());
        assert!(dpkg.success(), "the table is wrong: {one} {other}");
        assert!(a == b && hash(&a) == hash(&b), "{one} {other}");
    }
}

fn version() -> impl Strategy<Value = PackageVersion> {
    "([0-2]:)?[0-2]([0-2.~+aZ]{0,5})(-[0-2.~+aZ]{1,4})?".prop_map(|text| text.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn the_order_is_total(a in version(), b in version(), c in version()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a.cmp(&a), Ordering::Equal);
        let mut sorted = [a, b, c];
        sorted.sort();
        prop_assert!(sorted[0] <= sorted[1] && sorted[1] <= sorted[2] && sorted[0] <= sorted[2]);
        if sorted[0] == sorted[2] {
            prop_assert!(sorted[0] == sorted[1] && hash(&sorted[0]) == hash(&sorted[1]));
        }
    }

    #[test]
    fn a_version_comes_back_from_its_text(a in version()) {
        let again: PackageVersion = a.to_string().parse().unwrap();
        prop_assert_eq!(again.as_str(), a.as_str());
        let (epoch, revision) = (a.epoch(), a.revision());
        let rebuilt = match revision {
            Some(revision) => format!("{epoch}:{}-{revision}", a.upstream()),
            None => format!("{epoch}:{}", a.upstream()),
        };
        prop_assert_eq!(rebuilt.parse::<PackageVersion>().unwrap(), a);
    }

    #[test]
    fn any_text_is_a_version_or_an_error(text in "\\PC{0,12}", bits in "[0-9:.~+a-]{0,12}") {
        let _ = text.parse::<PackageVersion>();
        let _ = bits.parse::<PackageVersion>().map(|v| lava_backup_debian::LavaVersion::of(&v));
    }
}

/// dpkg's own library, asked about pairs of versions; none where its headers are not installed.
struct Libdpkg(tempfile::TempDir);

impl Libdpkg {
    fn build(test: &str) -> Option<Self> {
        const SOURCE: &str = "#include <stdio.h>\n#define LIBDPKG_VOLATILE_API\n#include <dpkg/dpkg.h>\n\
            #include <dpkg/dpkg-db.h>\n#include <dpkg/version.h>\nint main(void) {\n\
            static char a[1 << 20], b[1 << 20];\nwhile (scanf(\"%1048575s %1048575s\", a, b) == 2) {\n\
            struct dpkg_version x, y;\n\
            if (parseversion(&x, a, NULL) < 0 || parseversion(&y, b, NULL) < 0) { puts(\"refused\"); continue; }\n\
            int order = dpkg_version_compare(&x, &y);\nputs(order < 0 ? \"-1\" : order > 0 ? \"1\" : \"0\");\n}\n}\n";
        if !std::path::Path::new("/usr/include/dpkg/version.h").exists() {
            skip(test, "libdpkg-dev is not installed");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("oracle.c");
        std::fs::write(&source, SOURCE).unwrap();
        let built = Command::new("cc")
            .arg("-o")
            .arg(dir.path().join("oracle"))
            .arg(&source)
            .arg("-ldpkg")
            .status()
            .unwrap();
        assert!(built.success());
        Some(Self(dir))
    }

    fn assert_same(&self, pairs: &[(PackageVersion, PackageVersion)]) {
        let answers = answers(
            &mut Command::new(self.0.path().join("oracle")),
            &lines(pairs),
        );
        assert_same(pairs, &answers);
    }
}

#[test]
fn two_hundred_thousand_pairs_sort_as_dpkgs_own_library_sorts_them() {
    let test = "two_hundred_thousand_pairs_sort_as_dpkgs_own_library_sorts_them";
    if let Some(libdpkg) = Libdpkg::build(test) {
        libdpkg.assert_same(&parsed(200_000, 0xdebdeb));
    }
}

/// Versions that the tests of apt, dpkg and python-debian are about, LAVA's, and others of their
/// kind; how they sort is asked of dpkg.
const PUBLISHED: &str = "0 00 0:0 0:0-0 0-0 0-pre 0-pree 0a 0.9~rc1-1 0.9.2-5 0.9.2+cvs.1.0.dev.2004.07.28-1.5 \
    0.2.0-1+b1 0.4.23debian1 0.52.2-5.1 1 1. 1.0 1.00 1.0000-1 1.0-0 1.0-0.1 1.0-1 1.0-1.1 1.0-2 1.0-1+b1 1.0-1+deb9u1 \
    1.0-1~bpo8+1 1.0.3-3 1.0.4-2 1.0pre7-2 1.0a7-2 1.0final-5 1.0final-5sarge1 1.0-133-avc 1.0a 1.0a0 1.0Z 1.0+ 1.1 1.1.1 \
    1.1.6r-1 1.1.6r2-2 1.11 1.2 1.2.2-2 1.2.3-1 1.2.3 1.2.24 1.2a+~bCd3 1.2a++ 1.2a+~ 1.3 1.18.36 1.18.36-0.17.35-18 \
    1.18.36-0.17.35-19 1.5 1.5+b1 1.5+E-14 1.5~dev0 1.5~rc1 1.5~rc2 1.8RC4b 1~ 1~~ 1~0~ 1:0 1:0foo 1:1.25-4 1:1.25-8 1:1.2.13-3 \
    1:1.4.1-1 1:500 1:5000 2.0-2 2.0.7pre1-4 2.0.7r-1 2.2-1 2.2~rc-4 2.2.4-4.0.1 2.6b-2 2.6b2-1 2.8-3 2.8-4 2:1.0.4~rc2-1 \
    2:1.0.4+svn26-1ubuntu1 2:2.5 1:7.5 3.0+~1 3.0~rc1-1 3.0-2 3.0.10 3.0~rc 3.10.2 3.2 3.2+cvs 4.0.1.3.dfsg.1-2 4.2.0a+stable-2sarge1 \
    4.3.90.1svn-r21976-1 7.0-035+1 7.1.ds-1 7.6-0 7.6p2-4 9:1.18.36:5.4-20 10:0.5.1-22 10.11.1.3-2 11:5000 100:500 12-20220319-1~exp1 \
    13-20220320-1 21 98-11 98.1-11 98.1-pre2-b6-2 98.1p5-1 20060611-0.0 1:0.0.1+git20221110-1 8.14.1-2+deb13u2~bpo13+1 \
    2016.12-1~bpo8+1 2018.4-1 2018.5.post1-2 2018.11-1 2019.01+stretch 2019.01-5 2020.08+10+buster 2020.12-5+deb11u2 2022.01.3-1 \
    2022.05.0003.g1a2b3c4+11+bullseye 2023.01-2 2023.01+12+bookworm 2024.05.dev0003+12+bookworm 2026.10-2~bpo13+1 \
    18446744073709551615 18446744073709551616 99999999999999999999999 2147483647:1";

#[test]
fn every_pair_of_published_versions_sorts_as_dpkg_sorts_it() {
    let Some(libdpkg) = Libdpkg::build("every_pair_of_published_versions_sorts_as_dpkg_sorts_it")
    else {
        return;
    };
    let versions: Vec<PackageVersion> = PUBLISHED
        .split_whitespace()
        .map(|v| v.parse().unwrap())
        .collect();
    let all = |a: &PackageVersion| -> Vec<_> {
        versions.iter().map(|b| (a.clone(), b.clone())).collect()
    };
    let pairs: Vec<_> = versions.iter().flat_map(all).collect();
    assert!(pairs.len() > 15_000, "{}", pairs.len());
    libdpkg.assert_same(&pairs);
}

/// The pairs of dpkg's own tests, with what is expected of them, as its source has them.
#[test]
fn dpkgs_own_tests_of_versions_are_passed() {
    const TEST: &str = "dpkgs_own_tests_of_versions_are_passed";
    let cache = std::env::var_os("LAVA_BACKUP_CACHE").map(std::path::PathBuf::from);
    let file = cache.unwrap_or_default().join("versions/Dpkg_Version.t");
    let Ok(text) = std::fs::read_to_string(file) else {
        skip(TEST, "LAVA_BACKUP_CACHE has no tests of dpkg's source");
        return;
    };
    let (_, data) = text.split_once("__DATA__\n").unwrap();
    let (mut pairs, mut answers) = (Vec::new(), Vec::new());
    for line in data.lines() {
        let [a, b, expected] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        // Some begin with a letter, which dpkg takes with a warning, and we do not take.
        if let (Ok(a), Ok(b)) = (a.parse(), b.parse()) {
            pairs.push((a, b));
            answers.push(expected.to_owned());
        }
    }
    assert!(pairs.len() >= 35, "{}", pairs.len());
    assert_same(&pairs, &answers);
}

#[test]
fn the_versions_of_whole_releases_sort_as_dpkg_sorts_them() {
    const TEST: &str = "the_versions_of_whole_releases_sort_as_dpkg_sorts_them";
    let cache = std::env::var_os("LAVA_BACKUP_CACHE")
        .map(std::path::PathBuf::from)
        .unwrap_or_default();
    let mut versions = Vec::new();
    for suite in ["bookworm", "bullseye", "trixie"] {
        let lists = cache.join(format!("{suite}.lists/var/lib/apt/lists"));
        for entry in std::fs::read_dir(lists).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.to_str().unwrap().ends_with("_Packages") {
                let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
                versions.extend(
                    text.lines()
                        .filter_map(|l| l.strip_prefix("Version: "))
                        .map(str::to_owned),
                );
            }
        }
    }
    if versions.is_empty() {
        skip(TEST, "LAVA_BACKUP_CACHE has no apt lists");
        return;
    }
    let Some(libdpkg) = Libdpkg::build(TEST) else {
        return;
    };
    versions.sort();
    versions.dedup();
    // Every version of a release is one.
    let mut parsed: Vec<PackageVersion> =
        versions.iter().map(|text| text.parse().unwrap()).collect();
    let far = parsed.len() / 3;
    let mut pairs: Vec<_> = (far..parsed.len())
        .map(|at| (parsed[at].clone(), parsed[at - far].clone()))
        .collect();
    parsed.sort();
    pairs.extend(
        parsed
            .windows(2)
            .map(|two| (two[0].clone(), two[1].clone())),
    );
    println!("{} versions, {} pairs", parsed.len(), pairs.len());
    libdpkg.assert_same(&pairs);
}

/// Says that a test did not run, and why: for people, and for `scripts/test`.
fn skip(test: &str, why: &str) {
    println!("skipped: {test}: {why}");
    if let Some(list) = std::env::var_os("LAVA_BACKUP_SKIPPED") {
        let mut list = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(list)
            .unwrap();
        list.write_all(format!("{test}: {why}\n").as_bytes())
            .unwrap();
    }
}
