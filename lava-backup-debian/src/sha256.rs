//! The digests that Debian's indexes name packages by.

use std::{fmt, io::Read, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::Digest;

use crate::{Error, ErrorKind, hex::hex};

/// A SHA-256, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// That of all that a hasher was given.
    pub(crate) fn of_hasher(hasher: sha2::Sha256) -> Self {
        Self(hasher.finalize().into())
    }

    /// That of all that a reader gives.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn of(mut reader: impl Read) -> std::io::Result<Self> {
        let mut hasher = sha2::Sha256::new();
        let mut buffer = [0; 64 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(Self::of_hasher(hasher)),
                Ok(read) => hasher.update(&buffer[..read]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex(&self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

impl From<Sha256> for String {
    fn from(digest: Sha256) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Sha256 {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl FromStr for Sha256 {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            let what = format!("read SHA-256 {text:.80?}");
            Error::new(ErrorKind::Malformed, what, "it is no 64 hexadecimal digits")
        };
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut digest = [0; 32];
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(digest))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_digest_is_that_of_coreutils_and_reads_back() {
        let out = std::process::Command::new("sha256sum")
            .arg("/etc/os-release")
            .output()
            .unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        let ours = Sha256::of(std::fs::File::open("/etc/os-release").unwrap()).unwrap();
        assert_eq!(said.split(' ').next().unwrap(), ours.to_string());
        assert_eq!(
            ours.to_string().to_uppercase().parse::<Sha256>().unwrap(),
            ours
        );
        for bad in ["", "12", &"g".repeat(64), &"é".repeat(32), &"a".repeat(65)] {
            bad.parse::<Sha256>().unwrap_err();
        }
    }
}
