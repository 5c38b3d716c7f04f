use std::collections::BTreeSet;

use super::error::{Error, ErrorKind, Result};
use crate::step::{Action, Reference};
use crate::{Plan, Step};

/// What a plan says of one of its hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned<'p> {
    /// The host, as its steps name it.
    pub id: &'p str,
    /// Is it the lab's master?
    pub is_master: bool,
    /// The backup that is brought back to it.
    pub backup: &'p str,
    /// The digest of that backup's seal.
    pub seal_digest: &'p str,
    /// When that backup was made.
    pub backup_created: &'p str,
    /// The digest of the host's facts when the plan was made; `None` if it is bound to none.
    pub target_digest: Option<&'p str>,
}

/// What is there when a run begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The digest of the seal of the backup that the plan names.
    pub seal_digest: String,
    /// The digest of the target's facts; not needed for a plan that is bound to none.
    pub target_digest: Option<String>,
}

impl<'p> Planned<'p> {
    /// The hosts of a plan, in the order of their first steps.
    ///
    /// All that is asked of a plan about its hosts is asked here.
    #[must_use]
    pub fn all(plan: &'p Plan) -> Vec<Self> {
        let mut seen = BTreeSet::new();
        let ids = plan.steps.iter().map(|step| step.host.as_str());
        ids.filter(|id| seen.insert(*id))
            .map(|id| Planned {
                id,
                is_master: id == "master",
                backup: &plan.backup,
                seal_digest: &plan.seal_digest,
                backup_created: &plan.backup_created,
                target_digest: plan.target_digest.as_deref(),
            })
            .collect()
    }

    /// The host of this name, or the only one.
    ///
    /// # Errors
    /// `Refused` for a plan without steps, `NoSuchHost` for a host that it does not have, or if none
    /// is named and it has several.
    pub fn find(plan: &'p Plan, name: Option<&str>) -> Result<Self> {
        let hosts = Self::all(plan);
        let names = || hosts.iter().map(|h| h.id).collect::<Vec<_>>().join(", ");
        let none = |what: String| Err(Error::new(ErrorKind::NoSuchHost, what));
        match (name, hosts.as_slice()) {
            (_, []) => {
                let what = "run the plan: it has no steps, for it refuses";
                Err(Error::new(ErrorKind::Refused, what))
            }
            (None, [only]) => Ok(*only),
            (None, _) => none(format!("choose a host of the plan: it has {}", names())),
            (Some(name), hosts) => match hosts.iter().find(|host| host.id == name) {
                Some(host) => Ok(*host),
                None => none(format!(
                    "find the host {name} in the plan: it has {}",
                    names()
                )),
            },
        }
    }

    /// Its steps, in order.
    #[must_use]
    pub fn steps(&self, plan: &'p Plan) -> Vec<&'p Step> {
        let own = |step: &&Step| step.host == self.id;
        plan.steps.iter().filter(own).collect()
    }

    /// The backup as its commands name it, if one does.
    #[must_use]
    pub fn reference(&self, plan: &'p Plan) -> Option<&'p Reference> {
        let from = |step: &'p Step| match &step.action {
            Action::Extract { from, .. } | Action::RestoreDatabase { from, .. } => Some(from),
            _ => None,
        };
        self.steps(plan).into_iter().find_map(from)
    }

    /// The steps of other hosts that its own need done.
    #[must_use]
    pub fn needs_elsewhere(&self, plan: &'p Plan) -> Vec<&'p Step> {
        let own = self.steps(plan);
        let needed: BTreeSet<&str> = own
            .iter()
            .flat_map(|s| &s.needs)
            .map(String::as_str)
            .collect();
        let elsewhere = |step: &&Step| step.host != self.id && needed.contains(step.id.as_str());
        plan.steps.iter().filter(elsewhere).collect()
    }

    /// Checks that the plan still holds, before any of its steps was run.
    ///
    /// # Errors
    /// `Stale` if the backup or the host is not what the plan was made for.
    pub fn still_so(&self, found: &Found) -> Result<()> {
        self.same_seal(&found.seal_digest)?;
        let target = found.target_digest.as_deref();
        if self.target_digest.is_none() || self.target_digest == target {
            return Ok(());
        }
        let what = "run the plan: this host is not any more what it was made for";
        Err(Error::new(ErrorKind::Stale, what))
    }

    /// Checks that the backup is the one that the plan was made for.
    pub(crate) fn same_seal(&self, found: &str) -> Result<()> {
        if self.seal_digest == found {
            return Ok(());
        }
        let what = format!(
            "run the plan: the seal of the backup {} is not the one that it was made for",
            self.backup
        );
        Err(Error::new(ErrorKind::Stale, what))
    }
}
