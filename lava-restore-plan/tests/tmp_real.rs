#![allow(
    clippy::unwrap_used,
    missing_docs,
    dead_code,
    unreachable_pub,
    unused_imports
)]
mod lab;
use lava_restore_plan::facts::*;
use lava_restore_plan::release::*;
use lava_restore_plan::*;
use std::collections::BTreeMap;
fn rows(name: &str) -> Vec<Vec<String>> {
    std::fs::read_to_string(format!("/var/tmp/lab-plan/f/{name}"))
        .unwrap()
        .lines()
        .map(|l| l.split_whitespace().map(String::from).collect())
        .collect()
}
#[test]
fn real() {
    let (mut b, mut t, mut o) = (lab::backup(), lab::target(), Options::new("/srv/store"));
    let packages: Vec<Package> = rows("packages")
        .iter()
        .filter(|r| !r[0].contains(':'))
        .map(|r| {
            let mut p = lab::package(&r[0], &r[1], &r[2]);
            p.state = r[3].clone();
            p
        })
        .collect();
    let units: Vec<Unit> = rows("units")
        .iter()
        .map(|r| Unit {
            name: r[0].clone(),
            active: None,
            enabled: Some(r[1] == "enabled"),
        })
        .collect();
    let migrations: Vec<Migration> = rows("migrations")
        .iter()
        .map(|r| Migration {
            app: r[0].clone(),
            name: r[1].clone(),
        })
        .collect();
    let shipped: Vec<ShippedMigration> = migrations
        .iter()
        .map(|m| ShippedMigration {
            app: m.app.clone(),
            name: m.name.clone(),
            replaces: vec![],
        })
        .collect();
    let mut devices: BTreeMap<DeviceHealth, Vec<String>> = BTreeMap::new();
    for r in rows("devices") {
        devices
            .entry(DeviceHealth::of(r[1].parse().unwrap()).unwrap())
            .or_default()
            .push(r[0].clone());
    }
    let states: BTreeMap<JobState, u64> = rows("states")
        .iter()
        .map(|r| {
            (
                JobState::of(r[0].parse().unwrap()).unwrap(),
                r[1].parse().unwrap(),
            )
        })
        .collect();
    let active: Vec<ActiveJob> = rows("active")
        .iter()
        .map(|r| ActiveJob {
            id: r[0].parse().unwrap(),
            state: JobState::of(r[1].parse().unwrap()).unwrap(),
        })
        .collect();
    for f in [&mut b.facts, &mut t] {
        f.packages = packages.clone();
        f.units = Some(
            units
                .iter()
                .filter(|u| u.name.starts_with("lava"))
                .cloned()
                .collect(),
        );
        f.timers = Some(
            units
                .iter()
                .filter(|u| !u.name.starts_with("lava"))
                .cloned()
                .collect(),
        );
        f.migrations_shipped = Some(shipped.clone());
    }
    let d = b.database.as_mut().unwrap();
    d.migrations = Some(migrations);
    (d.devices_by_health, d.jobs_by_state, d.active_jobs) =
        (Some(devices.clone()), Some(states.clone()), Some(active));
    if let DatabaseState::Present(db) = &mut t.database {
        db.jobs_by_state = Some(states);
        db.devices_by_health = Some(devices);
    }
    t.apache.lava_site_enabled = Some(std::env::var_os("SITE").is_some());
    o.replace_data = true;
    let p = plan(&b, &t, &Intent::RestoreMaster, &o);
    for f in p.findings.iter().filter(|f| f.severity > Verdict::Ok) {
        eprintln!(
            "{} {} {} {} {}",
            f.severity, f.code, f.subject, f.expected, f.found
        );
    }
    std::fs::write("/var/tmp/lab-plan/restore.sh", render::shell(&p).unwrap()).unwrap();
}
