//! What exactly a step does, in cases in which it could do more or less.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
mod lab;

use std::fmt::Write as _;

use lava_restore_plan::facts::DatabaseState;
use lava_restore_plan::release::JobState;
use lava_restore_plan::{Action, Backup, Debs, Facts, Host, Intent, Options, Plan, Verdict, plan};

/// The plan for a master like the one that its backup is of, but for a change.
fn master(change: impl FnOnce(&mut Backup, &mut Facts)) -> Plan {
    let mut host = lab::master_of(&[]);
    change(&mut host.backup, &mut host.target);
    of(host, Intent::RestoreMaster)
}

fn of(host: Host, intent: Intent) -> Plan {
    let plan = plan(vec![host], intent, &Options::default());
    assert!(plan.verdict < Verdict::Refuse, "{:#?}", plan.findings);
    plan
}

/// What a step does; `None` where there is no such step.
fn action<'p>(plan: &'p Plan, step: &str) -> Option<&'p Action> {
    let found = plan.steps.iter().find(|known| known.id == step);
    found.map(|step| &step.action)
}

/// The units that a step is about.
fn units<'p>(plan: &'p Plan, step: &str) -> Vec<&'p str> {
    match action(plan, step) {
        Some(
            Action::StopUnits { units }
            | Action::StartUnits { units }
            | Action::ReleaseUnits { units }
            | Action::ReviewLogs { units },
        ) => units.iter().map(String::as_str).collect(),
        other => panic!("{step}: {other:#?}"),
    }
}

fn set(facts: &mut Facts, name: &str, active: bool, enabled: bool) {
    let units = facts.units.iter_mut().chain(&mut facts.timers).flatten();
    for unit in units.filter(|unit| unit.name == name) {
        (unit.active, unit.enabled) = (Some(active), Some(enabled));
    }
}

#[test]
fn only_sections_that_are_held_are_brought_back() {
    let plan = master(|backup, _| backup.sections.retain(|section| section != "logs"));
    let Some(Action::Extract { paths, .. }) = action(&plan, "master.config.files") else {
        panic!("{plan:#?}")
    };
    assert_eq!(paths, &["config", "data"]);
}

#[test]
fn a_timer_stays_masked_when_its_link_was_one_that_masks_and_no_other() {
    for (active, enabled, released) in [
        (false, false, false),
        (true, false, true),
        (false, true, true),
    ] {
        let plan = master(|backup, target| {
            let path = "config/etc/systemd/system/apt-daily.timer";
            backup.paths.push(path.into());
            set(&mut backup.facts, "apt-daily.timer", active, enabled);
            set(&mut backup.facts, "apt-daily-upgrade.timer", false, false);
            set(target, "apt-daily-upgrade.timer", true, true);
        });
        let found = units(&plan, "master.reopen.timers");
        let mut wanted = vec!["apt-daily-upgrade.timer"];
        wanted.extend(released.then_some("apt-daily.timer"));
        assert_eq!(found, wanted, "active {active}, enabled {enabled}");
    }
}

#[test]
fn the_smoke_test_starts_what_is_stopped_of_the_masters_own() {
    let plan = master(|_, target| {
        set(target, "lava-publisher.service", false, true);
        set(target, "lava-worker.service", false, true);
        set(target, "lava-scheduler.service", true, false);
    });
    for step in ["master.smoke.release", "master.smoke.services"] {
        assert_eq!(units(&plan, step), ["lava-publisher.service"], "{step}");
    }
}

#[test]
fn where_nobody_knows_what_ran_all_is_started_but_what_few_labs_have() {
    let plan = master(|backup, _| backup.facts.units = None);
    let started = units(&plan, "master.start.services");
    assert!(started.contains(&"lava-worker.service"), "{started:?}");
    assert!(
        !started.contains(&"lava-celery-worker.service"),
        "{started:?}"
    );
}

#[test]
fn a_master_starts_its_own_services_whatever_ran_and_others_that_did() {
    let plan = master(|backup, _| {
        set(&mut backup.facts, "lava-publisher.service", false, false);
        set(&mut backup.facts, "lava-worker.service", false, false);
    });
    assert_eq!(
        units(&plan, "master.start.services"),
        ["lava-publisher.service", "lava-scheduler.service"]
    );
}

#[test]
fn what_is_to_run_after_a_boot_and_what_runs_now_is_started() {
    for (active, enabled) in [(true, false), (false, true)] {
        let plan = master(|backup, _| {
            let worker = "lava-worker.service";
            set(&mut backup.facts, worker, active, enabled);
        });
        let started = units(&plan, "master.start.services");
        assert!(started.contains(&"lava-worker.service"), "{started:?}");
    }
}

