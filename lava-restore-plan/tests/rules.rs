//! Each fault alone, the code that must speak of it, and how bad it is.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
mod lab;

use std::collections::{BTreeMap, BTreeSet};

use lava_restore_plan::Verdict::{self, Note, Ok, Prepare, Refuse};
use lava_restore_plan::facts::{
    Database, DatabaseState, Disorder, Facts, Package, Role, Room, Unit, WorkerFacts,
};
use lava_restore_plan::release::{DeviceHealth, JobState};
use lava_restore_plan::{Backup, Class, Code, Debs, Dump, Host, Intent, Options, Plan, Size, plan};

/// A change to a case in which nothing is wrong.
type Fault = fn(&mut Backup, &mut Facts, &mut Options);

/// A backup, a target and what a caller wants, about which everything is known and nothing is
/// worth a word but what every restore does.
fn whole() -> (Backup, Facts, Options) {
    let (mut backup, mut target) = (lab::backup(), lab::target());
    for facts in [&mut backup.facts, &mut target] {
        facts.suite.distribution = Some("debian".into());
        facts.suite.point = Some("12.14".into());
        facts.foreign_architectures = Some(vec![]);
        facts.sources = Some(vec![Class::Base, Class::Security]);
        facts.disorder = Some(vec![]);
        facts.dependencies = Some(vec!["bash".into()]);
        facts.updates = Some(0);
        facts.locales = Some(vec!["C.utf8".into(), "en_GB.utf8".into()]);
        let room = |path: &str, mount: &str| Room {
            path: path.into(),
            mount: mount.into(),
            free_bytes: 1 << 40,
        };
        facts.room = Some(vec![
            room("/var/lib/postgresql", "/"),
            room("/srv/media", "/srv"),
        ]);
        facts.settings.media_root = Some("/srv/media/".into());
        facts.settings.allow_version_mismatch = Some(false);
        facts
            .packages
            .push(lab::package("python3", "amd64", "3.11.2-1+b1"));
        facts
            .packages
            .push(lab::package("libc6", "amd64", "2.36-9+deb12u14"));
        let server = facts.postgresql.as_mut().unwrap();
        server.roles = Some(vec!["lavaserver".into(), "postgres".into()]);
        server.extensions = Some(vec!["plpgsql".into()]);
        let DatabaseState::Present(database) = &mut facts.database else {
            panic!()
        };
        database.collate = Some("C.UTF-8".into());
        database.ctype = Some("C.UTF-8".into());
        database.extensions = Some(vec![]);
        database.size_bytes = Some(1 << 30);
        database.queries = Some(0);
        database.max_job_id = Some(5011);
    }
    target.apache.lava_site_enabled = Some(false);
    target.timers = Some(vec![]);
    let size = Size {
        entries: 10,
        bytes: 1 << 20,
    };
    backup.sizes = Some(BTreeMap::from([
        ("data".into(), size),
        ("logs".into(), size),
    ]));
    backup.drill_passed = Some(true);
    backup.debs = Some(Debs {
        scope: "critical".into(),
        held: Some(vec![]),
        ..Debs::default()
    });
    let counts = BTreeMap::from([(JobState::Finished, 5011)]);
    let devices = BTreeMap::from([(DeviceHealth::Maintenance, vec!["qemu-00".into()])]);
    let dump = backup.database.as_mut().unwrap();
    (dump.active_jobs, dump.jobs_by_state) = (Some(vec![]), Some(counts));
    dump.devices_by_health = Some(devices);
    let mut options = lab::options();
    options.next_job_id = Some(5012);
    (backup, target, options)
}

fn package<'a>(facts: &'a mut Facts, name: &str) -> &'a mut Package {
    facts
        .packages
        .iter_mut()
        .find(|package| package.name == name)
        .unwrap()
}

fn version(facts: &mut Facts, name: &str, version: &str) {
    package(facts, name).version = version.parse().unwrap();
}

fn remove(facts: &mut Facts, name: &str) {
    facts.packages.retain(|package| package.name != name);
}

fn unit<'a>(facts: &'a mut Facts, name: &str) -> &'a mut Unit {
    let mut units = facts.units.iter_mut().flatten();
    units.find(|unit| unit.name == name).unwrap()
}

fn dump(backup: &mut Backup) -> &mut Dump {
    backup.database.as_mut().unwrap()
}

fn database(facts: &mut Facts) -> &mut Database {
    match &mut facts.database {
        DatabaseState::Present(database) => database,
        other => panic!("{other:?}"),
    }
}

fn disorder(facts: &mut Facts, kind: &str) {
    let found = Disorder {
        kind: kind.into(),
        subject: "/etc/apt/sources.list:1".into(),
    };
    facts.disorder.as_mut().unwrap().push(found);
}

