use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Error, ErrorKind};

pub(crate) const FACTS: &str = "lava-backup/facts/1";
pub(crate) const BACKUP: &str = "lava-restore-plan/backup/1";
pub(crate) const PLAN: &str = "lava-restore-plan/plan/1";

/// The one field that every version of a document has.
#[derive(Deserialize)]
struct Head {
    schema: String,
}

/// Reads the schema's name before the rest, so that a document of a later version is told from a
/// damaged one.
pub(crate) fn read<T: DeserializeOwned>(json: &[u8], expected: &str) -> Result<T, Error> {
    let malformed = |error| {
        Error::new(ErrorKind::Malformed, format!("a {expected} document")).with_source(error)
    };
    let head: Head = serde_json::from_slice(json).map_err(malformed)?;
    if head.schema != expected {
        let name: String = head.schema.chars().take(80).collect();
        let at = format!("a document of schema {name:?} where {expected} is read");
        return Err(Error::new(ErrorKind::UnknownSchema, at));
    }
    serde_json::from_slice(json).map_err(malformed)
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
