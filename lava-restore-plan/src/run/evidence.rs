use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::{Error, ErrorKind, Result};
use crate::Plan;

/// What a host proved, for others to rely on: which steps of its part of a plan are done, with all
/// their gates held. A run writes it once it has verified its host, and after each later step that
/// another host waits for.
///
/// It is a file of JSON with sorted members, two spaces of indentation and a newline at its end.
/// `digest` is the BLAKE3 of that text without this member. Whoever can write the file can also
/// make one up: it guards against mistakes, not against its carrier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Evidence {
    /// The version of this document.
    pub schema: EvidenceSchema,
    /// The host, as its plan names it.
    pub host: String,
    /// The backup that was brought back.
    pub backup: String,
    /// The digest of that backup's seal.
    pub seal_digest: String,
    /// The digest of the plan.
    pub plan: String,
    /// The digest of the last record of the run's journal.
    pub journal: String,
    /// The steps that are done, in their order.
    pub steps: Vec<String>,
    /// The gates that held.
    pub gates: Vec<String>,
    /// When it was written.
    pub at: String,
    /// The program, with its version.
    pub tool: String,
}

/// The versions of [`Evidence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EvidenceSchema {
    /// The first.
    #[serde(rename = "lava-restore-plan/verified/1")]
    V1,
}

impl Evidence {
    /// The name of its file, as `master-verified.json`.
    #[must_use]
    pub fn file(host: &str) -> String {
        format!("{host}-verified.json")
    }

    /// Its text, and its digest.
    pub(crate) fn write(&self) -> Result<(String, String)> {
        let unwritable = |e| Error::new(ErrorKind::Damaged, format!("write the evidence: {e}"));
        let mut value = serde_json::to_value(self).map_err(unwritable)?;
        let digest = blake3::hash(canonical(&value).as_bytes())
            .to_hex()
            .to_string();
        if let serde_json::Value::Object(members) = &mut value {
            members.insert("digest".to_owned(), digest.clone().into());
        }
        Ok((canonical(&value), digest))
    }

    /// Reads a file's text; gives its digest too.
    ///
    /// # Errors
    /// `Damaged` if it is not as it was written.
    pub fn read(text: &str, path: &Path) -> Result<(Self, String)> {
        let damaged = |why: &str| {
            let what = format!("trust {}: {why}", path.display());
            Error::new(ErrorKind::Damaged, what)
        };
        let mut value: serde_json::Value =
            serde_json::from_str(text).map_err(|_| damaged("it is no evidence, nor any JSON"))?;
        if canonical(&value) != text {
            return Err(damaged("it is not written as it was"));
        }
        let digest = value.as_object_mut().and_then(|m| m.remove("digest"));
        let found = blake3::hash(canonical(&value).as_bytes())
            .to_hex()
            .to_string();
        if digest.as_ref().and_then(|d| d.as_str()) != Some(found.as_str()) {
            return Err(damaged("its digest is not that of its content"));
        }
        let evidence = serde_json::from_value(value)
            .map_err(|_| damaged("it is no evidence that this version knows"))?;
        Ok((evidence, found))
    }

    /// Checks that it is of a host of this plan, of the backup that the plan names for it, and of a
    /// run of this very plan, whose digest is given: an earlier restore of the same backup says
    /// nothing of what is there now.
    ///
    /// # Errors
    /// `Unproved`.
    pub(crate) fn is_of(&self, plan: &Plan, digest: &str) -> Result<()> {
        let what = match plan.host(&self.host) {
            Some(host) if host.seal_digest == self.seal_digest && self.plan == digest => {
                return Ok(());
            }
            Some(host) if host.seal_digest == self.seal_digest => {
                format!("is of a run of another plan on {}", host.id)
            }
            Some(host) => format!(
                "is for the backup {} of {}, the plan is for {} with another seal",
                self.backup, host.id, host.backup
            ),
            None => format!("is of {:.200}, for which the plan is not", self.host),
        };
        let what = format!("take the evidence: it {what}");
        Err(Error::new(ErrorKind::Unproved, what))
    }

    /// Does it prove that this step of this host is done?
    pub(crate) fn proves(&self, host: &str, step: &str) -> bool {
        self.host == host && self.steps.iter().any(|done| done == step)
    }
}

fn canonical(value: &serde_json::Value) -> String {
    // serde_json's map is sorted by key.
    format!("{value:#}\n")
}
