//! What the `Release` file of an archive says of itself, and the text that its signature covers.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Serialize;

use crate::{
    Error, ErrorKind, Result, Sha256,
    deb822::{Comments, Scanner},
};

/// A `Release` file, or the signed text of an `InRelease`.
///
/// Nothing of it is trusted before its signature was checked, and no path is made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Release {
    /// Who makes the archive.
    pub origin: Option<String>,
    /// What its makers call it.
    pub label: Option<String>,
    /// The suite, an alias that moves from release to release.
    pub suite: Option<String>,
    /// The codename, which stays.
    pub codename: Option<String>,
    /// The number of the release, where it has one.
    pub version: Option<String>,
    /// When it was made, in seconds since 1970.
    pub date: Option<i64>,
    /// Until when apt takes it, in seconds since 1970; most archives of Debian do not say.
    pub valid_until: Option<i64>,
    /// Whether apt installs from it only what is asked for by name (backports).
    pub not_automatic: bool,
    /// Whether apt upgrades what was installed from it, all the same.
    pub but_automatic_upgrades: bool,
    /// Size and SHA-256 of every plain `Packages` list, by its path in the archive.
    pub lists: BTreeMap<String, ListDigest>,
}

/// The size and SHA-256 of one list, as the release names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListDigest {
    /// In bytes, not compressed.
    pub size: u64,
    /// Of its bytes, not compressed.
    pub sha256: Sha256,
}

impl Release {
    /// Reads a `Release` file, or an `InRelease` without regard to its signature; `place` names it
    /// in errors.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for what is no paragraph, for more than one, for a date that is
    /// none, and for a signed text with anything before or after it.
    pub fn parse(bytes: &[u8], place: &str) -> Result<Self> {
        let text = signed_text(bytes, place)?;
        let malformed = |why: &str| Error::new(ErrorKind::Malformed, format!("read {place}"), why);
        let mut scanner = Scanner::new(&*text, place, Comments::Refused);
        let paragraph = scanner
            .next_paragraph()?
            .ok_or_else(|| malformed("it is empty"))?;
        if scanner.next_paragraph()?.is_some() {
            return Err(malformed("it has more than one paragraph"));
        }
        let date = |field: &str| match paragraph.text(field) {
            None => Ok(None),
            Some(text) => seconds(&text)
                .map(Some)
                .ok_or_else(|| malformed(&format!("its {field} is no date"))),
        };
        let yes = |field: &str| {
            paragraph
                .get(field)
                .is_some_and(|v| v.eq_ignore_ascii_case(b"yes"))
        };
        Ok(Self {
            origin: paragraph.text("Origin"),
            label: paragraph.text("Label"),
            suite: paragraph.text("Suite"),
            codename: paragraph.text("Codename"),
            version: paragraph.text("Version"),
            date: date("Date")?,
            valid_until: date("Valid-Until")?,
            not_automatic: yes("NotAutomatic"),
            but_automatic_upgrades: yes("ButAutomaticUpgrades"),
            lists: lists(paragraph.get("SHA256").unwrap_or_default()).map_err(malformed)?,
        })
    }

    /// Whether apt would refuse it for its age at this time, in seconds since 1970.
    pub fn is_expired(&self, now: i64) -> bool {
        self.valid_until.is_some_and(|until| until < now)
    }
}

/// Of `Packages` alone; the error says what is wrong.
fn lists(field: &[u8]) -> Result<BTreeMap<String, ListDigest>, &'static str> {
    let mut lists = BTreeMap::new();
    let text = std::str::from_utf8(field).map_err(|_| "its SHA256 is no UTF-8")?;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (path, digest) =
            list(line).ok_or("a line of its SHA256 is no digest, size and path")?;
        if path != "Packages" && !path.ends_with("/Packages") {
            continue;
        }
        // Readers could take either.
        if lists.get(path).is_some_and(|other| *other != digest) {
            return Err("its SHA256 names a path twice, with two digests or sizes");
        }
        lists.insert(path.to_owned(), digest);
    }
    Ok(lists)
}

