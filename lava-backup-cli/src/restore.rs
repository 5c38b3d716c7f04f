//! Running a plan on this host.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use lava_backup_core::{Backup, Store};
use lava_restore_plan::run::{
    Answers, Commands, Entry, Error, ErrorKind, Event, Evidence, Found, Holders, Interrupt, Lock,
    Planned, Record, Run, State, plan_digest,
};
use lava_restore_plan::{Action, Plan};

use crate::answer::Answer;
use crate::args::{OptionalStore, RestoreArgs};
use crate::exit::{CouldNot, Exit, Failure};
use crate::plan::{self, Bound};
use crate::{TOOL, clock, named, text};

mod asking;
mod drill_times;
mod restored;
mod shown;
mod signals;

use asking::Asking;
use drill_times::DrillTimes;
pub(crate) use restored::Restored;
use shown::{Shown, Sizes};

/// Where runs are kept.
const RUNS: &str = "/var/lib/lava-backup/restore";

/// No plan is longer, no answers and no evidence.
const LIMIT: u64 = 64 << 20;

pub(crate) fn restore(args: &RestoreArgs, quiet: bool) -> Result<Answer, Failure> {
    let began = clock::now();
    let plan = read_plan(&args.plan)?;
    let planned = Planned::find(&plan, args.host.as_deref())?;
    let digest = plan_digest(&plan)?;
    let dir = match &args.state {
        Some(dir) => std::path::absolute(dir)?,
        None => Path::new(RUNS).join(&digest),
    };
    let answers = answers(args, &plan)?;
    let mut restored = Restored::new(planned, &digest, &dir);
    let mut shown = Shown::new(quiet);
    if args.dry_run {
        let done = State::look(&dir)?;
        planned.owns(&done)?;
        if done.is_empty() {
            planned.still_so(&found(&source(planned)?.1, planned)?)?;
        }
        restored.would(planned, &done);
        return Ok(restored.answer());
    }

    // What the commands make is for root alone, unless they say otherwise.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let mut commands = Commands::new(|| clock::now().rfc3339(), std::env::current_exe().ok());
    let interrupt = commands.interrupt();
    signals::pass_on(&interrupt, &shown)?;
    let said = format!(
        "{} of the plan {digest}, in {}",
        planned.host.id,
        dir.display()
    );
    let _lock = lock(args, &said, &interrupt, &shown)?;
    let (store, source) = source(planned)?;
    let is_new = !args.resume && State::look(&dir)?.is_empty();
    let found = is_new.then(|| found(&source, planned)).transpose()?;
    // What is refused leaves no directory.
    if let Some(found) = &found {
        planned.still_so(found)?;
    }
    let state = State::open(&dir)?;
    if state.torn() > 0 {
        shown.say(&format!(
            "the last record of the journal was cut off in the middle: {} of it are gone, what it told of is done again",
            text::bytes(state.torn())
        ));
    }
    planned.owns(state.records())?;
    if state.is_begun() && !args.resume {
        return Err(begun(&state, planned, args));
    }
    let mut run = match found {
        Some(found) => Run::begin(planned, state, &found, TOOL)?,
        None => Run::resume(planned, state, source.digest(), TOOL)?,
    };
    for path in &args.evidence {
        let (evidence, digest) = evidence(path)?;
        run.take(evidence, digest)?;
    }
    shown.sizes = sizes(planned, &source);
    shown.drill_times = DrillTimes::find(planned, &store, &source);
    let mut person = Asking::new(answers, args.confirm.as_deref(), interrupt, &shown);
    let mut took = BTreeMap::new();
    let mut watch = |event: Event<'_>| {
        if let Event::Done(step, time) = &event {
            took.insert(step.id.clone(), text::milliseconds(*time));
        }
        shown.event(event);
    };
    let report = run.go(&mut commands, &mut person, &mut watch)?;
    restored.step_milliseconds = took;
    restored.report(planned, report, &again(args), began.elapsed());
    Ok(restored.answer())
}

/// The command that goes on with a run.
fn again(args: &RestoreArgs) -> String {
    let mut line = format!("lava-backup restore {}", args.plan.display());
    if let Some(host) = &args.host {
        line += &format!(" --host {host}");
    }
    if let Some(dir) = &args.state {
        line += &format!(" --state {}", dir.display());
    }
    line + " --resume"
}

fn read_plan(path: &Path) -> Result<Plan, Failure> {
    let text = read(path, "read the plan from")?;
    Plan::from_json(&text).map_err(|error| {
        use lava_restore_plan::ErrorKind as Kind;
        let exit = match error.kind() {
            Kind::Malformed => Exit::Failed,
            _ => Exit::Refused,
        };
        let what = format!("could not run the plan {}: {error}", path.display());
        Failure::new(exit, what).hint("`lava-backup plan --format json` makes one")
    })
}

fn read(path: &Path, act: &str) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LIMIT).read_to_end(&mut text));
    read.could_not(format!("{act} {}", path.display()))?;
    Ok(text)
}

