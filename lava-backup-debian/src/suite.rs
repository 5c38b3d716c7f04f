//! The releases of Debian, by codename.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind};

/// A suite by its codename, which never moves (`stable` does).
///
/// Known suites are ordered by release, oldest first; all others come after them, by name. Only
/// [`release`](Self::release) says whether an order means anything: it does between two numbers.
/// Serialised as the codename.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Suite {
    /// Debian 8.
    Jessie,
    /// Debian 9.
    Stretch,
    /// Debian 10.
    Buster,
    /// Debian 11.
    Bullseye,
    /// Debian 12.
    Bookworm,
    /// Debian 13.
    Trixie,
    /// Debian 14.
    Forky,
    /// Any other codename, `sid` among them.
    Other(Codename),
}

/// A well-formed codename that is none of the known ones, so that every [`Suite`] has one value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Codename(String);

impl Codename {
    /// The codename.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const KNOWN: [(Suite, &str, u8); 7] = [
    (Suite::Jessie, "jessie", 8),
    (Suite::Stretch, "stretch", 9),
    (Suite::Buster, "buster", 10),
    (Suite::Bullseye, "bullseye", 11),
    (Suite::Bookworm, "bookworm", 12),
    (Suite::Trixie, "trixie", 13),
    (Suite::Forky, "forky", 14),
];

/// Names that mean another release next year, so they are no identity.
const ALIASES: [&str; 6] = [
    "stable",
    "oldstable",
    "oldoldstable",
    "testing",
    "unstable",
    "experimental",
];

impl Suite {
    /// The codename.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Jessie => "jessie",
            Self::Stretch => "stretch",
            Self::Buster => "buster",
            Self::Bullseye => "bullseye",
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Forky => "forky",
            Self::Other(codename) => codename.as_str(),
        }
    }

    /// Debian's release number, `None` for a suite that is not known here.
    pub fn release(&self) -> Option<u8> {
        KNOWN
            .iter()
            .find(|(suite, ..)| suite == self)
            .map(|(.., release)| *release)
    }

    /// Whether a name is an alias, which means another release next year.
    pub fn is_alias(name: &str) -> bool {
        ALIASES.contains(&name)
    }

    /// The suite of a release number.
    pub fn of_release(release: u8) -> Option<Self> {
        KNOWN
            .iter()
            .find(|(.., number)| *number == release)
            .map(|(suite, ..)| suite.clone())
    }
}

impl FromStr for Suite {
    type Err = Error;

    /// Takes a lower-case codename of at most 64 letters, digits and hyphens. An alias such as
    /// `stable` is an error.
    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some((suite, ..)) = KNOWN.iter().find(|(_, name, _)| *name == text) {
            return Ok(suite.clone());
        }
        let error = |why| {
            Err(Error::new(
                ErrorKind::Suite,
                format!("read suite {text:.64?}"),
                why,
            ))
        };
        if Self::is_alias(text) {
            return error("it is an alias that moves from release to release, not a codename");
        }
        let well_formed = text.starts_with(|c: char| c.is_ascii_lowercase())
            && text
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !well_formed || text.len() > 64 {
            return error("a codename is at most 64 lower-case letters, digits and hyphens");
        }
        Ok(Self::Other(Codename(text.to_owned())))
    }
}

impl TryFrom<String> for Suite {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Suite> for String {
    fn from(suite: Suite) -> Self {
        suite.as_str().to_owned()
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn suites_are_ordered_by_release_and_not_by_name() {
        let mut suites: Vec<Suite> = [
            "zurg", "forky", "bookworm", "bullseye", "trixie", "jessie", "buster", "stretch", "sid",
        ]
        .map(|name| name.parse().unwrap())
        .to_vec();
        suites.sort();
        let names: Vec<&str> = suites.iter().map(Suite::as_str).collect();
        assert_eq!(
            names,
            [
                "jessie", "stretch", "buster", "bullseye", "bookworm", "trixie", "forky", "sid",
                "zurg"
            ]
        );
    }

    #[test]
    fn every_known_suite_comes_back_from_its_name_and_its_number() {
        for (suite, name, release) in KNOWN {
            assert_eq!(name.parse::<Suite>().unwrap(), suite);
            assert_eq!(suite.to_string(), name);
            assert_eq!(suite.release(), Some(release));
            assert_eq!(Suite::of_release(release), Some(suite));
        }
        assert_eq!("sid".parse::<Suite>().unwrap().release(), None);
    }

    #[test]
    fn an_alias_and_an_ill_formed_name_are_no_suites() {
        let long = "a".repeat(65);
        for text in [
            "",
            "stable",
            "testing",
            "Bookworm",
            "book worm",
            "bookworm/updates",
            "-x",
            "é",
            &long,
        ] {
            assert_eq!(
                text.parse::<Suite>().unwrap_err().kind(),
                ErrorKind::Suite,
                "{text}"
            );
        }
    }

    #[test]
    fn json_holds_the_codename_and_is_checked_on_the_way_in() {
        let json = serde_json::to_string(&[Suite::Trixie, "sid".parse().unwrap()]).unwrap();
        assert_eq!(json, r#"["trixie","sid"]"#);
        assert_eq!(
            serde_json::from_str::<[Suite; 2]>(&json).unwrap()[0],
            Suite::Trixie
        );
        assert!(serde_json::from_str::<Suite>(r#""stable""#).is_err());
    }
}
