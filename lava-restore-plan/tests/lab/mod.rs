//! A lab of LAVA 2023.01 on Debian 12, as measured on a real master.

pub mod cases;
pub mod draw;

use std::collections::BTreeMap;

use lava_restore_plan::facts::{
    ActiveJob, Cluster, Confidence, Database, DatabaseState, LavaFacts, Migration, Package,
    PostgresqlFacts, Role, ShippedMigration, Table, Unit, WorkerFacts,
};
use lava_restore_plan::release::{DeviceHealth, JobState};
use lava_restore_plan::{
    Backup, BackupSchema, Dump, DumpTable, Facts, Host, Intent, Options, Plan, Verdict,
    plan as make,
};

pub const PACKAGES: &[(&str, &str, &str)] = &[
    ("bash", "amd64", "5.2.15-2+b8"),
    ("lava-common", "all", "2023.01-2"),
    ("lava-dispatcher", "all", "2023.01-2"),
    ("lava-server", "all", "2023.01-2"),
    ("postgresql", "all", "15+248+deb12u2"),
    ("postgresql-15", "amd64", "15.20-0+deb12u1"),
    ("python3-django", "all", "3:3.2.25-0+deb12u7"),
    ("python3-djangorestframework", "all", "3.14.0-2+deb12u1"),
];

const MIGRATIONS: &[(&str, &str)] = &[
    ("auth", "0012_alter_user_first_name_max_length"),
    ("lava_results_app", "0018_drop_buglink"),
    ("lava_scheduler_app", "0055_notificationcallback_header"),
    ("lava_scheduler_app", "0056_testjob_queue_timeout"),
    ("linaro_django_xmlrpc", "0001_initial"),
];

pub fn package(name: &str, architecture: &str, version: &str) -> Package {
    Package {
        name: name.into(),
        architecture: architecture.into(),
        version: version.parse().unwrap(),
        state: "installed".into(),
        hold: false,
        auto: false,
        origin: None,
    }
}

pub fn unit(name: &str, on: bool) -> Unit {
    Unit {
        name: name.into(),
        active: Some(on),
        enabled: Some(on),
    }
}

pub fn migrations() -> Vec<Migration> {
    let row = |(app, name): &(&str, &str)| Migration {
        app: (*app).into(),
        name: (*name).into(),
    };
    MIGRATIONS.iter().map(row).collect()
}

pub fn shipped() -> Vec<ShippedMigration> {
    let file = |m: Migration| ShippedMigration {
        app: m.app,
        name: m.name,
        replaces: vec![],
    };
    let mut shipped: Vec<_> = migrations().into_iter().map(file).collect();
    shipped.push(ShippedMigration {
        app: "flatpages".into(),
        name: "0001_initial".into(),
        replaces: vec![],
    });
    shipped
}

fn host(hostname: &str) -> Facts {
    let mut facts = Facts::unknown();
    facts.captured_at = Some("2026-11-22T04:00:00Z".into());
    facts.role = Role::Master;
    facts.hostname = Some(hostname.into());
    facts.suite.base = Some("bookworm".parse().unwrap());
    facts.suite.confidence = Confidence::Certain;
    facts.architecture = Some("amd64".into());
    facts.packages = PACKAGES.iter().map(|(n, a, v)| package(n, a, v)).collect();
    facts.lava = Some(LavaFacts {
        version: "2023.01".into(),
        package_version: Some("2023.01-2".parse().unwrap()),
    });
    facts.postgresql = Some(PostgresqlFacts {
        major: 15,
        server_version: Some("15.20".into()),
        clusters: vec![Cluster {
            major: 15,
            name: "main".into(),
            port: Some(5432),
        }],
        ..PostgresqlFacts::default()
    });
    facts.migrations_shipped = Some(shipped());
    facts.units = Some(vec![
        unit("lava-celery-worker.service", false),
        unit("lava-coordinator.service", true),
        unit("lava-publisher.service", true),
        unit("lava-scheduler.service", true),
        unit("lava-server-gunicorn.service", true),
        unit("lava-worker.service", true),
    ]);
    facts.timers = Some(vec![
        unit("apt-daily-upgrade.timer", true),
        unit("apt-daily.timer", true),
    ]);
    facts.settings.log_backend = Some("lava_scheduler_app.logutils.LogsFilesystem".into());
    facts.apache.lava_site_enabled = Some(true);
    facts
}

