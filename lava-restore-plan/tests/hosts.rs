//! What each intent plans for, and for which hosts.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
mod lab;

use lava_restore_plan::facts::DatabaseState;
use lava_restore_plan::simulate::{End, Fate, Journal, Lab};
use lava_restore_plan::{
    Action, Host, Intent, Options, Phase, Plan, Statement, Verdict, plan, render,
};

fn make(hosts: Vec<Host>, intent: Intent) -> Plan {
    let plan = plan(hosts, intent, &Options::default());
    plan.check().unwrap();
    plan
}

fn worst(plan: &Plan) -> Vec<String> {
    let findings = plan.findings.iter();
    let worst = findings.filter(|finding| finding.severity == plan.verdict);
    worst
        .map(|f| {
            format!(
                "{} on {}: {} {} {}",
                f.code, f.host, f.subject, f.expected, f.found
            )
        })
        .collect()
}

fn position(plan: &Plan, id: &str) -> usize {
    let at = plan.steps.iter().position(|step| step.id == id);
    at.unwrap_or_else(|| panic!("no step {id}"))
}

#[test]
fn a_worker_is_restored_with_its_token_and_forgets_its_jobs() {
    let plan = make(vec![lab::worker("rack-a")], Intent::RestoreWorker);
    assert!(plan.verdict < Verdict::Prepare, "{:#?}", worst(&plan));
    assert!(plan.steps.iter().all(|step| step.host == "worker_rack_a"));
    let id = |name: &str| position(&plan, &format!("worker_rack_a.{name}"));
    assert!(id("isolate.master") < id("quiesce.stop"));
    assert!(id("quiesce.stop") < id("config.files"));
    assert!(id("config.files") < id("config.forget_jobs"));
    assert!(id("config.forget_jobs") < id("start.services"));
    assert!(id("start.services") < id("verify.online"));
    let files = &plan.steps[id("config.files")];
    let Action::Extract { paths, exclude, .. } = &files.action else {
        panic!("{files:#?}")
    };
    assert_eq!(paths, &["config", "data", "logs"]);
    assert!(exclude.is_empty(), "{exclude:?}");
    assert!(!plan.steps.iter().any(|step| step.phase == Phase::Database));
}

#[test]
fn a_workers_other_name_or_lost_token_must_be_settled_before_it_starts() {
    let mut renamed = lab::worker("rack-a");
    renamed.target.hostname = Some("rack-new".into());
    renamed.target.worker.as_mut().unwrap().name = Some("rack-new".into());
    let mut without = lab::worker("rack-a");
    without.backup.paths.retain(|path| !path.contains("worker"));
    for (host, code) in [(renamed, "worker.name"), (without, "worker.secret")] {
        let plan = make(vec![host], Intent::RestoreWorker);
        assert_eq!(plan.verdict, Verdict::Prepare);
        let finding = plan.findings.iter().find(|f| f.code == code).unwrap();
        assert_eq!(finding.severity, Verdict::Prepare);
        assert!(position(&plan, &finding.steps[0]) < plan.steps.len());
    }
    let mut named = lab::worker("rack-a");
    named.backup.facts.worker.as_mut().unwrap().configured = true;
    named.target.hostname = Some("rack-new".into());
    named.target.worker.as_mut().unwrap().name = Some("rack-new".into());
    let plan = make(vec![named], Intent::RestoreWorker);
    assert!(plan.verdict < Verdict::Prepare, "{:#?}", worst(&plan));
}

