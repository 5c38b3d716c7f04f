//! Up to the load: nobody comes in, the host is the backup's, LAVA is still.

use super::*;

impl Master<'_> {
    pub(super) fn isolate(&mut self) {
        let created = one_line(&self.case.backup.created);
        let ask = format!(
            "The maintenance window is declared. Programs that submit jobs are \
             stopped. Whatever happened in the lab after {created} is lost, and \
             the users know."
        );
        self.push(
            Phase::Isolate,
            "window",
            1,
            "Declare the maintenance window",
            "It holds until the last step (R74-R80, R27).",
            Action::Confirm { ask },
        );
        if self.named.contains(&ids::ACCEPT) {
            let ask = "This backup lacks something, as the findings say, and that is \
             accepted.";
            self.push(
                Phase::Isolate,
                "accept",
                1,
                "Accept what the backup lacks",
                "What a backup lacks can't be taken from another one (R16, R17).",
                Action::Confirm {
                    ask: ask.to_owned(),
                },
            );
        }
        if self.named.contains(&ids::REPLACE) {
            let ask = "The lab that is on this host may be replaced. Its database is kept \
             under another name.";
            self.push(
                Phase::Isolate,
                "replace",
                1,
                "Let the lab on this host go",
                "The target is not an empty installation (R91).",
                Action::Confirm {
                    ask: ask.to_owned(),
                },
            );
        }
        if self.case.target.apache.lava_site_enabled == Some(true) {
            let step = self.push(
                Phase::Isolate,
                "site",
                1,
                "Take LAVA's site out of apache",
                "Nobody may reach LAVA before its database is safe. apache itself \
                 stays up, for the smoke test calls it an error when it is down \
                 (R75, R79; measured).",
                Action::DisableSite {
                    site: SITE.to_owned(),
                },
            );
            step.touch(Danger::Interrupts, &[Touch::Network]);
        }
        let step = self.push(
            Phase::Isolate,
            "closed",
            1,
            "LAVA's site is closed",
            "All that follows relies on it (R77, R81).",
            Action::Check,
        );
        step.post(closed());
    }

    pub(super) fn base(&mut self) {
        let suite = self.case.backup.facts.suite.base.as_ref();
        let line = format!(
            "VERSION_CODENAME={}",
            suite.map_or("", |suite| suite.as_str())
        );
        let step = self.push(
            Phase::Base,
            "suite",
            3,
            "The base system is the backup's",
            "The backup's packages belong to its suite (R44, R86).",
            Action::Check,
        );
        step.post(gate(
            "suite",
            words(&["grep", "-qx", &line, "/etc/os-release"]),
            0,
            None,
            "Another suite has another Django and another PostgreSQL.",
        ));
        let unattended = self.unattended();
        if !unattended.is_empty() {
            let gate = inactive(
                &unattended,
                "A package that changes now migrates the database later.",
            );
            let step = self.push(
                Phase::Base,
                "timers",
                4,
                "Stop what changes packages by itself",
                "An upgrade of lava-server in the middle of a restore migrates the \
                 database (R34).",
                Action::StopUnits { units: unattended },
            );
            step.touch(Danger::None, &[Touch::Services, Touch::Packages]);
            step.post(gate);
        }
    }

    pub(super) fn install(&mut self) {
        let versions = rule::accepted_versions(self.case);
        if self.named.contains(&ids::PACKAGES) {
            let list: Vec<String> = versions
                .iter()
                .map(|(name, version)| format!("{name}={version}"))
                .collect();
            let ask = format!(
                "These packages are installed in exactly these versions, from the \
                 backup or its suite, while the target holds no lab: {}",
                list.join(" ")
            );
            self.push(
                Phase::Install,
                "packages",
                5,
                "Install the backup's packages",
                "The database fits exactly these. Afterwards nothing may configure \
                 them again (R88-R90, C11).",
                Action::Confirm { ask },
            )
            .touch(Danger::None, &[Touch::Packages]);
        }
        let step = self.push(
            Phase::Install,
            "exact",
            5,
            "The packages are those the database fits",
            "Database and packages must match precisely, and no check of LAVA's \
             sees it when they do not (R30, R36, R52).",
            Action::Check,
        );
        for (name, version) in &versions {
            // Not Status-Abbrev: a hold turns its `ii` into `hi`, and then a second look would fail.
            let argv = words(&[
                "dpkg-query",
                "-W",
                "-f=${db:Status-Eflag} ${db:Status-Status} ${Version}",
                name,
            ]);
            step.post(gate(
                name,
                argv,
                0,
                Some(format!("ok installed {version}")),
                "Another version may have another set of migrations.",
            ));
        }
        step.post(gate(
            "audit",
            words(&["dpkg", "--audit"]),
            0,
            Some(String::new()),
            "Whoever finishes a half-done package later migrates the database.",
        ));
        let held = self.lava_packages(|package| package.hold);
        if !held.is_empty() {
            self.unhold(Phase::Install, 5, held);
        }
    }

    pub(super) fn smoke_and_quiesce(&mut self) {
        let step = self.push(
            Phase::Smoke,
            "deploy",
            6,
            "The empty system works",
            "A fault found now is not the backup's. It looks at the services \
             too, so they must be up (R92, C8; measured).",
            Action::Check,
        );
        step.post(check_deploy());
        // Not sooner, for the smoke test can't stand it; not later, for the load comes next.
        self.hold(Phase::Quiesce, 7, self.critical());
        let units = self.stopped.clone();
        let gate = self.still();
        let step = self.push(
            Phase::Quiesce,
            "stop",
            7,
            "Stop LAVA",
            "gunicorn is what workers talk to since 2020.09, so it stops as \
             well; the coordinator knows no database and stays (R93-R100, C6).",
            Action::StopUnits { units },
        );
        step.touch(Danger::Interrupts, &[Touch::Services]);
        step.post(gate);
    }
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(200)
        .collect()
}