fn devices() -> BTreeMap<DeviceHealth, Vec<String>> {
    BTreeMap::from([
        (DeviceHealth::Good, vec!["qemu-00".into(), "qemu-01".into()]),
        (DeviceHealth::Bad, vec!["x86-02".into()]),
        (DeviceHealth::Retired, vec!["panda-00".into()]),
    ])
}

fn jobs() -> BTreeMap<JobState, u64> {
    BTreeMap::from([
        (JobState::Submitted, 8),
        (JobState::Scheduled, 1),
        (JobState::Running, 2),
        (JobState::Finished, 5000),
    ])
}

fn active() -> Vec<ActiveJob> {
    vec![
        ActiveJob {
            id: 53,
            state: JobState::Running,
        },
        ActiveJob {
            id: 54,
            state: JobState::Running,
        },
        ActiveJob {
            id: 55,
            state: JobState::Scheduled,
        },
    ]
}

pub fn database() -> Database {
    Database {
        name: "lavaserver".into(),
        owner: Some("lavaserver".into()),
        host: Some("localhost".into()),
        port: Some(5432),
        encoding: Some("UTF8".into()),
        migrations: Some(migrations()),
        ..Database::default()
    }
}

/// The backup of a lab with jobs in every state.
pub fn backup() -> Backup {
    let mut facts = host("lava.example.org");
    facts.database = DatabaseState::Present(Box::new(Database {
        tables: vec![Table {
            name: "lava_scheduler_app_testjob".into(),
            rows: 5011,
        }],
        devices_by_health: Some(devices()),
        jobs_by_state: Some(jobs()),
        active_jobs: Some(active()),
        ..database()
    }));
    let table = |name: &str, rows| DumpTable {
        schema: "public".into(),
        name: name.into(),
        rows,
        digest: "9c".repeat(32),
    };
    Backup {
        schema: BackupSchema::V1,
        id: "20261122T040000Z-lava".into(),
        seal_digest: "6f".repeat(32),
        created: "2026-11-22T04:00:00Z".into(),
        sections: ["facts", "packages", "database", "config", "data", "logs"]
            .map(String::from)
            .into(),
        paths: [
            "config/etc/apache2/sites-enabled/lava-server.conf",
            "config/etc/hostname",
            "config/etc/lava-server/env.yaml",
            "config/etc/lava-server/settings.d/00-database.yaml",
            "config/etc/lava-server/settings.d/00-secret-key.yaml",
        ]
        .map(String::from)
        .into(),
        facts,
        database: Some(Dump {
            name: "lavaserver".into(),
            owner: Some("lavaserver".into()),
            encoding: Some("UTF8".into()),
            tables: vec![
                table("django_migrations", 5),
                table("lava_scheduler_app_testjob", 5011),
            ],
            migrations: Some(migrations()),
            devices_by_health: Some(devices()),
            jobs_by_state: Some(jobs()),
            active_jobs: Some(active()),
            workers: None,
        }),
        degraded: vec![],
        debs: None,
        sizes: None,
        drill_passed: None,
    }
}

/// A fresh installation of the same release.
pub fn target() -> Facts {
    let mut facts = host("lava.example.org");
    facts.database = DatabaseState::Present(Box::new(Database {
        devices_by_health: Some(BTreeMap::new()),
        jobs_by_state: Some(BTreeMap::new()),
        active_jobs: Some(vec![]),
        ..database()
    }));
    facts
}

pub fn options() -> Options {
    Options::default()
}

/// Which backup is to become which host.
pub fn onto(backup: &Backup, target: &Facts) -> Host {
    let mut host = Host::new(backup.clone(), "/srv/it's the store", target.clone());
    host.target_digest = Some("a1".repeat(32));
    host
}

/// A master whose database knows these workers.
pub fn master_of(workers: &[&str]) -> Host {
    let mut backup = backup();
    let dump = backup.database.as_mut().unwrap();
    dump.workers = Some(workers.iter().map(|name| (*name).to_owned()).collect());
    onto(&backup, &target())
}

