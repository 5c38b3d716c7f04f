//! Package versions in dpkg's order, and LAVA's own releases.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind};

/// A Debian package version, `[epoch:]upstream[-revision]`.
///
/// Order, equality and hash are those of dpkg, so `1.0` equals `0:1.0-0`; the text is kept as it
/// was written, because apt finds `package=version` by that text. Serialised as the text.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackageVersion {
    text: String,
    epoch: u32,
    /// Where the upstream part begins and ends in `text`.
    upstream: (usize, usize),
}

impl PackageVersion {
    /// The version as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The epoch, 0 when there is none.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The part between the epoch and the revision.
    pub fn upstream(&self) -> &str {
        &self.text[self.upstream.0..self.upstream.1]
    }

    /// The part after the last hyphen, `None` when there is none.
    pub fn revision(&self) -> Option<&str> {
        self.text.get(self.upstream.1 + 1..)
    }
}

impl FromStr for PackageVersion {
    type Err = Error;

    /// Takes exactly what Debian policy allows. dpkg itself only warns about a bad character or an
    /// upstream part that begins with no digit; here both are errors, as are blanks around it.
    fn from_str(text: &str) -> Result<Self, Error> {
        let error = |why| {
            Err(Error::new(
                ErrorKind::Version,
                format!("read package version {text:.80?}"),
                why,
            ))
        };
        let (epoch, start) = match text.split_once(':') {
            None => (0, 0),
            Some((digits, _)) => {
                let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
                // dpkg holds an epoch in an int and refuses more.
                match digits.parse::<u32>() {
                    Ok(epoch) if all_digits && epoch <= i32::MAX as u32 => {
                        (epoch, digits.len() + 1)
                    }
                    _ => return error("its epoch is no number of at most 2147483647"),
                }
            }
        };
        let end = text[start..].rfind('-').map_or(text.len(), |at| start + at);
        let upstream = &text[start..end];
        if !upstream.starts_with(|c: char| c.is_ascii_digit()) {
            return error("its upstream part does not begin with a digit");
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b".+~".contains(&b);
        if !upstream
            .bytes()
            .all(|b| allowed(b) || b == b'-' || b == b':')
        {
            return error("its upstream part has a character that no version may have");
        }
        if let Some(revision) = text.get(end + 1..) {
            if revision.is_empty() {
                return error("its revision is empty");
            }
            if !revision.bytes().all(allowed) {
                return error("its revision has a character that no revision may have");
            }
        }
        Ok(Self {
            text: text.to_owned(),
            epoch,
            upstream: (start, end),
        })
    }
}

/// Where a character stands in dpkg's order of what is between numbers: a tilde before the end of
/// the text, then letters, then all else.
fn weight(byte: u8) -> u16 {
    match byte {
        b'~' => 0,
        b'a'..=b'z' | b'A'..=b'Z' => u16::from(byte),
        other => u16::from_be_bytes([1, other]),
    }
}

/// The weight of the end of the text.
const END: u16 = 1;

/// Splits off a run of non-digits and the number after it, without its leading zeros.
fn take_pair(part: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let digits_at = part
        .iter()
        .position(u8::is_ascii_digit)
        .unwrap_or(part.len());
    let (words, rest) = part.split_at(digits_at);
    let end = rest
        .iter()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(rest.len());
    let (digits, rest) = rest.split_at(end);
    let zeros = digits
        .iter()
        .position(|b| *b != b'0')
        .unwrap_or(digits.len());
    (words, &digits[zeros..], rest)
}

/// Numbers are compared as text, so their length is not limited by any integer.
fn compare_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !(a.is_empty() && b.is_empty()) {
        let (a_words, a_number, a_rest) = take_pair(a);
        let (b_words, b_number, b_rest) = take_pair(b);
        for at in 0..a_words.len().max(b_words.len()) {
            let weigh = |words: &[u8]| words.get(at).map_or(END, |byte| weight(*byte));
            let order = weigh(a_words).cmp(&weigh(b_words));
            if order.is_ne() {
                return order;
            }
        }
        let order = a_number
            .len()
            .cmp(&b_number.len())
            .then_with(|| a_number.cmp(b_number));
        if order.is_ne() {
            return order;
        }
        (a, b) = (a_rest, b_rest);
    }
    Ordering::Equal
}

fn hash_part<H: Hasher>(mut part: &[u8], state: &mut H) {
    while !part.is_empty() {
        let (words, number, rest) = take_pair(part);
        // An absent revision equals "0", so an empty pair must leave no trace.
        if !(words.is_empty() && number.is_empty()) {
            words.hash(state);
            number.hash(state);
        }
        part = rest;
    }
    state.write_u8(0);
}

