//! What keeps packages as they are.

use super::*;
use crate::PackageVersion;
use crate::facts::{UNATTENDED, UPGRADE};

impl Draft<'_> {
    pub(crate) fn unattended(&self) -> Vec<String> {
        let facts = self.case.target();
        let units = facts.timers.iter().chain(&facts.units).flatten();
        let mut names: Vec<String> = units
            .map(|unit| unit.name.clone())
            .filter(|name| UNATTENDED.contains(&name.as_str()))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// LAVA's own packages on the target.
    pub(crate) fn lava_packages(&self, keep: impl Fn(&Package) -> bool) -> Vec<String> {
        let packages = rule::critical_packages(self.case.target(), self.case.planned.role);
        let ours = packages.filter(|p| rule::is_lava(&p.name) && keep(p));
        ours.map(|package| package.name.clone()).collect()
    }

    /// Stops what changes packages by itself.
    pub(crate) fn stop_updates(&mut self, manual_step: u8) {
        let unattended = self.unattended();
        if unattended.is_empty() {
            return;
        }
        let still = still(
            &unattended,
            "A package that changes now migrates the database later.",
        );
        let masked = masked(&unattended);
        let step = self.push(
            Phase::Base,
            "timers",
            manual_step,
            "Stop what changes packages by itself",
            "An upgrade of lava-server in the middle of a restore migrates the database (R34).",
            Action::StopUnits { units: unattended },
        );
        step.touch(Danger::None, &[Touch::Services, Touch::Packages]);
        still.into_iter().for_each(|gate| step.post(gate));
        step.post(masked);
    }

    /// Installs what differs, and only that; on a host without LAVA all that the backup holds.
    /// Says whether there is anything to install.
    pub(crate) fn install(&mut self, manual_step: u8, why: &str) -> bool {
        if !self.is_named(names::PACKAGES) {
            return false;
        }
        self.as_found(manual_step);
        let packages = rule::packages_to_name(self.case);
        let held = rule::held(self.case);
        if !held.is_empty() {
            let step = self.push(
                Phase::Install,
                "let_go",
                manual_step,
                "Take what must change off hold",
                "Nothing that is on hold is changed; what LAVA stands on is held again for the \
                 load (R52).",
                Action::UnholdPackages { packages: held },
            );
            step.touch(Danger::None, &[Touch::Packages]);
        }
        let from = self.from.clone();
        self.push(
            Phase::Install,
            "packages",
            manual_step,
            "Install the backup's packages",
            why,
            Action::InstallPackages { from, packages },
        )
        .touch(Danger::Replaces, &[Touch::Packages]);
        true
    }

    /// LAVA may have become newer since the facts were gathered, and its database with it.
    fn as_found(&mut self, manual_step: u8) {
        let name = self.case.planned.role.package();
        let found = self.case.target().package(name);
        let Some(found) = found.filter(|package| package.is_installed()) else {
            return;
        };
        let argv = words(&[
            "dpkg-query",
            "-W",
            "-f=${db:Status-Status} ${Version}",
            name,
        ]);
        let wanted = format!("installed {}", found.version);
        let step = self.push(
            Phase::Install,
            "found",
            manual_step,
            "LAVA is what it was when the facts were gathered",
            "One that was brought forward meanwhile has brought its database forward, and is not \
             to be taken back (R90).",
            Action::Check,
        );
        step.post(gate(
            "found",
            argv,
            0,
            Some(wanted),
            "Gather the facts again, and plan anew.",
        ));
    }

    /// The gate on every version, for none of LAVA's checks sees a wrong one.
    pub(crate) fn exact(&mut self, manual_step: u8, why: &str) {
        let gates = self.exact_gates();
        let step = self.push(
            Phase::Install,
            "exact",
            manual_step,
            "The packages are those of the backup",
            why,
            Action::Check,
        );
        gates.into_iter().for_each(|gate| step.post(gate));
    }

    /// Every version, and that nothing is between two of them.
    pub(crate) fn exact_gates(&self) -> Vec<Gate> {
        let of_version = |(name, version): &(String, PackageVersion)| {
            // Not Status-Abbrev: a hold turns its `ii` into `hi`, and then a second look would fail.
            let argv = words(&[
                "dpkg-query",
                "-W",
                "-f=${db:Status-Eflag} ${db:Status-Status} ${Version}",
                name,
            ]);
            gate(
                name,
                argv,
                0,
                Some(format!("ok installed {version}")),
                "Another version may have another set of migrations.",
            )
        };
        let versions = rule::accepted_versions(self.case);
        let versions = versions.iter().map(of_version);
        versions.chain([nothing_half_done()]).collect()
    }

    /// Lets updates go on as they did before.
    pub(crate) fn resume_updates(&mut self, phase: Phase, manual_step: u8) {
        let mut units = self.unattended();
        units.retain(|unit| !self.was_masked(unit));
        if units.is_empty() {
            return;
        }
        let step = self.push(
            phase,
            "timers",
            manual_step,
            "Allow updates again",
            "The lab is open again, and its host is looked after as before.",
            Action::ReleaseUnits {
                units: units.clone(),
            },
        );
        step.touch(Danger::None, &[Touch::Services]);
        let mut running = self.running(&units);
        // One that was at work came to its end. Started here it would upgrade LAVA, and its timer
        // starts it when it is time.
        running.retain(|unit| unit != UPGRADE);
        if !running.is_empty() {
            let gate = active(&running);
            let step = self.push(
                phase,
                "timers_start",
                manual_step,
                "Start them as they were",
                "Security updates of the rest go on.",
                Action::StartUnits { units: running },
            );
            step.touch(Danger::None, &[Touch::Services]);
            step.post(gate);
        }
    }

    pub(crate) fn unhold(&mut self, phase: Phase, manual_step: u8, packages: Vec<String>) {
        let step = self.push(
            phase,
            "unhold",
            manual_step,
            "Take LAVA's packages off hold for the next check",
            "`check --deploy` calls a package on hold not installed correctly \
             and exits 1. What changes packages by itself is stopped, and the \
             hold comes back right after (measured on 2023.01).",
            Action::UnholdPackages { packages },
        );
        step.touch(Danger::None, &[Touch::Packages]);
    }

    /// Holds these of the critical packages, in the version that the database is loaded for: one that was
    /// changed since they were looked at is seen now.
    pub(crate) fn hold(&mut self, phase: Phase, manual_step: u8, which: fn(&str) -> bool) {
        let mut versions = self.versions();
        versions.retain(|name, _| which(name));
        let packages: Vec<String> = versions.keys().cloned().collect();
        let step = self.push(
            phase,
            "hold",
            manual_step,
            "Hold the packages",
            "Until the lab reopens nothing may change or configure them (R34).",
            Action::HoldPackages { packages },
        );
        step.touch(Danger::None, &[Touch::Packages]);
        for (name, version) in &versions {
            let format = "-f=${db:Status-Want} ${db:Status-Eflag} ${db:Status-Status} ${Version}";
            let argv = words(&["dpkg-query", "-W", format, name]);
            let held = Some(format!("hold ok installed {version}"));
            step.post(gate(name, argv, 0, held, "Nothing may change it."));
        }
    }

    /// Lets go of what the backup's host did not hold itself.
    pub(crate) fn release_holds(&mut self, phase: Phase, manual_step: u8) {
        let own = |name: &String| {
            let package = self.case.backup().facts.installed(name);
            !package.is_some_and(|package| package.hold)
        };
        let packages: Vec<String> = self.critical().into_iter().filter(own).collect();
        if packages.is_empty() {
            return;
        }
        let step = self.push(
            phase,
            "release_holds",
            manual_step,
            "Put the holds back as they were on the backup's host",
            "The restored database is what these packages expect, and an upgrade \
             is what it was before: a decision of the admin's, after a new \
             backup. While a package of LAVA's is on hold, `check --deploy` \
             calls it not installed correctly (R28, R34; measured on 2023.01).",
            Action::UnholdPackages {
                packages: packages.clone(),
            },
        );
        step.touch(Danger::None, &[Touch::Packages]);
        for name in &packages {
            let argv = words(&["dpkg-query", "-W", "-f=${db:Status-Want}", name]);
            let free = Some("install".to_owned());
            step.post(gate(name, argv, 0, free, "Its updates come as before."));
        }
    }

    /// Every package that is held: the backup's critical ones and the target's own.
    pub(crate) fn critical(&self) -> Vec<String> {
        self.versions().into_keys().collect()
    }

    /// The same, with the version that each of them must have.
    fn versions(&self) -> BTreeMap<String, PackageVersion> {
        let own = rule::critical_packages(self.case.target(), self.case.planned.role);
        let own = own.map(|package| (package.name.clone(), package.version.clone()));
        own.chain(rule::accepted_versions(self.case)).collect()
    }

    /// Of these units, those that ran on the target when its facts were gathered.
    pub(crate) fn running(&self, names: &[String]) -> Vec<String> {
        let facts = self.case.target();
        let ran = |name: &&String| {
            let mut units = facts.timers.iter().chain(&facts.units).flatten();
            units.any(|unit| unit.name == **name && unit.active.or(unit.enabled) == Some(true))
        };
        names.iter().filter(ran).cloned().collect()
    }
}

/// Asked before the load, and before anything starts on what was loaded.
pub(crate) fn nothing_half_done() -> Gate {
    gate(
        "audit",
        words(&["dpkg", "--audit"]),
        0,
        Some(String::new()),
        "Whoever finishes a half-done package later migrates the database.",
    )
}
