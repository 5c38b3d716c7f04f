//! What is nearly a fault, or one for another reason than it seems.

use std::collections::BTreeMap;

use lava_restore_plan::Verdict::{self, Note, Ok, Prepare, Refuse};
use lava_restore_plan::facts::{
    Cluster, Confidence, DatabaseState, Migration, Package, Role, ShippedMigration,
};
use lava_restore_plan::release::JobState;
use lava_restore_plan::{Backup, Class, Intent, plan};

use crate::whole::{Fault, bare, database, disorder, dump, package, remove, unit, version, whole};
use crate::{drill, host, lab, lab_of, severity};

const DJANGO: &str = "python3-django";
const DRF: &str = "python3-djangorestframework";

/// Gives a backup one more application, with a migration that its packages ship.
fn has_applied(backup: &mut Backup, app: &str) {
    let (app, name) = (app.to_owned(), "0001_initial".to_owned());
    let applied = dump(backup).migrations.as_mut().unwrap();
    applied.push(Migration {
        app: app.clone(),
        name: name.clone(),
    });
    let shipped = backup.facts.migrations_shipped.as_mut().unwrap();
    shipped.push(ShippedMigration {
        app,
        name,
        replaces: vec![],
    });
}

/// How bad it is at most, if it is spoken of at all.
const EDGES: &[(Option<Verdict>, &str, Fault)] = &[
    // The base system.
    (Some(Refuse), "suite.unknown", |_, t, _| {
        t.suite.confidence = Confidence::Ambiguous
    }),
    (Some(Refuse), "suite.unknown", |b, _, _| {
        b.facts.suite.confidence = Confidence::Unknown
    }),
    (Some(Note), "clock", |_, t, _| {
        t.captured_at = Some("2026-12-22T04:00:00+01:00".into())
    }),
    (Some(Note), "clock", |b, _, _| {
        b.created = "2026-01-22T04:00:00+01:00".into()
    }),
    (Some(Refuse), "target.role", |_, t, _| {
        t.role = Role::Unknown
    }),
    (Some(Ok), "isolation", |_, t, _| {
        bare(t);
        t.apache.lava_site_enabled = None;
    }),
    (Some(Refuse), "target.data_unknown", |b, t, _| {
        bare(t);
        t.postgresql = b.facts.postgresql.clone();
    }),
    // lava-server makes a database when it is installed, and nothing else does.
    (None, "smoke.none", |_, t, _| {
        t.database = DatabaseState::Absent;
        version(t, "lava-server", "2022.11-1");
    }),
    (Some(Note), "smoke.none", |_, t, _| {
        t.database = DatabaseState::Absent;
        remove(t, "python3-django");
    }),
    // Its packages.
    (Some(Refuse), "pkg.unknown", |b, _, _| {
        b.facts.packages.clear()
    }),
    (None, "target.lists", |_, t, _| disorder(t, "lists.expired")),
    (None, "bpo.missing", |b, t, _| {
        package(&mut b.facts, "bash").origin = Some(Class::Backports);
        remove(t, "bash");
    }),
    (None, "pkg.hold_blocks", |_, t, _| {
        version(t, "python3-django", "3:3.2.19-1")
    }),
    (None, "pkg.hold_blocks", |_, t, _| {
        version(t, "bash", "5.1-1");
        package(t, "bash").hold = true;
    }),
    (None, "pkg.hold_blocks", |_, t, _| {
        bare(t);
        version(t, "bash", "5.1-1");
        package(t, "bash").hold = true;
    }),
    (Some(Note), "dep.differs", |_, t, _| remove(t, "bash")),
    (Some(Ok), "dep.differs", |_, t, _| {
        bare(t);
        remove(t, "bash");
    }),
    (None, "pkg.critical_differs", |_, t, _| {
        version(t, "bash", "5.1-1")
    }),
    // A dependency that no installation brings changes nothing beside a lab.
    (None, "pkg.change_with_data", |_, t, o| {
        version(t, "bash", "5.1-1");
        database(t).jobs_by_state = Some(BTreeMap::from([(JobState::Finished, 1)]));
        o.replace_data = true;
    }),
    (Some(Ok), "pkg.others", |b, _, _| {
        let auto = Package {
            auto: true,
            ..lab::package("ser2net", "amd64", "4.3")
        };
        b.facts.packages.push(auto);
    }),
    (None, "pkg.critical_differs", |b, _, _| {
        let removed = Package {
            state: "config-files".into(),
            ..lab::package("lava-dev", "all", "2023.01-2")
        };
        b.facts.packages.push(removed);
    }),
    (None, "lava.newer", |_, t, _| {
        t.packages
            .push(lab::package("lava-dev", "all", "2023.01-2"))
    }),
    (None, "pkg.erratum", |_, t, _| {
        let package = lab::package("python-lockfile", "all", "1:0.10.2-2~bpo8+1");
        t.packages.push(package);
    }),
    (None, "pkg.erratum", |_, t, _| {
        t.suite.base = Some("jessie".parse().unwrap());
        t.packages
            .push(lab::package("python-lockfile", "all", "1:0.8-2"));
    }),
    // The manual's own case: the suite's Django where the backup had that of backports.
    (Some(Prepare), "bpo.missing", |b, t, _| {
        b.debs.as_mut().unwrap().held = Some(vec![DJANGO.into()]);
        version(&mut b.facts, DJANGO, "3:4.2.28-1~bpo12+1");
        version(t, DJANGO, "3:3.2.25-0+deb12u7");
    }),
    (Some(Refuse), "django.feature", |b, t, _| {
        version(&mut b.facts, DJANGO, "3:4.2.28-1~bpo12+1");
        version(t, DJANGO, "3:3.2.25-0+deb12u7");
    }),
    // There is no way back, though it be at hand.
    (Some(Refuse), "django.feature", |b, t, _| {
        b.debs.as_mut().unwrap().held = Some(vec![DJANGO.into()]);
        version(t, DJANGO, "3:4.2.28-1");
    }),
    (Some(Refuse), "django.feature", |b, t, _| {
        b.debs.as_mut().unwrap().held = Some(vec![DJANGO.into()]);
        version(t, DJANGO, "3:3.02.25-0+deb12u7");
    }),
    // Equal by dpkg's order, and not the same upstream version.
    (Some(Prepare), "pkg.critical_differs", |_, t, _| {
        version(t, DRF, "3.14.00-2+deb12u1")
    }),
    (None, "pkg.downgrade", |_, t, _| {
        version(t, DRF, "3.14.00-2+deb12u1")
    }),
    (Some(Prepare), "pkg.critical_differs", |_, t, _| {
        remove(t, "postgresql-15")
    }),
    (Some(Note), "pkg.other_revision", |_, t, _| {
        version(t, "postgresql-15", "15.12-0+deb12u1")
    }),
    // An application's migrations become the backup's with the package that ships them alone.
    (Some(Refuse), "target.migrations_differ", |_, t, _| {
        version(t, "lava-server", "2022.11-1");
        t.migrations_shipped.as_mut().unwrap().remove(0);
    }),
    (Some(Prepare), "target.migrations_differ", |_, t, _| {
        version(t, "python3-django", "3:3.2.19-1");
        t.migrations_shipped.as_mut().unwrap().remove(0);
    }),
    (Some(Refuse), "target.migrations_differ", |_, t, _| {
        version(t, "python3-django", "3:3.2.19-1");
        t.migrations_shipped.as_mut().unwrap().remove(1);
    }),
    (Some(Refuse), "target.migrations_differ", |_, t, _| {
        version(t, "lava-common", "2022.11-1");
        t.migrations_shipped.as_mut().unwrap().remove(1);
    }),
    // `auth` is Django's own, whatever changes beside it.
    (Some(Refuse), "target.migrations_differ", |_, t, _| {
        version(t, DRF, "3.13.0-1");
        t.migrations_shipped.as_mut().unwrap().remove(0);
    }),
    (Some(Prepare), "target.migrations_differ", |b, t, _| {
        version(t, DRF, "3.13.0-1");
        has_applied(b, "authtoken");
    }),
    (Some(Prepare), "target.migrations_differ", |b, t, _| {
        for facts in [&mut b.facts, &mut *t] {
            let allauth = lab::package("python3-django-allauth", "all", "0.51.0-1");
            facts.packages.push(allauth);
        }
        version(t, "python3-django-allauth", "0.50.0-1");
        has_applied(b, "account");
        has_applied(b, "socialaccount");
    }),
    (Some(Refuse), "target.migrations_differ", |b, t, _| {
        version(t, DRF, "3.13.0-1");
        has_applied(b, "account");
    }),
    (Some(Prepare), "target.migrations_differ", |b, t, _| {
        version(t, "lava-server", "2022.11-1");
        has_applied(b, "dashboard_app");
    }),
    // Which .debs a backup holds that does not name them.
    (Some(Ok), "self.local_package", |b, _, _| {
        package(&mut b.facts, "lava-server").origin = Some(Class::Local);
        b.debs.as_mut().unwrap().held = None;
    }),
    (Some(Note), "self.local_package", |b, _, _| {
        package(&mut b.facts, "lava-server").origin = Some(Class::Local);
        let debs = b.debs.as_mut().unwrap();
        (debs.held, debs.lacking) = (None, vec!["lava-server".into()]);
    }),
    (Some(Note), "dep.differs", |b, t, _| {
        b.debs.as_mut().unwrap().held = None;
        version(t, "bash", "5.1-1");
    }),
    (Some(Prepare), "dep.differs", |b, t, _| {
        let debs = b.debs.as_mut().unwrap();
        (debs.held, debs.scope) = (None, "closure".into());
        version(t, "bash", "5.1-1");
    }),
    // Its server.
    (None, "pg.client_old", |b, t, _| {
        let client =
            |major: &str| lab::package(&format!("postgresql-client-{major}"), "amd64", major);
        b.facts.packages.push(client("15"));
        t.packages.push(client("13"));
    }),
    (None, "pg.client_old", |_, t, _| {
        t.packages
            .push(lab::package("postgresql-client-15", "amd64", "15"))
    }),
    (None, "pg.remote", |b, _, _| {
        database(&mut b.facts).host = Some("/var/run/postgresql".into())
    }),
    (None, "pg.remote", |b, _, _| {
        database(&mut b.facts).host = Some("127.0.0.1".into())
    }),
    (None, "pg.remote", |b, _, _| {
        database(&mut b.facts).host = Some("::1".into())
    }),
    (Some(Refuse), "pg.remote", |b, _, _| {
        database(&mut b.facts).host = Some("192.0.2.7".into())
    }),
    (None, "pg.cluster", |_, t, _| t.postgresql = None),
    (Some(Ok), "pg.cluster", |_, t, _| bare(t)),
    (Some(Note), "pg.cluster", |_, t, _| {
        let clusters = &mut t.postgresql.as_mut().unwrap().clusters;
        clusters[0].port = Some(5433);
        clusters.push(Cluster {
            port: None,
            ..clusters[0].clone()
        });
    }),
    (Some(Note), "pg.cluster", |_, t, _| {
        t.postgresql.as_mut().unwrap().clusters.clear()
    }),
    (Some(Ok), "pg.locale", |_, t, _| t.locales = Some(vec![])),
    (Some(Ok), "pg.collation", |b, _, _| {
        database(&mut b.facts).collate = Some("en_GB.UTF-8".into())
    }),
    (Some(Note), "pg.role", |_, t, _| {
        t.postgresql.as_mut().unwrap().roles = Some(vec!["postgres".into()])
    }),
    (Some(Ok), "pg.extension", |b, t, _| {
        database(&mut b.facts).extensions = Some(vec!["hstore".into()]);
        let server = t.postgresql.as_mut().unwrap();
        server.extensions = Some(vec!["hstore".into(), "plpgsql".into()]);
    }),
    // The master's own worker.
    (Some(Prepare), "worker.secret", |b, _, _| {
        dump(b).workers = Some(vec!["lava.example.org".into()]);
        let unit = unit(&mut b.facts, "lava-worker.service");
        (unit.active, unit.enabled) = (Some(false), Some(true));
    }),
    (Some(Prepare), "worker.secret", |b, _, _| {
        dump(b).workers = Some(vec!["lava.example.org".into()]);
        let unit = unit(&mut b.facts, "lava-worker.service");
        (unit.active, unit.enabled) = (Some(true), Some(false));
    }),
    (None, "worker.secret", |b, _, _| {
        dump(b).workers = Some(vec!["lava.example.org".into()]);
        let unit = unit(&mut b.facts, "lava-worker.service");
        (unit.active, unit.enabled) = (Some(false), Some(false));
    }),
];

