//! A case in which nothing is wrong, and how to change it.

use std::collections::BTreeMap;

use lava_restore_plan::facts::{
    Database, DatabaseState, Disorder, Facts, Package, Role, Room, Unit,
};
use lava_restore_plan::release::{DeviceHealth, JobState};
use lava_restore_plan::{Backup, Class, Debs, Dump, Options, Size};

use crate::lab;

/// A change to a case in which nothing is wrong.
pub type Fault = fn(&mut Backup, &mut Facts, &mut Options);

/// A backup, a target and what a caller wants, about which everything is known and nothing is
/// worth a word but what every restore does.
pub fn whole() -> (Backup, Facts, Options) {
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

pub fn package<'a>(facts: &'a mut Facts, name: &str) -> &'a mut Package {
    facts
        .packages
        .iter_mut()
        .find(|package| package.name == name)
        .unwrap()
}

pub fn version(facts: &mut Facts, name: &str, version: &str) {
    package(facts, name).version = version.parse().unwrap();
}

pub fn remove(facts: &mut Facts, name: &str) {
    facts.packages.retain(|package| package.name != name);
}

pub fn unit<'a>(facts: &'a mut Facts, name: &str) -> &'a mut Unit {
    let mut units = facts.units.iter_mut().flatten();
    units.find(|unit| unit.name == name).unwrap()
}

pub fn dump(backup: &mut Backup) -> &mut Dump {
    backup.database.as_mut().unwrap()
}

pub fn database(facts: &mut Facts) -> &mut Database {
    match &mut facts.database {
        DatabaseState::Present(database) => database,
        other => panic!("{other:?}"),
    }
}

pub fn disorder(facts: &mut Facts, kind: &str) {
    let found = Disorder {
        kind: kind.into(),
        subject: "/etc/apt/sources.list:1".into(),
    };
    facts.disorder.as_mut().unwrap().push(found);
}

/// A target on which nothing of LAVA's is installed.
pub fn bare(target: &mut Facts) {
    target
        .packages
        .retain(|package| !package.name.starts_with("lava-"));
    target.role = Role::Unknown;
    (target.lava, target.postgresql, target.units) = (None, None, None);
    target.database = DatabaseState::Unknown;
}