/// A target on which nothing of LAVA's is installed.
fn bare(target: &mut Facts) {
    target
        .packages
        .retain(|package| !package.name.starts_with("lava-"));
    target.role = Role::Unknown;
    (target.lava, target.postgresql, target.units) = (None, None, None);
    target.database = DatabaseState::Unknown;
}

const FAULTS: &[(Verdict, &str, Fault)] = &[
    // The backup by itself.
    (Refuse, "name.unsafe", |b, _, _| b.id = "--root=/".into()),
    (Refuse, "name.unsafe", |b, _, _| {
        dump(b).name = "host=evil".into()
    }),
    (Refuse, "name.unsafe", |b, _, _| {
        b.paths.push("config/../../etc/shadow".into())
    }),
    (Refuse, "name.unsafe", |b, _, _| {
        b.sections.push("a b".into())
    }),
    (Refuse, "name.unsafe", |_, _, o| {
        o.program = "/bin/sh".into()
    }),
    (Refuse, "name.unsafe", |_, t, _| {
        t.units.as_mut().unwrap()[0].name = "a;b".into()
    }),
    (Refuse, "name.unsafe", |b, _, _| {
        let devices = dump(b).devices_by_health.as_mut().unwrap();
        devices.insert(DeviceHealth::Good, vec!["-rf".into()]);
    }),
    (Refuse, "name.unsafe", |b, _, _| {
        dump(b).workers = Some(vec!["a\nb".into()])
    }),
    (Refuse, "name.unsafe", |b, _, _| {
        b.facts.foreign_architectures = Some(vec!["$(x)".into()])
    }),
    (Note, "self.missing_part", |b, _, _| {
        b.sections.retain(|section| section != "logs")
    }),
    (Prepare, "self.missing_part", |b, _, _| {
        b.sections.retain(|section| section != "data")
    }),
    (Refuse, "self.missing_part", |b, _, _| {
        b.sections.retain(|section| section != "config")
    }),
    (Prepare, "backup.degraded", |b, _, _| {
        b.degraded.push("a file vanished".into())
    }),
    (Note, "self.untested", |b, _, _| b.drill_passed = None),
    (Prepare, "self.drill_failed", |b, _, _| {
        b.drill_passed = Some(false)
    }),
    (Refuse, "release.unknown", |b, _, _| {
        version(&mut b.facts, "lava-server", "2031.01-1")
    }),
    (Note, "self.dpkg", |b, _, _| {
        package(&mut b.facts, "bash").state = "unpacked".into()
    }),
    (Refuse, "self.dpkg", |b, _, _| {
        package(&mut b.facts, "python3-django").state = "half-configured".into();
    }),
    (Refuse, "self.dpkg", |b, _, _| {
        disorder(&mut b.facts, "dpkg.interrupted")
    }),
    (Note, "self.lists", |b, _, _| b.facts.disorder = None),
    (Note, "self.lists", |b, _, _| {
        disorder(&mut b.facts, "lists.expired")
    }),
    (Note, "source.alias", |b, _, _| {
        disorder(&mut b.facts, "source.alias")
    }),
    (Note, "self.no_debs", |b, _, _| b.debs = None),
    (Note, "self.deb_missing", |b, _, _| {
        b.debs.as_mut().unwrap().lacking.push("lava-server".into());
    }),
    (Note, "self.deb_repacked", |b, _, _| {
        b.debs.as_mut().unwrap().repacked.push("lava-server".into());
    }),
    (Note, "self.closure_open", |b, _, _| {
        b.debs.as_mut().unwrap().closed = Some(false)
    }),
    (Note, "self.local_package", |b, _, _| {
        package(&mut b.facts, "lava-server").origin = Some(Class::Local);
    }),
    (Ok, "self.local_package", |b, _, _| {
        package(&mut b.facts, "lava-server").origin = Some(Class::Local);
        b.debs.as_mut().unwrap().held = Some(vec!["lava-server".into()]);
    }),
    (Refuse, "self.local_package", |b, t, _| {
        package(&mut b.facts, "python3-djangorestframework").origin = Some(Class::Rebuilt);
        remove(t, "python3-djangorestframework");
    }),
    (Prepare, "self.local_package", |b, t, _| {
        package(&mut b.facts, "python3-djangorestframework").origin = Some(Class::Superseded);
        remove(t, "python3-djangorestframework");
    }),
    (Prepare, "self.no_settings", |b, _, _| b.paths.clear()),
    (Refuse, "self.unknown", |b, _, _| {
        dump(b).devices_by_health = None
    }),
    (Refuse, "self.unknown", |b, _, _| dump(b).active_jobs = None),
    (Refuse, "self.unknown", |b, _, _| dump(b).tables.clear()),
    (Refuse, "self.contradiction", |b, _, _| {
        dump(b).jobs_by_state = Some(BTreeMap::from([(JobState::Running, 1)]));
    }),
    (Refuse, "self.db_pkg_mismatch", |b, _, _| {
        dump(b).migrations = None
    }),
    (Refuse, "self.db_pending", |b, _, _| {
        dump(b).migrations.as_mut().unwrap().pop();
    }),
    (Refuse, "self.db_newer_than_code", |b, _, _| {
        b.facts.migrations_shipped.as_mut().unwrap().remove(1);
    }),
    (Prepare, "log_backend", |b, _, _| {
        b.facts.settings.log_backend = None
    }),
    (Note, "settings.media_root", |_, t, _| {
        t.settings.media_root = Some("/mnt".into())
    }),
    (Note, "settings.media_root", |b, _, _| {
        b.facts.settings.media_root = None
    }),
    (Note, "jobs.next_id", |_, _, o| o.next_job_id = None),
    (Refuse, "jobs.next_id", |_, _, o| o.next_job_id = Some(5011)),
    (Refuse, "jobs.next_id", |_, _, o| {
        o.next_job_id = Some(1 << 31)
    }),
    (Note, "env.jobs", |b, _, _| {
        dump(b).jobs_by_state = Some(BTreeMap::from([(JobState::Submitted, 1)]));
    }),
    (Note, "env.devices", |b, _, _| {
        let devices = dump(b).devices_by_health.as_mut().unwrap();
        devices.insert(DeviceHealth::Bad, vec!["x86-02".into()]);
    }),
    (Note, "env.queries", |b, _, _| {
        database(&mut b.facts).queries = Some(2)
    }),
    // The base system.
    (Refuse, "suite.other", |_, t, _| {
        t.suite.base = Some("trixie".parse().unwrap())
    }),
    (Refuse, "suite.unknown", |_, t, _| t.suite.base = None),
    (Note, "suite.same", |_, t, _| {
        t.suite.confidence = lava_restore_plan::facts::Confidence::Likely;
    }),
    (Note, "suite.mixed", |b, _, _| {
        disorder(&mut b.facts, "base.mixed")
    }),
    (Refuse, "suite.mixed", |_, t, _| disorder(t, "base.mixed")),
    (Note, "suite.point", |_, t, _| {
        t.suite.point = Some("12.1".into())
    }),
    (Note, "suite.distribution", |_, t, _| {
        t.suite.distribution = None
    }),
    (Refuse, "suite.distribution", |_, t, _| {
        t.suite.distribution = Some("raspbian".into())
    }),
    (Refuse, "arch", |_, t, _| {
        t.architecture = Some("arm64".into())
    }),
    (Refuse, "arch.unknown", |_, t, _| t.architecture = None),
    (Note, "arch.foreign", |b, _, _| {
        b.facts.foreign_architectures = None
    }),
    (Ok, "arch.foreign", |b, t, _| {
        b.facts.foreign_architectures = Some(vec!["armhf".into()]);
        t.foreign_architectures = Some(vec!["armhf".into()]);
    }),
    (Prepare, "arch.foreign", |b, _, _| {
        b.facts.foreign_architectures = Some(vec!["armhf".into()]);
    }),
    (Note, "base.outdated", |_, t, _| t.updates = Some(3)),
    (Note, "base.outdated", |_, t, _| t.updates = None),
    (Note, "clock", |_, t, _| {
        t.captured_at = Some("2026-11-21T04:00:00Z".into())
    }),
    (Note, "clock", |_, t, _| t.captured_at = None),
    (Refuse, "target.role", |_, t, _| t.role = Role::Worker),
    (Prepare, "target.role", |_, t, _| bare(t)),
    (Refuse, "units.missing", |_, t, _| {
        t.units
            .as_mut()
            .unwrap()
            .retain(|unit| unit.name != "lava-publisher.service")
    }),
    (Prepare, "units.stopped", |_, t, _| {
        unit(t, "lava-publisher.service").active = Some(false)
    }),
    (Note, "units.stopped", |_, t, _| {
        unit(t, "lava-publisher.service").active = Some(false);
        t.database = DatabaseState::Absent;
    }),
    (Note, "smoke.none", |_, t, _| {
        t.database = DatabaseState::Absent
    }),
    (Refuse, "units.stopped", |_, t, _| {
        unit(t, "lava-publisher.service").active = Some(false);
        database(t).jobs_by_state = Some(BTreeMap::from([(JobState::Finished, 1)]));
    }),
    (Prepare, "units.stopped", |_, t, o| {
        unit(t, "lava-publisher.service").active = Some(false);
        database(t).jobs_by_state = Some(BTreeMap::from([(JobState::Finished, 1)]));
        o.replace_data = true;
    }),
    (Refuse, "units.unknown", |_, t, _| t.units = None),
    (Prepare, "units.unknown", |_, t, _| bare(t)),
    (Note, "pkg.unattended", |_, t, _| {
        t.timers = lab::target().timers
    }),
    (Refuse, "pkg.unattended_unknown", |_, t, _| t.timers = None),
    (Note, "isolation.open", |_, t, _| {
        t.apache.lava_site_enabled = Some(true)
    }),
    (Refuse, "isolation.unknown", |_, t, _| {
        t.apache.lava_site_enabled = None
    }),
    (Note, "hostname", |_, t, _| {
        t.hostname = Some("new.example.org".into())
    }),
    (Note, "space", |_, t, _| t.room = None),
    (Refuse, "space", |_, t, _| {
        t.room.as_mut().unwrap()[0].free_bytes = (2 << 30) - 1
    }),
    (Ok, "space", |_, t, _| {
        t.room.as_mut().unwrap()[0].free_bytes = 2 << 30;
    }),
    // What shares a disk shares its room, and what may be there already needs none.
    (Note, "space", |_, t, _| {
        let room = t.room.as_mut().unwrap();
        room[0].free_bytes = 2 << 30;
        (room[1].free_bytes, room[1].mount) = (2 << 30, "/".into());
    }),
    (Refuse, "space", |_, t, _| {
        t.hostname = Some("new.example.org".into());
        t.room.as_mut().unwrap()[1].free_bytes = 2 << 20;
    }),
    // Its packages.
    (Refuse, "pkg.unclean", |_, t, _| {
        package(t, "bash").state = "half-configured".into()
    }),
    (Refuse, "pkg.interrupted", |_, t, _| {
        disorder(t, "dpkg.interrupted")
    }),
    (Refuse, "pkg.unknown", |_, t, _| t.packages.clear()),
    (Refuse, "lava.unknown", |_, t, _| {
        version(t, "lava-server", "0~unreleased-1")
    }),
    (Refuse, "lava.unknown", |b, _, _| {
        remove(&mut b.facts, "lava-server")
    }),
    (Prepare, "lava.absent", |_, t, _| remove(t, "lava-server")),
    (Prepare, "lava.older", |_, t, _| {
        version(t, "lava-server", "2022.11-1")
    }),
    (Prepare, "lava.partial", |_, t, _| {
        version(t, "lava-server", "2022.11-1")
    }),
    (Refuse, "lava.partial", |b, t, _| {
        remove(&mut b.facts, "lava-dispatcher");
        version(t, "lava-dispatcher", "2022.11-1");
    }),
    (Note, "lava.partial", |b, t, _| {
        version(&mut b.facts, "lava-common", "2022.11-1");
        version(t, "lava-common", "2022.11-1");
    }),
    (Refuse, "pkg.change_with_data", |_, t, o| {
        version(t, "lava-server", "2022.11-1");
        database(t).jobs_by_state = Some(BTreeMap::from([(JobState::Finished, 1)]));
        o.replace_data = true;
    }),
    (Note, "lava.other_build", |_, t, _| {
        version(t, "lava-server", "2023.01+12+bookworm")
    }),
    (Note, "pkg.other_build", |_, t, _| {
        version(t, "lava-common", "2023.01+12+bookworm")
    }),
    (Refuse, "lava.newer", |_, t, _| {
        version(t, "lava-server", "2023.03-1")
    }),
    (Refuse, "lava.newer", |_, t, _| {
        t.packages
            .push(lab::package("lava-dev", "all", "2023.03-1"))
    }),
    (Note, "django.revision", |_, t, _| {
        version(t, "python3-django", "3:3.2.25-0+deb12u8")
    }),
    (Prepare, "django.patch", |_, t, _| {
        version(t, "python3-django", "3:3.2.19-1")
    }),
    (Refuse, "django.feature", |_, t, _| {
        version(t, "python3-django", "3:4.2.28-1")
    }),
    (Refuse, "django.feature", |_, t, _| {
        version(t, "python3-django", "3:3.1.14-1");
    }),
    (Prepare, "django.absent", |_, t, _| {
        remove(t, "python3-django")
    }),
    (Note, "pkg.other_revision", |_, t, _| {
        version(t, "python3-djangorestframework", "3.14.0-2+deb12u2");
    }),
    (Note, "pkg.other_major", |_, t, _| {
        remove(t, "postgresql-15");
        t.postgresql.as_mut().unwrap().major = 17;
    }),
    (Prepare, "pkg.critical_differs", |_, t, _| {
        remove(t, "python3-djangorestframework")
    }),
    (Prepare, "pkg.critical_differs", |_, t, _| {
        version(t, "python3-djangorestframework", "3.13.0-1");
    }),
    (Prepare, "pkg.downgrade", |_, t, _| {
        version(t, "python3-djangorestframework", "3.15.0-1")
    }),
    (Prepare, "bpo.missing", |b, _, _| {
        version(
            &mut b.facts,
            "python3-djangorestframework",
            "3.14.0-2~bpo12+1",
        );
    }),
    (Refuse, "bpo.extra", |_, t, _| {
        version(t, "python3-djangorestframework", "3.14.0-2~bpo12+1");
    }),
    (Note, "bpo.missing", |b, _, _| {
        package(&mut b.facts, "bash").origin = Some(Class::Backports)
    }),
    (Note, "bpo.extra", |_, t, _| {
        package(t, "bash").origin = Some(Class::Backports)
    }),
    (Prepare, "source.missing", |b, t, _| {
        package(&mut b.facts, "python3-djangorestframework").origin = Some(Class::Backports);
        remove(t, "python3-djangorestframework");
    }),
    (Ok, "source.missing", |b, t, _| {
        package(&mut b.facts, "python3-djangorestframework").origin = Some(Class::Pgdg);
        remove(t, "python3-djangorestframework");
        t.sources = Some(vec![Class::Pgdg, Class::Base]);
    }),
    (Note, "source.missing", |b, t, _| {
        package(&mut b.facts, "python3-djangorestframework").origin = Some(Class::Lava);
        remove(t, "python3-djangorestframework");
        t.sources = None;
    }),
    (Ok, "target.lists", |_, t, _| remove(t, "python3-django")),
    (Note, "target.lists", |_, t, _| {
        remove(t, "python3-django");
        disorder(t, "lists.expired");
    }),
    (Note, "dep.differs", |b, _, _| b.facts.dependencies = None),
    (Note, "dep.differs", |_, t, _| version(t, "bash", "5.1-1")),
    (Prepare, "dep.differs", |b, t, _| {
        b.debs.as_mut().unwrap().held = Some(vec!["bash".into()]);
        version(t, "bash", "5.1-1");
    }),
    (Prepare, "pkg.hold_blocks", |_, t, _| {
        version(t, "python3-django", "3:3.2.19-1");
        package(t, "python3-django").hold = true;
    }),
    (Note, "pkg.others", |b, _, _| {
        b.facts
            .packages
            .push(lab::package("ser2net", "amd64", "4.3"))
    }),
    (Refuse, "python", |_, t, _| version(t, "python3", "3.9.2-3")),
    (Note, "python", |_, t, _| remove(t, "python3")),
    (Prepare, "pkg.erratum", |b, t, _| {
        for facts in [&mut b.facts, t] {
            facts.suite.base = Some("jessie".parse().unwrap());
            facts
                .packages
                .push(lab::package("python-lockfile", "all", "1:0.10.2-2~bpo8+1"));
        }
    }),
    (Prepare, "target.migrations", |_, t, _| bare(t)),
    (Refuse, "target.migrations_unknown", |_, t, _| {
        t.migrations_shipped = None
    }),
    (Refuse, "target.migrations_differ", |_, t, _| {
        t.migrations_shipped.as_mut().unwrap().remove(1);
    }),
    (Prepare, "target.migrations_differ", |_, t, _| {
        version(t, "lava-server", "2022.11-1");
        t.migrations_shipped.as_mut().unwrap().remove(1);
    }),
    // Its server.
    (Note, "pg.same", |_, t, _| {
        t.postgresql.as_mut().unwrap().server_version = Some("15.3 (Debian 15.3-0)".into());
    }),
    (Note, "pg.newer", |_, t, _| {
        t.postgresql.as_mut().unwrap().major = 17
    }),
    (Refuse, "pg.older", |_, t, _| {
        t.postgresql.as_mut().unwrap().major = 13
    }),
    (Prepare, "pg.absent", |_, t, _| bare(t)),
    (Refuse, "pg.unknown", |_, t, _| t.postgresql = None),
    (Refuse, "pg.client_old", |_, t, _| {
        t.packages
            .push(lab::package("postgresql-client-13", "amd64", "13.23-0"));
    }),
    (Refuse, "pg.remote", |b, _, _| {
        database(&mut b.facts).host = Some("db.example.org".into())
    }),
    (Refuse, "pg.cluster", |_, t, _| {
        t.postgresql.as_mut().unwrap().clusters[0].port = Some(5433);
    }),
    (Note, "pg.cluster", |_, t, _| {
        t.postgresql.as_mut().unwrap().clusters[0].port = None
    }),
    (Refuse, "pg.encoding", |b, _, _| {
        dump(b).encoding = Some("LATIN1".into())
    }),
    (Refuse, "pg.encoding", |b, _, _| dump(b).encoding = None),
    (Note, "pg.encoding", |_, t, _| database(t).encoding = None),
    (Ok, "pg.locale", |b, _, _| {
        database(&mut b.facts).collate = Some("en_GB.UTF-8".into())
    }),
    (Prepare, "pg.locale", |b, _, _| {
        database(&mut b.facts).collate = Some("de_DE.UTF-8".into())
    }),
    (Note, "pg.locale", |b, t, _| {
        database(&mut b.facts).collate = Some("en_GB.UTF-8".into());
        t.locales = None;
    }),
    (Note, "pg.collation", |b, t, _| {
        database(&mut b.facts).collate = Some("en_GB.UTF-8".into());
        version(t, "libc6", "2.41-12");
    }),
    (Note, "pg.role", |_, t, _| {
        t.postgresql.as_mut().unwrap().roles = Some(vec![])
    }),
    (Note, "pg.extension", |b, t, _| {
        database(&mut b.facts).extensions = Some(vec!["hstore".into()]);
        t.postgresql.as_mut().unwrap().extensions = None;
    }),
    (Refuse, "pg.extension", |b, _, _| {
        database(&mut b.facts).extensions = Some(vec!["hstore".into()]);
    }),
    (Refuse, "target.data_unknown", |_, t, _| {
        t.database = DatabaseState::Unknown
    }),
    (Refuse, "target.has_data", |_, t, _| {
        database(t).jobs_by_state = Some(BTreeMap::from([(JobState::Finished, 1)]));
    }),
    (Prepare, "target.has_data", |_, t, o| {
        database(t).jobs_by_state = Some(BTreeMap::from([(JobState::Finished, 1)]));
        o.replace_data = true;
    }),
    (Note, "worker.mismatch_allowed", |b, _, _| {
        b.facts.settings.allow_version_mismatch = Some(true);
    }),
];

