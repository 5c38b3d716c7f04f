//! The steps that bring a master back, LAVA 2020.09 and later.

use crate::Backup;
use crate::backup::Dump;
use crate::facts::{DatabaseState, Facts, Unit};
use crate::finding::Finding;
use crate::release::{Command, JobState, Release};
use crate::rule::{self, Case};
use crate::step::{
    Action, Connection, Danger, Expect, Gate, Phase, Reference, Resume, Step, Touch, with, words,
};

/// Ids of steps that findings name.
pub(crate) mod ids {
    pub(crate) const ACCEPT: &str = "master.isolate.accept";
    pub(crate) const REPLACE: &str = "master.isolate.replace";
    pub(crate) const PACKAGES: &str = "master.install.packages";
    pub(crate) const LOGS_ELSEWHERE: &str = "master.config.logs_elsewhere";
}

const SITE: &str = "lava-server";
const SITE_LINK: &str = "/etc/apache2/sites-enabled/lava-server.conf";
const GUNICORN: &str = "lava-server-gunicorn.service";

/// What changes packages by itself.
pub(crate) const UNATTENDED: [&str; 3] = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "unattended-upgrades.service",
];

const SETTINGS: [&str; 5] = [
    "config/etc/lava-server/settings.d",
    "config/etc/lava-server/instance.conf",
    "config/etc/lava-server/secret_key.conf",
    "config/etc/lava-server/settings.conf",
    "config/etc/lava-server/settings.yaml",
];

/// What makes a host that host; another host keeps its own.
const IDENTITY: [&str; 7] = [
    "config/etc/fstab",
    "config/etc/hostname",
    "config/etc/hosts",
    "config/etc/machine-id",
    "config/etc/network",
    "config/etc/resolv.conf",
    "config/etc/systemd/network",
];

const ACTIVE_JOBS: &str =
    "SELECT count(*) FROM lava_scheduler_app_testjob WHERE state IN (1, 2, 3, 4)";
const DEVICES_THAT_TAKE_JOBS: &str =
    "SELECT count(*) FROM lava_scheduler_app_device WHERE health NOT IN (4, 5)";
const DEVICES: &str = "SELECT count(*) FROM lava_scheduler_app_device";
const MIGRATIONS: &str = "SELECT count(*) FROM django_migrations";

/// The settings files that a backup holds, of those with the database's password and the secret key.
pub(crate) fn settings_held(backup: &Backup) -> Vec<String> {
    let held = |path: &&&str| backup.holds_config(path) || backup.holds_config(&format!("{path}/"));
    SETTINGS
        .iter()
        .filter(held)
        .map(|path| (*path).to_owned())
        .collect()
}

/// The database's name on the target.
pub(crate) fn database_name(case: &Case<'_>) -> Option<String> {
    let dumped = case.backup.database.as_ref().map(|dump| dump.name.clone());
    case.options.database.clone().or(dumped)
}

/// The port in the settings that are restored, when it is not the usual one.
pub(crate) fn port(case: &Case<'_>) -> Option<u16> {
    match &case.backup.facts.database {
        DatabaseState::Present(database) => database.port.filter(|port| *port != 5432),
        _ => None,
    }
}

/// Whether the jobs that a dump lists are as many as it counts.
pub(crate) fn active_jobs_agree(dump: &Dump) -> bool {
    let counted = dump
        .jobs_by_state
        .iter()
        .flatten()
        .filter(|(state, _)| is_active(**state));
    let listed = dump
        .active_jobs
        .iter()
        .flatten()
        .filter(|job| is_active(job.state));
    counted
        .map(|(_, count)| *count)
        .fold(0, u64::saturating_add)
        == listed.count() as u64
}

fn is_active(state: JobState) -> bool {
    !matches!(state, JobState::Submitted | JobState::Finished)
}