#[test]
fn what_is_nearly_a_fault_is_judged_as_what_it_is() {
    for (at, (wanted, code, fault)) in EDGES.iter().enumerate() {
        let (mut backup, mut target, mut options) = whole();
        fault(&mut backup, &mut target, &mut options);
        let plan = plan(
            vec![host(&backup, &target)],
            Intent::RestoreMaster,
            &options,
        );
        assert_eq!(severity(&plan, code), *wanted, "{code}, row {at}");
    }
}

/// The same in a drill, which has nothing to install from but the backup.
const IN_A_DRILL: &[(Option<Verdict>, &str, Fault)] = &[
    (Some(Refuse), "self.no_debs", |b, t, _| {
        b.debs = None;
        version(t, "python3-django", "3:3.2.19-1");
    }),
    (Some(Refuse), "self.closure_open", |b, t, _| {
        let debs = b.debs.as_mut().unwrap();
        (debs.held, debs.scope) = (None, "closure".into());
        bare(t);
    }),
    // Nobody is asked about them.
    (Some(Ok), "env.jobs", |b, _, _| {
        dump(b).jobs_by_state = Some(BTreeMap::from([(JobState::Submitted, 1)]));
    }),
];

#[test]
fn in_a_drill_too() {
    for (at, (wanted, code, fault)) in IN_A_DRILL.iter().enumerate() {
        assert_eq!(severity(&drill(*fault), code), *wanted, "{code}, row {at}");
    }
}