/// Of these a case has others by its nature: they come with what the fault is.
const IN_COMPANY: &[&str] = &[
    "release.unknown",
    "pkg.erratum",
    "lava.unknown",
    "pkg.unknown",
];

fn host(backup: &Backup, target: &Facts) -> Host {
    lab::onto(backup, target)
}

fn severity(plan: &Plan, code: &str) -> Option<Verdict> {
    let of_code = plan.findings.iter().filter(|finding| finding.code == code);
    of_code.map(|finding| finding.severity).max()
}

#[test]
fn nothing_is_said_of_a_case_in_which_nothing_is_wrong() {
    let (backup, target, options) = whole();
    let plan = plan(
        vec![host(&backup, &target)],
        Intent::RestoreMaster,
        &options,
    );
    let spoken: Vec<_> = plan.findings.iter().filter(|f| f.severity > Ok).collect();
    assert!(spoken.is_empty(), "{spoken:#?}");
}

#[test]
fn every_fault_has_its_code() {
    for (wanted, code, fault) in FAULTS {
        let (mut backup, mut target, mut options) = whole();
        fault(&mut backup, &mut target, &mut options);
        let plan = plan(
            vec![host(&backup, &target)],
            Intent::RestoreMaster,
            &options,
        );
        let said: Vec<_> = plan.findings.iter().filter(|f| f.severity > Ok).collect();
        assert_eq!(severity(&plan, code), Some(*wanted), "{code}: {said:#?}");
        let known = Code::ALL.iter().any(|known| known.as_str() == *code);
        assert!(known && plan.verdict >= *wanted, "{code}: {said:#?}");
        assert_eq!(plan.verdict == Refuse, plan.steps.is_empty(), "{code}");
        for finding in plan.findings.iter().filter(|f| f.severity == Prepare) {
            let there = |id: &String| plan.steps.iter().any(|step| step.id == *id);
            assert!(!finding.steps.is_empty(), "{finding:#?}");
            assert!(
                plan.verdict == Refuse || finding.steps.iter().all(there),
                "{finding:#?}"
            );
        }
        // What must be done, or can't be, is not for another reason.
        assert!(
            plan.verdict == *wanted || *wanted < Prepare || IN_COMPANY.contains(code),
            "{code}: {said:#?}"
        );
    }
}

