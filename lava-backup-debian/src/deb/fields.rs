//! What a stanza says a package is.

use crate::{Error, ErrorKind, PackageVersion, Result, deb822::Paragraph};

/// Name, version and architecture, checked to be fit for a file's name and a command line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) version: PackageVersion,
    pub(crate) architecture: String,
}

impl Identity {
    /// Reads a control stanza or one of an index.
    pub(crate) fn of(stanza: &Paragraph, place: &str) -> Result<Self> {
        let malformed = |why: String| {
            let what = format!("read {place}, line {}", stanza.line);
            Error::new(ErrorKind::Malformed, what, why)
        };
        let well_formed = |field: &str| {
            let text = stanza.text(field).unwrap_or_default();
            let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
            match begins && text.bytes().all(plain) {
                true => Ok(text),
                false => Err(malformed(format!("its {field} is missing or ill-formed"))),
            }
        };
        Ok(Self {
            name: well_formed("Package")?,
            architecture: well_formed("Architecture")?,
            version: stanza
                .text("Version")
                .ok_or_else(|| malformed("it has no Version".into()))?
                .parse()
                .map_err(|e| malformed(format!("could not {e}")))?,
        })
    }
}
