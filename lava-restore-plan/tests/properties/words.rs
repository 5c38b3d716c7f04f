//! What stands in a plan and in what is rendered of it.

use lava_restore_plan::facts::{Facts, Role, WorkerFacts};
use lava_restore_plan::release::{Command, Encoding};
use lava_restore_plan::{Action, Host, Plan, PlannedHost, Statement, diff, render};
use proptest::prelude::*;

use crate::lab::cases::{Case, Planned, cases, planned};

/// Every text that is made of a plan, with its form: for each host a script, and of the others one.
fn renderings(plan: &Plan) -> Vec<(&'static str, String)> {
    let mut texts = vec![
        ("json", render::json(plan).unwrap()),
        ("markdown", render::markdown(plan).unwrap()),
        ("html", render::html(plan).unwrap()),
        ("ansible", render::ansible(plan).unwrap()),
    ];
    let script = |host: &PlannedHost| ("shell", render::shell(plan, &host.id).unwrap());
    texts.extend(plan.hosts.iter().map(script));
    texts
}

/// A page without the box that names what is never to be run.
fn without_warning(page: &str) -> String {
    let (head, rest) = page
        .split_once("<!-- never run: begin -->")
        .unwrap_or((page, ""));
    let rest = rest
        .split_once("<!-- never run: end -->")
        .map_or("", |(_, rest)| rest);
    format!("{head}{rest}")
}

fn commands(plan: &Plan) -> impl Iterator<Item = &Vec<String>> {
    plan.steps.iter().flat_map(|step| {
        let gates = step.pre.iter().chain(&step.post);
        step.argv.iter().chain(gates.map(|gate| &gate.argv))
    })
}

/// The same facts, with every list in another order.
fn turn(facts: &mut Facts, by: usize) {
    let turned = |length: usize| if length == 0 { 0 } else { by % length };
    let packages = facts.packages.len();
    facts.packages.rotate_left(turned(packages));
    for units in [&mut facts.units, &mut facts.timers].into_iter().flatten() {
        units.reverse();
    }
    if let Some(shipped) = &mut facts.migrations_shipped {
        let length = shipped.len();
        shipped.rotate_left(turned(length));
    }
    if let Some(sites) = &mut facts.apache.sites {
        sites.reverse();
    }
}

fn turned(mut hosts: Vec<Host>, by: usize) -> Vec<Host> {
    for host in &mut hosts {
        turn(&mut host.target, by);
        turn(&mut host.backup.facts, by + 1);
        host.backup.sections.reverse();
        host.backup.paths.reverse();
        if let Some(dump) = &mut host.backup.database {
            dump.tables.reverse();
            dump.migrations.as_mut().unwrap().reverse();
            dump.active_jobs.as_mut().unwrap().reverse();
            dump.workers.as_mut().unwrap().reverse();
            let by_health = dump.devices_by_health.as_mut().unwrap();
            by_health.values_mut().for_each(|names| names.reverse());
        }
    }
    hosts.reverse();
    hosts
}