#[test]
fn only_what_has_to_change_is_taken_off_hold() {
    for (there, blocks) in [("5.2.15-2+b8", None), ("5.2.15-2+b2", Some(Prepare))] {
        let (mut backup, mut target, options) = whole();
        let debs = backup.debs.as_mut().unwrap();
        (debs.scope, debs.held) = ("closure".into(), None);
        bare(&mut target);
        version(&mut target, "bash", there);
        package(&mut target, "bash").hold = true;
        let plan = plan(
            vec![host(&backup, &target)],
            Intent::RestoreMaster,
            &options,
        );
        assert_eq!(severity(&plan, "pkg.hold_blocks"), blocks, "{there}");
    }
}

fn worker(name: &str) -> Host {
    let (mut backup, mut target, _) = whole();
    for facts in [&mut backup.facts, &mut target] {
        facts.role = Role::Worker;
        facts.hostname = Some(name.into());
        remove(facts, "lava-server");
        facts
            .units
            .as_mut()
            .unwrap()
            .retain(|unit| unit.name == "lava-worker.service");
        let server = Some("http://lava.example.org/".to_owned());
        facts.worker = Some(WorkerFacts {
            server,
            ..WorkerFacts::default()
        });
        facts.lava = None;
    }
    backup.paths = vec!["data/var/lib/lava/dispatcher/worker/token".into()];
    backup.database = None;
    backup.seal_digest = "3e".repeat(32);
    host(&backup, &target)
}

