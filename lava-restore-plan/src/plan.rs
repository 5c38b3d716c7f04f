use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::finding::{Finding, Verdict};
use crate::rule::{self, Case};
use crate::step::{Phase, Step};
use crate::{Backup, Error, ErrorKind, forbid, master, schema};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Intent {
    /// Bring a master back, on its own host or another.
    RestoreMaster,
}

/// What a caller decides.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// `lava-backup` as the target finds it: that word, or an absolute path that ends in it.
    pub program: String,
    /// The store as the target reaches it.
    pub store: String,
    /// The database's name on the target; the dump's own when `None`.
    pub database: Option<String>,
    /// Whether a lab that is already on the target may be replaced.
    pub replace_data: bool,
    /// The digest of the target's facts, to bind the plan to them.
    pub target_digest: Option<String>,
}

impl Options {
    /// The usual ones for a store.
    #[must_use]
    pub fn new(store: impl Into<String>) -> Self {
        Self {
            program: "lava-backup".to_owned(),
            store: store.into(),
            database: None,
            replace_data: false,
            target_digest: None,
        }
    }
}

/// The ordered steps and gates from a target's facts to a restored host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Plan {
    /// The version of this document.
    pub schema: PlanSchema,
    /// The id of the backup it restores.
    pub backup: String,
    /// The digest of that backup's seal; the plan holds for no other.
    pub seal_digest: String,
    /// When that backup was made: what happened in the lab since is lost.
    pub backup_created: String,
    /// The digest of the target's facts, when the caller gave one; the plan holds for no others.
    pub target_digest: Option<String>,
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

/// Makes the plan that restores a backup to a target.
///
/// The same input gives the same plan, byte for byte, and the order of lists in the input does not
/// matter. Nothing but the arguments is looked at.
#[must_use]
pub fn plan(backup: &Backup, target: &Facts, intent: &Intent, options: &Options) -> Plan {
    let (mut backup, mut target) = (backup.clone(), target.clone());
    backup.normalise();
    target.normalise();
    let case = Case {
        backup: &backup,
        target: &target,
        options,
    };
    let mut findings = rule::judge(&case);
    let mut verdict = Finding::verdict(&findings);
    let Intent::RestoreMaster = intent;
    let mut steps = Vec::new();
    if verdict < Verdict::Refuse {
        steps = master::steps(&case, &findings);
        // Every command comes from a closed enum and every name was checked, so this never
        // happens; if it did, no plan is better than a wrong one.
        if let Err(error) = check(&steps) {
            let finding = Finding::new(Verdict::Refuse, "plan.forbidden", error.at());
            findings.push(finding.compared("only allowed commands", error));
            Finding::sort(&mut findings);
            verdict = Verdict::Refuse;
            steps.clear();
        }
    }
    Plan {
        schema: PlanSchema::V1,
        backup: backup.id.clone(),
        seal_digest: backup.seal_digest.clone(),
        backup_created: backup.created.clone(),
        target_digest: options.target_digest.clone(),
        intent: *intent,
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
    /// operation, and that every step needs only steps before it.
    ///
    /// # Errors
    /// `Altered`, `Forbidden` or `Disordered`, with the step.
    pub fn check(&self) -> Result<(), Error> {
        if self.verdict == Verdict::Refuse && !self.steps.is_empty() {
            return Err(Error::new(
                ErrorKind::Forbidden,
                "the steps of a refused plan",
            ));
        }
        check(&self.steps)
    }

    /// The steps of a phase, in order.
    pub fn phase(&self, phase: Phase) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(move |step| step.phase == phase)
    }
}

fn check(steps: &[Step]) -> Result<(), Error> {
    let mut before: BTreeSet<&str> = BTreeSet::new();
    let mut phase = Phase::Isolate;
    for step in steps {
        forbid::step(step)?;
        let in_order =
            step.phase >= phase && step.needs.iter().all(|id| before.contains(id.as_str()));
        if !in_order || !before.insert(&step.id) || !is_id(&step.id) {
            return Err(Error::new(
                ErrorKind::Disordered,
                format!("step {:.200}", step.id),
            ));
        }
        phase = step.phase;
    }
    Ok(())
}

/// Ids become names of functions and files.
fn is_id(id: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    id.len() <= 100 && id.split('.').count() == 3 && id.split('.').all(part)
}