#[test]
fn a_new_lab_gets_no_other_django_below_the_database_that_it_has() {
    let (mut backup, mut target, options) = whole();
    backup.debs.as_mut().unwrap().held = None;
    version(&mut target, DJANGO, "3:3.1.14-1");
    let grown = plan(vec![host(&backup, &target)], Intent::Grow, &options);
    assert_eq!(severity(&grown, "django.feature"), Some(Refuse));
    // Where LAVA is still to come, its database comes after.
    bare(&mut target);
    let grown = plan(vec![host(&backup, &target)], Intent::Grow, &options);
    assert_eq!(severity(&grown, "django.feature"), Some(Prepare));
}

#[test]
fn a_new_lab_needs_no_data_and_lets_no_other_go() {
    let (mut backup, mut target, mut options) = whole();
    backup.sections = vec!["config".into(), "facts".into()];
    let grown = plan(vec![host(&backup, &target)], Intent::Grow, &options);
    assert_eq!(severity(&grown, "self.missing_part"), None);
    database(&mut target).jobs_by_state = Some(BTreeMap::from([(JobState::Finished, 1)]));
    options.replace_data = true;
    let grown = plan(vec![host(&backup, &target)], Intent::Grow, &options);
    assert_eq!(severity(&grown, "target.has_data"), Some(Refuse));
}