fn lab_of(workers: &[&str], change: impl FnOnce(&mut Host)) -> Plan {
    let (mut backup, target, options) = whole();
    let names = workers.iter().map(|name| (*name).to_owned());
    dump(&mut backup).workers = Some(names.collect());
    let mut worker = worker("rack-a");
    change(&mut worker);
    plan(
        vec![host(&backup, &target), worker],
        Intent::RestoreLab,
        &options,
    )
}

#[test]
fn the_hosts_of_a_lab_are_held_against_each_other() {
    let fine = lab_of(&["rack-a"], |_| {});
    let spoken: Vec<_> = fine.findings.iter().filter(|f| f.severity > Ok).collect();
    assert!(spoken.is_empty(), "{spoken:#?}");
    type Change = fn(&mut Host);
    let bring = |worker: &mut Host, to: &str| {
        for facts in [&mut worker.backup.facts, &mut worker.target] {
            version(facts, "lava-dispatcher", to);
            version(facts, "lava-common", to);
        }
    };
    let older = lab_of(&["rack-a"], |worker| bring(worker, "2022.11-1"));
    assert_eq!(severity(&older, "worker.version"), Some(Refuse));
    let old = lab_of(&["rack-a"], |worker| {
        bring(worker, "2020.01-1");
        let unit = &mut worker.target.units.as_mut().unwrap()[0];
        unit.name = "lava-slave.service".into();
    });
    assert_eq!(severity(&old, "worker.protocol"), Some(Refuse));
    assert_eq!(
        severity(&lab_of(&["rack-b"], |_| {}), "worker.known"),
        Some(Refuse)
    );
    assert_eq!(severity(&lab_of(&[], |_| {}), "worker.known"), Some(Note));
    let changes: &[(Verdict, &str, Change)] = &[
        (Note, "worker.master_address", |worker| {
            let facts = worker.backup.facts.worker.as_mut().unwrap();
            facts.server = Some("https://other.example.org:8000/x".into());
        }),
        (Prepare, "worker.secret", |worker| {
            worker.backup.paths.clear()
        }),
        (Prepare, "worker.name", |worker| {
            worker.target.hostname = Some("rack-new".into())
        }),
        (Prepare, "worker.package", |worker| {
            version(&mut worker.target, "lava-dispatcher", "2022.11-1");
        }),
    ];
    for (wanted, code, change) in changes {
        let plan = lab_of(&["rack-a", "rack-new"], change);
        assert_eq!(severity(&plan, code), Some(*wanted), "{code}");
    }
}