#[test]
fn a_lab_is_its_master_and_then_one_worker_after_the_other() {
    let hosts = || {
        vec![
            lab::worker("rack-b"),
            lab::master_of(&["rack-a", "rack-b"]),
            lab::worker("rack-a"),
        ]
    };
    let plan = make(hosts(), Intent::RestoreLab);
    assert!(plan.verdict < Verdict::Prepare, "{:#?}", worst(&plan));
    let ids: Vec<&str> = plan.hosts.iter().map(|host| host.id.as_str()).collect();
    assert_eq!(ids, ["master", "worker_rack_a", "worker_rack_b"]);
    let order = [
        "master.verify.logs",
        "master.workers.admit",
        "worker_rack_a.isolate.master",
        "worker_rack_a.start.services",
        "master.workers.worker_rack_a",
        "worker_rack_b.isolate.master",
        "master.workers.worker_rack_b",
        "master.workers.health_checks",
        "master.reopen.site",
    ];
    let positions: Vec<usize> = order.iter().map(|id| position(&plan, id)).collect();
    assert!(positions.is_sorted(), "{positions:?}");
    let awaits = &plan.steps[position(&plan, "worker_rack_b.isolate.master")];
    assert!(matches!(&awaits.action, Action::AwaitHost { host, step }
            if host == "master" && step == "master.workers.worker_rack_a"));
    let seen = &plan.steps[position(&plan, "master.workers.worker_rack_a")].post[0];
    assert!(seen.patience >= 60 && seen.argv.last().unwrap().contains("'rack-a'"));

    let mut turned = hosts();
    turned.rotate_left(1);
    let other = make(turned, Intent::RestoreLab);
    assert_eq!(render::json(&plan).unwrap(), render::json(&other).unwrap());
    for host in ids {
        let script = render::shell(&plan, host).unwrap();
        let steps = plan.steps.iter().filter(|step| step.host == host);
        assert_eq!(script.matches("\nstep ").count(), steps.count());
    }
    assert!(render::shell(&plan, "worker_rack_c").is_err());
}

#[test]
fn a_lab_is_refused_when_its_hosts_do_not_belong_together() {
    let mut newer = lab::worker("rack-a");
    for facts in [&mut newer.backup.facts, &mut newer.target] {
        for package in &mut facts.packages {
            if package.name.starts_with("lava-") {
                package.version = "2023.03-1".parse().unwrap();
            }
        }
        facts.lava = None;
    }
    let two_masters = vec![lab::master_of(&[]), lab::master_of(&[])];
    let unknown = vec![lab::master_of(&["rack-b"]), lab::worker("rack-a")];
    let versions = vec![lab::master_of(&["rack-a"]), newer];
    for (hosts, code) in [
        (two_masters, "plan.hosts"),
        (unknown, "worker.known"),
        (versions, "worker.version"),
    ] {
        let plan = make(hosts, Intent::RestoreLab);
        assert_eq!(plan.verdict, Verdict::Refuse);
        assert!(plan.steps.is_empty());
        let refused = worst(&plan);
        assert!(
            refused.iter().any(|text| text.starts_with(code)),
            "{code}: {refused:#?}"
        );
    }
    let plan = make(vec![lab::worker("rack-a")], Intent::RestoreMaster);
    assert_eq!(plan.verdict, Verdict::Refuse);
}

#[test]
fn a_lab_is_refused_when_two_of_its_backups_are_of_one_worker_or_for_one_host() {
    let master = || lab::master_of(&["rack-a", "rack-b"]);
    let mut again = lab::worker("rack-a");
    again.backup.id = "20261123T040000Z-rack-a".into();
    again.target.hostname = Some("rack-c".into());
    let mut onto_one = lab::worker("rack-b");
    onto_one.target = lab::worker_facts("rack-a");
    for (other, what) in [(again, "rack-a"), (onto_one, "targets")] {
        let hosts = vec![master(), lab::worker("rack-a"), other];
        let plan = make(hosts, Intent::RestoreLab);
        let refused = worst(&plan);
        assert_eq!(plan.verdict, Verdict::Refuse, "{refused:#?}");
        let said = |text: &String| text.starts_with("plan.hosts") && text.contains(what);
        assert!(refused.iter().any(said), "{refused:#?}");
    }
}

