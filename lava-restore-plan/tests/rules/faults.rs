//! Each fault alone, the code that must speak of it, and how bad it is.

use std::collections::BTreeMap;

use lava_restore_plan::Class;
use lava_restore_plan::Verdict::{self, Note, Ok, Prepare, Refuse};
use lava_restore_plan::facts::{DatabaseState, Role};
use lava_restore_plan::release::{DeviceHealth, JobState};

use crate::lab;
use crate::whole::{Fault, bare, database, disorder, dump, package, remove, unit, version};

pub const FAULTS: &[(Verdict, &str, Fault)] = &[
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
    (Prepare, "django.feature", |b, t, _| {
        b.debs.as_mut().unwrap().held = Some(vec!["python3-django".into()]);
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
pub const IN_COMPANY: &[&str] = &[
    "release.unknown",
    "pkg.erratum",
    "lava.unknown",
    "pkg.unknown",
];
