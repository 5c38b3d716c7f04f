use std::collections::{BTreeMap, BTreeSet};

use super::error::{Error, ErrorKind, Result};
use super::journal::Record;
use super::record::Entry;
use super::state::plan_digest;
use crate::step::{Action, Reference};
use crate::{Plan, PlannedHost, Step, Verdict};

/// One host of a plan, whose steps are run.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'p> {
    /// The plan.
    pub plan: &'p Plan,
    /// What it is bound to on that host.
    pub host: &'p PlannedHost,
}

/// What is there when a run begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The digest of the seal of the backup that the plan names.
    pub seal_digest: String,
    /// The digest of the target's facts; not needed for a plan that is bound to none.
    pub target_digest: Option<String>,
    /// A digest of each field of those facts, to tell which have changed.
    pub target_fields: BTreeMap<String, String>,
}

impl<'p> Planned<'p> {
    /// The host of this id, or the only one.
    ///
    /// # Errors
    /// `NoSuchHost` for a host that the plan is not for, or if none is named and it is for several;
    /// `Refused` if it has no steps for it.
    pub fn find(plan: &'p Plan, id: Option<&str>) -> Result<Self> {
        let none = |what: String| {
            let ids: Vec<&str> = plan.hosts.iter().map(|host| host.id.as_str()).collect();
            let what = format!("{what}: it is for {}", ids.join(", "));
            Err(Error::new(ErrorKind::NoSuchHost, what))
        };
        let host = match (id, plan.hosts.as_slice()) {
            (Some(id), _) => match plan.host(id) {
                Some(host) => host,
                None => return none(format!("find the host {id:.200} in the plan")),
            },
            (None, [only]) => only,
            (None, _) => return none("choose a host of the plan".to_owned()),
        };
        let planned = Self { plan, host };
        planned.has_steps().map(|()| planned)
    }

    /// Checks that there is something to run.
    pub(crate) fn has_steps(&self) -> Result<()> {
        if self.plan.verdict < Verdict::Refuse && !self.steps().is_empty() {
            return Ok(());
        }
        let what = "run the plan: it refuses, its findings say why";
        Err(Error::new(ErrorKind::Refused, what))
    }

    /// Its steps, in order.
    #[must_use]
    pub fn steps(&self) -> Vec<&'p Step> {
        let own = |step: &&Step| step.host == self.host.id;
        self.plan.steps.iter().filter(own).collect()
    }

    /// The backup as its commands name it, if one does.
    #[must_use]
    pub fn reference(&self) -> Option<&'p Reference> {
        let from = |step: &'p Step| match &step.action {
            Action::Extract { from, .. }
            | Action::InstallPackages { from, .. }
            | Action::RestoreDatabase { from, .. } => Some(from),
            _ => None,
        };
        self.steps().into_iter().find_map(from)
    }

    /// Whether a step of another host needs this one done.
    pub(crate) fn is_awaited(&self, id: &str) -> bool {
        let others = self.plan.steps.iter();
        let mut others = others.filter(|step| step.host != self.host.id);
        others.any(|step| step.needs.iter().any(|need| need == id))
    }

    /// Checks that a run, if there is one, is one of this plan for this host.
    ///
    /// # Errors
    /// `OtherPlan`, and `Refused` for a plan that holds what no plan may hold.
    pub fn owns(&self, records: &[Record]) -> Result<()> {
        let what = match records.first().map(|record| &record.entry) {
            None => return Ok(()),
            Some(Entry::Begun { plan, host, .. }) => {
                if *plan != plan_digest(self.plan)? {
                    "another plan".to_owned()
                } else if *host != self.host.id {
                    format!("the host {host}")
                } else {
                    return Ok(());
                }
            }
            Some(_) => "nobody knows what".to_owned(),
        };
        let what = format!("use this directory: the run in it is one of {what}");
        Err(Error::new(ErrorKind::OtherPlan, what))
    }

    /// Checks that the plan still holds, before any of its steps was run.
    ///
    /// # Errors
    /// `Stale` if the backup or the host is not what the plan was made for.
    pub fn still_so(&self, found: &Found) -> Result<()> {
        self.same_seal(&found.seal_digest)?;
        let bound = &self.host.target_digest;
        if bound.is_none() || *bound == found.target_digest {
            return Ok(());
        }
        let mut what = String::from("run the plan: this host is not any more what it was made for");
        let (then, now) = (&self.host.target_fields, &found.target_fields);
        let fields: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
        let others = fields.into_iter().filter(|&at| then.get(at) != now.get(at));
        let others: Vec<&str> = others.map(String::as_str).collect();
        if !then.is_empty() && !others.is_empty() {
            // A plan may have been written by anybody, with names of any length.
            what.push_str(&format!(", in its {:.400}", others.join(", ")));
        }
        Err(Error::new(ErrorKind::Stale, what))
    }

    /// Checks that the backup is the one that the plan was made for.
    pub(crate) fn same_seal(&self, found: &str) -> Result<()> {
        if self.host.seal_digest == found {
            return Ok(());
        }
        let what = format!(
            "run the plan: the seal of the backup {} is not the one that it was made for",
            self.host.backup
        );
        Err(Error::new(ErrorKind::Stale, what))
    }
}
