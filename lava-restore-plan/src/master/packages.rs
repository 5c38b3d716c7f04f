//! What keeps packages as they are.

use super::*;

impl Master<'_> {
    pub(super) fn unattended(&self) -> Vec<String> {
        let facts = self.case.target;
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
    pub(super) fn lava_packages(&self, keep: impl Fn(&Package) -> bool) -> Vec<String> {
        let packages = rule::critical_packages(self.case.target);
        let ours = packages.filter(|p| rule::is_lava(&p.name) && keep(p));
        ours.map(|package| package.name.clone()).collect()
    }

    pub(super) fn unhold(&mut self, phase: Phase, manual_step: u8, packages: Vec<String>) {
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

    pub(super) fn hold(&mut self, phase: Phase, manual_step: u8, packages: Vec<String>) {
        let step = self.push(
            phase,
            "hold",
            manual_step,
            "Hold the packages",
            "Until the lab reopens nothing may change or configure them (R34).",
            Action::HoldPackages {
                packages: packages.clone(),
            },
        );
        step.touch(Danger::None, &[Touch::Packages]);
        for name in &packages {
            let argv = words(&["dpkg-query", "-W", "-f=${db:Status-Want}", name]);
            let held = Some("hold".to_owned());
            step.post(gate(name, argv, 0, held, "Nothing may change it."));
        }
    }

    /// Lets go of what the backup's host did not hold itself.
    pub(super) fn release_holds(&mut self) {
        let own = |name: &String| {
            let package = self.case.backup.facts.package(name);
            !package.is_some_and(|package| package.hold)
        };
        let packages: Vec<String> = self.critical().into_iter().filter(own).collect();
        if packages.is_empty() {
            return;
        }
        let step = self.push(
            Phase::Reopen,
            "unhold",
            14,
            "Put the holds back as they were on the backup's host",
            "The restored database is what these packages expect, and an upgrade \
             is what it was before: a decision of the admin's, after a new \
             backup. While a package of LAVA's is on hold, `check --deploy` \
             calls it not installed correctly (R28, R34; measured on 2023.01).",
            Action::UnholdPackages { packages },
        );
        step.touch(Danger::None, &[Touch::Packages]);
    }

    /// Every package that is held: the backup's critical ones and the target's own.
    pub(super) fn critical(&self) -> Vec<String> {
        let versions = rule::accepted_versions(self.case);
        let mut names: Vec<String> = versions.into_iter().map(|(name, _)| name).collect();
        names.extend(rule::critical_packages(self.case.target).map(|package| package.name.clone()));
        names.sort();
        names.dedup();
        names
    }

    /// Of these units, those that ran on the target when its facts were gathered.
    pub(super) fn running(&self, names: &[String]) -> Vec<String> {
        let facts = self.case.target;
        let ran = |name: &&String| {
            let mut units = facts.timers.iter().chain(&facts.units).flatten();
            units.any(|unit| unit.name == **name && unit.active.or(unit.enabled) == Some(true))
        };
        names.iter().filter(ran).cloned().collect()
    }
}
