use std::borrow::Cow;
use std::cmp::Reverse;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name;
use crate::rule::Code;

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
    pub why: Cow<'static, str>,
    /// What to do about it; empty when nothing is.
    pub remedy: String,
    /// Where the rule comes from: a requirement of LAVA's manual (R1–R131), a contradiction that
    /// had to be decided (C1–C12), or a measurement.
    pub ground: Cow<'static, str>,
    /// The steps that see to it, for `prepare`.
    pub steps: Vec<String>,
}

impl Finding {
    pub(crate) fn new(severity: Verdict, code: Code, subject: impl Into<String>) -> Self {
        debug_assert!(code.severities().contains(&severity), "{code} {severity}");
        Self {
            host: String::new(),
            code: code.as_str().to_owned(),
            severity,
            subject: shown(&subject.into()),
            expected: String::new(),
            found: String::new(),
            why: code.why().into(),
            remedy: String::new(),
            ground: code.ground().into(),
            steps: Vec::new(),
        }
    }

    pub(crate) fn compared(
        mut self,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        self.expected = shown(&expected.to_string());
        self.found = shown(&found.to_string());
        self
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = shown(&remedy.into());
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
        fn key(f: &Finding) -> (Reverse<Verdict>, [&str; 5]) {
            let text = [&*f.host, &*f.code, &*f.subject, &*f.expected, &*f.found];
            (Reverse(f.severity), text)
        }
        findings.sort_by(|a, b| key(a).cmp(&key(b)));
        findings.dedup();
    }

    /// The worst of all, `Ok` when there is none.
    pub(crate) fn verdict(findings: &[Self]) -> Verdict {
        let worst = findings.iter().map(|finding| finding.severity).max();
        worst.unwrap_or(Verdict::Ok)
    }
}

/// What is said in the words of a backup or a host is shown as it is and no longer than a few lines.
fn shown(text: &str) -> String {
    const MOST: usize = 500;
    name::shown(text, MOST)
}
