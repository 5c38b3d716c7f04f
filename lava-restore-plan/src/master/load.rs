//! The database, what it could drive, and the files.

use super::*;

impl Master<'_> {
    pub(super) fn database(&mut self) {
        let settings = settings_held(self.case.backup);
        if !settings.is_empty() {
            let argv = self.from.extract(&settings, &[], true);
            let step = self.push(
                Phase::Database,
                "settings",
                8,
                "Bring back the database's password and the secret key",
                "The restored database's role has the password of these files, so \
                 they come before it and not with the rest of the configuration \
                 (C7).",
                Action::Extract {
                    from: self.from.clone(),
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
        let still = self.still();
        let compare = self.from.database("compare");
        let migrations = self.dump.migrations.as_ref().map_or(0, Vec::len);
        let counted = self.on.ask(MIGRATIONS);
        let step = self.push(
            Phase::Database,
            "load",
            8,
            "Build the backup's database and swap it in",
            "It is built beside the one that is there, every table is compared, \
             then both are renamed: loading over the installer's database exits \
             0 and brings no lab, and the old one is kept (R101, R102, C10; \
             measured).",
            Action::RestoreDatabase {
                from: self.from.clone(),
                replace_data: self.case.options.replace_data,
            },
        );
        step.touch(Danger::Replaces, &[Touch::Database]);
        step.secrets = words(&["database password"]);
        step.pre.push(still.named(&step.id));
        step.post(gate(
            "equal",
            compare,
            0,
            None,
            "Every table has the dump's rows, by their digests.",
        ));
        step.post(gate(
            "migrations",
            counted,
            0,
            Some(migrations.to_string()),
            "Nothing has migrated it.",
        ));
    }

    pub(super) fn maintenance(&mut self) {
        let jobs = self.dump.active_jobs.iter().flatten();
        let jobs: Vec<u64> = jobs
            .filter(|job| is_active(job.state))
            .map(|job| job.id)
            .collect();
        let (still, none_active) = (self.still(), self.no_active_jobs());
        if jobs.is_empty() {
            let step = self.push(
                Phase::Maintenance,
                "jobs",
                9,
                "No job is between queue and end",
                "A worker runs again each job that the database calls running and \
                 it does not know (R119; measured).",
                Action::Check,
            );
            step.pre.push(still.named(&step.id));
            step.post(none_active);
        } else {
            let step = self.push(
                Phase::Maintenance,
                "jobs",
                9,
                "End the jobs that were running",
                "A worker runs again each job that the database calls running and \
                 it does not know. The helper with force prints such jobs and saves \
                 nothing before 2023.10, and never ends scheduled ones, so each is \
                 ended by itself. Their submitters' mail and callbacks go out now \
                 unless this host can't reach them (R119, C1, C5; measured).",
                Action::FailJobs { jobs },
            );
            step.touch(Danger::ReachesOut, &[Touch::Database, Touch::Jobs]);
            step.pre.push(still.named(&step.id));
            step.post(none_active);
        }
        let action = if self.release.maintenance == Command::Works {
            Action::MaintainAllDevices
        } else {
            let devices = self.dump.devices_by_health.iter().flatten();
            let devices = devices.filter(|(health, _)| health.takes_jobs());
            Action::MaintainDevices {
                devices: devices.flat_map(|(_, names)| names.clone()).collect(),
            }
        };
        let gates = self.devices_gates();
        let step = self.push(
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
        if let Some(queued) = self.dump.queued().filter(|queued| *queued > 0) {
            let title = format!("Decide on {queued} queued jobs");
            self.push(
                Phase::Maintenance,
                "queue",
                9,
                &title,
                "keep: they start as soon as their devices are good again. cancel: \
                 end each of the ids shown with `lava-server manage jobs fail ID` \
                 before you answer (R83, C5).",
                Action::DecideQueue {
                    on: self.on.clone(),
                },
            );
        }
    }

    pub(super) fn config(&mut self) {
        if self.named.contains(&ids::LOGS_ELSEWHERE) {
            let ask = "The text of the jobs' logs is in another service, as the findings \
             say. It is restored there, or its loss is accepted.";
            self.push(
                Phase::Config,
                "logs_elsewhere",
                10,
                "See to the log service",
                "LAVA shows a job without its log and reports no error (measured).",
                Action::Confirm {
                    ask: ask.to_owned(),
                },
            );
        }
        let held = |name: &&str| {
            self.case
                .backup
                .sections
                .iter()
                .any(|section| section == name)
        };
        let paths: Vec<String> = ["config", "data", "logs"]
            .iter()
            .filter(|n| held(n))
            .map(|n| (*n).to_owned())
            .collect();
        let exclude = self.excluded();
        let argv = self.from.extract(&paths, &exclude, true);
        let still = self.still();
        let step = self.push(
            Phase::Config,
            "files",
            10,
            "Bring back configuration, job output and logs",
            "Device dictionaries and job output are not in the database. The \
             link that opens LAVA's site stays out until the end (R109-R113).",
            Action::Extract {
                from: self.from.clone(),
                paths,
                exclude,
            },
        );
        step.touch(Danger::Replaces, &[Touch::Config, Touch::Data]);
        step.secrets = words(&["every secret in the backup's configuration"]);
        step.pre.push(still.named(&step.id));
        step.post(gate(
            "equal",
            argv,
            0,
            None,
            "LAVA reports no error for a log that is not there.",
        ));
        step.post(closed());
    }

    pub(super) fn excluded(&self) -> Vec<String> {
        let backup = &self.case.backup;
        let held =
            |path: &str| backup.holds_config(path) || backup.holds_config(&format!("{path}/"));
        let mut exclude = vec![format!("config{SITE_LINK}")];
        let name = |facts: &Facts| facts.hostname.clone();
        if name(self.case.target).is_none() || name(self.case.target) != name(&backup.facts) {
            exclude.extend(
                IDENTITY
                    .iter()
                    .filter(|path| held(path))
                    .map(|path| (*path).to_owned()),
            );
        }
        let major = |facts: &Facts| facts.postgresql.as_ref().map(|server| server.major);
        if major(self.case.target) != major(&backup.facts) && held("config/etc/postgresql") {
            exclude.push("config/etc/postgresql".to_owned());
        }
        exclude.sort();
        exclude
    }
}
