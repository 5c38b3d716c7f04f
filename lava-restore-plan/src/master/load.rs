//! The database, what it could drive, and the files.

use super::*;

impl Master<'_> {
    pub(super) fn database(&mut self) {
        let settings = settings_held(self.draft.case.backup());
        if !settings.is_empty() {
            let argv = self.draft.from.extract(&settings, &[], true);
            let step = self.draft.push(
                Phase::Database,
                "settings",
                8,
                "Bring back the database's password and the secret key",
                "The restored database's role has the password of these files, so \
                 they come before it and not with the rest of the configuration \
                 (C7).",
                Action::Extract {
                    from: self.draft.from.clone(),
                    paths: settings,
                    exclude: vec![],
                },
            );
            step.touch(Danger::Replaces, &[Touch::Config]);
            step.secrets = words(&["database password", "secret key"]);
            step.post(gate(
                "equal",
                argv,
                0,
                None,
                "A password that does not fit locks LAVA out.",
            ));
        }
        let still = self.draft.still();
        let compare = self.draft.from.database("compare");
        let migrations = self.migrations();
        let step = self.draft.push(
            Phase::Database,
            "load",
            8,
            "Build the backup's database and swap it in",
            "It is built beside the one that is there, every table is compared, \
             then both are renamed: loading over the installer's database exits \
             0 and brings no lab, and the old one is kept (R101, R102, C10; \
             measured).",
            Action::RestoreDatabase {
                from: self.draft.from.clone(),
                replace_data: self.draft.case.options.replace_data,
            },
        );
        step.touch(Danger::Replaces, &[Touch::Database]);
        step.secrets = words(&["database password"]);
        still.into_iter().for_each(|gate| step.pre(gate));
        step.post(gate(
            "equal",
            compare,
            0,
            None,
            "Every table has the dump's rows, by their digests.",
        ));
        step.post(migrations);
    }

    pub(super) fn maintenance(&mut self) {
        self.end_jobs();
        self.maintain_devices();
        self.forget_workers();
        self.decide_queue();
        self.next_job_id();
    }

    fn end_jobs(&mut self) {
        let active = self.dump.and_then(|dump| dump.active_jobs.as_ref());
        let active = active.into_iter().flatten();
        let jobs: Vec<u64> = active
            .filter(|job| is_active(job.state))
            .map(|job| job.id)
            .collect();
        let (still, none_active) = (self.draft.still(), self.no_active_jobs());
        const TITLE: &str = "End the jobs that were running";
        let (title, why, action) = if jobs.is_empty() {
            (
                "No job is between queue and end",
                "A worker runs again each job that the database calls running and \
                 it does not know (R119; measured).",
                Action::Check,
            )
        } else if self.draft.release.jobs_fail == Command::Works {
            (
                TITLE,
                "A worker runs again each job that the database calls running and \
                 it does not know. The helper with force prints such jobs and saves \
                 nothing before 2023.10, and never ends scheduled ones, so each is \
                 ended by itself. Their submitters' mail and callbacks go out now \
                 unless this host can't reach them (R119, C1, C5; measured).",
                Action::FailJobs { jobs },
            )
        } else {
            (
                TITLE,
                "No command of this release ends a job without its worker, so their rows are \
                 changed; nobody is told (R119, C5; from LAVA's sources, not measured).",
                Action::Change {
                    on: self.on.clone(),
                    statement: Statement::EndJobs(self.on.encoding),
                },
            )
        };
        let acts = action != Action::Check;
        let step = self
            .draft
            .push(Phase::Maintenance, "jobs", 9, title, why, action);
        if acts {
            step.touch(Danger::ReachesOut, &[Touch::Database, Touch::Jobs]);
        }
        still.into_iter().for_each(|gate| step.pre(gate));
        step.post(none_active);
    }

    fn maintain_devices(&mut self) {
        let release = self.draft.release;
        let action = if release.encoding == Encoding::Status {
            Action::Change {
                on: self.on.clone(),
                statement: Statement::OfflineDevices,
            }
        } else if release.maintenance == Command::Works {
            Action::MaintainAllDevices
        } else {
            let devices = self.dump.and_then(|dump| dump.devices_by_health.as_ref());
            let devices = devices.into_iter().flatten();
            let awake = devices.filter(|(health, _)| health.takes_jobs());
            Action::MaintainDevices {
                devices: awake.flat_map(|(_, names)| names.clone()).collect(),
            }
        };
        let gates = self.devices_gates();
        let step = self.draft.push(
            Phase::Maintenance,
            "devices",
            9,
            "Put every device into maintenance",
            "No device may take a job before its lab was looked at. The \
             command's exit status proves nothing; its effect is counted, and \
             so is that there are devices at all (R104-R108, C2, C3).",
            action,
        );
        step.touch(Danger::Replaces, &[Touch::Database, Touch::Devices]);
        for gate in gates {
            step.post(gate);
        }
    }

    /// A worker that was online when the backup was made would count as seen.
    fn forget_workers(&mut self) {
        if self.on.encoding == Encoding::Status {
            return; // there is no such state yet
        }
        let step = self.draft.push(
            Phase::Maintenance,
            "workers",
            9,
            "Call every worker offline until it is heard of",
            "The database says of each worker what was so when the backup was made, and a young \
             backup calls one online that is not there any more (R131; measured: a gate passed \
             by it).",
            Action::Change {
                on: self.on.clone(),
                statement: Statement::WorkersOffline,
            },
        );
        step.touch(Danger::Replaces, &[Touch::Database]);
    }

    fn decide_queue(&mut self) {
        let queued = self
            .dump
            .and_then(Dump::queued)
            .filter(|queued| *queued > 0);
        let Some(queued) = queued.filter(|_| !self.draft.is_alone()) else {
            return;
        };
        let title = format!("Decide on {queued} queued jobs");
        if self.draft.release.jobs_fail != Command::Works {
            self.draft.confirm(
                Phase::Maintenance,
                "queue",
                9,
                &title,
                "They start as soon as their devices are good again, and no command of this \
                 release ends a job (R83, C5).",
                "The queued jobs may run, or each is cancelled on its page when LAVA runs and \
                 before a device is good.",
            );
            return;
        }
        self.draft.push(
            Phase::Maintenance,
            "queue",
            9,
            &title,
            "keep: they start as soon as their devices are good again. cancel: \
             end each of the ids shown with `lava-server manage jobs fail ID` \
             before you answer; the queue is looked at then (R83, C5).",
            Action::DecideQueue {
                on: self.on.clone(),
            },
        );
    }

    fn next_job_id(&mut self) {
        let Some(id) = self.draft.case.options.next_job_id else {
            return;
        };
        let higher = self.on.ask(&Query::NextJobIdIsAtLeast(id));
        let step = self.draft.push(
            Phase::Maintenance,
            "next_job_id",
            9,
            &format!("The next job has an id of {id} or more"),
            "Ids that were given after the backup would be given again, to other jobs, and \
             whoever keeps results by id would mix them up (R27).",
            Action::Change {
                on: self.on.clone(),
                statement: Statement::NextJobId(id),
            },
        );
        step.touch(Danger::Replaces, &[Touch::Database]);
        step.post(gate(
            "next",
            higher,
            0,
            Some("t".to_owned()),
            "A lower id is one that was given before.",
        ));
    }

    pub(super) fn config(&mut self) {
        if self.draft.is_named(names::LOGS_ELSEWHERE) {
            self.draft.confirm(
                Phase::Config,
                "logs_elsewhere",
                10,
                "See to the log service",
                "LAVA shows a job without its log and reports no error (measured).",
                "The text of the jobs' logs is in another service, as the findings \
                 say. It is restored there, or its loss is accepted.",
            );
        }
        self.guard();
        let exclude = self.excluded();
        let has_server = self.dump.is_some()
            && self.draft.case.backup().holds(&format!("{SERVER_FILES}/"))
            && !exclude.iter().any(|path| path == SERVER_FILES);
        let (sections, why): (&[&str], _) = if self.dump.is_some() {
            (
                &["config", "data", "logs"],
                "Device dictionaries and job output are not in the database. The \
                 link that opens LAVA's site stays out until the end (R109-R113).",
            )
        } else {
            (
                &["config"],
                "The new lab is set up like the old one. Its database, its password and its \
                 secret key are its own, and the link that opens LAVA's site stays out until the \
                 end (R2).",
            )
        };
        let title = "Bring back configuration, job output and logs";
        let title = if self.dump.is_some() {
            title
        } else {
            "Bring over the configuration"
        };
        if let Some(step) = self.draft.files((sections, exclude), 10, title, why) {
            step.post(closed());
        }
        if has_server {
            self.restart_server();
        }
        self.other_sites();
        if self
            .draft
            .stopped
            .iter()
            .any(|unit| unit == self.draft.release.worker_unit)
        {
            self.draft.forget_jobs(10);
            self.draft.give_identity(10);
        }
    }

    /// What a server reads when it starts may be made for a larger machine, or for other disks.
    fn restart_server(&mut self) {
        let there = Gate {
            id: "server".to_owned(),
            patience: 60,
            why: "The server that starts at the next boot has the restored database.".to_owned(),
            ..self.migrations()
        };
        let step = self.draft.push(
            Phase::Config,
            "server",
            10,
            "Start PostgreSQL with its restored configuration",
            "It is read when the server starts. One that can't start with it, or starts on another \
             directory, would be found by the next boot, when users are back; systemctl exits 0 \
             all the same (R38, C9; measured).",
            Action::RestartServer,
        );
        step.touch(Danger::Interrupts, &[Touch::Services]);
        step.post(there);
    }

    /// The restored configuration may hold other ways to LAVA than its usual site.
    fn guard(&mut self) {
        let step = self.draft.push(
            Phase::Config,
            "guard",
            10,
            "Close every site of apache's to all but workers",
            "The backup's apache may have served LAVA in more ways than one, as by a site for \
             HTTPS, and each of them is back with its files and open after the next reload or \
             reboot. This closes whatever is served until users are let in (R75, R81).",
            Action::GuardSites {
                program: self.draft.case.options.program.clone(),
            },
        );
        step.touch(Danger::None, &[Touch::Network]);
        step.post(gate(
            "closed",
            words(&["test", "-e", GUARD_LINK]),
            0,
            None,
            "Users and their programs must stay out.",
        ));
    }

    /// Sites that the backup's apache did not serve may stand in front of LAVA's.
    fn other_sites(&mut self) {
        let link = |site: &str| format!("/etc/apache2/sites-enabled/{site}.conf");
        let backup = self.draft.case.backup();
        if self.site().is_none() {
            return;
        }
        let enabled = self.draft.case.target().apache.sites.clone();
        let mut sites = enabled.unwrap_or_default();
        if self.draft.case.lacks_lava() {
            sites.push(DEFAULT_SITE.to_owned());
        }
        sites.sort();
        sites.dedup();
        sites.retain(|site| site != SITE && !backup.holds(&format!("config{}", link(site))));
        for (number, site) in (1..).zip(sites) {
            let gone = words(&["test", "!", "-e", &link(&site)]);
            let step = self.draft.push(
                Phase::Config,
                &format!("other_site_{number}"),
                10,
                &format!("Take the site {site} out of apache"),
                "The backup's apache did not serve it, and the first of the sites answers for all \
                 names that no other has: it would stand in front of LAVA (R58; measured with \
                 Debian's default site).",
                Action::DisableSite { site },
            );
            step.touch(Danger::Replaces, &[Touch::Network]);
            step.post(gate(
                "gone",
                gone,
                0,
                None,
                "It would be served in LAVA's place.",
            ));
        }
    }

    fn excluded(&self) -> Vec<String> {
        let backup = self.draft.case.backup();
        let mut exclude = vec![format!("config{SITE_LINK}")];
        exclude.extend(self.draft.identity());
        let major = |facts: &Facts| facts.postgresql.as_ref().map(|server| server.major);
        let there = major(self.draft.case.target());
        // Where there is no server yet, the backup's packages bring its own.
        let other_major = there.is_some() && there != major(&backup.facts);
        if other_major || self.dump.is_none() {
            exclude.extend(held(backup, &[SERVER_FILES]));
        }
        if self.dump.is_none() {
            exclude.extend(held(backup, &OWN_SETTINGS));
            // Or its worker would go to the lab that the backup is of, by the name of that one's.
            exclude.extend(self.draft.case.worker_secrets());
        }
        exclude.sort();
        exclude
    }
}
