use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::draft::one_line;
use crate::facts::{Facts, Role};
use crate::finding::Finding;
use crate::rule::{Code, refuse};
use crate::{Backup, Intent};

/// One host of a lab: which backup is to become it, and what it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Host {
    /// The backup.
    pub backup: Backup,
    /// The store (or the exported file) that holds the backup, as the target reaches it.
    pub store: String,
    /// What the target is.
    pub target: Facts,
    /// The digest of the target's facts, to bind the plan to them.
    pub target_digest: Option<String>,
    /// A digest of each field of those facts, by its name, to tell which of them have changed.
    pub target_fields: BTreeMap<String, String>,
}

impl Host {
    /// A backup in a store, for a target; the plan is bound to no facts.
    #[must_use]
    pub fn new(backup: Backup, store: impl Into<String>, target: Facts) -> Self {
        Self {
            backup,
            store: store.into(),
            target,
            target_digest: None,
            target_fields: BTreeMap::new(),
        }
    }

    /// What the backup's host was in its lab.
    pub(crate) fn role(&self) -> Role {
        self.backup.facts.role
    }

    /// The host's name: the target's, for that is what the others will see.
    pub(crate) fn name(&self) -> Option<&str> {
        let of_target = self.target.hostname.as_deref();
        of_target.or(self.backup.facts.hostname.as_deref())
    }
}

/// What a plan is bound to on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct PlannedHost {
    /// How its steps and findings call it: `master`, or `worker_` and its name.
    pub id: String,
    /// What it is in its lab.
    pub role: Role,
    /// Its host name.
    pub name: Option<String>,
    /// The id of the backup it is restored from.
    pub backup: String,
    /// The digest of that backup's seal; the plan holds for no other.
    pub seal_digest: String,
    /// When that backup was made: what happened on the host since is lost.
    pub backup_created: String,
    /// The digest of the target's facts, when the caller gave one; the plan holds for no others.
    pub target_digest: Option<String>,
    /// A digest of each field of those facts, by its name: when the digest of all has changed, these
    /// tell where. They bind nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub target_fields: BTreeMap<String, String>,
}

impl PlannedHost {
    fn of(host: &Host, id: String) -> Self {
        Self {
            id,
            role: host.role(),
            name: host.name().map(one_line),
            backup: host.backup.id.clone(),
            seal_digest: host.backup.seal_digest.clone(),
            backup_created: one_line(&host.backup.created),
            target_digest: host.target_digest.clone(),
            target_fields: host.target_fields.clone(),
        }
    }
}

/// Puts the hosts into their one order, the master first and workers by name, and gives them ids.
pub(crate) fn cast(hosts: &mut [Host]) -> Vec<PlannedHost> {
    for host in hosts.iter_mut() {
        host.backup.normalise();
        host.target.normalise();
    }
    hosts.sort_by(|a, b| {
        let key = |host: &Host| {
            (
                host.role() != Role::Master,
                host.name().map(str::to_owned),
                host.backup.seal_digest.clone(),
                host.target_digest.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let mut ids: BTreeSet<String> = BTreeSet::new();
    let mut planned = Vec::with_capacity(hosts.len());
    for host in hosts.iter() {
        let wanted = match host.role() {
            Role::Master => "master".to_owned(),
            Role::Worker | Role::Unknown => format!("worker_{}", id_part(host.name())),
        };
        let number = numbers.entry(wanted.clone()).or_insert(1);
        let mut id = wanted.clone();
        while !ids.insert(id.clone()) {
            *number += 1;
            id = format!("{wanted}_{number}");
        }
        planned.push(PlannedHost::of(host, id));
    }
    planned
}

/// A host's name as a part of an id: the names of functions and files are made of it.
fn id_part(name: Option<&str>) -> String {
    const MOST: usize = 60;
    let plain = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() => c,
        _ => '_',
    };
    let part: String = name
        .unwrap_or("unnamed")
        .chars()
        .take(MOST)
        .map(plain)
        .collect();
    if part.is_empty() {
        "unnamed".to_owned()
    } else {
        part
    }
}

/// The most hosts that one plan is made for: more would be a document that nothing reads, see
/// [`MOST_BYTES`](crate::MOST_BYTES).
pub const MOST_HOSTS: usize = 1000;

/// Whether two backups were given the facts of one target, to the second in which they were
/// gathered.
fn one_host_twice(hosts: &[Host]) -> Option<Finding> {
    let mut targets = hosts.iter().enumerate();
    targets.find(|(at, host)| hosts[..*at].iter().any(|other| other.target == host.target))?;
    let finding = refuse(Code::PlanHosts, "targets")
        .compared("a host for each backup", "one host for two")
        .remedy("give each backup the facts of its own target");
    Some(finding)
}

/// Whether these hosts are what the intent needs.
pub(crate) fn judge(hosts: &[Host], intent: Intent) -> Vec<Finding> {
    if hosts.len() > MOST_HOSTS {
        return vec![
            refuse(Code::PlanHosts, "backups")
                .compared(format!("at most {MOST_HOSTS} hosts"), hosts.len())
                .remedy("plan the master alone, and then workers, each by a plan of its own"),
        ];
    }
    let count = |role: Role| hosts.iter().filter(|host| host.role() == role).count();
    let (masters, workers) = (count(Role::Master), count(Role::Worker));
    let fits = masters + workers == hosts.len()
        && match intent {
            Intent::RestoreMaster => (masters, workers) == (1, 0),
            Intent::RestoreWorker => (masters, workers) == (0, 1),
            Intent::RestoreLab => masters == 1,
            Intent::Grow | Intent::Drill => hosts.len() == 1,
        };
    if fits {
        return one_host_twice(hosts).into_iter().collect();
    }
    let expected = match intent {
        Intent::RestoreMaster => "the backup of one master",
        Intent::RestoreWorker => "the backup of one worker",
        Intent::RestoreLab => "the backups of one master and its workers",
        Intent::Grow | Intent::Drill => "the backup of one master or one worker",
    };
    let unknown = hosts.len() - masters - workers;
    let found = format!("{masters} masters, {workers} workers, {unknown} of unknown role");
    vec![
        refuse(Code::PlanHosts, "backups")
            .compared(expected, found)
            .remedy("name other backups, or another intent"),
    ]
}