/// Nobody is there to decide or to prepare anything, and no mirror is.
const IN_A_DRILL: &[(Verdict, &str, Fault)] = &[
    (Note, "self.no_debs", |b, _, _| b.debs = None),
    (Refuse, "self.no_debs", |b, t, _| {
        b.debs = None;
        remove(t, "lava-server");
    }),
    (Refuse, "self.deb_missing", |b, t, _| {
        b.debs.as_mut().unwrap().lacking = vec!["bash".into()];
        remove(t, "lava-server");
    }),
    (Refuse, "self.closure_open", |b, t, _| {
        b.debs.as_mut().unwrap().closed = Some(false);
        remove(t, "lava-server");
    }),
    (Refuse, "self.closure_open", |_, t, _| {
        remove(t, "lava-server")
    }),
    (Note, "self.missing_part", |b, _, _| {
        b.sections.retain(|section| section != "data")
    }),
    (Note, "backup.degraded", |b, _, _| {
        b.degraded.push("a file vanished".into())
    }),
    (Note, "self.drill_failed", |b, _, _| {
        b.drill_passed = Some(false)
    }),
    (Note, "self.no_settings", |b, _, _| b.paths.clear()),
    (Note, "log_backend", |b, _, _| {
        b.facts.settings.log_backend = None
    }),
    (Note, "arch.foreign", |b, _, _| {
        b.facts.foreign_architectures = Some(vec!["armhf".into()])
    }),
    (Note, "pkg.erratum", |b, t, _| {
        for facts in [&mut b.facts, t] {
            facts.suite.base = Some("jessie".parse().unwrap());
            facts
                .packages
                .push(lab::package("python-lockfile", "all", "1:0.10.2-2~bpo8+1"));
        }
    }),
    (Note, "target.has_data", |_, t, o| {
        database(t).jobs_by_state = Some(BTreeMap::from([(JobState::Finished, 1)]));
        o.replace_data = true;
    }),
    (Note, "worker.secret", |b, _, _| {
        dump(b).workers = Some(vec!["lava.example.org".into()])
    }),
    (Note, "worker.name", |b, t, _| {
        dump(b).workers = Some(vec!["new.example.org".into()]);
        t.hostname = Some("new.example.org".into());
    }),
];

