//! What holds for every plan.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
mod lab;

use std::collections::{BTreeMap, BTreeSet};

use lava_restore_plan::facts::{ActiveJob, DatabaseState, Facts};
use lava_restore_plan::release::{DeviceHealth, JobState};
use lava_restore_plan::{Action, Backup, Intent, LavaVersion, Options, Phase, Plan, Verdict};
use lava_restore_plan::{diff, plan, render};
use proptest::prelude::*;

fn make(backup: &Backup, target: &Facts, options: &Options) -> Plan {
    plan(
        vec![lab::onto(backup, target)],
        Intent::RestoreMaster,
        options,
    )
}

/// A backup and a target, most of them fit for each other.
fn cases() -> impl Strategy<Value = (Backup, Facts, Options)> {
    let jobs = prop::collection::btree_map(1..500_u64, 0..4_usize, 0..6);
    let devices = prop::collection::btree_map("[a-z][a-z0-9-]{0,6}", 0..6_usize, 0..6);
    let django = prop::sample::select(vec![
        "3:3.2.25-0+deb12u7",
        "3:3.2.25-0+deb12u3",
        "3:3.2.19-1",
        "3:4.2.28-1",
    ]);
    let lava = prop::sample::select(vec![
        "2023.01-2",
        "2023.01+12+bookworm",
        "2022.11-1",
        "2023.03-1",
    ]);
    let units = prop::sample::subsequence(vec![0, 4, 5], 0..=3);
    let flags = (
        prop::bool::weighted(0.5),
        prop::option::weighted(0.9, any::<bool>()),
        prop::bool::weighted(0.9),
        0..8_u64,
        any::<bool>(),
        any::<bool>(),
    );
    (jobs, devices, django, lava, units, flags).prop_map(
        |(jobs, devices, django, lava, units, flags)| {
            let (replace, site, suite, queued, lab, timers) = flags;
            let (mut backup, mut target, mut options) =
                (lab::backup(), lab::target(), lab::options());
            let dump = backup.database.as_mut().unwrap();
            let active: Vec<ActiveJob> = jobs
                .into_iter()
                .map(|(id, state)| ActiveJob {
                    id,
                    state: JobState::of(1 + state).unwrap(),
                })
                .collect();
            let mut counts = BTreeMap::from([(JobState::Submitted, queued)]);
            for job in &active {
                *counts.entry(job.state).or_insert(0) += 1;
            }
            let mut by_health: BTreeMap<DeviceHealth, Vec<String>> = BTreeMap::new();
            for (name, health) in devices {
                by_health
                    .entry(DeviceHealth::of(health).unwrap())
                    .or_default()
                    .push(name);
            }
            dump.active_jobs = Some(active);
            dump.jobs_by_state = Some(counts.clone());
            dump.devices_by_health = Some(by_health.clone());
            for package in &mut target.packages {
                match package.name.as_str() {
                    "python3-django" => package.version = django.parse().unwrap(),
                    name if name.starts_with("lava-") => package.version = lava.parse().unwrap(),
                    _ => {}
                }
            }
            let all = target.units.clone().unwrap();
            let kept = |at: usize| at != 0 && at != 5 || units.contains(&at);
            target.units = Some(
                all.into_iter()
                    .enumerate()
                    .filter(|(at, _)| kept(*at))
                    .map(|(_, unit)| unit)
                    .collect(),
            );
            target.apache.lava_site_enabled = site;
            if !suite {
                target.suite.base = Some("trixie".parse().unwrap());
            }
            if !timers {
                target.timers = Some(vec![]);
            }
            if let (true, DatabaseState::Present(database)) = (lab, &mut target.database) {
                database.jobs_by_state = Some(counts);
                database.devices_by_health = Some(by_health);
            }
            options.replace_data = replace;
            (backup, target, options)
        },
    )
}

fn position(plan: &Plan, id: &str) -> usize {
    plan.steps
        .iter()
        .position(|step| step.id == id)
        .unwrap_or_else(|| panic!("no step {id}"))
}

fn starts(plan: &Plan) -> Vec<(usize, &str)> {
    let mut starts = Vec::new();
    for (at, step) in plan
        .steps
        .iter()
        .enumerate()
        .filter(|(_, step)| step.phase < Phase::Reopen)
    {
        if let Action::StartUnits { units } = &step.action {
            starts.extend(units.iter().map(|unit| (at, unit.as_str())));
        }
    }
    starts
}

