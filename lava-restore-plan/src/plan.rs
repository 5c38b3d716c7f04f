use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::command::{Call, Source};
use crate::finding::{Finding, Verdict};
use crate::host::{self, Host, PlannedHost};
use crate::rule::{self, Case, Code};
use crate::step::{Phase, Step};
use crate::{Error, ErrorKind, draft, forbid, name, schema};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Intent {
    /// Bring a master back, on its own host or another.
    RestoreMaster,
    /// Bring a worker back, on its own host or another; its master runs.
    RestoreWorker,
    /// Bring a master back, and then its workers one by one, each from its own backup.
    RestoreLab,
    /// Set up a new master or worker with a backup's packages and configuration, without its data.
    Grow,
    /// Bring a host back in throwaway surroundings without a network, with nobody to ask.
    Drill,
}

/// What a caller decides.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// `lava-backup` as the targets find it: that word, or an absolute path that ends in it.
    pub program: String,
    /// The database's name on the target; the dump's own when `None`.
    pub database: Option<String>,
    /// Whether a lab that is already on the target may be replaced.
    pub replace_data: bool,
    /// The id that the restored lab's next job is to have; the dump's own order goes on when
    /// `None`.
    pub next_job_id: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            program: "lava-backup".to_owned(),
            database: None,
            replace_data: false,
            next_job_id: None,
        }
    }
}

/// The ordered steps and gates from targets' facts to restored hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Plan {
    /// The version of this document.
    pub schema: PlanSchema,
    /// The hosts it is for, the master first.
    pub hosts: Vec<PlannedHost>,
    /// What is to be done.
    pub intent: Intent,
    /// The worst of the findings.
    pub verdict: Verdict,
    /// What the rules say: the worst first, then by code and subject.
    pub findings: Vec<Finding>,
    /// What to do, in this order. Empty when the verdict is `refuse`.
    pub steps: Vec<Step>,
}

/// The versions of [`Plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PlanSchema {
    /// The first.
    #[serde(rename = "lava-restore-plan/plan/1")]
    V1,
}

/// Makes the plan that brings backups back to their targets.
///
/// The same input gives the same plan, byte for byte, and neither the order of the hosts nor that of
/// lists in their facts matters. Nothing but the arguments is looked at.
#[must_use]
pub fn plan(mut hosts: Vec<Host>, intent: Intent, options: &Options) -> Plan {
    let planned = host::cast(&mut hosts);
    let cases: Vec<Case<'_>> = hosts
        .iter()
        .zip(&planned)
        .map(|(host, planned)| Case {
            host,
            planned,
            intent,
            options,
        })
        .collect();
    let mut findings = host::judge(&hosts, intent);
    if findings.is_empty() {
        findings = rule::judge(&cases);
    }
    let mut verdict = Finding::verdict(&findings);
    let mut steps = Vec::new();
    if verdict < Verdict::Refuse {
        steps = draft::steps(&cases, &findings);
        // Every command comes from a closed enum and every name was checked, so this never
        // happens; if it did, no plan is better than a wrong one.
        if let Err(error) = check(&steps, &planned) {
            let finding = Finding::new(Verdict::Refuse, Code::PlanForbidden, error.at());
            findings.push(finding.compared("only allowed commands", error));
            Finding::sort(&mut findings);
            verdict = Verdict::Refuse;
            steps.clear();
        }
    }
    Plan {
        schema: PlanSchema::V1,
        hosts: planned,
        intent,
        verdict,
        findings,
        steps,
    }
}

impl Plan {
    /// Reads a plan and checks it, see [`check`](Self::check).
    ///
    /// # Errors
    /// `UnknownSchema` and `Malformed` for a document that is no plan of this version, and those of
    /// [`check`](Self::check).
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        let plan: Self = schema::read(json, schema::PLAN)?;
        plan.check()?;
        Ok(plan)
    }

    /// Checks that every command is the one of its step's action, that no step holds a forbidden
    /// operation, that all commands of a host read one backup, the one that the plan is bound to
    /// there, and that every step needs only steps before it.
    ///
    /// # Errors
    /// `Altered`, `Forbidden`, `Mixed` or `Disordered`, with the step.
    pub fn check(&self) -> Result<(), Error> {
        if self.verdict == Verdict::Refuse && !self.steps.is_empty() {
            return Err(Error::new(
                ErrorKind::Forbidden,
                "the steps of a refused plan",
            ));
        }
        check(&self.steps, &self.hosts)
    }

    /// The host of this id.
    #[must_use]
    pub fn host(&self, id: &str) -> Option<&PlannedHost> {
        self.hosts.iter().find(|host| host.id == id)
    }

    /// The steps in runs of one host and one phase, in the order in which they are done.
    pub fn parts(&self) -> impl Iterator<Item = &[Step]> {
        self.steps
            .chunk_by(|a, b| (&a.host, a.phase) == (&b.host, b.phase))
    }
}

fn check(steps: &[Step], hosts: &[PlannedHost]) -> Result<(), Error> {
    let mut before: BTreeSet<&str> = BTreeSet::new();
    let mut reached: BTreeMap<&str, (&PlannedHost, Phase)> = BTreeMap::new();
    for host in hosts {
        // Of two hosts with one id, nobody could tell whose a step is; and ids become names.
        let known = reached.insert(&host.id, (host, Phase::Isolate));
        if known.is_some() || !is_id_part(&host.id) {
            return Err(Error::new(
                ErrorKind::Disordered,
                format!("the host {:.200?}", host.id),
            ));
        }
    }
    let mut sources: BTreeMap<&str, Source<'_>> = BTreeMap::new();
    for step in steps {
        forbid::step(step)?;
        let own = reached.get(step.host.as_str()).map(|(host, _)| host);
        for from in step.commands().filter_map(|argv| Call::of(argv)?.source()) {
            let known = *sources.entry(&step.host).or_insert(from);
            if from != known || own.is_some_and(|host| host.backup != from.backup) {
                return Err(Error::new(ErrorKind::Mixed, format!("step {}", step.id)));
            }
        }
        let in_order = step.needs.iter().all(|id| before.contains(id.as_str()))
            && is_id(&step.id)
            && step
                .pre
                .iter()
                .chain(&step.post)
                .all(|gate| is_gate_of(&gate.id, &step.id))
            && step
                .id
                .starts_with(&format!("{}.{}.", step.host, step.phase.name()))
            && reached
                .get_mut(step.host.as_str())
                .is_some_and(|(_, phase)| std::mem::replace(phase, step.phase) <= step.phase);
        if !in_order || !before.insert(&step.id) {
            return Err(Error::new(
                ErrorKind::Disordered,
                format!("step {:.200?}", step.id),
            ));
        }
    }
    Ok(())
}

/// Ids become names of functions and files.
fn is_id(id: &str) -> bool {
    id.len() <= 160 && id.split('.').count() == 3 && id.split('.').all(is_id_part)
}

fn is_id_part(part: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    !part.is_empty() && part.bytes().all(plain)
}

/// A gate's id is its step's and a name.
fn is_gate_of(id: &str, step: &str) -> bool {
    let name = id
        .strip_prefix(step)
        .and_then(|rest| rest.strip_prefix(':'));
    name.is_some_and(name::is_plain)
}