fn drill(fault: Fault) -> Plan {
    let (mut backup, mut target, mut options) = whole();
    fault(&mut backup, &mut target, &mut options);
    plan(vec![host(&backup, &target)], Intent::Drill, &options)
}

#[test]
fn a_drill_has_nobody_to_decide_and_no_mirror() {
    for (wanted, code, fault) in IN_A_DRILL {
        let plan = drill(*fault);
        let said: Vec<_> = plan.findings.iter().filter(|f| f.severity > Ok).collect();
        assert_eq!(severity(&plan, code), Some(*wanted), "{code}: {said:#?}");
        let of_code = plan.findings.iter().filter(|finding| finding.code == *code);
        assert!(
            of_code.clone().all(|finding| finding.steps.is_empty()),
            "{code}"
        );
    }
}

/// What no case here can bring about, and why.
const NOT_SEEN: &[(&str, Verdict)] = &[
    // Every command is from a closed enum.
    ("plan.forbidden", Refuse),
];

#[test]
fn every_code_is_brought_about_with_every_severity_that_it_names() {
    let mut seen: BTreeSet<(String, Verdict)> = BTreeSet::new();
    let mut see = |plan: Plan| {
        let findings = plan.findings.into_iter();
        seen.extend(findings.map(|finding| (finding.code, finding.severity)));
    };
    for (_, _, fault) in IN_A_DRILL {
        see(drill(*fault));
    }
    for (_, _, fault) in FAULTS {
        let (mut backup, mut target, mut options) = whole();
        fault(&mut backup, &mut target, &mut options);
        see(plan(
            vec![host(&backup, &target)],
            Intent::RestoreMaster,
            &options,
        ));
    }
    let (mut backup, mut target, options) = whole();
    for facts in [&mut backup.facts, &mut target] {
        for name in ["lava-common", "lava-dispatcher", "lava-server"] {
            version(facts, name, "2019.01-5");
        }
    }
    see(plan(
        vec![host(&backup, &target)],
        Intent::RestoreMaster,
        &options,
    ));
    see(plan(vec![], Intent::RestoreMaster, &options));
    target.database = DatabaseState::Absent;
    see(plan(vec![host(&backup, &target)], Intent::Grow, &options));
    for workers in [&["rack-a"][..], &["rack-b"], &[]] {
        see(lab_of(workers, |_| {}));
    }
    see(lab_of(&["rack-a"], |worker| {
        worker.backup.facts.worker = Some(WorkerFacts::default())
    }));
    see(lab_of(&["rack-a"], |worker| worker.backup.paths.clear()));
    see(lab_of(&["rack-a"], |worker| {
        worker.target.hostname = Some("rack-new".into())
    }));
    for (backup, target) in [
        ("2022.11-1", "2022.11-1"),
        ("2020.01-1", "2020.01-1"),
        ("2023.01-2", "2022.11-1"),
    ] {
        see(lab_of(&["rack-a"], |worker| {
            version(&mut worker.backup.facts, "lava-dispatcher", backup);
            version(&mut worker.target, "lava-dispatcher", target);
        }));
    }
    for code in Code::ALL {
        for severity in code.severities() {
            let known = (code.as_str(), *severity);
            let expected = !NOT_SEEN.contains(&known);
            let found = seen.contains(&(code.as_str().to_owned(), *severity));
            assert_eq!(found, expected, "{} {severity}", code.as_str());
        }
    }
}
