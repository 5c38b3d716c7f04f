//! Each guard bites: what comes of a plan without it, on a lab on which it counts.
//!
//! Of each row the whole plan is run too, with the same mischance: it does no harm and is not
//! quietly wrong.

use std::collections::{BTreeMap, BTreeSet};

use lava_restore_plan::simulate::{End, Event, Fate, HarmKind, Journal, Lab, Moment};
use lava_restore_plan::{Action, Gate, Phase, Plan, Verdict};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::lab::cases::{
    Case, Content, DebsHeld, Django, Kind, Odd, Planned, Sketch, Target, There, Worker, planned,
};
use crate::lab::draw::ERAS;

/// A guard, what it guards against, and what happens without it.
struct Row {
    guard: &'static str,
    /// Other guards that see the same, and have to be gone too before anything happens.
    beside: &'static [&'static str],
    lab: fn(&mut Sketch),
    fate: fn(&Plan) -> Fate,
    without: Without,
}

/// What happens without a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    /// Harm of this kind.
    Harm(HarmKind),
    /// The run says that all is done, and this lacks.
    Lacks(&'static str),
    /// A step of the plan, or another guard, stops it.
    Stops(&'static str),
}

use HarmKind::{HardwareDriven, Migrated, OpenedEarly, OtherCode, ReachedOut, WrittenWhileLoaded};
use Without::{Harm, Lacks, Stops};

const M: &str = "master";

fn nothing(_: &Plan) -> Fate {
    Fate::default()
}

fn usual(_: &mut Sketch) {}

/// No job is on, the master has no worker, and its settings are the target's own.
fn idle(sketch: &mut Sketch) {
    sketch.content.jobs.clear();
    sketch.master.own_worker = false;
    sketch.master.odd = Odd::NoSettings;
}

fn a_worker(sketch: &mut Sketch) {
    sketch.kind = Kind::Worker;
}

fn an_older_worker(sketch: &mut Sketch) {
    a_worker(sketch);
    sketch.workers = vec![Worker {
        there: There::Older,
        ..Worker::usual()
    }];
}

/// Before anything of a step.
fn before(step: &str, what: Event) -> Fate {
    Fate::of(Moment::new(step, 0), what)
}

/// At a command of a step.
fn at(plan: &Plan, step: &str, command: usize, what: Event) -> Fate {
    let part = crate::step(plan, step).pre.len() + command;
    Fate::of(Moment::new(step, part), what)
}

fn era(version: &str) -> usize {
    let mut eras = ERAS.iter();
    eras.position(|era| era.version.starts_with(version))
        .unwrap()
}

fn upgrade() -> Event {
    Event::Upgrade { host: M.into() }
}

fn fall(unit: &str) -> Event {
    Event::Fall {
        host: M.into(),
        unit: unit.into(),
    }
}

/// A master of 2023.01 at work, onto a fresh installation.
fn sketch() -> Sketch {
    let jobs = [(7, 2), (8, 1)];
    let devices = [("qemu".to_owned(), 0), ("x86".to_owned(), 4)];
    Sketch {
        era: era("2023.01"),
        kind: Kind::Master,
        content: Content {
            jobs: jobs.into(),
            devices: devices.into(),
            queued: 1,
        },
        debs: DebsHeld::Closure,
        options: (false, Some(true)),
        master: Target {
            there: There::Same,
            other_host: false,
            django: Django::Same,
            site: true,
            served: true,
            timers: vec![0, 1],
            holds: false,
            held_before: false,
            own_worker: true,
            optional_unit: false,
            odd: Odd::Nothing,
        },
        workers: vec![],
        order: 0,
    }
}

/// A gate's name, or what it asks of a package.
fn class(gate: &Gate) -> &str {
    let name = gate.id.rsplit(':').next().unwrap();
    let wanted = gate.expect.stdout.as_deref().unwrap_or_default();
    match gate.argv[0].as_str() {
        "dpkg-query" if wanted == "install" => "free",
        "dpkg-query" if wanted.starts_with("hold ") => "held",
        "dpkg-query" if wanted.starts_with("ok ") => "exact",
        _ => name,
    }
}

/// The plan without a guard: the gates of a class, steps by their name, or what keeps a file out.
fn without(plan: &Plan, guard: &str) -> Plan {
    let mut plan = plan.clone();
    let mut found = false;
    for step in &mut plan.steps {
        for gates in [&mut step.pre, &mut step.post] {
            let count = gates.len();
            gates.retain(|gate| class(gate) != guard);
            found |= gates.len() < count;
        }
        if let (Some(path), Action::Extract { exclude, .. }) =
            (guard.strip_prefix("exclude "), &mut step.action)
        {
            let count = exclude.len();
            exclude.retain(|known| !known.contains(path));
            found |= exclude.len() < count;
            step.argv = step.action.argv();
        }
    }
    let is_it = |id: &str| id.split_once('.').is_some_and(|(_, name)| name == guard);
    let gone: BTreeMap<String, Vec<String>> = plan
        .steps
        .iter()
        .filter(|step| is_it(&step.id))
        .map(|step| (step.id.clone(), step.needs.clone()))
        .collect();
    found |= !gone.is_empty();
    assert!(found, "no {guard} in the plan");
    plan.steps.retain(|step| !gone.contains_key(&step.id));
    for step in &mut plan.steps {
        let mut needs = step.needs.clone();
        while let Some(at) = needs.iter().position(|need| gone.contains_key(need)) {
            let need = needs.remove(at);
            needs.extend(gone[&need].clone());
        }
        step.needs = needs;
    }
    plan
}

/// A drill that is not as alone as it should be.
fn begin(case: &Case, guard: &str) -> Lab {
    let mut lab = case.lab();
    if guard == "loopback" {
        lab.host_mut(M).unwrap().connect();
    }
    lab
}

fn run(case: &Case, plan: &Plan, row: &Row, fate: &Fate) -> (Lab, End) {
    let mut lab = begin(case, row.guard);
    let end = lab.run(plan, &mut Journal::default(), fate).unwrap();
    (lab, end)
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // Steps.
    Row { guard: "quiesce.hold", beside: &[], lab: usual, without: Harm(Migrated),
        fate: |_| before("master.maintenance.jobs", upgrade()) },
    Row { guard: "verify.hold", beside: &[], lab: usual, without: Harm(Migrated),
        fate: |_| before("master.workers.admit", upgrade()) },
    Row { guard: "base.timers", beside: &[], lab: usual, without: Harm(Migrated),
        fate: |_| before("master.verify.deploy", Event::Timer { host: M.into() }) },
    Row { guard: "quiesce.stop", beside: &[], lab: usual, without: Stops("still"), fate: nothing },
    Row { guard: "quiesce.stop", beside: &["still"], lab: usual, without: Harm(WrittenWhileLoaded), fate: nothing },
    Row { guard: "database.settings", beside: &[], lab: usual, without: Stops("active"), fate: nothing },
    Row { guard: "database.settings", beside: &["active", "deploy", "reached", "online"], lab: usual,
        without: Lacks("password"), fate: nothing },
    Row { guard: "database.load", beside: &[], lab: usual, without: Stops("command"), fate: nothing },
    Row { guard: "maintenance.jobs", beside: &[], lab: usual, without: Stops("jobs"), fate: nothing },
    Row { guard: "maintenance.jobs", beside: &["jobs"], lab: usual, without: Harm(HardwareDriven), fate: nothing },
    Row { guard: "maintenance.devices", beside: &[], lab: usual, without: Stops("health"), fate: nothing },
    Row { guard: "maintenance.devices", beside: &["health"], lab: usual, without: Harm(HardwareDriven), fate: nothing },
    Row { guard: "maintenance.workers", beside: &[], lab: usual, without: Harm(OpenedEarly),
        fate: |_| before("master.workers.admit", Event::OtherSecret { host: M.into() }) },
    Row { guard: "maintenance.next_job_id", beside: &[], lab: usual, without: Harm(OpenedEarly), fate: nothing },
    Row { guard: "isolate.site", beside: &[], lab: usual, without: Stops("closed"), fate: nothing },
    Row { guard: "isolate.site", beside: &["closed", "reached"], lab: usual, without: Harm(OpenedEarly), fate: nothing },
    Row { guard: "install.site", beside: &[], lab: |s| s.master.there = There::Bare, without: Stops("closed"),
        fate: nothing },
    Row { guard: "install.site", beside: &["closed", "reached"], lab: |s| s.master.there = There::Older,
        without: Harm(OpenedEarly), fate: nothing },
    Row { guard: "install.packages", beside: &[], lab: |s| s.master.there = There::Older, without: Stops("exact"),
        fate: nothing },
    Row { guard: "install.packages", beside: &["exact", "held"],
        lab: |s| (s.master.there, s.master.odd) = (There::Older, Odd::MoreMigrations),
        without: Harm(OtherCode), fate: nothing },
    Row { guard: "config.guard", beside: &[], lab: |s| s.master.odd = Odd::SecureSite, without: Harm(OpenedEarly),
        fate: nothing },
    Row { guard: "config.server", beside: &[], lab: usual, without: Harm(OpenedEarly),
        fate: |_| before("master.config.files", Event::OtherServer { host: M.into() }) },
    Row { guard: "config.forget_jobs", beside: &[], lab: usual, without: Harm(OpenedEarly), fate: nothing },
    Row { guard: "config.identity", beside: &[], lab: |s| s.master.odd = Odd::NoData, without: Stops("online"),
        fate: nothing },
    Row { guard: "exclude hostname", beside: &[], lab: |s| s.master.other_host = true, without: Harm(OpenedEarly),
        fate: nothing },
    Row { guard: "exclude sites-enabled", beside: &[], lab: usual, without: Stops("closed"), fate: nothing },
    Row { guard: "exclude sites-enabled", beside: &["closed", "config.guard", "reached"], lab: usual,
        without: Harm(OpenedEarly),
        fate: |_| before("master.start.services", Event::Reboot { host: M.into() }) },
    Row { guard: "exclude lava-worker", beside: &[], lab: |s| s.kind = Kind::NewMaster,
        without: Harm(OpenedEarly), fate: nothing },
    Row { guard: "exclude settings.d", beside: &["active"], lab: |s| s.kind = Kind::NewMaster, without: Stops("deploy"),
        fate: nothing },
    // Gates.
    Row { guard: "suite", beside: &[], lab: usual, without: Harm(OpenedEarly),
        fate: |_| before("master.isolate.closed", Event::Suite { host: M.into(), suite: "sid".parse().unwrap() }) },
    Row { guard: "found", beside: &[],
        lab: |s| (s.kind, s.master.there) = (Kind::NewMaster, There::Older), without: Harm(OpenedEarly),
        fate: |_| before("master.base.suite", upgrade()) },
    Row { guard: "exact", beside: &[], lab: usual, without: Stops("held"),
        fate: |_| before("master.install.exact", upgrade()) },
    Row { guard: "exact", beside: &["held", "closed", "reached"], lab: usual, without: Harm(OtherCode),
        fate: |_| before("master.install.exact", upgrade()) },
    Row { guard: "audit", beside: &[], lab: usual, without: Harm(OpenedEarly),
        fate: |_| before("master.install.exact", Event::HalfDone { host: M.into(), package: "bash".into() }) },
    Row { guard: "held", beside: &[], lab: usual, without: Harm(Migrated),
        fate: |plan| at(plan, "master.quiesce.hold", 0, Event::Pretend)
            .and(Moment::new("master.maintenance.jobs", 0), upgrade()) },
    Row { guard: "free", beside: &[], lab: usual, without: Lacks("the hold of"),
        fate: |plan| at(plan, "master.reopen.release_holds", 0, Event::Pretend) },
    Row { guard: "still", beside: &[], lab: usual, without: Harm(WrittenWhileLoaded),
        fate: |plan| at(plan, "master.quiesce.stop", 0, Event::Pretend) },
    Row { guard: "systemd", beside: &["closed", "reached", "active"], lab: usual, without: Harm(WrittenWhileLoaded),
        fate: |_| before("master.quiesce.stop", Event::Chroot { host: M.into() }) },
    Row { guard: "masked", beside: &[], lab: usual, without: Harm(HardwareDriven),
        fate: |plan| at(plan, "master.quiesce.stop", 1, Event::Pretend)
            .and(Moment::new("master.maintenance.jobs", 0), Event::Reboot { host: M.into() }) },
    Row { guard: "masked", beside: &[], lab: usual, without: Harm(Migrated),
        fate: |plan| at(plan, "master.base.timers", 1, Event::Pretend)
            .and(Moment::new("master.verify.deploy", 0), Event::Reboot { host: M.into() })
            .and(Moment::new("master.verify.deploy", 0), Event::Timer { host: M.into() }) },
    Row { guard: "equal", beside: &[], lab: |s| s.master.own_worker = false, without: Harm(OpenedEarly),
        fate: |plan| at(plan, "master.config.files", 0, Event::Skimp) },
    Row { guard: "equal", beside: &["total"], lab: idle, without: Harm(OpenedEarly),
        fate: |plan| at(plan, "master.database.load", 0, Event::Pretend) },
    Row { guard: "total", beside: &["equal"], lab: idle, without: Harm(OpenedEarly),
        fate: |plan| at(plan, "master.database.load", 0, Event::Pretend) },
    Row { guard: "jobs", beside: &[], lab: usual, without: Harm(HardwareDriven),
        fate: |plan| at(plan, "master.maintenance.jobs", 1, Event::Pretend) },
    Row { guard: "health", beside: &[], lab: usual, without: Harm(HardwareDriven),
        fate: |plan| at(plan, "master.maintenance.devices", 0, Event::Pretend) },
    Row { guard: "server", beside: &[], lab: usual, without: Stops("jobs"),
        fate: |_| before("master.config.files", Event::OtherServer { host: M.into() }) },
    Row { guard: "next", beside: &[], lab: usual, without: Harm(OpenedEarly),
        fate: |plan| at(plan, "master.maintenance.next_job_id", 0, Event::Pretend) },
    Row { guard: "forgotten", beside: &[], lab: usual, without: Harm(OpenedEarly),
        fate: |plan| at(plan, "master.config.forget_jobs", 0, Event::Pretend) },
    Row { guard: "closed", beside: &[], lab: |s| s.era = era("2019.09"), without: Harm(OpenedEarly),
        fate: |plan| at(plan, "master.isolate.site", 0, Event::Pretend) },
    Row { guard: "gone", beside: &[], lab: |s| s.master.odd = Odd::HoldingPage, without: Stops("reached"),
        fate: |plan| at(plan, "master.config.other_site_1", 0, Event::Pretend) },
    Row { guard: "gone", beside: &["reached", "online"], lab: |s| s.master.odd = Odd::HoldingPage,
        without: Lacks("the way in"),
        fate: |plan| at(plan, "master.config.other_site_1", 0, Event::Pretend) },
    Row { guard: "active", beside: &[], lab: |s| s.master.optional_unit = true, without: Harm(OpenedEarly),
        fate: |_| before("master.start.services", fall("lava-celery-worker.service")) },
    Row { guard: "deploy", beside: &["equal"], lab: |s| s.master.own_worker = false, without: Harm(OpenedEarly),
        fate: |plan| at(plan, "master.config.files", 0, Event::Pretend) },
    Row { guard: "reached", beside: &[], lab: usual, without: Harm(OpenedEarly),
        fate: |plan| at(plan, "master.isolate.site", 1, Event::Pretend) },
    Row { guard: "online", beside: &[], lab: usual, without: Harm(OpenedEarly),
        fate: |_| before("master.workers.admit", Event::OtherSecret { host: M.into() }) },
    Row { guard: "open", beside: &[], lab: |s| s.era = era("2019.09"), without: Lacks("the way in"),
        fate: |plan| at(plan, "master.reopen.site", 0, Event::Pretend) },
    Row { guard: "all", beside: &[], lab: |s| s.era = era("2019.09"), without: Lacks("more than workers"),
        fate: |plan| at(plan, "master.reopen.site", 1, Event::Pretend) },
    // Of a worker by itself.
    Row { guard: "quiesce.stop", beside: &[], lab: a_worker, without: Stops("still"), fate: nothing },
    Row { guard: "quiesce.stop", beside: &["still"], lab: a_worker, without: Stops("forgotten"), fate: nothing },
    Row { guard: "install.packages", beside: &[], lab: an_older_worker, without: Stops("exact"), fate: nothing },
    Row { guard: "install.packages", beside: &["exact", "held"], lab: an_older_worker,
        without: Lacks("lava-dispatcher 2023.01-2"), fate: nothing },
    Row { guard: "config.forget_jobs", beside: &[], lab: a_worker,
        without: Lacks("a worker without jobs of another time"), fate: nothing },
    Row { guard: "still", beside: &[], lab: a_worker, without: Stops("forgotten"),
        fate: |plan| at(plan, "worker_rack_0_example_org.quiesce.stop", 0, Event::Pretend) },
    Row { guard: "exact", beside: &[], lab: a_worker, without: Stops("held"),
        fate: |_| before("worker_rack_0_example_org.install.exact", Event::Upgrade { host: "worker_rack_0_example_org".into() }) },
    Row { guard: "equal", beside: &[], lab: a_worker, without: Lacks("its worker online"),
        fate: |plan| at(plan, "worker_rack_0_example_org.config.files", 0, Event::Skimp) },
    Row { guard: "loopback", beside: &[], lab: |s| s.kind = Kind::DrillMaster, without: Harm(ReachedOut), fate: nothing },
];

/// Gates that see nothing which others do not see, by other means; each has a test of its own.
const SECOND_LOOKS: [&str; 1] = ["migrations"];

/// What is not as a row says.
fn wrong(row: &Row) -> Option<String> {
    let mut sketch = sketch();
    (row.lab)(&mut sketch);
    let case = sketch.draw();
    let whole = case.plan();
    if whole.verdict == Verdict::Refuse {
        return Some(format!("{:#?}", whole.findings));
    }
    let fate = (row.fate)(&whole);
    let (lab, end) = run(&case, &whole, row, &fate);
    let quiet = end == End::Done && !lab.lacks().is_empty();
    if !lab.harms().is_empty() || quiet {
        return Some(format!(
            "the whole plan: {:?} {:?}",
            lab.harms(),
            lab.lacks()
        ));
    }
    let guards = std::iter::once(&row.guard).chain(row.beside);
    let part = guards.fold(whole, |plan, guard| without(&plan, guard));
    let (lab, end) = run(&case, &part, row, &fate);
    let is_so = match row.without {
        Harm(kind) => lab.harms().iter().any(|harm| harm.kind == kind),
        Lacks(what) => end == End::Done && lab.lacks().iter().any(|lacks| lacks.contains(what)),
        Stops(gate) => lab.harms().is_empty() && stopped_by(&part, &end) == Some(gate),
    };
    (!is_so).then(|| format!("{end:?}, {:?}, {:?}", lab.harms(), lab.lacks()))
}

/// The class of the gate that stopped a run, or `command` where one failed.
fn stopped_by<'p>(plan: &'p Plan, end: &End) -> Option<&'p str> {
    let End::Stopped { why, .. } = end else {
        return None;
    };
    let mut gates = plan
        .steps
        .iter()
        .flat_map(|step| step.pre.iter().chain(&step.post));
    let gate = gates.find(|gate| why.starts_with(&format!("gate {}: ", gate.id)));
    Some(gate.map_or("command", class))
}

