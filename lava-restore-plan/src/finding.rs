use std::cmp::Reverse;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad it is; a whole plan's verdict is the worst of its findings.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing is to be done.
    Note,
    /// Something must be done before the database is loaded; the plan has a step that waits for it.
    Prepare,
    /// There is no way from here; the plan has no steps.
    Refuse,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Prepare => "prepare",
            Self::Refuse => "refuse",
        })
    }
}

/// What one rule says of a backup and a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Finding {
    /// The id of the host it is about; empty when it is about all of them.
    pub host: String,
    /// A stable code, such as `lava.newer`.
    pub code: String,
    /// How bad it is.
    pub severity: Verdict,
    /// What it is about: a package, a table, a setting.
    pub subject: String,
    /// What should be.
    pub expected: String,
    /// What is.
    pub found: String,
    /// Why it matters.
    pub why: String,
    /// What to do about it; empty when nothing is.
    pub remedy: String,
    /// Where the rule comes from: a requirement of LAVA's manual (R1–R131), a contradiction that
    /// had to be decided (C1–C12), or a measurement.
    pub ground: String,
    /// The steps that see to it, for `prepare`.
    pub steps: Vec<String>,
}

impl Finding {
    pub(crate) fn new(severity: Verdict, code: &str, subject: impl Into<String>) -> Self {
        Self {
            host: String::new(),
            code: code.to_owned(),
            severity,
            subject: subject.into(),
            expected: String::new(),
            found: String::new(),
            why: String::new(),
            remedy: String::new(),
            ground: String::new(),
            steps: Vec::new(),
        }
    }

    pub(crate) fn compared(
        mut self,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        self.expected = expected.to_string();
        self.found = found.to_string();
        self
    }

    pub(crate) fn because(mut self, why: &str, ground: &str) -> Self {
        self.why = why.to_owned();
        self.ground = ground.to_owned();
        self
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    pub(crate) fn seen_to_by(mut self, step: &str) -> Self {
        self.steps.push(step.to_owned());
        self
    }

    /// Says whose it is; the steps it names are that host's.
    pub(crate) fn on(mut self, host: &str) -> Self {
        for step in &mut self.steps {
            *step = format!("{host}.{step}");
        }
        host.clone_into(&mut self.host);
        self
    }

    /// The order of a report: the worst first, then by host, code and subject.
    pub(crate) fn sort(findings: &mut Vec<Self>) {
        findings.sort_by(|a, b| {
            let key = |f: &Self| Reverse(f.severity);
            key(a).cmp(&key(b)).then_with(|| {
                let text = |f: &'_ Self| {
                    [&f.host, &f.code, &f.subject, &f.expected, &f.found].map(String::clone)
                };
                text(a).cmp(&text(b))
            })
        });
        findings.dedup();
    }

    /// The worst of all, `Ok` when there is none.
    pub(crate) fn verdict(findings: &[Self]) -> Verdict {
        let worst = findings.iter().map(|finding| finding.severity).max();
        worst.unwrap_or(Verdict::Ok)
    }
}