#[test]
fn a_worker_of_another_build_or_of_an_unknown_database_is_as_good() {
    let plan = lab_of(&["rack-a"], |worker| {
        version(&mut worker.target, "lava-dispatcher", "2023.01+12+bookworm");
    });
    assert_eq!(severity(&plan, "worker.package"), None);
    assert_eq!(severity(&plan, "lava.other_build"), Some(Note));
    let plan = lab_of(&["rack-a"], |worker| {
        version(&mut worker.target, "lava-dispatcher", "2022.11-1");
        worker.target.database = DatabaseState::Unknown;
    });
    assert_eq!(severity(&plan, "pkg.change_with_data"), None);
    // Django is nothing to a worker.
    let plan = lab_of(&["rack-a"], |worker| {
        remove(&mut worker.target, "python3-django")
    });
    assert_eq!(severity(&plan, "django.absent"), None);
}

#[test]
fn a_worker_proves_itself_with_its_token_and_finds_its_master_by_its_short_name() {
    let plan = lab_of(&["rack-a"], |worker| {
        worker.backup.paths = vec!["config/etc/lava-dispatcher/lava-worker".into()];
    });
    assert_eq!(severity(&plan, "worker.secret"), Some(Prepare));
    let plan = lab_of(&["rack-a"], |worker| {
        let facts = worker.backup.facts.worker.as_mut().unwrap();
        facts.server = Some("http://lava:8000/".into());
    });
    assert_eq!(severity(&plan, "worker.master_address"), Some(Ok));
}

#[test]
fn a_finding_says_what_was_found_and_what_to_do() {
    let said = |code: &str, fault: Fault| {
        let (mut backup, mut target, mut options) = whole();
        fault(&mut backup, &mut target, &mut options);
        let plan = plan(
            vec![host(&backup, &target)],
            Intent::RestoreMaster,
            &options,
        );
        let mut findings = plan.findings.into_iter();
        let finding = findings.find(|finding| finding.code == code).unwrap();
        (finding.expected, finding.found, finding.remedy)
    };
    let (expected, found, _) = said("target.role", |_, t, _| t.role = Role::Worker);
    assert_eq!((&*expected, &*found), ("master", "worker"));
    let (_, found, _) = said("target.role", |_, t, _| t.role = Role::Unknown);
    assert_eq!(found, "unknown");
    let (_, _, remedy) = said("lava.older", |_, t, _| {
        version(t, "lava-server", "2022.11-1")
    });
    let wanted = "install lava-server=2023.01-2 from the backup or its suite";
    assert_eq!(remedy, wanted);
    let (_, found, _) = said("target.migrations_differ", |_, t, _| {
        t.migrations_shipped.as_mut().unwrap().remove(1);
    });
    assert_eq!(found, "lacks lava_results_app.0018_drop_buglink");
    let (_, found, _) = said("target.migrations_differ", |b, t, _| {
        let shipped = &mut t.migrations_shipped.as_mut().unwrap();
        let mut more = shipped[1].clone();
        more.name = "0019_more".into();
        shipped.insert(2, more);
        b.facts.migrations_shipped = Some(shipped.clone());
    });
    assert_eq!(found, "has more: lava_results_app.0019_more");
    let (_, _, remedy) = said("space", |_, t, _| {
        let room = t.room.as_mut().unwrap();
        (room[1].mount, room[0].free_bytes) = ("/".into(), 2 << 30);
    });
    assert_eq!(
        remedy,
        "see that what is not there already has room, or make some"
    );
}