fn answers(args: &RestoreArgs, plan: &Plan) -> Result<Answers, Failure> {
    let Some(path) = &args.confirm else {
        return Ok(Answers::default());
    };
    let text = read(path, "read the answers from")?;
    let text = String::from_utf8_lossy(&text);
    Ok(Answers::parse(&text, plan)?)
}

fn evidence(path: &Path) -> Result<(Evidence, String), Failure> {
    let text = read(path, "read the evidence from")?;
    Ok(Evidence::read(&String::from_utf8_lossy(&text), path)?)
}

/// The lock of this host. With `--resume`, what a killed run left at work is waited for.
fn lock(
    args: &RestoreArgs,
    said: &str,
    interrupt: &Interrupt,
    shown: &Shown,
) -> Result<Lock, Failure> {
    let mut told = false;
    loop {
        let holders = match Lock::take(&args.lock, said)? {
            Ok(lock) => return Ok(lock),
            Err(holders) => holders,
        };
        if !args.resume || holders.runner_lives {
            return Err(held(&holders));
        }
        if !told {
            shown.say(&format!(
                "waiting for what a run that was killed left at work: {holders}"
            ));
            told = true;
        }
        if interrupt.sent().is_some() {
            let what = format!("could not wait for {holders}: a signal came");
            return Err(Failure::new(Exit::Failed, what));
        }
        thread::sleep(Duration::from_millis(200));
    }
}

fn held(holders: &Holders) -> Failure {
    let failure =
        |what: &str| Failure::new(Exit::Failed, format!("could not begin: {what}: {holders}"));
    match holders.runner_lives {
        true => failure("another run is at work on this host").hint(format!(
            "process {}; stop it with SIGTERM, or wait for its end",
            holders.said
        )),
        false => failure("a command of a run that was killed is still at work on this host")
            .hint("--resume waits for it, and goes on with that run"),
    }
}

fn begun(state: &State, planned: Planned<'_>, args: &RestoreArgs) -> Failure {
    let steps = planned.steps().len();
    let done = |r: &&Record| matches!(r.entry, Entry::StepDone { .. });
    let done = state.records().iter().filter(done).count();
    let dir = state.dir().display();
    let what = format!("could not begin: there is a run in {dir}, {done} of {steps} steps done");
    Failure::new(Exit::Refused, what).hint(format!("go on with it: {}", again(args)))
}

/// The backup that the plan's commands read, and its store.
fn source(planned: Planned<'_>) -> Result<(Store, Backup), Failure> {
    let Some(from) = planned.reference() else {
        let what = "could not run the plan: none of its commands names the backup";
        return Err(Failure::new(Exit::Refused, what));
    };
    let store = OptionalStore {
        store: Some(PathBuf::from(&from.store)),
    };
    named::open_in_store(&store, &from.backup)
}

/// What is there now: the seal, and the facts of this host if the plan is bound to them.
fn found(source: &Backup, planned: Planned<'_>) -> Result<Found, Failure> {
    let bound = planned.host.target_digest.is_some();
    let facts = bound.then(plan::this_host).transpose()?;
    let bound = facts.as_ref().map(Bound::to);
    Ok(Found {
        seal_digest: source.digest().to_owned(),
        target_digest: bound.as_ref().map(|bound| bound.digest.clone()),
        target_fields: bound.map(|bound| bound.fields).unwrap_or_default(),
    })
}

/// How many bytes each step moves, as far as the seal says.
fn sizes(planned: Planned<'_>, source: &Backup) -> Sizes {
    let of = |name: &str| {
        source
            .seal()
            .sections
            .get(name)
            .map(|section| section.bytes)
    };
    let size = |action: &Action| match action {
        Action::Extract { paths, .. } => paths.iter().map(|path| of(path)).sum::<Option<u64>>(),
        Action::RestoreDatabase { .. } => of("database"),
        _ => None,
    };
    let steps = planned.steps().into_iter();
    steps
        .filter_map(|step| Some((step.id.clone(), size(&step.action)?)))
        .collect()
}

const PLAN_ANEW: &str = "make the plan anew, with the facts that this host has now";

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::NoSuchHost | ErrorKind::NotBegun | ErrorKind::Answers => Exit::Usage,
            ErrorKind::Refused | ErrorKind::Begun | ErrorKind::Damaged | ErrorKind::Unsafe => {
                Exit::Refused
            }
            ErrorKind::Stale | ErrorKind::OtherPlan => Exit::Stale,
            ErrorKind::Unproved => Exit::Gate,
            _ => Exit::Failed,
        };
        let failure = Self::new(exit, format!("could not {error}"));
        match error.kind() {
            ErrorKind::NoSuchHost => failure.hint("name one with --host"),
            ErrorKind::NotBegun => failure.hint("without --resume it begins"),
            ErrorKind::Stale => failure.hint(PLAN_ANEW),
            ErrorKind::OtherPlan => failure.hint("name another directory with --state"),
            ErrorKind::Unproved => {
                failure.hint("bring the evidence of the run that the same plan had on that host")
            }
            ErrorKind::Io if !rustix::process::geteuid().is_root() => {
                failure.hint("a plan is for root to run")
            }
            _ => failure,
        }
    }
}