/// The steps, for a case that no rule refused.
pub(crate) fn steps(case: &Case<'_>, findings: &[Finding]) -> Vec<Step> {
    let release = case
        .backup
        .facts
        .lava_version()
        .and_then(|version| Release::of(&version));
    let (Some(release), Some(dump)) = (release, &case.backup.database) else {
        return vec![];
    };
    let mut master = Master {
        case,
        release,
        dump,
        named: findings
            .iter()
            .flat_map(|finding| finding.steps.iter().map(String::as_str))
            .collect(),
        from: Reference {
            program: case.options.program.clone(),
            store: case.options.store.clone(),
            backup: case.backup.id.clone(),
        },
        on: Connection {
            database: database_name(case).unwrap_or_default(),
            port: port(case),
        },
        stopped: stopped_units(case, release),
        steps: Vec::new(),
    };
    master.isolate();
    master.base();
    master.install();
    master.smoke_and_quiesce();
    master.database();
    master.maintenance();
    master.config();
    master.start();
    master.verify();
    master.reopen();
    master.steps
}

/// LAVA's units that the target has, or will have once the backup's packages are installed.
fn stopped_units(case: &Case<'_>, release: &Release) -> Vec<String> {
    let of = |facts: &Facts| -> Vec<String> {
        let units = facts.units.iter().flatten();
        let ours = |unit: &&Unit| release.stops(&unit.name) && !unit.name.ends_with("@.service");
        units.filter(ours).map(|unit| unit.name.clone()).collect()
    };
    let mut units = of(case.target);
    if case.target.lava_is_absent() {
        units.extend(of(&case.backup.facts));
        units.extend(release.master_units.iter().map(|unit| (*unit).to_owned()));
    }
    units.sort_by_key(|unit| (release.start_rank(unit), unit.clone()));
    units.dedup();
    units
}

/// Of the units that were stopped, those that ran on the backup's host.
fn started_units(case: &Case<'_>, release: &Release, stopped: &[String]) -> Vec<String> {
    let wanted = |unit: &&String| match &case.backup.facts.units {
        Some(units) => units.iter().any(|known| {
            known.name == **unit && (known.enabled == Some(true) || known.active == Some(true))
        }),
        None => !release.optional_units.contains(&unit.as_str()),
    };
    stopped.iter().filter(wanted).cloned().collect()
}

struct Master<'a> {
    case: &'a Case<'a>,
    release: &'a Release,
    dump: &'a Dump,
    /// The steps that findings count on.
    named: Vec<&'a str>,
    from: Reference,
    on: Connection,
    stopped: Vec<String>,
    steps: Vec<Step>,
}