proptest! {
    #![proptest_config(crate::cases(500))]

    #[test]
    fn p1_no_rendering_holds_an_operation_that_migrates_or_configures(Planned { plan, .. } in planned()) {
        const NEVER: [&str; 12] = [
            "manage migrate", "makemigrations", "dpkg-reconfigure", "postinst.py", "apt-get", "aptitude",
            "--configure", "autoremove", "--force", "loaddata", "dropdb", "manage flush",
        ];
        for (form, text) in renderings(&plan) {
            let text = without_warning(&text);
            for word in NEVER {
                prop_assert!(!text.contains(word), "{word} in {form}");
            }
            // As a word of its own, as it would be on a line below `argv:`.
            prop_assert!(!text.contains("- \"migrate\""), "{form}");
        }
        for argv in commands(&plan) {
            prop_assert!(!argv.iter().any(|word| ["migrate", "apt"].contains(&word.as_str())));
            // Where a program stands; elsewhere a device may be called so.
            prop_assert_ne!(&argv[0], "sh");
            let runs = |pair: &[String]| ["--", "-exec"].contains(&pair[0].as_str()) && pair[1] == "sh";
            prop_assert!(!argv.windows(2).any(runs), "{argv:?}");
        }
    }

    #[test]
    fn p7_the_same_input_gives_the_same_bytes_in_whatever_order_it_comes(case in cases(), by in 0..40_usize) {
        let plan = case.plan();
        let other = Case { hosts: turned(case.hosts.clone(), by), ..case };
        let other = other.plan();
        prop_assert_eq!(&plan, &other);
        prop_assert_eq!(renderings(&plan), renderings(&other));
        prop_assert!(diff(&plan, &other).is_empty());
        let json = render::json(&plan).unwrap();
        prop_assert_eq!(&Plan::from_json(json.as_bytes()).unwrap(), &plan);
    }

    #[test]
    fn every_rendering_has_the_same_steps_and_gates_in_the_same_order(Planned { plan, .. } in planned()) {
        for (form, text) in renderings(&plan) {
            // Where a step begins, in that form, and where a gate does.
            let (step, gate, end) = match form {
                "json" => continue,
                "markdown" => ("\n- [ ] `", "heck `", "`"),
                "html" => ("<article class=\"step\" id=\"", "<li class=\"gate\" id=\"", "\""),
                "shell" => ("\nstep ", "\n    gate ", " "),
                _ => ("\n        - name: \"[", "] Ask", "]"),
            };
            let begin = |begin: &str| -> Vec<String> {
                text.split(begin).skip(1).map(|rest| rest.split(end).next().unwrap().to_owned()).collect()
            };
            let ids = begin(step);
            let host = ids[0].split('.').next().unwrap();
            let steps = || plan.steps.iter().filter(|step| form != "shell" || step.host == host);
            let wanted: Vec<&str> = steps().map(|step| step.id.as_str()).collect();
            prop_assert_eq!(&ids, &wanted, "{}", form);
            let gates = steps().flat_map(|step| step.pre.iter().chain(&step.post));
            let gates: Vec<&str> = gates.map(|gate| gate.id.as_str()).collect();
            match form {
                "ansible" => {
                    let asked = text.lines().filter_map(|line| line.trim().strip_prefix("- name: \"[")?.strip_suffix("] Ask\""));
                    prop_assert_eq!(asked.collect::<Vec<_>>(), gates);
                }
                _ => prop_assert_eq!(begin(gate), gates, "{}", form),
            }
        }
    }

    #[test]
    fn p15_no_secret_of_a_fact_is_in_a_plan(case in cases()) {
        const SECRET: &str = "hunter2";
        let mut case = case;
        for host in &mut case.hosts {
            for facts in [&mut host.backup.facts, &mut host.target] {
                facts.settings.instance_name = Some(SECRET.into());
                let worker = facts.worker.get_or_insert_with(WorkerFacts::default);
                worker.server = Some(format!("http://worker:{SECRET}@lava.example.org/"));
            }
        }
        for (form, text) in renderings(&case.plan()) {
            prop_assert!(!text.contains(SECRET), "{form}");
        }
    }
}

proptest! {
    #![proptest_config(crate::cases(3000))]

    #[test]
    fn p17_every_command_is_of_a_closed_list_and_its_paths_are_absolute(Planned { plan, .. } in planned()) {
        const PROGRAMS: [&str; 15] = [
            "a2disconf", "a2dissite", "a2enconf", "a2ensite", "apt-mark", "dpkg", "dpkg-query", "find", "grep",
            "journalctl", "lava-backup", "lava-server", "ls", "runuser", "systemctl",
        ];
        for argv in commands(&plan) {
            let program = argv[0].as_str();
            prop_assert!(PROGRAMS.contains(&program) || program == "test", "{argv:?}");
            // What has a slash is a path of this host, a member of the backup, a format or a name.
            for word in argv.iter().filter(|word| word.contains('/') && !word.starts_with('/')) {
                let section = word.split('/').next().unwrap();
                let is_member = ["config", "data", "logs"].contains(&section);
                prop_assert!(program == "lava-backup" && is_member, "{word}");
            }
        }
    }

    #[test]
    fn p18_units_and_commands_are_those_of_the_release(Planned { case, plan } in planned()) {
        let release = case.release();
        const OLD: [&str; 4] = ["lava-master", "lava-slave", "lava-logs", "lava-server.service"];
        const NEW: [&str; 2] = ["lava-scheduler", "lava-worker"];
        let (theirs, ours): (&[&str], &[&str]) =
            if release.gunicorn_serves_workers { (&OLD, &NEW) } else { (&NEW, &OLD) };
        for argv in commands(&plan).filter(|argv| argv[0] == "systemctl") {
            let named = |units: &[&str]| argv.iter().any(|word| units.iter().any(|unit| word.starts_with(unit)));
            prop_assert!(!named(theirs), "{argv:?}");
        }
        let stops = plan.steps.iter().filter(|step| step.id.ends_with(".quiesce.stop"));
        for step in stops {
            let is_ours = |word: &String| ours.iter().any(|unit| word.starts_with(unit));
            prop_assert!(step.argv[0].iter().any(is_ours), "{}", step.id);
        }
        for step in &plan.steps {
            let works = match &step.action {
                Action::FailJobs { .. } => release.jobs_fail == Command::Works,
                Action::MaintainAllDevices => release.maintenance == Command::Works,
                Action::MaintainDevices { .. } => release.encoding == Encoding::StateAndHealth,
                Action::AdmitWorkers { .. } => release.gunicorn_serves_workers,
                Action::Change { on, statement } => {
                    on.encoding == release.encoding
                        && (*statement != Statement::OfflineDevices || release.encoding == Encoding::Status)
                }
                _ => true,
            };
            prop_assert!(works, "{} in {:?}", step.id, release.since);
        }
        let masters = plan.hosts.iter().filter(|host| host.role == Role::Master).count();
        prop_assert!(masters <= 1);
    }
}