impl Ord for PackageVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        let revision = |version: &Self| version.upstream.1 + 1;
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare_part(self.upstream().as_bytes(), other.upstream().as_bytes()))
            .then_with(|| {
                compare_part(
                    self.text
                        .as_bytes()
                        .get(revision(self)..)
                        .unwrap_or_default(),
                    other
                        .text
                        .as_bytes()
                        .get(revision(other)..)
                        .unwrap_or_default(),
                )
            })
    }
}

impl PartialOrd for PackageVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for PackageVersion {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for PackageVersion {}

impl Hash for PackageVersion {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.epoch.hash(state);
        hash_part(self.upstream().as_bytes(), state);
        hash_part(self.revision().unwrap_or_default().as_bytes(), state);
    }
}

impl fmt::Display for PackageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for PackageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackageVersion({})", self.text)
    }
}

impl TryFrom<String> for PackageVersion {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<PackageVersion> for String {
    fn from(version: PackageVersion) -> Self {
        version.text
    }
}

/// A release of LAVA, in LAVA's own order: year, month, point release, post release, commits since.
///
/// The same release has many package versions: `2023.01-2` of Debian and `2023.01+12+bookworm` of
/// LAVA's repository are both 2023.01, and which sorts higher as a package says nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LavaVersion {
    year: u16,
    month: u8,
    point: u16,
    post: u16,
    commits: u32,
    /// Tells two builds apart that stand equally far from a release, on different branches.
    commit: String,
}

impl LavaVersion {
    /// The release that a package of LAVA holds.
    ///
    /// # Errors
    /// [`ErrorKind::Version`] when the upstream part is none of the forms that LAVA's packages
    /// have had.
    pub fn of(package: &PackageVersion) -> Result<Self, Error> {
        Self::of_upstream(package.upstream())
    }

    /// Year and month of the release.
    pub fn year_month(&self) -> (u16, u8) {
        (self.year, self.month)
    }

    /// Whether this is a build from between two releases.
    pub fn is_development(&self) -> bool {
        self.commits > 0 || !self.commit.is_empty()
    }

    fn of_upstream(text: &str) -> Result<Self, Error> {
        Self::parse(text).ok_or_else(|| {
            Error::new(
                ErrorKind::Version,
                format!("read LAVA release {text:.80?}"),
                "it is not YEAR.MONTH with a point, post or development part",
            )
        })
    }

    fn parse(text: &str) -> Option<Self> {
        // LAVA's repository appends +RELEASE+SUITE or +SUITE, a native backport ~bpoN+M. Any other
        // tilde would mean "before that release", which LAVA never had.
        let text = match text.split_once('~') {
            Some((release, rest)) if rest.starts_with("bpo") => release,
            Some(_) => return None,
            None => text.split('+').next()?,
        };
        let mut parts = text.split('.');
        let year = digits(parts.next()?, 4)?;
        let month = digits(parts.next()?, 2)?;
        if !(2000..=9999).contains(&year) || !(1..=12).contains(&month) {
            return None;
        }
        let mut version = Self {
            year: u16::try_from(year).ok()?,
            month: u8::try_from(month).ok()?,
            point: 0,
            post: 0,
            commits: 0,
            commit: String::new(),
        };
        let mut parts = parts.peekable();
        if let Some(point) = parts.peek().and_then(|part| digits(part, 3)) {
            version.point = u16::try_from(point).ok()?;
            parts.next();
        }
        if let Some(post) = parts.peek().and_then(|part| part.strip_prefix("post")) {
            version.post = u16::try_from(digits(post, 3)?).ok()?;
            parts.next();
        }
        // Up to mid 2023 `.NNNN.gHASH`, `.devNNNN` since: commits after the release before it.
        if let Some(part) = parts.next() {
            version.commits = match part.strip_prefix("dev") {
                Some(commits) => digits(commits, 6)?,
                None => digits(part, 6)?,
            };
            if let Some(hash) = parts.next() {
                let hash = hash.strip_prefix('g')?;
                if !(4..=40).contains(&hash.len()) || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return None;
                }
                version.commit = hash.to_ascii_lowercase();
            }
        }
        parts.next().is_none().then_some(version)
    }
}

fn digits(text: &str, most: usize) -> Option<u32> {
    let well_formed = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if well_formed { text.parse().ok() } else { None }
}

impl FromStr for LavaVersion {
    type Err = Error;

    /// Takes a package version, or what `lava_common/VERSION` holds.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::of(&text.parse()?)
    }
}

impl fmt::Display for LavaVersion {
    /// Months have two digits, as in LAVA's releases since 2019.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.year, self.month)?;
        if self.point > 0 {
            write!(f, ".{}", self.point)?;
        }
        if self.post > 0 {
            write!(f, ".post{}", self.post)?;
        }
        if self.is_development() {
            write!(f, ".dev{:04}", self.commits)?;
        }
        if !self.commit.is_empty() {
            write!(f, ".g{}", self.commit)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
