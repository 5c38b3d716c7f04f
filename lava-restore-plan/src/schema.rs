//! Documents from anywhere: what is read of them, and what is said of those that can't be.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Error, ErrorKind};

mod keys;
mod unknown;

pub use unknown::UnknownField;
pub(crate) use unknown::unknown_fields;

pub(crate) const FACTS: &str = "lava-backup/facts/1";
pub(crate) const BACKUP: &str = "lava-restore-plan/backup/1";
pub(crate) const PLAN: &str = "lava-restore-plan/plan/1";

/// The longest document that is read, in bytes. A master's facts have some 100 kB, a plan for a
/// master and 200 workers some megabytes.
pub const MOST_BYTES: usize = 64 << 20;

/// The one field that every version of a document has.
#[derive(Deserialize)]
struct Head {
    schema: String,
}

/// Reads the schema's name before the rest, so that a document of a later version is told from a
/// damaged one. Of a key that stands twice nobody knows which one is meant, so there is none.
pub(crate) fn read<T: DeserializeOwned>(json: &[u8], expected: &str) -> Result<T, Error> {
    let document = || format!("a {expected} document");
    if json.len() > MOST_BYTES {
        return Err(Error::new(ErrorKind::TooLarge, document()));
    }
    let malformed = |error| Error::new(ErrorKind::Malformed, document()).with_source(error);
    keys::are_unique(json).map_err(malformed)?;
    let head: Head = serde_json::from_slice(json).map_err(malformed)?;
    if head.schema != expected {
        let name: String = head.schema.chars().take(80).collect();
        let at = format!("a document of schema {name:?} where {expected} is read");
        return Err(Error::new(ErrorKind::UnknownSchema, at));
    }
    let reader = &mut serde_json::Deserializer::from_slice(json);
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let place = match error.path().to_string().as_str() {
            "." => String::new(),
            path => format!(
                ", {:.200}",
                path.chars().filter(|c| !c.is_control()).collect::<String>()
            ),
        };
        let at = format!("{}{place}", document());
        Error::new(ErrorKind::Malformed, at).with_source(error.into_inner())
    })
}

/// A document as it stands.
pub(crate) fn value(json: &[u8], expected: &str) -> Result<serde_json::Value, Error> {
    let document = || format!("a {expected} document");
    if json.len() > MOST_BYTES {
        return Err(Error::new(ErrorKind::TooLarge, document()));
    }
    serde_json::from_slice(json)
        .map_err(|error| Error::new(ErrorKind::Malformed, document()).with_source(error))
}

/// The JSON Schema of [`crate::Facts`], as published under `schemas/`.
#[must_use]
pub fn facts_schema() -> serde_json::Value {
    schemars::schema_for!(crate::Facts).to_value()
}

/// The JSON Schema of [`crate::Plan`], as published under `schemas/`.
#[must_use]
pub fn plan_schema() -> serde_json::Value {
    schemars::schema_for!(crate::Plan).to_value()
}

/// The JSON Schema of [`crate::PlanDiff`], as published under `schemas/`.
#[must_use]
pub fn plan_diff_schema() -> serde_json::Value {
    schemars::schema_for!(crate::PlanDiff).to_value()
}
