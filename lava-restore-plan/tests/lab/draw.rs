//! The documents of a sketch.

use std::collections::BTreeMap;

use lava_restore_plan::facts::{
    ActiveJob, Cluster, Confidence, Database, DatabaseState, Facts, LavaFacts, Package,
    PostgresqlFacts, Role, Unit, WorkerFacts,
};
use lava_restore_plan::release::{DeviceHealth, Encoding, JobState, Release};
use lava_restore_plan::{Backup, Debs, Dump, Host, Intent, LavaVersion, Options};

use super::cases::{Case, DebsHeld, Django, Kind, Odd, Sketch, There, Worker};

/// A release as Debian or LAVA shipped it, and what was around it.
#[derive(Clone, Copy, Debug)]
pub struct Era {
    pub version: &'static str,
    /// Another build of the same release.
    pub rebuilt: &'static str,
    pub older: &'static str,
    pub newer: &'static str,
    suite: &'static str,
    django: [&'static str; 2],
    postgresql: u32,
}

const fn era(
    versions: [&'static str; 4],
    suite: &'static str,
    django: [&'static str; 2],
    postgresql: u32,
) -> Era {
    let [version, rebuilt, older, newer] = versions;
    Era {
        version,
        rebuilt,
        older,
        newer,
        suite,
        django,
        postgresql,
    }
}

#[rustfmt::skip]
pub const ERAS: [Era; 13] = [
    era(["2016.12-2", "2016.12-1~bpo8+1", "2016.12-1", "2017.4-1"], "stretch", ["python-django", "1:1.10.7-2+deb9u9"], 9),
    era(["2017.10-1", "2017.10-1~bpo9+1", "2017.7-1", "2017.12-1"], "stretch", ["python-django", "1:1.10.7-2+deb9u9"], 9),
    era(["2018.1-1", "2018.1-1~bpo9+1", "2017.12-1", "2018.2-1"], "stretch", ["python-django", "1:1.11.29-1"], 9),
    era(["2018.11-1~bpo9+1", "2018.11+1+stretch", "2018.10-1", "2019.01-1"], "stretch", ["python3-django", "1:1.11.29-1"], 9),
    era(["2019.01-5", "2019.01+3+buster", "2018.11-1", "2019.03-1"], "buster", ["python3-django", "1:1.11.29-1+deb10u11"], 11),
    era(["2019.09-1~bpo10+1", "2019.09+3+buster", "2019.06-1", "2019.10-1"], "buster", ["python3-django", "1:1.11.29-1+deb10u11"], 11),
    era(["2020.08-1~bpo10+1", "2020.08+9+buster", "2020.07-1", "2020.09-1"], "buster", ["python3-django", "1:1.11.29-1+deb10u11"], 11),
    era(["2020.09-1", "2020.09+2+buster", "2020.08-1", "2020.10-1"], "buster", ["python3-django", "1:1.11.29-1+deb10u11"], 11),
    era(["2020.12-5+deb11u2", "2020.12-5", "2020.10-1", "2021.01-1"], "bullseye", ["python3-django", "2:2.2.28-1~deb11u2"], 13),
    era(["2023.01-2", "2023.01+12+bookworm", "2022.11-1", "2023.03-1"], "bookworm", ["python3-django", "3:3.2.25-0+deb12u7"], 15),
    era(["2023.10+3+bookworm", "2023.10-1", "2023.08-1", "2023.12-1"], "bookworm", ["python3-django", "3:3.2.25-0+deb12u7"], 15),
    era(["2025.10-1~bpo13+1", "2025.10+1+trixie", "2025.09-1", "2026.01-1"], "trixie", ["python3-django", "3:5.2.8-1"], 17),
    era(["2026.10-2~bpo13+1", "2026.10-2", "2026.09-1", "2026.12-1"], "trixie", ["python3-django", "3:5.2.19-1"], 17),
];

impl Sketch {
    pub fn draw(self) -> Case {
        let mut options = Options::default();
        options.replace_data = self.options.0;
        let with_data = |id: bool| if id { 9000 } else { 3 };
        options.next_job_id = self.options.1.map(with_data);
        let (intent, masters, workers) = match self.kind {
            Kind::Master => (Intent::RestoreMaster, 1, 0),
            Kind::Worker => (Intent::RestoreWorker, 0, 1),
            Kind::Lab => (Intent::RestoreLab, 1, self.workers.len()),
            Kind::NewMaster => (Intent::Grow, 1, 0),
            Kind::NewWorker => (Intent::Grow, 0, 1),
            Kind::DrillMaster => (Intent::Drill, 1, 0),
            Kind::DrillWorker => (Intent::Drill, 0, 1),
        };
        let fallback = [Worker::usual()];
        let racks = if self.workers.is_empty() {
            &fallback[..]
        } else {
            &self.workers[..]
        };
        let racks = &racks[..workers.min(racks.len())];
        let mut hosts: Vec<Host> = Vec::new();
        if masters == 1 {
            hosts.push(self.master(racks));
        }
        hosts.extend(
            racks
                .iter()
                .enumerate()
                .map(|(at, rack)| self.worker(at, rack)),
        );
        let turn = self.order % hosts.len().max(1);
        hosts.rotate_left(turn);
        Case {
            hosts,
            intent,
            options,
            sketch: self,
        }
    }

    fn era(&self) -> &'static Era {
        &ERAS[self.era]
    }

    fn release(&self) -> &'static Release {
        release(self.era().version)
    }

    fn debs(&self) -> Option<Debs> {
        let (scope, lacking, closed) = match self.debs {
            DebsHeld::None => return None,
            DebsHeld::Critical => ("critical", vec![], Some(false)),
            DebsHeld::Closure => ("closure", vec![], Some(true)),
            DebsHeld::Open => ("closure", vec!["bash".to_owned()], Some(false)),
        };
        Some(Debs {
            scope: scope.into(),
            lacking,
            closed,
            ..Debs::default()
        })
    }

    fn server(&self, facts: &mut Facts) {
        facts.role = Role::Master;
        let major = self.era().postgresql;
        facts.postgresql = Some(postgresql(major));
        facts.migrations_shipped = Some(super::shipped());
        facts.units = Some(units(self.release().master_units, true));
        facts.settings.log_backend = Some("lava_scheduler_app.logutils.LogsFilesystem".into());
        facts.apache.lava_site_enabled = Some(true);
        facts.apache.sites = Some(vec!["lava-server".into()]);
    }

    fn master(&self, racks: &[Worker]) -> Host {
        let (era, sketch) = (self.era(), &self.master);
        let mut facts = host(era, "lava.example.org", true);
        self.server(&mut facts);
        set_timers(&mut facts, &sketch.timers);
        let own = self.release().worker_unit;
        let of_worker = units(&[own], sketch.own_worker);
        facts.units.as_mut().unwrap().extend(of_worker);
        let optional = units(self.release().optional_units, sketch.optional_unit);
        facts.units.as_mut().unwrap().extend(optional);
        let mut then = facts.clone();
        for package in &mut then.packages {
            package.hold = sketch.held_before && package.name.starts_with("lava-");
        }
        then.database = DatabaseState::Present(Box::new(Database {
            max_job_id: Some(5000),
            ..super::database()
        }));
        let mut backup = super::backup();
        backup.debs = self.debs();
        backup.database = Some(self.dump(racks));
        backup.paths.extend(
            [
                "config/etc/postgresql/15/main/postgresql.conf",
                "config/etc/lava-dispatcher/lava-worker",
                "config/etc/lava-dispatcher/lava-slave",
                "data/var/lib/lava/dispatcher/worker/token",
            ]
            .map(String::from),
        );
        if !sketch.served {
            backup.paths.retain(|path| !path.contains("sites-enabled"));
        }
        let mut target = facts;
        self.install(&mut target, sketch.there, sketch.holds);
        if sketch.other_host {
            target.hostname = Some("new.example.org".into());
        }
        for package in &mut target.packages {
            if package.name == era.django[0] {
                package.version = django(era, sketch.django).parse().unwrap();
            }
        }
        if sketch.there != There::Bare {
            target.apache.lava_site_enabled = Some(sketch.site);
            if !sketch.site {
                target.apache.sites = Some(vec![]);
            }
            target.database = DatabaseState::Present(Box::new(Database {
                devices_by_health: Some(BTreeMap::new()),
                jobs_by_state: Some(BTreeMap::new()),
                active_jobs: Some(vec![]),
                ..super::database()
            }));
        }
        if sketch.django == Django::OlderFeature {
            lacks_auth(&mut target);
        }
        backup.facts = then;
        self.make_odd(sketch.odd, &mut backup, &mut target);
        super::onto(&backup, &target)
    }

    fn dump(&self, racks: &[Worker]) -> Dump {
        let status = self.release().encoding == Encoding::Status;
        let state = |at: usize| match at {
            // There was no state between these two.
            0 | 1 if status => JobState::Running,
            at => JobState::of(1 + at).unwrap(),
        };
        let active: Vec<ActiveJob> = self
            .content
            .jobs
            .iter()
            .map(|(id, at)| ActiveJob {
                id: *id,
                state: state(*at),
            })
            .collect();
        let mut counts = BTreeMap::from([(JobState::Submitted, self.content.queued)]);
        for job in &active {
            *counts.entry(job.state).or_insert(0) += 1;
        }
        counts.insert(JobState::Finished, 5000);
        let mut by_health: BTreeMap<DeviceHealth, Vec<String>> = BTreeMap::new();
        for (name, health) in &self.content.devices {
            let health = DeviceHealth::of(*health).unwrap();
            by_health.entry(health).or_default().push(name.clone());
        }
        let mut workers: Vec<String> = racks
            .iter()
            .enumerate()
            .map(|(at, rack)| rack_name(at, rack))
            .collect();
        if self.master.own_worker {
            workers.push("lava.example.org".into());
        }
        Dump {
            active_jobs: Some(active),
            jobs_by_state: Some(counts),
            devices_by_health: Some(by_health),
            workers: Some(workers),
            ..super::backup().database.unwrap()
        }
    }

    fn worker(&self, at: usize, sketch: &Worker) -> Host {
        let era = self.era();
        let name = format!("rack-{at}.example.org");
        let mut facts = host(era, &name, false);
        facts.role = Role::Worker;
        set_timers(&mut facts, &sketch.timers);
        facts.units = Some(units(&[self.release().worker_unit], true));
        facts.worker = Some(WorkerFacts {
            name: Some(rack_name(at, sketch)),
            configured: sketch.configured,
            server: Some("http://lava.example.org/".into()),
        });
        let mut backup = super::backup();
        backup.id = format!("20261122T040000Z-rack-{at}");
        backup.seal_digest = "3e".repeat(32);
        backup.debs = self.debs();
        backup.database = None;
        backup.sections = ["facts", "packages", "config", "data", "logs"]
            .map(String::from)
            .into();
        backup.paths = vec!["config/etc/hostname".into()];
        if sketch.has_secret {
            backup.paths.extend(
                [
                    "config/etc/lava-dispatcher/lava-worker",
                    "config/etc/lava-dispatcher/lava-slave",
                    "data/var/lib/lava/dispatcher/worker/token",
                ]
                .map(String::from),
            );
        }
        facts.lava.as_mut().unwrap().package_version = None;
        backup.facts = facts.clone();
        let mut target = facts;
        self.install(&mut target, sketch.there, sketch.holds);
        if sketch.other_host {
            let name = format!("other-{at}.example.org");
            target.hostname = Some(name.clone());
            if let Some(worker) = &mut target.worker {
                (worker.name, worker.configured) = (Some(name), false);
            }
        }
        self.make_odd(sketch.odd, &mut backup, &mut target);
        super::onto(&backup, &target)
    }

    /// Makes a host like the backup's one that is to become it.
    fn install(&self, target: &mut Facts, there: There, holds: bool) {
        let era = self.era();
        let version = match there {
            There::Same => era.version,
            There::Rebuilt => era.rebuilt,
            There::Older => era.older,
            There::Newer => era.newer,
            There::Bare => {
                target.packages.retain(|package| package.name == "bash");
                target.role = Role::Unknown;
                (target.lava, target.postgresql) = (None, None);
                (target.units, target.migrations_shipped) = (Some(vec![]), Some(vec![]));
                target.database = DatabaseState::Unknown;
                (target.apache.lava_site_enabled, target.apache.sites) = (None, None);
                target.worker = None;
                era.version
            }
        };
        for package in &mut target.packages {
            if package.name.starts_with("lava-") {
                package.version = version.parse().unwrap();
                package.hold = holds;
            }
        }
        target.lava = target.lava.take().map(|there| LavaFacts {
            package_version: there.package_version.map(|_| version.parse().unwrap()),
            ..lava(version)
        });
    }

    fn make_odd(&self, odd: Odd, backup: &mut Backup, target: &mut Facts) {
        let is_master = backup.facts.role == Role::Master;
        let server = |facts: &mut Facts, by: i64| {
            if let Some(server) = &mut facts.postgresql {
                server.major = u32::try_from(i64::from(server.major) + by).unwrap();
            }
        };
        let of_target = |target: &mut Facts, change: fn(&mut Database)| {
            if let DatabaseState::Present(database) = &mut target.database {
                change(database);
            }
        };
        match odd {
            Odd::Nothing => {}
            Odd::OtherSuite => target.suite.base = Some("sid".parse().unwrap()),
            Odd::LikelySuite => target.suite.confidence = Confidence::Likely,
            Odd::OtherArchitecture => target.architecture = Some("arm64".into()),
            Odd::NewerServer => server(target, 2),
            Odd::OlderServer => server(target, -1),
            Odd::UnknownSite if is_master => target.apache.lava_site_enabled = None,
            Odd::UnknownTimers => target.timers = None,
            Odd::Unclean => target.packages[0].state = "half-configured".into(),
            Odd::ServicesDown => {
                for unit in target.units.iter_mut().flatten() {
                    unit.active = Some(false);
                }
            }
            Odd::Offline => {
                for unit in target.units.iter_mut().chain(&mut target.timers).flatten() {
                    unit.active = None;
                }
            }
            Odd::Data => of_target(target, |database| {
                let good = vec!["theirs".into()];
                database.devices_by_health = Some(BTreeMap::from([(DeviceHealth::Good, good)]));
                database.jobs_by_state = Some(BTreeMap::from([(JobState::Finished, 7)]));
                database.max_job_id = Some(7);
            }),
            Odd::UnknownData if is_master => target.database = DatabaseState::Unknown,
            Odd::OtherDatabase if is_master => {
                backup.database.as_mut().unwrap().name = "lab-two".into();
                of_target_name(&mut backup.facts, "lab-two");
            }
            Odd::Degraded => backup.degraded = vec!["data/a: vanished".into()],
            Odd::NoData => {
                backup.sections.retain(|section| section != "data");
                backup.paths.retain(|path| !path.starts_with("data/"));
            }
            Odd::NoLogs => backup.sections.retain(|section| section != "logs"),
            Odd::NoSettings if is_master => backup.paths.retain(|p| !p.contains("settings")),
            Odd::LogsElsewhere => {
                backup.facts.settings.log_backend = Some("logutils.LogsMongo".into());
            }
            Odd::MoreMigrations => {
                if let Some(shipped) = &mut target.migrations_shipped {
                    shipped.pop();
                    shipped.pop();
                }
                of_target(target, |database| {
                    let migrations = database.migrations.as_mut().unwrap();
                    migrations.pop();
                });
            }
            Odd::OldDatabase if is_master => {
                let migrations = &mut backup.database.as_mut().unwrap().migrations;
                migrations.as_mut().unwrap().pop();
            }
            Odd::OwnSuite => {
                for facts in [&mut backup.facts, target] {
                    facts.suite.base = Some("sid".parse().unwrap());
                }
            }
            Odd::ServiceOff => {
                if let Some(unit) = backup.facts.units.as_mut().unwrap().first_mut() {
                    (unit.active, unit.enabled) = (Some(false), Some(false));
                }
            }
            Odd::OtherPort if is_master => {
                if let DatabaseState::Present(database) = &mut backup.facts.database {
                    database.port = Some(5433);
                }
            }
            Odd::SecureSite if is_master => {
                let site = "config/etc/apache2/sites-enabled/lava-tls.conf";
                backup.paths.push(site.into());
            }
            Odd::HoldingPage => {
                if let Some(sites) = &mut target.apache.sites {
                    sites.push("000-default".into());
                }
            }
            _ => {}
        }
    }
}

const TIMERS: [&str; 3] = [
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "unattended-upgrades.service",
];

/// As with a Django whose `auth` is of before.
fn lacks_auth(facts: &mut Facts) {
    let shipped = facts.migrations_shipped.as_mut().unwrap();
    shipped.retain(|migration| migration.app != "auth");
    if let DatabaseState::Present(database) = &mut facts.database {
        let applied = database.migrations.as_mut().unwrap();
        applied.retain(|migration| migration.app != "auth");
    }
}

fn of_target_name(facts: &mut Facts, name: &str) {
    if let DatabaseState::Present(database) = &mut facts.database {
        database.name = name.into();
    }
}

/// A worker's name in its master's database.
fn rack_name(at: usize, sketch: &Worker) -> String {
    match sketch.configured {
        true => format!("rack-{at}"),
        false => format!("rack-{at}.example.org"),
    }
}

pub fn release(version: &str) -> &'static Release {
    Release::of(&LavaVersion::of(&version.parse().unwrap()).unwrap()).unwrap()
}