impl Master<'_> {
    /// Adds a step after all others; LAVA's manual wants its steps strictly in order (R72).
    fn push(
        &mut self,
        phase: Phase,
        name: &str,
        manual_step: u8,
        title: &str,
        why: &str,
        action: Action,
    ) -> &mut Step {
        let resume = if action.choices().is_some() {
            Resume::Ask
        } else {
            Resume::Again
        };
        let needs = self
            .steps
            .last()
            .map(|step| step.id.clone())
            .into_iter()
            .collect();
        self.steps.push(Step {
            id: format!("master.{}.{name}", phase.name()),
            phase,
            host: "master".to_owned(),
            title: title.to_owned(),
            why: why.to_owned(),
            danger: Danger::None,
            argv: action.argv(),
            action,
            needs,
            pre: Vec::new(),
            post: Vec::new(),
            resume,
            touches: Vec::new(),
            secrets: Vec::new(),
            manual_step,
        });
        let last = self.steps.len() - 1;
        &mut self.steps[last]
    }

    fn isolate(&mut self) {
        let created = one_line(&self.case.backup.created);
        let ask = format!(
            "The maintenance window is declared. Programs that submit jobs are stopped. Whatever \
             happened in the lab after {created} is lost, and the users know."
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
            let ask = "This backup lacks something, as the findings say, and that is accepted.";
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
            let ask = "The lab that is on this host may be replaced. Its database is kept under another name.";
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
            let step = self.push(Phase::Isolate, "site", 1, "Take LAVA's site out of apache",
                "Nobody may reach LAVA before its database is safe. apache itself stays up, for the smoke \
                 test calls it an error when it is down (R75, R79; measured).",
                Action::DisableSite { site: SITE.to_owned() });
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

    fn base(&mut self) {
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
                "An upgrade of lava-server in the middle of a restore migrates the database (R34).",
                Action::StopUnits { units: unattended },
            );
            step.touch(Danger::None, &[Touch::Services, Touch::Packages]);
            step.post(gate);
        }
    }

    fn unattended(&self) -> Vec<String> {
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

    fn install(&mut self) {
        let versions = rule::accepted_versions(self.case);
        if self.named.contains(&ids::PACKAGES) {
            let list: Vec<String> = versions
                .iter()
                .map(|(name, version)| format!("{name}={version}"))
                .collect();
            let ask = format!(
                "These packages are installed in exactly these versions, from the backup or its suite, \
                 while the target holds no lab: {}",
                list.join(" ")
            );
            self.push(Phase::Install, "packages", 5, "Install the backup's packages",
                "The database fits exactly these. Afterwards nothing may configure them again (R88-R90, C11).",
                Action::Confirm { ask }).touch(Danger::None, &[Touch::Packages]);
        }
        let mut held: Vec<String> = versions.iter().map(|(name, _)| name.clone()).collect();
        held.extend(rule::critical_packages(self.case.target).map(|package| package.name.clone()));
        held.sort();
        held.dedup();
        let step = self.push(Phase::Install, "exact", 5, "The packages are those the database fits",
            "Database and packages must match precisely, and no check of LAVA's sees it when they do \
             not (R30, R36, R52).", Action::Check);
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
        let step = self.push(Phase::Install, "hold", 5, "Hold them",
            "From the load on, nothing may change or configure them; the hold stays after the restore (R34).",
            Action::HoldPackages { packages: held.clone() });
        step.touch(Danger::None, &[Touch::Packages]);
        for name in &held {
            let argv = words(&["dpkg-query", "-W", "-f=${db:Status-Want}", name]);
            step.post(gate(
                name,
                argv,
                0,
                Some("hold".to_owned()),
                "Nothing may change it.",
            ));
        }
    }

    fn smoke_and_quiesce(&mut self) {
        let step = self.push(Phase::Smoke, "deploy", 6, "The empty system works",
            "A fault found now is not the backup's. It looks at the services too, so they must be up \
             (R92, C8; measured).", Action::Check);
        step.post(check_deploy());
        let units = self.stopped.clone();
        let gate = self.still();
        let step = self.push(Phase::Quiesce, "stop", 7, "Stop LAVA",
            "gunicorn is what workers talk to since 2020.09, so it stops as well; the coordinator knows no \
             database and stays (R93-R100, C6).", Action::StopUnits { units });
        step.touch(Danger::Interrupts, &[Touch::Services]);
        step.post(gate);
    }

    fn database(&mut self) {
        let settings = settings_held(self.case.backup);
        if !settings.is_empty() {
            let argv = self.from.extract(&settings, &[], true);
            let step = self.push(Phase::Database, "settings", 8, "Bring back the database's password and the secret key",
                "The restored database's role has the password of these files, so they come before it and \
                 not with the rest of the configuration (C7).",
                Action::Extract { from: self.from.clone(), paths: settings, exclude: vec![] });
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
        let step = self.push(Phase::Database, "load", 8, "Build the backup's database and swap it in",
            "It is built beside the one that is there, every table is compared, then both are renamed: \
             loading over the installer's database exits 0 and brings no lab, and the old one is kept \
             (R101, R102, C10; measured).",
            Action::RestoreDatabase { from: self.from.clone() });
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

    fn maintenance(&mut self) {
        let jobs = self.dump.active_jobs.iter().flatten();
        let jobs: Vec<u64> = jobs
            .filter(|job| is_active(job.state))
            .map(|job| job.id)
            .collect();
        let (still, none_active) = (self.still(), self.no_active_jobs());
        if jobs.is_empty() {
            let step = self.push(Phase::Maintenance, "jobs", 9, "No job is between queue and end",
                "A worker runs again each job that the database calls running and it does not know (R119; measured).",
                Action::Check);
            step.pre.push(still.named(&step.id));
            step.post(none_active);
        } else {
            let step = self.push(Phase::Maintenance, "jobs", 9, "End the jobs that were running",
                "A worker runs again each job that the database calls running and it does not know. The \
                 helper with force prints such jobs and saves nothing before 2023.10, and never ends \
                 scheduled ones, so each is ended by itself. Their submitters' mail and callbacks go out \
                 now unless this host can't reach them (R119, C1, C5; measured).",
                Action::FailJobs { jobs });
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
        let step = self.push(Phase::Maintenance, "devices", 9, "Put every device into maintenance",
            "No device may take a job before its lab was looked at. The command's exit status proves \
             nothing; its effect is counted, and so is that there are devices at all (R104-R108, C2, C3).",
            action);
        step.touch(Danger::Replaces, &[Touch::Database, Touch::Devices]);
        for gate in gates {
            step.post(gate);
        }
        if let Some(queued) = self.dump.queued().filter(|queued| *queued > 0) {
            let title = format!("Decide on {queued} queued jobs");
            self.push(Phase::Maintenance, "queue", 9, &title,
                "keep: they start as soon as their devices are good again. cancel: end each of the ids shown \
                 with `lava-server manage jobs fail ID` before you answer (R83, C5).",
                Action::DecideQueue { on: self.on.clone() });
        }
    }

    fn config(&mut self) {
        if self.named.contains(&ids::LOGS_ELSEWHERE) {
            let ask = "The text of the jobs' logs is in another service, as the findings say. It is restored \
                       there, or its loss is accepted.";
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
        let step = self.push(Phase::Config, "files", 10, "Bring back configuration, job output and logs",
            "Device dictionaries and job output are not in the database. The link that opens LAVA's site \
             stays out until the end (R109-R113).",
            Action::Extract { from: self.from.clone(), paths, exclude });
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

    fn excluded(&self) -> Vec<String> {
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

    fn start(&mut self) {
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
        let step = self.push(Phase::Start, "release", 11, "Allow LAVA's services to start",
            "The restored configuration may hold changed units, so systemd reads them again (R114).",
            Action::ReleaseUnits { units });
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
            let step = self.push(Phase::Start, "gunicorn", 11, "Start gunicorn, last of all",
                "It lets workers in, and hands them every job that is scheduled or running (R115, C6).",
                Action::StartUnits { units: gunicorn });
            step.touch(Danger::ReachesOut, &[Touch::Services]);
            step.pre.push(closed().named(&step.id));
            for gate in gates {
                step.post(gate);
            }
        }
    }

    fn verify(&mut self) {
        let started = started_units(self.case, self.release, &self.stopped);
        let step = self.push(Phase::Verify, "deploy", 12, "The restored system works",
            "Now with the restored configuration: each device's dictionary is read, each setting's owner \
             and mode is looked at (R117, C8).", Action::Check);
        if !started.is_empty() {
            step.post(active(&started));
        }
        step.post(check_deploy());
        self.push(
            Phase::Verify,
            "logs",
            12,
            "Read what the services logged",
            "Some faults are only there; look into /var/log/lava-server too (R120).",
            Action::ReviewLogs { units: started },
        );
        let ask = "Devices on this host, if any, were put to health UNKNOWN a few at a time, and their health \
                   checks passed; or there is none to try before the workers are back.";
        self.push(
            Phase::Verify,
            "health_checks",
            13,
            "Try some devices",
            "The restore is complete when workers are back and health checks pass (R121-R123).",
            Action::Confirm {
                ask: ask.to_owned(),
            },
        )
        .touch(Danger::ReachesOut, &[Touch::Devices]);
    }

    fn reopen(&mut self) {
        let ask = "Workers are restored or known to be untouched, health checks pass, and users may come back.";
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
        let units = self.unattended();
        if !units.is_empty() {
            let step = self.push(Phase::Reopen, "timers", 14, "Allow updates again",
                "LAVA, Django and PostgreSQL stay on hold: releasing them is a decision of its own, after a \
                 new backup (R28, R34).", Action::ReleaseUnits { units: units.clone() });
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

    /// Of these units, those that ran on the target when its facts were gathered.
    fn running(&self, names: &[String]) -> Vec<String> {
        let facts = self.case.target;
        let ran = |name: &&String| {
            let mut units = facts.timers.iter().chain(&facts.units).flatten();
            units.any(|unit| unit.name == **name && unit.active.or(unit.enabled) == Some(true))
        };
        names.iter().filter(ran).cloned().collect()
    }

    fn still(&self) -> Gate {
        inactive(
            &self.stopped,
            "A service that runs now sees a database in the making.",
        )
    }

    fn no_active_jobs(&self) -> Gate {
        gate(
            "jobs",
            self.on.ask(ACTIVE_JOBS),
            0,
            Some("0".to_owned()),
            "Each of them can start on a device by itself.",
        )
    }

    fn devices_gates(&self) -> [Gate; 2] {
        let total = self.dump.devices().unwrap_or(0).to_string();
        [
            gate(
                "health",
                self.on.ask(DEVICES_THAT_TAKE_JOBS),
                0,
                Some("0".to_owned()),
                "Such a device takes a job as soon as the scheduler runs.",
            ),
            gate(
                "total",
                self.on.ask(DEVICES),
                0,
                Some(total),
                "No devices at all would pass as well.",
            ),
        ]
    }

    fn safety_gates(&self) -> Vec<Gate> {
        let mut gates = vec![self.no_active_jobs()];
        gates.extend(self.devices_gates());
        gates
    }
}

impl Step {
    fn touch(&mut self, danger: Danger, touches: &[Touch]) {
        self.danger = danger;
        self.touches = touches.to_vec();
    }

    fn post(&mut self, gate: Gate) {
        self.post.push(gate.named(&self.id));
    }
}

impl Gate {
    /// Gives it its whole id.
    fn named(self, step: &str) -> Self {
        Self {
            id: format!("{step}:{}", self.id),
            ..self
        }
    }
}

fn gate(name: &str, argv: Vec<String>, exit: u8, stdout: Option<String>, why: &str) -> Gate {
    Gate {
        id: name.to_owned(),
        argv,
        expect: Expect { exit, stdout },
        why: why.to_owned(),
    }
}

fn closed() -> Gate {
    gate(
        "closed",
        words(&["test", "!", "-e", SITE_LINK]),
        0,
        None,
        "Users and their programs must stay out.",
    )
}

fn check_deploy() -> Gate {
    let argv = words(&["lava-server", "manage", "check", "--deploy"]);
    gate(
        "deploy",
        argv,
        0,
        None,
        "It names what is wrong with services, settings and device dictionaries.",
    )
}

/// systemd prints a line for each unit, and exits 3 only when none of them is active.
fn inactive(units: &[String], why: &str) -> Gate {
    let expected = vec!["inactive"; units.len()].join("\n");
    gate(
        "still",
        with(&["systemctl", "is-active"], units),
        3,
        Some(expected),
        why,
    )
}

fn active(units: &[String]) -> Gate {
    let expected = vec!["active"; units.len()].join("\n");
    gate(
        "active",
        with(&["systemctl", "is-active"], units),
        0,
        Some(expected),
        "A service that does not stay up is the first thing to look at.",
    )
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(200)
        .collect()
}
