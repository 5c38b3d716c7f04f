use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{DigestKey, Kind, TableDigest};

const KEYED: &str = "keyed256:";
const UNKEYED: &str = "lthash16:";

impl fmt::Display for TableDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |bytes: [u8; 32]| blake3::Hash::from(bytes).to_hex();
        match self.0 {
            Kind::Keyed { key, sum } => write!(f, "{KEYED}{}:{}", hex(key.0), hex(sum)),
            Kind::Unkeyed(digest) => write!(f, "{UNKEYED}{}", hex(digest)),
        }
    }
}

impl fmt::Debug for TableDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a [`TableDigest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "read a table digest: neither `keyed256:`, 64 lower-case hexadecimal digits, `:` and 64 more, nor `lthash16:` and 64"
)]
pub struct ParseDigestError(());

impl FromStr for TableDigest {
    type Err = ParseDigestError;

    /// # Errors
    ///
    /// When the text differs in any way from what `Display` writes: there is one spelling, so that
    /// texts can be compared.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match text.strip_prefix(KEYED) {
            Some(parts) => parts.split_once(':').and_then(|(key, sum)| {
                Some(Kind::Keyed {
                    key: DigestKey(bytes(key)?),
                    sum: bytes(sum)?,
                })
            }),
            None => text
                .strip_prefix(UNKEYED)
                .and_then(bytes)
                .map(Kind::Unkeyed),
        };
        parsed.map(Self).ok_or(ParseDigestError(()))
    }
}

fn bytes(hex: &str) -> Option<[u8; 32]> {
    let lower = !hex.bytes().any(|b| b.is_ascii_uppercase());
    let hash = blake3::Hash::from_hex(hex).ok().filter(|_| lower)?;
    Some(*hash.as_bytes())
}

impl Serialize for TableDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TableDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