#[test]
fn without_a_guard_a_lab_is_harmed_or_another_guard_stops() {
    let wrong: Vec<String> = ROWS
        .iter()
        .filter_map(|row| {
            let name = format!("{} beside {:?}, {:?}", row.guard, row.beside, row.without);
            Some(format!("{name}: {}", wrong(row)?))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The gates on the rows of `django_migrations` see nothing that the comparison of every table does
/// not see too, by another program.
#[test]
fn a_database_that_something_migrates_is_seen_twice() {
    let case = sketch().draw();
    let whole = case.plan();
    let load = crate::step(&whole, "master.database.load");
    let migrated = Fate::of(Moment::new(&load.id, load.pre.len() + 1), upgrade());
    let run = |plan: &Plan| {
        case.lab()
            .run(plan, &mut Journal::default(), &migrated)
            .unwrap()
    };
    let held = without(&whole, "quiesce.hold");
    assert_eq!(stopped_by(&held, &run(&held)), Some("equal"));
    let once = without(&held, "equal");
    assert_eq!(stopped_by(&once, &run(&once)), Some("migrations"));
    let never = without(&once, "migrations");
    assert_ne!(stopped_by(&never, &run(&never)), Some("migrations"));
}

#[test]
fn every_gate_and_every_step_that_acts_is_a_guard_with_a_row() {
    // These do what has to be done, and what lacks without them is what the rehearsals look at; or
    // a person decides in them.
    const NO_GUARDS: &[&str] = &[
        "isolate.window",
        "isolate.accept",
        "isolate.replace",
        "isolate.master",
        "config.logs_elsewhere",
        "workers.health_checks",
        "reopen.confirm",
        "maintenance.queue",
        "verify.logs",
        "verify.online",
        "base.by_hand",
        "install.let_go",
        "install.unhold",
        "verify.unhold",
        "smoke.release",
        "smoke.services",
        "config.files",
        "start.release",
        "start.services",
        "start.gunicorn",
        "workers.admit",
        "reopen.site",
        "reopen.release_holds",
        "reopen.timers",
    ];
    let guards: BTreeSet<&str> = ROWS
        .iter()
        .map(|row| row.guard)
        .chain(SECOND_LOOKS)
        .collect();
    let mut runner = TestRunner::deterministic();
    let strategy = planned();
    let mut missing = BTreeSet::new();
    for _ in 0..2000 {
        let Planned { plan, .. } = strategy.new_tree(&mut runner).unwrap().current();
        for step in &plan.steps {
            let gates = step.pre.iter().chain(&step.post).map(class);
            missing.extend(
                gates
                    .filter(|class| !guards.contains(class))
                    .map(str::to_owned),
            );
            let (_, name) = step.id.split_once('.').unwrap();
            let is_known = guards.contains(name)
                || NO_GUARDS.contains(&name)
                || step.action == Action::Check
                || step.phase == Phase::Workers
                || name.starts_with("config.other_site_")
                || name == "reopen.timers_start";
            if !is_known {
                missing.insert(name.to_owned());
            }
        }
    }
    assert_eq!(missing, BTreeSet::new());
}
