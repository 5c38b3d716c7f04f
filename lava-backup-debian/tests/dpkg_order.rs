//! The order of versions against dpkg's own: the program, and its Perl library for a hundred
//! thousand pairs.
#![allow(clippy::unwrap_used, missing_docs)]

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
