//! Small JSON documents that show every change of a byte.
//!
//! The text is canonical: keys sorted, two spaces of indentation, one newline
//! at the end. The member `digest` is the BLAKE3 of the canonical text without
//! that member, so a reader needs nothing but the document to see damage, and
//! whoever noted the digest elsewhere can see a forgery.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::backend::{self, Backend};
use crate::error::{Error, ErrorKind, Result};

/// Prints a value canonically.
fn canonical(value: &Value) -> String {
    // serde_json's map is sorted by key.
    let mut text = format!("{value:#}");
    text.push('\n');
    text
}

/// The text of a document and its digest.
///
/// # Errors
/// [`ErrorKind::Refused`] for what would not read back as the same text: a
/// number that is not whole, or nesting that a reader refuses. A caller's
/// documents go into the seal, and a seal that can't be read is a lost backup.
pub(crate) fn write<T: Serialize>(document: &T) -> Result<(String, String)> {
    let refuse = |why: &str| Error::new(ErrorKind::Refused, "document", why);
    let mut value = serde_json::to_value(document)
        .map_err(|e| refuse(&format!("can't be written as JSON: {e}")))?;
    if holds_fraction(&value) {
        return Err(refuse("holds a number that is not whole"));
    }
    let digest = digest_of(&value);
    match &mut value {
        Value::Object(members) => members.insert("digest".into(), digest.clone().into()),
        _ => return Err(refuse("is no JSON object")),
    };
    let text = canonical(&value);
    match serde_json::from_str::<Value>(&text) {
        Ok(again) if again == value => Ok((text, digest)),
        _ => Err(refuse("does not read back as it was written")),
    }
}

fn holds_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(values) => values.iter().any(holds_fraction),
        Value::Object(members) => members.values().any(holds_fraction),
        _ => false,
    }
}

/// No document is longer; a seal of a large lab has some megabytes.
pub(crate) const LIMIT: u64 = 256 << 20;

/// The bytes of a document; `None` if there is none.
pub(crate) fn load(backend: &dyn Backend, key: &str) -> Result<Option<Vec<u8>>> {
    backend::read(backend, key, LIMIT)
}

fn digest_of(value: &Value) -> String {
    blake3::hash(canonical(value).as_bytes())
        .to_hex()
        .to_string()
}

/// Reads a document back.
///
/// Whether its format is one that this version knows is decided by `format`,
/// from the value of the member `format`, before anything else is read: a
/// newer document is refused as newer, not as damaged.
pub(crate) fn read<T: DeserializeOwned>(
    place: &Path,
    text: &[u8],
    format: &str,
) -> Result<(T, String)> {
    let not_json = |why: String| Error::damaged(place, why);
    let value: Value =
        serde_json::from_slice(text).map_err(|e| not_json(format!("is no JSON: {e}")))?;
    if canonical(&value).as_bytes() != text {
        return Err(not_json("is not written as we write it".into()));
    }
    let Value::Object(mut members) = value else {
        return Err(not_json("is no JSON object".into()));
    };
    let found = members.remove("digest");
    let members = Value::Object(members);
    let digest = digest_of(&members);
    if found.as_ref().and_then(Value::as_str) != Some(digest.as_str()) {
        return Err(not_json("its digest is not that of its content".into()));
    }
    let written = members.get("format").and_then(Value::as_str).unwrap_or("");
    if written != format {
        return Err(Error::new(
            ErrorKind::TooNew,
            place,
            format!("has the format {written:?}; this version reads {format:?}"),
        ));
    }
    let document = serde_json::from_value(members).map_err(|e| {
        let what = format!("has a part that is not as expected: {e}");
        match e.to_string().contains("unknown variant") {
            true => Error::new(ErrorKind::TooNew, place, what),
            false => not_json(what),
        }
    })?;
    Ok((document, digest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde::Deserialize;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Note {
        format: String,
        text: String,
        number: u64,
    }

    #[test]
    fn every_changed_byte_of_a_document_is_found() {
        let note = Note {
            format: "note/1".into(),
            text: "é \"quoted\" \n".into(),
            number: 7,
        };
        let (text, digest) = write(&note).unwrap();
        let place = Path::new("note.json");
        assert_eq!(
            read::<Note>(place, text.as_bytes(), "note/1").unwrap(),
            (note, digest)
        );
        for at in 0..text.len() {
            for mask in [1u8, 0x20, 0x80] {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= mask;
                assert!(read::<Note>(place, &bytes, "note/1").is_err(), "byte {at}");
            }
            assert!(read::<Note>(place, &text.as_bytes()[..at], "note/1").is_err());
        }
    }

    #[test]
    fn a_newer_format_is_named_as_such() {
        let (text, _) = write(&Note {
            format: "note/2".into(),
            text: String::new(),
            number: 0,
        })
        .unwrap();
        let error = read::<Note>(Path::new("n"), text.as_bytes(), "note/1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooNew);
    }

    #[test]
    fn what_would_not_read_back_is_not_written() {
        let mut deep = Value::Null;
        for _ in 0..200 {
            deep = serde_json::json!([deep]);
        }
        for bad in [
            serde_json::json!({"p": 0.992_706_887_761_138_7}),
            serde_json::json!({"d": deep}),
        ] {
            assert_eq!(write(&bad).unwrap_err().kind(), ErrorKind::Refused);
        }
    }
}
