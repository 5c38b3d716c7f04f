//! After the load: LAVA runs, is looked at, and users come back.

use super::*;

impl Master<'_> {
    pub(super) fn start(&mut self) {
        let step = self.push(
            Phase::Start,
            "safe",
            11,
            "Nothing in the database can drive a device",
            "Asked once more before anything starts (R118, R119).",
            Action::Check,
        );
        let id = step.id.clone();
        for gate in self.safety_gates() {
            self.steps
                .iter_mut()
                .filter(|step| step.id == id)
                .for_each(|step| step.post(gate.clone()));
        }
        let units = self.stopped.clone();
        let step = self.push(
            Phase::Start,
            "release",
            11,
            "Allow LAVA's services to start",
            "The restored configuration may hold changed units, so systemd \
             reads them again (R114).",
            Action::ReleaseUnits { units },
        );
        step.touch(Danger::None, &[Touch::Services]);
        let started = started_units(self.case, self.release, &self.stopped);
        let (gunicorn, others): (Vec<_>, Vec<_>) =
            started.into_iter().partition(|unit| unit == GUNICORN);
        if !others.is_empty() {
            let gate = active(&others);
            let step = self.push(
                Phase::Start,
                "services",
                11,
                "Start the services behind the site",
                "Those that ran on the backup's host (R114).",
                Action::StartUnits { units: others },
            );
            step.touch(Danger::ReachesOut, &[Touch::Services]);
            step.post(gate);
        }
        if !gunicorn.is_empty() {
            let mut gates = vec![active(&gunicorn)];
            gates.extend(self.safety_gates());
            let step = self.push(
                Phase::Start,
                "gunicorn",
                11,
                "Start gunicorn, last of all",
                "It lets workers in, and hands them every job that is scheduled or \
                 running (R115, C6).",
                Action::StartUnits { units: gunicorn },
            );
            step.touch(Danger::ReachesOut, &[Touch::Services]);
            step.pre.push(closed().named(&step.id));
            for gate in gates {
                step.post(gate);
            }
        }
    }

    pub(super) fn verify(&mut self) {
        let started = started_units(self.case, self.release, &self.stopped);
        let names = self.critical().into_iter();
        let ours: Vec<String> = names.filter(|name| rule::is_lava(name)).collect();
        self.unhold(Phase::Verify, 12, ours.clone());
        let step = self.push(
            Phase::Verify,
            "deploy",
            12,
            "The restored system works",
            "Now with the restored configuration: each device's dictionary is \
             read, each setting's owner and mode is looked at (R117, C8).",
            Action::Check,
        );
        if !started.is_empty() {
            step.post(active(&started));
        }
        step.post(check_deploy());
        self.hold(Phase::Verify, 12, ours);
        self.push(
            Phase::Verify,
            "logs",
            12,
            "Read what the services logged",
            "Some faults are only there; look into /var/log/lava-server too \
             (R120).",
            Action::ReviewLogs { units: started },
        );
        let ask = "Devices on this host, if any, were put to health UNKNOWN a few at \
         a time, and their health checks passed; or there is none to try \
         before the workers are back.";
        self.push(
            Phase::Verify,
            "health_checks",
            13,
            "Try some devices",
            "The restore is complete when workers are back and health checks \
             pass (R121-R123).",
            Action::Confirm {
                ask: ask.to_owned(),
            },
        )
        .touch(Danger::ReachesOut, &[Touch::Devices]);
    }

    pub(super) fn reopen(&mut self) {
        let ask = "Workers are restored or known to be untouched, health checks pass, \
         and users may come back.";
        self.push(
            Phase::Reopen,
            "confirm",
            14,
            "Decide to reopen",
            "After this the lab takes jobs (R124).",
            Action::Confirm {
                ask: ask.to_owned(),
            },
        );
        let served = self.case.backup.holds_config(&format!("config{SITE_LINK}"));
        if served || self.case.target.apache.lava_site_enabled == Some(true) {
            let step = self.push(
                Phase::Reopen,
                "site",
                14,
                "Put LAVA's site back into apache",
                "The last gate is open from here on (R124).",
                Action::EnableSite {
                    site: SITE.to_owned(),
                },
            );
            step.touch(Danger::ReachesOut, &[Touch::Network]);
            step.post(gate(
                "open",
                words(&["test", "-e", SITE_LINK]),
                0,
                None,
                "Users find the lab.",
            ));
        }
        self.release_holds();
        let units = self.unattended();
        if !units.is_empty() {
            let step = self.push(
                Phase::Reopen,
                "timers",
                14,
                "Allow updates again",
                "The lab is open again, and its host is looked after as before.",
                Action::ReleaseUnits {
                    units: units.clone(),
                },
            );
            step.touch(Danger::None, &[Touch::Services]);
            let running = self.running(&units);
            if !running.is_empty() {
                let gate = active(&running);
                let step = self.push(
                    Phase::Reopen,
                    "timers_start",
                    14,
                    "Start them as they were",
                    "Security updates of the rest go on.",
                    Action::StartUnits { units: running },
                );
                step.touch(Danger::None, &[Touch::Services]);
                step.post(gate);
            }
        }
    }
}
