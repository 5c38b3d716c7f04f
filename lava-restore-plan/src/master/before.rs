//! Up to the load: nobody comes in, the host is the backup's, LAVA is still.

use super::*;

impl Master<'_> {
    pub(super) fn isolate(&mut self) {
        self.draft.no_way_out(1);
        let created = one_line(&self.draft.case.backup().created);
        let ask = match self.dump {
            Some(_) => format!(
                "The maintenance window is declared. Programs that submit jobs are stopped. \
                 Whatever happened in the lab after {created} is lost, and the users know."
            ),
            None => "Nobody counts on LAVA on this host before the last step.".to_owned(),
        };
        self.draft.confirm(
            Phase::Isolate,
            "window",
            1,
            "Declare the maintenance window",
            "It holds until the last step (R74-R80, R27).",
            &ask,
        );
        self.draft.accept_what_is_lacking(1);
        if self.draft.is_named(names::REPLACE) {
            self.draft.confirm(
                Phase::Isolate,
                "replace",
                1,
                "Let the lab on this host go",
                "The target is not an empty installation (R91).",
                "The lab that is on this host may be replaced. Its database is kept \
                 under another name.",
            );
        }
        // Whose link is gone may be served all the same, until apache is reloaded.
        if self.draft.case.target().apache.lava_site_enabled.is_some() {
            self.close(Phase::Isolate, 1);
        }
        let program = self.draft.case.options.program.clone();
        let asks = self.draft.release.gunicorn_serves_workers;
        let step = self.draft.push(
            Phase::Isolate,
            "closed",
            1,
            "LAVA's site is closed",
            "All that follows relies on it (R77, R81).",
            Action::Check,
        );
        step.post(closed());
        if asks {
            step.post(admitted(
                &program,
                "nobody",
                "Another site or another server may let them in.",
            ));
        }
    }

    fn close(&mut self, phase: Phase, manual_step: u8) {
        let step = self.draft.push(
            phase,
            "site",
            manual_step,
            "Take LAVA's site out of apache",
            "Nobody may reach LAVA before its database is safe. apache itself \
             stays up, for the smoke test calls it an error when it is down \
             (R75, R79; measured).",
            Action::DisableSite {
                site: SITE.to_owned(),
            },
        );
        step.touch(Danger::Interrupts, &[Touch::Network]);
        step.post(closed());
    }

    pub(super) fn base(&mut self) {
        self.draft.suite(3);
        self.draft.stop_updates(4);
    }

    pub(super) fn install(&mut self) {
        let installs = self.draft.install(
            5,
            "The database fits exactly these. They are installed now, while no lab is on the \
             target, for configuring lava-server migrates whatever database it finds (R88-R90, \
             C11).",
        );
        // The package may put its site into apache whenever it is configured.
        if installs {
            self.close(Phase::Install, 5);
        }
        self.draft.exact(
            5,
            "Database and packages must match precisely, and no check of LAVA's sees it when they \
             do not (R30, R36, R52).",
        );
        let held = self.draft.lava_packages(|package| package.hold);
        if !held.is_empty() {
            self.draft.unhold(Phase::Install, 5, held);
        }
    }

    pub(super) fn smoke(&mut self) {
        if rule::lacks_database(self.draft.case) {
            return; // there is nothing to try LAVA on
        }
        if self.draft.is_named(names::UNTRIED) {
            self.draft.confirm(
                Phase::Smoke,
                "untried",
                6,
                "Let the smoke test go",
                "It wants LAVA's services up. They are stopped, maybe by a restore that ended \
                 half-way, and started now they would drive what is in the database (R92).",
                "A fault of this host's installation is found no sooner than after the load, by \
                 the same check.",
            );
            return;
        }
        self.start_for_smoke_test();
        let step = self.draft.push(
            Phase::Smoke,
            "deploy",
            6,
            "The empty system works",
            "A fault found now is not the backup's. It looks at the services \
             too, so they must be up (R92, C8; measured).",
            Action::Check,
        );
        step.post(check_deploy());
    }

    fn start_for_smoke_test(&mut self) {
        if !self.draft.is_named(names::SERVICES) {
            return;
        }
        let units = self.draft.stopped_already();
        let step = self.draft.push(
            Phase::Smoke,
            "release",
            6,
            "Allow LAVA's services to start",
            "They are stopped, and something may keep them so (R92).",
            Action::ReleaseUnits {
                units: units.clone(),
            },
        );
        step.touch(Danger::None, &[Touch::Services]);
        let gate = active(&units);
        let step = self.draft.push(
            Phase::Smoke,
            "services",
            6,
            "Start what is stopped",
            "The smoke test wants it up, and there is nothing yet that it could drive (R92).",
            Action::StartUnits { units },
        );
        step.touch(Danger::None, &[Touch::Services]);
        step.post(gate);
    }

    pub(super) fn quiesce(&mut self) {
        // Not sooner, for the smoke test can't stand it; not later, for the load comes next.
        self.draft.hold(Phase::Quiesce, 7, |_| true);
        let why = if self.draft.release.gunicorn_serves_workers {
            "gunicorn is what workers talk to since 2020.09, so it stops as well; the coordinator \
             knows no database and stays (R93-R100, C6)."
        } else {
            "Workers talk to lava-master, users to gunicorn, and both write to the database; the \
             coordinator knows none and stays (R93-R100)."
        };
        self.draft.stop(7, "Stop LAVA", why);
    }
}