#[test]
fn a_worker_that_comes_with_the_packages_of_its_master_is_stopped_and_started_with_the_rest() {
    let mut host = lab::master_of(&["lava.example.org"]);
    host.backup
        .paths
        .push("data/var/lib/lava/dispatcher/worker/token".into());
    let target = &mut host.target;
    target
        .packages
        .retain(|package| package.name != "lava-dispatcher");
    let units = target.units.as_mut().unwrap();
    units.retain(|unit| unit.name != "lava-worker.service");
    let plan = make(vec![host.clone()], Intent::RestoreMaster);
    let of = |id: &str| plan.steps[position(&plan, id)].argv.concat();
    for step in ["master.quiesce.stop", "master.start.services"] {
        let words = of(step);
        assert!(
            words.contains(&"lava-worker.service".to_owned()),
            "{words:?}"
        );
    }
    let options = Options::default();
    let mut lab = Lab::new(vec![host], Intent::RestoreMaster, &options);
    let end = lab.run(&plan, &mut Journal::default(), &Fate::default());
    assert_eq!(end.unwrap(), End::Done);
    assert_eq!((lab.harms(), lab.lacks()), (&[][..], vec![]));
}

#[test]
fn what_was_masked_on_the_backups_host_stays_so() {
    let mut host = lab::master_of(&[]);
    let masked = ["apt-daily.timer", "lava-worker.service"];
    let facts = &mut host.backup.facts;
    for unit in facts.units.iter_mut().chain(&mut facts.timers).flatten() {
        if masked.contains(&unit.name.as_str()) {
            (unit.active, unit.enabled) = (Some(false), Some(false));
        }
    }
    let link = |unit: &str| format!("config/etc/systemd/system/{unit}");
    host.backup.paths.extend(masked.map(link));
    let plan = make(vec![host], Intent::RestoreMaster);
    for step in [
        "master.start.release",
        "master.reopen.timers",
        "master.reopen.timers_start",
    ] {
        let words = plan.steps[position(&plan, step)].argv.concat();
        let touched = masked
            .iter()
            .any(|unit| words.iter().any(|word| word == unit));
        assert!(!touched, "{step}: {words:?}");
    }
}

#[test]
fn a_lab_that_lost_its_database_alone_is_restored_in_place() {
    for active in [true, false] {
        let mut host = lab::master_of(&[]);
        host.target.database = DatabaseState::Absent;
        for unit in host.target.units.iter_mut().flatten() {
            unit.active = Some(active && unit.active == Some(true));
        }
        let plan = make(vec![host.clone()], Intent::RestoreMaster);
        assert!(plan.verdict < Verdict::Prepare, "{:#?}", worst(&plan));
        let options = Options::default();
        let mut lab = Lab::new(vec![host.clone()], Intent::RestoreMaster, &options);
        let end = lab.run(&plan, &mut Journal::default(), &Fate::default());
        assert_eq!(end.unwrap(), End::Done);
        assert_eq!((lab.harms(), lab.lacks()), (&[][..], vec![]));
        let plan = make(vec![host], Intent::Grow);
        assert_eq!(
            plan.verdict,
            Verdict::Refuse,
            "there is nothing to begin in"
        );
    }
}

#[test]
fn a_new_lab_takes_packages_and_configuration_and_no_data_and_no_secret() {
    let mut host = lab::master_of(&[]);
    host.target.hostname = Some("new.example.org".into());
    let of_its_worker = "config/etc/lava-dispatcher/lava-worker".to_owned();
    host.backup.paths.push(of_its_worker.clone());
    let plan = make(vec![host], Intent::Grow);
    assert!(plan.verdict < Verdict::Prepare, "{:#?}", worst(&plan));
    let data = |action: &Action| {
        matches!(
            action,
            Action::RestoreDatabase { .. } | Action::FailJobs { .. } | Action::MaintainAllDevices
        )
    };
    assert!(!plan.steps.iter().any(|step| data(&step.action)));
    let asked = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Confirm { ask } => Some(ask.as_str()),
        _ => None,
    });
    let asked = asked.collect::<Vec<_>>().join(" ");
    assert!(
        !asked.contains("lost") && !asked.contains("UNKNOWN"),
        "{asked}"
    );
    let files = &plan.steps[position(&plan, "master.config.files")];
    let Action::Extract { paths, exclude, .. } = &files.action else {
        panic!("{files:#?}")
    };
    assert_eq!(paths, &["config"]);
    for own in [
        "settings.d/00-database.yaml",
        "settings.d/00-secret-key.yaml",
    ] {
        let own = format!("config/etc/lava-server/{own}");
        assert!(exclude.contains(&own), "{own}");
    }
    assert!(
        exclude.contains(&of_its_worker),
        "its own worker goes to the old lab"
    );

    let mut host = lab::worker("rack-a");
    host.target.hostname = Some("rack-new".into());
    let plan = make(vec![host], Intent::Grow);
    assert_eq!(plan.verdict, Verdict::Prepare, "{:#?}", worst(&plan));
    let files = &plan.steps[position(&plan, "worker_rack_new.config.files")];
    let Action::Extract { exclude, .. } = &files.action else {
        panic!("{files:#?}")
    };
    assert!(exclude.contains(&"config/etc/lava-dispatcher/lava-worker".to_owned()));
    let is_seen = |id: &str| id.ends_with(".verify.online");
    assert!(!plan.steps.iter().any(|step| is_seen(&step.id)));
}