#[test]
fn a_worker_that_was_off_works_and_one_in_docker_alone_stays_alone() {
    for (in_docker, started) in [
        (false, "lava-worker.service"),
        (true, "lava-docker-worker.service"),
    ] {
        let mut host = lab::worker("rack-a");
        for facts in [&mut host.backup.facts, &mut host.target] {
            let docker = lab::unit("lava-docker-worker.service", in_docker);
            facts.units = Some(vec![docker, lab::unit("lava-worker.service", false)]);
        }
        let plan = of(host, Intent::RestoreWorker);
        let step = "worker_rack_a.start.services";
        assert_eq!(units(&plan, step), [started], "in docker: {in_docker}");
    }
}

#[test]
fn a_server_at_another_port_is_asked_there() {
    for (intent, port, asked) in [
        (Intent::RestoreMaster, 5433, Some(5433)),
        (Intent::RestoreMaster, 5432, None),
        (Intent::Grow, 5433, Some(5433)),
    ] {
        let mut host = lab::master_of(&[]);
        let facts = match intent {
            Intent::Grow => &mut host.target,
            _ => &mut host.backup.facts,
        };
        let DatabaseState::Present(database) = &mut facts.database else {
            panic!()
        };
        database.port = Some(port);
        let server = host.target.postgresql.as_mut().unwrap();
        server.clusters[0].port = Some(port);
        let plan = of(host, intent);
        let steps = plan.steps.iter();
        let step = steps
            .clone()
            .find(|step| step.id == "master.start.safe")
            .unwrap();
        let words = &step.post[0].argv;
        let at = words.iter().position(|word| word == "-p");
        let found = at.map(|at| words[at + 1].parse().unwrap());
        assert_eq!(found, asked, "{intent:?}: {words:?}");
    }
}

#[test]
fn a_new_lab_needs_no_dump() {
    let mut host = lab::master_of(&[]);
    host.backup.database = None;
    let plan = of(host, Intent::Grow);
    assert!(action(&plan, "master.config.files").is_some());
}

/// What each step costs and hides, how it is taken up again, and how long its gates are asked.
#[test]
fn each_step_says_what_it_costs() {
    let mut text = String::new();
    let grown = of(lab::master_of(&[]), Intent::Grow);
    let [longest, packages] = lab::longest_plans();
    for plan in [lab::lab_plan(), longest, packages, grown] {
        for step in &plan.steps {
            let (danger, resume) = (step.danger, step.resume);
            write!(
                text,
                "{}: {danger:?} {:?} {resume:?}",
                step.id, step.touches
            )
            .unwrap();
            if !step.secrets.is_empty() {
                write!(text, ", hides {}", step.secrets.join(", ")).unwrap();
            }
            for gate in step.post.iter().filter(|gate| gate.patience > 0) {
                write!(text, ", {} for {} s", gate.id, gate.patience).unwrap();
            }
            text.push('\n');
        }
        text.push('\n');
    }
    insta::assert_snapshot!("costs", text);
}

#[test]
fn in_a_drill_a_worker_is_looked_for_that_can_prove_who_it_is() {
    for token in [true, false] {
        let mut host = lab::master_of(&["lava.example.org"]);
        if token {
            let path = "data/var/lib/lava/dispatcher/worker/token";
            host.backup.paths.push(path.into());
        }
        let plan = of(host, Intent::Drill);
        assert_eq!(action(&plan, "master.workers.own").is_some(), token);
    }
}

#[test]
fn timers_run_again_that_ran_on_the_target() {
    let plan = master(|_, target| set(target, "apt-daily.timer", false, false));
    assert_eq!(
        units(&plan, "master.reopen.timers_start"),
        ["apt-daily-upgrade.timer"]
    );
}

#[test]
fn an_upgrade_that_was_at_work_is_stopped_and_not_started_again() {
    let upgrade = "apt-daily-upgrade.service";
    let plan = master(|_, target| {
        let timers = target.timers.as_mut().unwrap();
        let mut unit = timers[0].clone();
        unit.name = upgrade.into();
        (unit.active, unit.enabled) = (Some(true), Some(false));
        timers.push(unit);
    });
    for step in ["master.base.timers", "master.reopen.timers"] {
        assert!(units(&plan, step).contains(&upgrade), "{step}");
    }
    assert_eq!(
        units(&plan, "master.reopen.timers_start"),
        ["apt-daily-upgrade.timer", "apt-daily.timer"]
    );
}

#[test]
fn a_master_looks_for_its_own_worker_where_that_one_is_to_run() {
    for runs in [true, false] {
        let mut host = lab::master_of(&["lava.example.org"]);
        set(&mut host.backup.facts, "lava-worker.service", runs, runs);
        let plan = of(host, Intent::RestoreMaster);
        assert_eq!(action(&plan, "master.workers.own").is_some(), runs);
    }
}