/// A plan in every form.
fn renderings(plan: &Plan) -> [(&'static str, String); 5] {
    [
        ("json", render::json(plan).unwrap()),
        ("markdown", render::markdown(plan).unwrap()),
        ("html", render::html(plan).unwrap()),
        ("shell", render::shell(plan, "master").unwrap()),
        ("ansible", render::ansible(plan).unwrap()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn steps_need_only_what_is_before_them_and_have_ids_of_their_own((backup, target, options) in cases()) {
        let plan = make(&backup, &target, &options);
        let mut before = BTreeSet::new();
        for step in &plan.steps {
            prop_assert!(step.needs.iter().all(|id| before.contains(id)));
            prop_assert!(!step.needs.is_empty() || before.is_empty(), "{} hangs in the air", step.id);
            prop_assert!(before.insert(step.id.clone()));
            prop_assert_eq!(&step.argv, &step.action.argv());
        }
        let gates: Vec<_> = plan.steps.iter().flat_map(|s| s.pre.iter().chain(&s.post)).collect();
        let ids: BTreeSet<_> = gates.iter().map(|gate| &gate.id).collect();
        prop_assert_eq!(ids.len(), gates.len());
        prop_assert!(plan.check().is_ok());
    }

    #[test]
    fn a_refused_case_has_no_steps_and_every_other_covers_the_manual((backup, target, options) in cases()) {
        let plan = make(&backup, &target, &options);
        prop_assert_eq!(plan.verdict == Verdict::Refuse, plan.steps.is_empty());
        if plan.verdict < Verdict::Refuse {
            let covered: Vec<u8> = plan.steps.iter().map(|step| step.manual_step).collect();
            let wanted = (1..=14).filter(|step| *step != 2 && *step != 4);
            prop_assert!(wanted.into_iter().all(|step| covered.contains(&step)));
            prop_assert!(covered.is_sorted());
        }
    }

    #[test]
    fn every_finding_that_waits_for_a_step_finds_it((backup, target, options) in cases()) {
        let plan = make(&backup, &target, &options);
        for finding in plan.findings.iter().filter(|finding| finding.severity == Verdict::Prepare) {
            prop_assert!(!finding.steps.is_empty(), "{}", finding.code);
            if plan.verdict < Verdict::Refuse {
                prop_assert!(finding.steps.iter().all(|id| plan.steps.iter().any(|step| step.id == *id)), "{}", finding.code);
            }
        }
    }

    #[test]
    fn no_rendering_holds_an_operation_that_migrates((backup, target, options) in cases()) {
        let plan = make(&backup, &target, &options);
        for (name, text) in renderings(&plan) {
            // A page may name them in one box that warns of them.
            let (head, rest) = text.split_once("<!-- never run: begin -->").unwrap_or((&text, ""));
            let rest = rest.split_once("<!-- never run: end -->").map_or("", |(_, rest)| rest);
            prop_assert_eq!(rest.is_empty(), !["markdown", "html"].contains(&name) || plan.steps.is_empty());
            for text in [head, rest] {
                for word in ["manage migrate", "makemigrations", "dpkg-reconfigure", "postinst.py", "apt-get", "--configure", "autoremove", "--force"] {
                    prop_assert!(!text.contains(word), "{} in {}", word, name);
                }
            }
            // As a word of its own, as it would be on a line below `argv:`.
            prop_assert!(![head, rest].iter().any(|text| text.contains("- \"migrate\"")), "{}", name);
        }
        for argv in plan.steps.iter().flat_map(|step| &step.argv) {
            prop_assert!(!argv.iter().any(|word| word == "migrate" || word == "sh"));
        }
    }

    #[test]
    fn every_rendering_has_the_same_steps_in_the_same_order((backup, target, options) in cases()) {
        let plan = make(&backup, &target, &options);
        let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
        let gates: Vec<&str> = plan.steps.iter().flat_map(|step| step.pre.iter().chain(&step.post)).map(|gate| gate.id.as_str()).collect();
        let [(_, json), readable @ ..] = renderings(&plan);
        prop_assert_eq!(&Plan::from_json(json.as_bytes()).unwrap(), &plan);
        for (name, text) in readable {
            // Where a step begins, in that form, and where a gate does.
            let (step, gate, end) = match name {
                "markdown" => ("\n- [ ] `", "heck `", "`"),
                "html" => ("<article class=\"step\" id=\"", "<li class=\"gate\" id=\"", "\""),
                "shell" => ("\nstep ", "\n    gate ", " "),
                _ => ("\n        - name: \"[", "] Ask", "]"),
            };
            let begin = |begin: &str| -> Vec<String> {
                text.split(begin).skip(1).map(|rest| rest.split(end).next().unwrap().to_owned()).collect()
            };
            prop_assert_eq!(begin(step), ids.clone(), "{}", name);
            match name {
                "ansible" => {
                    let asked = text.lines().filter_map(|line| line.trim().strip_prefix("- name: \"[")?.strip_suffix("] Ask\""));
                    prop_assert_eq!(asked.collect::<Vec<_>>(), gates.clone());
                }
                _ => prop_assert_eq!(begin(gate), gates.clone(), "{}", name),
            }
        }
    }

    #[test]
    fn the_same_input_gives_the_same_bytes_in_whatever_order_it_comes((backup, target, options) in cases(), seed in any::<u64>()) {
        let plan = make(&backup, &target, &options);
        let (mut backup, mut target) = (backup, target);
        let turn = |length: usize| if length == 0 { 0 } else { usize::try_from(seed % length as u64).unwrap() };
        for facts in [&mut target, &mut backup.facts] {
            let packages = facts.packages.len();
            facts.packages.rotate_left(turn(packages));
            facts.units.as_mut().unwrap().reverse();
            facts.timers.as_mut().unwrap().reverse();
            facts.migrations_shipped.as_mut().unwrap().rotate_left(turn(6));
        }
        backup.sections.reverse();
        backup.paths.rotate_left(turn(5));
        let dump = backup.database.as_mut().unwrap();
        dump.tables.reverse();
        dump.migrations.as_mut().unwrap().rotate_left(turn(5));
        dump.active_jobs.as_mut().unwrap().reverse();
        dump.devices_by_health.as_mut().unwrap().values_mut().for_each(|names| names.reverse());
        let other = make(&backup, &target, &options);
        prop_assert_eq!(renderings(&plan), renderings(&other));
        prop_assert!(diff(&plan, &other).is_empty());
    }

    #[test]
    fn nothing_starts_before_jobs_and_devices_are_safe_and_gunicorn_starts_last((backup, target, options) in cases()) {
        let plan = make(&backup, &target, &options);
        prop_assume!(plan.verdict < Verdict::Refuse);
        let stop = position(&plan, "master.quiesce.stop");
        let load = position(&plan, "master.database.load");
        let safe = position(&plan, "master.maintenance.devices").max(position(&plan, "master.start.safe"));
        prop_assert!(stop < load && load < position(&plan, "master.maintenance.jobs"));
        let starts = starts(&plan);
        prop_assert!(starts.iter().all(|(at, _)| *at > safe));
        prop_assert_eq!(starts.last().unwrap().1, "lava-server-gunicorn.service");
        let stopped = plan.steps.iter().find_map(|step| match &step.action {
            Action::StopUnits { units } if step.phase == Phase::Quiesce => Some(units.clone()),
            _ => None,
        });
        let stopped = stopped.unwrap();
        prop_assert!(starts.iter().all(|(_, unit)| stopped.iter().any(|known| known == unit)));
    }

    #[test]
    fn lavas_packages_are_held_from_the_load_on_but_for_the_one_check_that_forbids_it(
        (backup, target, options) in cases()
    ) {
        let plan = make(&backup, &target, &options);
        prop_assume!(plan.verdict < Verdict::Refuse);
        let mut held = BTreeSet::new();
        for step in &plan.steps {
            match &step.action {
                Action::HoldPackages { packages } => held.extend(packages.clone()),
                Action::UnholdPackages { packages } => held.retain(|name| !packages.contains(name)),
                _ => {}
            }
            let has = |name: &str| held.contains(name);
            let checks = step.post.iter().any(|gate| gate.argv.contains(&"--deploy".to_owned()));
            if checks {
                prop_assert!(!has("lava-server"), "{}", step.id);
            } else if step.phase > Phase::Smoke && step.phase < Phase::Reopen && step.id != "master.verify.unhold" {
                prop_assert!(has("lava-server") && has("python3-django"), "{}", step.id);
            }
        }
    }

    #[test]
    fn users_come_back_last((backup, target, options) in cases()) {
        let plan = make(&backup, &target, &options);
        prop_assume!(plan.verdict < Verdict::Refuse);
        prop_assert_eq!(plan.steps.last().unwrap().phase, Phase::Reopen);
        for (at, step) in plan.steps.iter().enumerate() {
            if matches!(step.action, Action::AdmitAll { .. }) {
                prop_assert!(at > position(&plan, "master.reopen.confirm"));
            }
        }
        let link = "config/etc/apache2/sites-enabled/lava-server.conf".to_owned();
        let closed = |step: &lava_restore_plan::Step| match &step.action {
            Action::Extract { paths, exclude, .. } if paths.contains(&"config".to_owned()) => exclude.contains(&link),
            _ => true,
        };
        prop_assert!(plan.steps.iter().all(closed));
    }

    #[test]
    fn a_newer_lava_is_refused_however_it_is_written(
        year in 2020..2026_u16, month in 1..13_u8, later in 1..30_u16,
        form in prop::sample::select(vec!["-1", "-2~bpo12+1", "+12+bookworm", "+10+buster", ".1-1", ".post1-1"]),
        own in prop::sample::select(vec!["-1", "+12+bookworm", ".1-1"]),
    ) {
        let months = year * 12 + u16::from(month) - 1 + later;
        let (mut backup, mut target) = (lab::backup(), lab::target());
        let b = format!("{year}.{month:02}{own}");
        let t = format!("{}.{:02}{form}", months / 12, months % 12 + 1);
        prop_assume!(LavaVersion::of(&t.parse().unwrap()).unwrap() > LavaVersion::of(&b.parse().unwrap()).unwrap());
        for (facts, version) in [(&mut backup.facts, &b), (&mut target, &t)] {
            let lava = facts.packages.iter_mut().filter(|package| package.name.starts_with("lava-"));
            lava.for_each(|package| package.version = version.parse().unwrap());
        }
        let plan = make(&backup, &target, &lab::options());
        prop_assert_eq!(plan.verdict, Verdict::Refuse);
        prop_assert!(plan.findings.iter().any(|f| f.code == "lava.newer" && f.severity == Verdict::Refuse));
    }

    #[test]
    fn bringing_a_package_to_the_backups_version_never_makes_it_worse((backup, target, options) in cases(), which in 0..8_usize) {
        let before = make(&backup, &target, &options);
        let mut closer = target;
        let wanted = backup.facts.packages[which].clone();
        // LAVA's packages are made from one source; one of them alone is no step closer.
        prop_assume!(!wanted.name.starts_with("lava-"));
        closer.packages.retain(|package| package.name != wanted.name);
        closer.packages.push(wanted);
        prop_assert!(make(&backup, &closer, &options).verdict <= before.verdict);
    }
}

#[test]
fn a_lab_on_the_target_is_replaced_only_when_that_was_asked_for() {
    let (backup, mut options) = (lab::backup(), lab::options());
    let mut target = lab::target();
    target.database = backup.facts.database.clone();
    assert_eq!(make(&backup, &target, &options).verdict, Verdict::Refuse);
    options.replace_data = true;
    let plan = make(&backup, &target, &options);
    assert_eq!(plan.verdict, Verdict::Prepare);
    assert!(
        plan.steps
            .iter()
            .any(|step| step.id == "master.isolate.replace")
    );
}

#[test]
fn a_host_without_lava_gets_a_plan_that_waits_for_its_packages() {
    let backup = lab::backup();
    let mut target = lab::target();
    target.packages.retain(|package| package.name == "bash");
    target.role = lava_restore_plan::facts::Role::Unknown;
    (target.lava, target.postgresql, target.units) = (None, None, Some(vec![]));
    (target.migrations_shipped, target.database) = (Some(vec![]), DatabaseState::Unknown);
    target.apache.lava_site_enabled = Some(false);
    let plan = make(&backup, &target, &lab::options());
    assert_eq!(plan.verdict, Verdict::Prepare, "{:#?}", plan.findings);
    assert!(
        plan.steps
            .iter()
            .any(|step| step.id == "master.install.packages")
    );
    let starts: Vec<_> = starts(&plan).into_iter().map(|(_, unit)| unit).collect();
    assert_eq!(
        starts,
        [
            "lava-publisher.service",
            "lava-scheduler.service",
            "lava-worker.service",
            "lava-server-gunicorn.service"
        ]
    );
}

#[test]
fn another_hosts_identity_stays_in_the_backup() {
    let mut target = lab::target();
    target.hostname = Some("new.example.org".into());
    let plan = make(&lab::backup(), &target, &lab::options());
    let excluded = plan.steps.iter().find_map(|step| match &step.action {
        Action::Extract { exclude, .. } if step.phase == Phase::Config => Some(exclude.clone()),
        _ => None,
    });
    assert!(
        excluded
            .unwrap()
            .contains(&"config/etc/hostname".to_owned())
    );
}
