//! The steps that bring a worker back.
//!
//! A worker holds little: how it reaches its master, who it is, and what its lab needs beside. It
//! is restored after its master, with the devices still in maintenance (R125-R131).

use crate::Intent;
use crate::draft::{Draft, active, one_line};
use crate::step::{Action, Danger, Phase, Touch};

/// LAVA's manual has its workers as one step, after the master.
const MANUAL_STEP: u8 = 2;

/// A worker's steps in the making.
pub(crate) struct Worker<'a> {
    pub(crate) draft: Draft<'a>,
    /// The step of its master that must be done first, when the master is in the same plan.
    after: Option<String>,
}

impl<'a> Worker<'a> {
    pub(crate) fn of(draft: Draft<'a>, after: Option<String>) -> Self {
        Self { draft, after }
    }

    /// The name that the master knows it by.
    pub(crate) fn name(&self) -> String {
        let name = self.draft.case.settled_worker_name();
        name.unwrap_or_default().to_owned()
    }

    pub(crate) fn all(&mut self) {
        self.isolate();
        self.draft.suite(MANUAL_STEP);
        self.draft.stop_updates(MANUAL_STEP);
        self.draft.install(
            MANUAL_STEP,
            "A worker of another version than its master's is put offline by it (R129).",
        );
        self.draft.exact(
            MANUAL_STEP,
            "A worker of another version than its master's is put offline by it (R129).",
        );
        self.draft.hold(Phase::Quiesce, MANUAL_STEP, |_| true);
        self.draft.stop(
            MANUAL_STEP,
            "Stop the worker",
            "What it starts now it would start with another identity (R99).",
        );
        self.config();
        self.start();
        self.verify();
        self.draft.release_holds(Phase::Reopen, MANUAL_STEP);
        self.draft.resume_updates(Phase::Reopen, MANUAL_STEP);
    }

    fn isolate(&mut self) {
        self.draft.no_way_out(MANUAL_STEP);
        if let Some(step) = self.after.clone() {
            let host = step.split('.').next().unwrap_or_default().to_owned();
            self.draft.needs = Some(step.clone());
            self.draft.push(
                Phase::Isolate,
                "master",
                MANUAL_STEP,
                "The master is restored and verified",
                "A worker runs what its master tells it to, so the master comes first, with its \
                 devices in maintenance (R85, R126).",
                Action::AwaitHost { host, step },
            );
        } else if self.draft.case.intent == Intent::RestoreWorker {
            let created = one_line(&self.draft.case.backup().created);
            let ask = format!(
                "The master runs the release that this worker's backup of {created} is of, and \
                 this worker's devices are in maintenance there."
            );
            self.draft.confirm(
                Phase::Isolate,
                "master",
                MANUAL_STEP,
                "The master is ready for this worker",
                "A worker that comes back is given jobs at once (R126, R129).",
                &ask,
            );
        }
        self.draft.accept_what_is_lacking(MANUAL_STEP);
    }

    fn config(&mut self) {
        let grows = self.draft.case.intent == Intent::Grow;
        let mut exclude = self.draft.identity();
        let sections: &[&str] = if grows {
            exclude.extend(self.draft.case.worker_secrets());
            exclude.sort();
            &["config"]
        } else {
            &["config", "data", "logs"]
        };
        let why = if grows {
            "The new worker is set up like the old one; its identity is its own (R2, R128)."
        } else {
            "How it reaches its master, its token or its certificates, and what its lab needs \
             beside (R127, R128, R130)."
        };
        let title = "Bring back the worker's configuration";
        self.draft
            .files((sections, exclude), MANUAL_STEP, title, why);
        self.draft.forget_jobs(MANUAL_STEP);
        self.draft.give_identity(MANUAL_STEP);
    }

    fn start(&mut self) {
        self.draft.release_units(MANUAL_STEP);
        let units = self.draft.started();
        if units.is_empty() {
            return;
        }
        let gate = active(&units);
        let step = self.draft.push(
            Phase::Start,
            "services",
            MANUAL_STEP,
            "Start the worker",
            "Its master's devices are in maintenance, so it is given nothing (R130).",
            Action::StartUnits { units },
        );
        step.touch(Danger::ReachesOut, &[Touch::Services]);
        step.post(gate);
    }

    fn verify(&mut self) {
        self.draft.review_logs(
            MANUAL_STEP,
            "A master that does not know the worker's name or token says so there; look into \
             /var/log/lava-dispatcher too (R120, R131).",
        );
        if self.after.is_none() && self.draft.case.intent == Intent::RestoreWorker {
            let name = self.name();
            self.draft.confirm(
                Phase::Verify,
                "online",
                MANUAL_STEP,
                "The master sees the worker",
                "A worker that only runs is not a worker that works (R131).",
                &format!("The master's page of workers shows {name} online, in this version."),
            );
        }
    }
}