fn list(line: &str) -> Option<(&str, ListDigest)> {
    let mut words = line.split_whitespace();
    let (sha256, size, path) = (words.next()?, words.next()?, words.next()?);
    let digest = ListDigest {
        size: size.parse().ok()?,
        sha256: sha256.parse().ok()?,
    };
    Some((path, digest))
}

const BEGIN: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
const BEGIN_SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
const END_SIGNATURE: &[u8] = b"-----END PGP SIGNATURE-----";

/// The text that a clear-signed file's signature covers; the whole of a file that is not signed
/// in itself.
///
/// Text outside the signature would be read as if it were signed, so any of it is an error.
fn signed_text<'a>(bytes: &'a [u8], place: &str) -> Result<Cow<'a, [u8]>> {
    let malformed = |why| Error::new(ErrorKind::Malformed, format!("read {place}"), why);
    let mut lines = bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii_end);
    if !bytes.starts_with(BEGIN) {
        if bytes.starts_with(b"-----") || lines.any(|line| line.starts_with(BEGIN)) {
            return Err(malformed("something stands before its signed text"));
        }
        return Ok(Cow::Borrowed(bytes));
    }
    if lines.next() != Some(BEGIN) {
        return Err(malformed(
            "its first line goes on after the mark of a signed text",
        ));
    }
    for line in lines.by_ref() {
        if line.is_empty() {
            break;
        }
        if !line.starts_with(b"Hash:") {
            return Err(malformed("its signature has a header that it may not have"));
        }
    }
    let mut text = Vec::with_capacity(bytes.len());
    loop {
        match lines.next() {
            None => return Err(malformed("its signature never comes")),
            Some(line) if line == BEGIN_SIGNATURE => break,
            Some(line) if line.starts_with(b"-----") => {
                return Err(malformed("its signed text holds a mark of another kind"));
            }
            Some(line) => {
                text.extend_from_slice(line.strip_prefix(b"- ").unwrap_or(line));
                text.push(b'\n');
            }
        }
    }
    if !lines.any(|line| line == END_SIGNATURE) {
        return Err(malformed("its signature has no end"));
    }
    if lines.any(|line| !line.is_empty()) {
        return Err(malformed("something stands after its signature"));
    }
    Ok(Cow::Owned(text))
}

