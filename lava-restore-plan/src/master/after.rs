//! After the load: LAVA runs, is looked at, and users come back.

use super::*;

impl Master<'_> {
    pub(super) fn start(&mut self) {
        let mut gates = self.safety_gates();
        // A hold does not keep dpkg itself from anything.
        gates.extend(self.draft.exact_gates());
        gates.extend(self.dump.map(|_| self.migrations()));
        let step = self.draft.push(
            Phase::Start,
            "safe",
            11,
            "Nothing in the database can drive a device, and the code is still its own",
            "Asked once more before anything starts (R34, R118, R119).",
            Action::Check,
        );
        gates.into_iter().for_each(|gate| step.post(gate));
        self.draft.release_units(11);
        let started = self.draft.started();
        let (gunicorn, others): (Vec<_>, Vec<_>) =
            started.into_iter().partition(|unit| unit == GUNICORN);
        if !others.is_empty() {
            let gate = active(&others);
            let step = self.draft.push(
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
            let why = if self.draft.release.gunicorn_serves_workers {
                "It lets workers in, and hands them every job that is scheduled or running (R115, \
                 C6)."
            } else {
                "It lets users in, so all else runs before it (R115, R116)."
            };
            let step = self.draft.push(
                Phase::Start,
                "gunicorn",
                11,
                "Start gunicorn, last of all",
                why,
                Action::StartUnits { units: gunicorn },
            );
            step.touch(Danger::ReachesOut, &[Touch::Services]);
            step.pre(closed());
            for gate in gates {
                step.post(gate);
            }
        }
    }

    pub(super) fn verify(&mut self) {
        let started = self.draft.started();
        let names = self.draft.critical().into_iter();
        let ours: Vec<String> = names.filter(|name| rule::is_lava(name)).collect();
        self.draft.unhold(Phase::Verify, 12, ours);
        let step = self.draft.push(
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
        self.draft.hold(Phase::Verify, 12, rule::is_lava);
        self.draft.review_logs(
            12,
            "Some faults are only there; look into /var/log/lava-server too (R120).",
        );
    }

    /// Workers may come back while users may not: since 2020.09 they come the same way.
    pub(crate) fn admit_workers(&mut self) {
        let program = self.draft.case.options.program.clone();
        let site = self.site();
        let is_usual = site.is_some();
        if self.draft.release.gunicorn_serves_workers {
            let step = self.draft.push(
                Phase::Workers,
                "admit",
                13,
                "Let workers in, and nobody else",
                "Since 2020.09 workers reach LAVA through the same site as users do, so apache \
                 serves it again, closed to all but what workers ask for (R82, R85, R122, C6; \
                 measured).",
                Action::AdmitWorkers { site },
            );
            step.touch(Danger::ReachesOut, &[Touch::Network]);
            if is_usual {
                step.post(admitted(
                    &program,
                    "workers",
                    "Users must stay out until all is well, and workers must come in.",
                ));
            }
        }
        let own = self.draft.case.settled_worker_name().map(str::to_owned);
        let unit = self.draft.release.worker_unit;
        let runs = self.draft.started().iter().any(|started| started == unit);
        if let (Some(own), true, true) = (own, runs, self.knows_itself()) {
            let last = self.draft.steps.last().map(|step| step.id.clone());
            self.sees("own", &own, last);
        }
    }

    /// The site by which LAVA is served; `None` where it was served by another one, which is back
    /// with the files.
    pub(super) fn site(&self) -> Option<String> {
        let case = self.draft.case;
        let served = case.backup().holds(&format!("config{SITE_LINK}"));
        let serves = case.target().apache.lava_site_enabled == Some(true);
        let otherwise = case.backup().holds(&format!("config{SITES}"));
        (served || serves || !otherwise).then(|| SITE.to_owned())
    }

    /// The master's look at a worker that has just been restored.
    pub(crate) fn sees(&mut self, worker: &str, name: &str, after: Option<String>) {
        self.draft.needs = after;
        let title = format!("The master sees the worker {name}");
        const WHY: &str = "A worker that only runs is not a worker that works (R123, R131).";
        if self.on.encoding == Encoding::Status {
            // Up to 2017.12 the database does not say who was heard of.
            let ask = format!("The master's page of workers shows {name} online.");
            self.draft
                .confirm(Phase::Workers, worker, 13, &title, WHY, &ask);
            return;
        }
        let gate = Gate {
            patience: PING,
            ..gate(
                "online",
                self.on.ask(&Query::WorkerOnline(name.to_owned())),
                0,
                Some("1".to_owned()),
                "It answers with the right name, token and version, or the master does not take \
                 it: a wrong token is an error 400 in the worker's log, a wrong name one of 404, \
                 and another version puts it offline.",
            )
        };
        let step = self
            .draft
            .push(Phase::Workers, worker, 13, &title, WHY, Action::Check);
        step.post(gate);
    }

    /// What is done when every worker is back.
    pub(crate) fn reopen(&mut self) {
        self.draft.confirm(
            Phase::Workers,
            "health_checks",
            13,
            "Try some devices",
            "The restore is complete when workers are back and health checks pass (R121-R123).",
            match self.dump {
                Some(_) => {
                    "A few devices at a time were put to health UNKNOWN, and their health checks \
                     passed."
                }
                None => "A worker and a device were added, and its health check passed.",
            },
        );
        self.draft.confirm(
            Phase::Reopen,
            "confirm",
            14,
            "Decide to reopen",
            "After this the lab takes jobs (R124).",
            "Workers are restored or known to be untouched, health checks pass, \
             and users may come back.",
        );
        let workers_are_in = self.draft.release.gunicorn_serves_workers;
        let program = self.draft.case.options.program.clone();
        let site = self.site();
        let is_usual = site.is_some();
        let step = self.draft.push(
            Phase::Reopen,
            "site",
            14,
            "Let users in",
            "The last gate is open from here on (R124).",
            Action::AdmitAll { site },
        );
        step.touch(Danger::ReachesOut, &[Touch::Network]);
        let link = |name, argv| gate(name, argv, 0, None, "Users find the lab.");
        if is_usual {
            step.post(link("open", words(&["test", "-e", SITE_LINK])));
        }
        step.post(link("all", words(&["test", "!", "-e", GUARD_LINK])));
        if workers_are_in && is_usual {
            step.post(admitted(
                &program,
                "all",
                "Users reach LAVA, and not a page of apache's.",
            ));
        }
        self.draft.release_holds(Phase::Reopen, 14);
        self.draft.resume_updates(Phase::Reopen, 14);
    }
}