#[test]
fn lava_is_served_by_its_usual_site_unless_the_backups_was_another() {
    for (usual, other, serves, is_usual) in [
        (true, true, false, true),
        (false, true, false, false),
        // Then the target's own site is still there.
        (false, true, true, true),
        (false, false, false, true),
    ] {
        let plan = master(|backup, target| {
            let held = |path: &String| !path.contains("sites-enabled") || usual;
            backup.paths.retain(held);
            let path = "config/etc/apache2/sites-enabled/lab.conf";
            backup.paths.extend(other.then(|| path.into()));
            target.apache.lava_site_enabled = Some(serves);
        });
        let Some(Action::AdmitAll { site }) = action(&plan, "master.reopen.site") else {
            panic!("{plan:#?}")
        };
        assert_eq!(site.is_some(), is_usual, "{usual} {other} {serves}");
    }
}

#[test]
fn nobody_decides_on_jobs_where_there_are_none() {
    let plan = master(|backup, _| {
        let dump = backup.database.as_mut().unwrap();
        dump.active_jobs = Some(vec![]);
        let counts = dump.jobs_by_state.as_mut().unwrap();
        counts.retain(|state, _| *state == JobState::Finished);
    });
    assert!(action(&plan, "master.maintenance.queue").is_none());
    let jobs = action(&plan, "master.maintenance.jobs");
    assert_eq!(jobs, Some(&Action::Check));
}

#[test]
fn a_master_without_a_worker_has_no_jobs_to_forget() {
    for worker in [true, false] {
        let plan = master(|_, target| {
            let units = target.units.as_mut().unwrap();
            units.retain(|unit| worker || unit.name != "lava-worker.service");
        });
        let forgets = action(&plan, "master.config.forget_jobs");
        assert_eq!(forgets.is_some(), worker);
    }
}

#[test]
fn sites_that_the_backup_did_not_serve_are_taken_out() {
    let plan = master(|backup, target| {
        let path = "config/etc/apache2/sites-enabled/lab.conf";
        backup.paths.push(path.into());
        backup
            .paths
            .retain(|path| !path.ends_with("/lava-server.conf"));
        let sites = ["000-default", "lab", "lava-server"];
        target.apache.sites = Some(sites.map(String::from).into());
    });
    let taken = plan.steps.iter().filter_map(|step| match &step.action {
        Action::DisableSite { site } if step.id.contains(".config.") => Some(site.as_str()),
        _ => None,
    });
    assert_eq!(taken.collect::<Vec<_>>(), ["000-default"]);
}

#[test]
fn what_differs_is_named_and_a_harmless_difference_is_kept() {
    let plan = master(|backup, target| {
        let held = Some(vec!["bash".into(), "python3-django".into()]);
        backup.facts.dependencies = Some(vec!["bash".into()]);
        backup.debs = Some(Debs {
            held,
            ..Debs::default()
        });
        for package in &mut target.packages {
            match package.name.as_str() {
                "python3-django" => package.version = "3:3.2.19-1".parse().unwrap(),
                "bash" => package.version = "5.1-1".parse().unwrap(),
                "lava-common" => package.version = "2023.01+12+bookworm".parse().unwrap(),
                _ => {}
            }
        }
    });
    let Some(Action::InstallPackages { packages, .. }) = action(&plan, "master.install.packages")
    else {
        panic!("{plan:#?}")
    };
    assert_eq!(packages, &["bash", "python3-django"]);
    let mut steps = plan.steps.iter();
    let exact = steps
        .find(|step| step.id == "master.install.exact")
        .unwrap();
    let version = |name: &str| {
        let gate = exact
            .post
            .iter()
            .find(|gate| gate.id.ends_with(&format!(":{name}")));
        gate.unwrap().expect.stdout.clone().unwrap()
    };
    assert_eq!(version("python3-django"), "ok installed 3:3.2.25-0+deb12u7");
    assert_eq!(version("lava-common"), "ok installed 2023.01+12+bookworm");
}

#[test]
fn a_server_of_another_major_and_a_new_lab_keep_their_servers_files() {
    for (major, intent, kept) in [
        (15, Intent::RestoreMaster, false),
        (17, Intent::RestoreMaster, true),
        (15, Intent::Grow, true),
    ] {
        let mut host = lab::master_of(&[]);
        let path = "config/etc/postgresql/15/main/postgresql.conf";
        host.backup.paths.push(path.into());
        host.target.postgresql.as_mut().unwrap().major = major;
        let plan = of(host, intent);
        let Some(Action::Extract { exclude, .. }) = action(&plan, "master.config.files") else {
            panic!("{plan:#?}")
        };
        let is_kept = exclude.contains(&"config/etc/postgresql".to_owned());
        assert_eq!(is_kept, kept, "{major} {intent:?}");
        let mut steps = plan.steps.iter();
        let restart = steps.find(|step| step.id == "master.config.server");
        let why = restart.map(|step| step.post[0].why.as_str());
        let is_of_the_server = why.map(|why| why.contains("next boot"));
        assert_eq!(
            is_of_the_server,
            (!kept).then_some(true),
            "{major} {intent:?}"
        );
    }
}