fn lava(version: &str) -> LavaFacts {
    LavaFacts {
        version: version.split(['-', '+']).next().unwrap().into(),
        package_version: Some(version.parse().unwrap()),
    }
}

fn units(names: &[&str], on: bool) -> Vec<Unit> {
    names.iter().map(|name| super::unit(name, on)).collect()
}

fn set_timers(facts: &mut Facts, timers: &[usize]) {
    let there = timers.iter().map(|at| super::unit(TIMERS[*at], true));
    facts.timers = Some(there.collect());
}

fn postgresql(major: u32) -> PostgresqlFacts {
    PostgresqlFacts {
        major,
        server_version: None,
        roles: None,
        extensions: None,
        clusters: vec![Cluster {
            major,
            name: "main".into(),
            port: Some(5432),
        }],
    }
}

fn django(era: &Era, which: Django) -> String {
    let version = era.django[1];
    let (epoch, rest) = version.split_once(':').unwrap();
    let (upstream, revision) = rest.split_once('-').unwrap();
    let parts: Vec<&str> = upstream.split('.').collect();
    match which {
        Django::Same => version.to_owned(),
        Django::OtherRevision => format!("{epoch}:{upstream}-{revision}u9"),
        Django::OtherPatch => format!("{epoch}:{}.{}.99-{revision}", parts[0], parts[1]),
        Django::OlderFeature => format!("{epoch}:{}.0.99-{revision}", parts[0]),
        Django::NewerFeature => format!("{epoch}:{}.99.1-{revision}", parts[0]),
    }
}

fn host(era: &Era, name: &str, server: bool) -> Facts {
    let mut facts = Facts::unknown();
    facts.captured_at = Some("2026-11-22T04:00:00Z".into());
    facts.hostname = Some(name.into());
    facts.suite.base = Some(era.suite.parse().unwrap());
    facts.suite.confidence = Confidence::Certain;
    facts.architecture = Some("amd64".into());
    let mut packages: Vec<Package> = ["lava-common", "lava-dispatcher"]
        .iter()
        .map(|name| super::package(name, "all", era.version))
        .collect();
    packages.insert(0, super::package("bash", "amd64", "5.2.15-2+b8"));
    if server {
        packages.push(super::package("lava-server", "all", era.version));
        packages.push(super::package(era.django[0], "all", era.django[1]));
        let server = format!("postgresql-{}", era.postgresql);
        packages.push(super::package(&server, "amd64", "1.1-1"));
    }
    facts.packages = packages;
    facts.lava = Some(lava(era.version));
    facts
}