/// A fresh worker of that name.
pub fn worker_facts(name: &str) -> Facts {
    let mut facts = target();
    facts.role = Role::Worker;
    facts.hostname = Some(name.into());
    facts.packages.retain(|package| {
        ["bash", "lava-common", "lava-dispatcher"].contains(&package.name.as_str())
    });
    facts.database = DatabaseState::Absent;
    (facts.postgresql, facts.migrations_shipped) = (None, Some(vec![]));
    facts.apache.lava_site_enabled = Some(false);
    for unit in facts.units.as_mut().unwrap() {
        unit.enabled = Some(unit.name == "lava-worker.service");
        unit.active = unit.enabled;
    }
    facts
        .units
        .as_mut()
        .unwrap()
        .retain(|unit| unit.name == "lava-worker.service");
    facts.worker = Some(WorkerFacts {
        name: Some(name.into()),
        configured: false,
        server: Some("http://lava.example.org/".into()),
    });
    facts
}

/// Such a worker, and the backup that is to become it.
pub fn worker(name: &str) -> Host {
    let mut backup: Backup = backup();
    backup.id = format!("20261122T040000Z-{name}");
    backup.seal_digest = "3e".repeat(32);
    backup.facts = worker_facts(name);
    backup.database = None;
    backup.sections = ["facts", "packages", "config", "data", "logs"]
        .map(String::from)
        .into();
    backup.paths = [
        "config/etc/hostname",
        "config/etc/lava-dispatcher/lava-worker",
        "data/var/lib/lava/dispatcher/worker/token",
    ]
    .map(String::from)
    .into();
    onto(&backup, &worker_facts(name))
}

/// The plan that restores a master.
pub fn of(backup: &Backup, target: &Facts, options: &Options) -> Plan {
    make(vec![onto(backup, target)], Intent::RestoreMaster, options)
}

/// The plan for a target like the backup.
pub fn plan() -> Plan {
    of(&backup(), &target(), &options())
}

/// What a plan can hold is in one of these: packages are changed on an empty host alone.
pub fn longest_plans() -> [Plan; 2] {
    [longest_plan(), plan_with_packages()]
}

/// A lab that takes the place of another.
pub fn longest_plan() -> Plan {
    let (backup, mut target, mut options) = longest();
    target.database = DatabaseState::Present(Box::new(Database {
        encoding: Some("UTF8".into()),
        ..Database::default()
    }));
    options.replace_data = true;
    of(&backup, &target, &options)
}

/// A target that lacks a package, holds the others, and does nothing.
pub fn plan_with_packages() -> Plan {
    let (backup, mut target, options) = longest();
    let django = "python3-djangorestframework";
    target.packages.retain(|package| package.name != django);
    for package in &mut target.packages {
        package.hold = true;
    }
    for unit in target.units.as_mut().unwrap() {
        unit.active = Some(false);
    }
    of(&backup, &target, &options)
}

fn longest() -> (Backup, Facts, Options) {
    let (mut backup, mut target) = (backup(), target());
    backup.degraded = vec!["config/etc/a: vanished\n$(touch /tmp/evil) `x`".into()];
    backup.facts.settings.log_backend = Some("lava_scheduler_app.logutils.LogsMongo".into());
    backup.database.as_mut().unwrap().name = "lab-two".into();
    let server = "config/etc/postgresql/15/main/postgresql.conf";
    backup.paths.push(server.into());
    target.hostname = Some("new.example.org".into());
    (backup, target, options())
}

/// No way leads from this backup to its target.
pub fn refused_plan() -> Plan {
    let mut backup = backup();
    backup.facts.migrations_shipped = None;
    let plan = of(&backup, &target(), &options());
    assert_eq!(plan.verdict, Verdict::Refuse);
    plan
}

/// A lab of a master and two workers comes back.
pub fn lab_plan() -> Plan {
    let hosts = vec![
        master_of(&["rack-a", "rack-b"]),
        worker("rack-a"),
        worker("rack-b"),
    ];
    make(hosts, Intent::RestoreLab, &options())
}