#[test]
fn a_worker_has_the_name_that_it_is_given_or_else_that_of_its_host() {
    // Of the backup: its worker's name. Of the target: its host's name, its worker's name and
    // whether that is configured; then whether the name is kept.
    for (before, hostname, name, configured, keeps) in [
        ("rack-a", "rack-a", Some("rack-a"), false, true),
        ("rack-a", "rack-a", Some("other"), false, false),
        // What is configured there gives way to the backup's configuration.
        ("rack-a", "rack-a", Some("other"), true, true),
        ("rack-a", "rack-new", None, false, false),
        ("rack-a.lan", "rack-a", None, false, true),
    ] {
        let mut host = lab::worker("rack-a");
        host.backup.facts.worker.as_mut().unwrap().name = Some(before.into());
        host.target.hostname = Some(hostname.into());
        let worker = host.target.worker.as_mut().unwrap();
        (worker.name, worker.configured) = (name.map(String::from), configured);
        let plan = make(vec![host], Intent::RestoreWorker);
        let finding = plan.findings.iter().find(|f| f.code == "worker.name");
        let is_ok = finding.unwrap().severity == Verdict::Ok;
        assert_eq!(is_ok, keeps, "{before} to {hostname}, {name:?}");
    }
}

#[test]
fn a_drill_asks_nobody_and_begins_by_seeing_that_there_is_no_network() {
    let plan = make(vec![lab::master_of(&[])], Intent::Drill);
    assert!(plan.verdict < Verdict::Prepare, "{:#?}", worst(&plan));
    assert!(
        plan.steps
            .iter()
            .all(|step| step.action.choices().is_none())
    );
    let first = &plan.steps[0];
    assert_eq!(first.id, "master.isolate.network");
    assert_eq!(first.post[0].expect.stdout.as_deref(), Some("lo"));
}

#[test]
fn ids_that_were_seen_elsewhere_are_not_given_again() {
    let hosts = || vec![lab::master_of(&[])];
    let mut options = Options::default();
    let mut with = |id| {
        options.next_job_id = id;
        let mut hosts = hosts();
        if let DatabaseState::Present(database) = &mut hosts[0].backup.facts.database {
            database.max_job_id = Some(5011);
        }
        plan(hosts, Intent::RestoreMaster, &options)
    };
    let unsaid = with(None);
    let finding = unsaid
        .findings
        .iter()
        .find(|f| f.code == "jobs.next_id")
        .unwrap();
    assert_eq!(finding.severity, Verdict::Note);
    assert_eq!(with(Some(5011)).verdict, Verdict::Refuse);
    let said = with(Some(6000));
    let step = &said.steps[position(&said, "master.maintenance.next_job_id")];
    assert!(matches!(
        step.action,
        Action::Change {
            statement: Statement::NextJobId(6000),
            ..
        }
    ));
}

