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

use crate::error::{Error, ErrorKind, Result};

/// Prints a value canonically.
fn canonical(value: &Value) -> String {
    // serde_json's map is sorted by key.
    let mut text = format!("{value:#}");
    text.push('\n');
    text
}

/// The text of a document and its digest.
pub(crate) fn write<T: Serialize>(document: &T) -> (String, String) {
    let mut value = match serde_json::to_value(document) {
        Ok(value @ Value::Object(_)) => value,
        other => unreachable!("a document is a struct with text keys, not {other:?}"),
    };
    let digest = digest_of(&value);
    if let Value::Object(members) = &mut value {
        members.insert("digest".into(), Value::String(digest.clone()));
    }
    (canonical(&value), digest)
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
    let document =
        serde_json::from_value(members).map_err(|e| not_json(format!("lacks a part: {e}")))?;
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
        let (text, digest) = write(&note);
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
        });
        let error = read::<Note>(Path::new("n"), text.as_bytes(), "note/1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooNew);
    }
}