/// `Sat, 17 May 2025 08:37:32 UTC` in seconds since 1970; archives write no other zone than UTC,
/// by one of its names.
fn seconds(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = text.split_whitespace();
    let weekday = words.next()?;
    if !weekday.ends_with(',') {
        return None;
    }
    let day = number(words.next()?, 31)?;
    let month = words.next()?;
    let month = 1 + MONTHS.iter().position(|name| *name == month)? as i64;
    let year = number(words.next()?, 9999)?;
    let mut time = words.next()?.split(':');
    let (hour, minute, second) = (
        number(time.next()?, 23)?,
        number(time.next()?, 59)?,
        number(time.next()?, 60)?,
    );
    let zone = words.next()?;
    if day == 0
        || time.next().is_some()
        || words.next().is_some()
        || !["UTC", "GMT", "Z", "+0000"].contains(&zone)
    {
        return None;
    }
    // Days since 1970, counted in years that begin in March, so that a leap day comes last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 1
        - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn number(text: &str, most: i64) -> Option<i64> {
    let well_formed = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let number = if well_formed { text.parse().ok() } else { None }?;
    (number <= most).then_some(number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "Origin: Debian\nLabel: Debian-Security\nSuite: oldstable-security\nCodename: bookworm-security\n\
                        Date: Sun, 22 Nov 2026 20:17:03 UTC\nValid-Until: Sun, 29 Nov 2026 20:17:03 UTC\nNotAutomatic: yes\n\
                        MD5Sum:\n d41d8cd98f00b204e9800998ecf8427e 0 main/binary-amd64/Packages\nSHA256:\n \
                        E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855        7 main/binary-amd64/Packages\n \
                        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855        7 main/binary-amd64/Packages.xz\n";

    fn clear_signed(text: &str) -> String {
        format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{text}\
             -----BEGIN PGP SIGNATURE-----\n\niQ\n=x\n-----END PGP SIGNATURE-----\n"
        )
    }

    fn parse(text: &str) -> Result<Release> {
        Release::parse(text.as_bytes(), "test")
    }

    #[test]
    fn a_release_is_read_the_same_signed_and_plain_and_with_cr_lf() {
        let release = parse(TEXT).unwrap();
        assert_eq!(release.origin.as_deref(), Some("Debian"));
        assert_eq!(release.label.as_deref(), Some("Debian-Security"));
        assert_eq!(release.codename.as_deref(), Some("bookworm-security"));
        assert!(release.not_automatic && !release.but_automatic_upgrades);
        assert_eq!(release.lists.len(), 1);
        assert_eq!(release.lists["main/binary-amd64/Packages"].size, 7);
        assert!(
            release.lists["main/binary-amd64/Packages"]
                .sha256
                .to_string()
                .starts_with("e3b0")
        );
        assert_eq!(parse(&clear_signed(TEXT)).unwrap(), release);
        assert_eq!(
            parse(&clear_signed(TEXT).replace('\n', "\r\n")).unwrap(),
            release
        );
        let until = release.valid_until.unwrap();
        assert!(!release.is_expired(until) && release.is_expired(until + 1));
    }

    #[test]
    fn dates_are_those_that_date_tells() {
        for text in [
            "Thu, 01 Jan 1970 00:00:00 UTC",
            "Sat, 17 May 2025 08:37:32 UTC",
            "Thu, 29 Feb 2024 23:59:59 UTC",
            "Fri, 01 Mar 2024 00:00:00 UTC",
            "Thu, 31 Dec 2099 12:00:00 +0000",
            "Tue, 29 Feb 2000 01:02:03 GMT",
        ] {
            let output = Command::new("date")
                .args(["-u", "+%s", "-d", text])
                .output()
                .unwrap();
            let theirs = String::from_utf8(output.stdout).unwrap();
            assert_eq!(seconds(text).unwrap().to_string(), theirs.trim(), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "Sat, 32 May 2025 08:37:32 UTC",
            "Sat, 1 May 2025 08:37:32 CET",
            "Sat, 1 May 2025 08:37 UTC",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn text_that_no_signature_covers_is_refused() {
        let good = clear_signed(TEXT);
        for bad in [
            format!("Origin: other\n\n{good}"),
            format!("\n{good}"),
            format!("{good}Origin: other\n"),
            good.replace("Hash: SHA256", "Origin: other"),
            good.replace("-----END PGP SIGNATURE-----\n", ""),
            good.replace("-----BEGIN PGP SIGNATURE-----\n", ""),
            format!("{good}{good}"),
            good.replacen("MESSAGE-----", "MESSAGE----- x", 1),
        ] {
            assert_eq!(
                parse(&bad).unwrap_err().kind(),
                ErrorKind::Malformed,
                "{bad}"
            );
        }
    }

    #[test]
    fn what_is_no_release_is_an_error() {
        for bad in [
            "",
            "no colon\n",
            "Origin: a\n\nOrigin: b\n",
            "Origin: a\nOrigin: b\n",
            "Date: x\n",
            "SHA256:\n x 1 main/Packages\n",
            &[TEXT, " e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 8 main/binary-amd64/Packages\n"].concat(),
        ] {
            assert_eq!(
                parse(bad).unwrap_err().kind(),
                ErrorKind::Malformed,
                "{bad}"
            );
        }
    }

    #[test]
    fn a_path_that_is_no_text_is_refused_and_one_that_is_said_again_is_not() {
        let mut bytes = TEXT.as_bytes().to_vec();
        let at = TEXT.find("amd64/Packages.xz").unwrap();
        bytes[at] = 0xff;
        let refused = Release::parse(&bytes, "test").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Malformed);
        let line = " e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 7 main/binary-amd64/Packages\n";
        assert_eq!(parse(&[TEXT, line].concat()).unwrap(), parse(TEXT).unwrap());
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_release_or_an_error(bytes: Vec<u8>, text in "\\PC{0,40}") {
            let _ = Release::parse(&bytes, "test");
            let _ = parse(&clear_signed(&text));
            let _ = seconds(&text);
        }
    }
}