/// A host of a release, as far as a plan has to know it.
fn of_release(version: &str, units: &[&str]) -> Host {
    let mut host = lab::master_of(&[]);
    for facts in [&mut host.backup.facts, &mut host.target] {
        for package in &mut facts.packages {
            if package.name.starts_with("lava-") {
                package.version = version.parse().unwrap();
            }
        }
        facts.lava = None;
        let mut unit = facts.units.as_ref().unwrap()[2].clone();
        facts.units = Some(
            units
                .iter()
                .map(|name| {
                    unit.name = format!("{name}.service");
                    unit.clone()
                })
                .collect(),
        );
    }
    host
}

#[test]
fn each_era_is_stopped_emptied_and_started_by_what_works_in_it() {
    const OLD: &[&str] = &[
        "lava-server",
        "lava-master",
        "lava-publisher",
        "lava-server-gunicorn",
        "lava-slave",
    ];
    const ZMQ: &[&str] = &[
        "lava-logs",
        "lava-master",
        "lava-publisher",
        "lava-server-gunicorn",
        "lava-slave",
    ];
    const HTTP: &[&str] = &[
        "lava-scheduler",
        "lava-publisher",
        "lava-server-gunicorn",
        "lava-worker",
    ];
    for (version, units, jobs_by_sql, devices) in [
        ("2016.12-1", OLD, true, "sql"),
        ("2017.10-1", OLD, true, "sql"),
        ("2018.1-1", ZMQ, true, "each"),
        ("2018.11-1", ZMQ, false, "each"),
        ("2019.01-5", ZMQ, false, "all"),
        ("2020.08-1", ZMQ, false, "all"),
        ("2020.12-5", HTTP, false, "all"),
        ("2023.01-2", HTTP, false, "all"),
        ("2026.10-2~bpo13+1", HTTP, false, "all"),
    ] {
        let plan = make(vec![of_release(version, units)], Intent::RestoreMaster);
        assert!(
            plan.verdict < Verdict::Refuse,
            "{version}: {:#?}",
            worst(&plan)
        );
        let measured = !plan
            .findings
            .iter()
            .any(|f| f.code == "release.not_measured");
        assert_eq!(measured, version >= "2020.12", "{version}");
        let action = |id: &str| &plan.steps[position(&plan, id)].action;
        let by_sql = matches!(action("master.maintenance.jobs"), Action::Change { .. });
        assert_eq!(by_sql, jobs_by_sql, "{version}");
        let way = match action("master.maintenance.devices") {
            Action::Change { .. } => "sql",
            Action::MaintainDevices { .. } => "each",
            Action::MaintainAllDevices => "all",
            other => panic!("{other:#?}"),
        };
        assert_eq!(way, devices, "{version}");
        let Action::StopUnits { units: stopped } = action("master.quiesce.stop") else {
            panic!("{version}")
        };
        let mut wanted: Vec<String> = units.iter().map(|unit| format!("{unit}.service")).collect();
        let mut stopped = stopped.clone();
        stopped.sort();
        wanted.sort();
        assert_eq!(stopped, wanted, "{version}");
        let admits = plan
            .steps
            .iter()
            .any(|step| matches!(step.action, Action::AdmitWorkers { .. }));
        assert_eq!(admits, units == HTTP, "{version}");
        let script = render::shell(&plan, "master").unwrap();
        assert_eq!(
            script.contains("status IN (1, 5)"),
            version < "2018",
            "{version}"
        );
    }
}

#[test]
fn hosts_of_one_name_and_of_hostile_names_get_ids_of_their_own() {
    let names = [
        "a b",
        "a;b",
        "-rf",
        "\u{1b}[2J",
        "Ä",
        "a_b",
        "",
        "a.b",
        "a.b",
    ];
    let mut hosts: Vec<Host> = names.iter().map(|name| lab::worker(name)).collect();
    hosts.push(lab::master_of(&[]));
    let plan = plan(hosts, Intent::RestoreLab, &Options::default());
    assert_eq!(plan.verdict, Verdict::Refuse);
    let mut ids: Vec<&str> = plan.hosts.iter().map(|host| host.id.as_str()).collect();
    let plain = |id: &&str| {
        id.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    assert!(ids.iter().all(plain), "{ids:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), names.len() + 1);
}
