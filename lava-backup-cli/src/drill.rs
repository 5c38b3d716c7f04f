//! Restoring a backup into throwaway surroundings, to know that it can be.

use std::collections::BTreeMap;

use lava_backup_core::EvidenceDraft;
use schemars::JsonSchema;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::answer::Answer;
use crate::args::{DrillArgs, Level};
use crate::exit::{Exit, Failure};
use crate::progress::Progress;
use crate::{TOOL, backup_facts, clock, named, text};

mod boot;
mod coherence;
mod data;
mod machine;
mod packages;

/// What a drill found.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Drilled {
    /// The backup.
    pub(crate) backup: String,
    /// Did everything come back as it was?
    pub(crate) passed: bool,
    /// How deep the drill went: `data`, `packages` or `boot`.
    pub(crate) level: String,
    /// PostgreSQL's major version that the database was restored into.
    pub(crate) postgresql: Option<u32>,
    /// Tables whose rows came back byte for byte.
    pub(crate) tables_equal: u64,
    /// Rows in them.
    pub(crate) rows: u64,
    /// Tables that did not, and sequences that are behind or too low.
    pub(crate) tables_differ: Vec<String>,
    /// Files that came back with the same digest.
    pub(crate) files_equal: u64,
    /// Bytes of content.
    pub(crate) bytes: u64,
    /// Files that did not.
    pub(crate) files_differ: Vec<String>,
    /// Packages that a system built of the backup's .debs alone has in the same version.
    pub(crate) packages_equal: u64,
    /// Packages that it lacks, or has in another version, or that the backup's host did not have.
    pub(crate) packages_differ: Vec<String>,
    /// Steps of the plan that were done in it.
    pub(crate) steps: u64,
    /// Milliseconds of each of them, by its id: `restore` tells them of the same steps.
    pub(crate) step_milliseconds: BTreeMap<String, u64>,
    /// What else was looked at.
    pub(crate) checks: Vec<Check>,
    /// Milliseconds it took: a measured part of the time to restore.
    pub(crate) milliseconds: u64,
    /// What this drill did not prove.
    pub(crate) not_proved: Vec<String>,
    /// Why this could not be recorded beside the backup; `null` if it was.
    pub(crate) unrecorded: Option<String>,
}

/// How long the steps of a plan took, as `restore` says of a run and a drill of its plan: nothing
/// where there was none, or from a version that did not tell.
pub(crate) fn step_milliseconds(said: &Value) -> BTreeMap<String, u64> {
    BTreeMap::deserialize(&said["step_milliseconds"]).unwrap_or_default()
}

/// One look at what was restored.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Check {
    /// What was looked at.
    pub(crate) what: String,
    /// Whether it was as it should be.
    pub(crate) held: bool,
    /// What it should be.
    pub(crate) expected: String,
    /// What it was.
    pub(crate) found: String,
}

pub(crate) fn drill(args: &DrillArgs, quiet: bool) -> Result<Answer, Failure> {
    let began = clock::now();
    let backup = backup_facts::open(&args.backup)?;
    // Nothing can be added to one: that is a note, and no failure.
    let is_file = named::is_one_file(&args.backup.store, &args.backup.backup);
    let progress = Progress::new(quiet);
    let mut drilled = Drilled {
        backup: backup.id().to_string(),
        passed: true,
        level: args.level.name().into(),
        postgresql: None,
        tables_equal: 0,
        rows: 0,
        tables_differ: Vec::new(),
        files_equal: 0,
        bytes: 0,
        files_differ: Vec::new(),
        milliseconds: 0,
        packages_equal: 0,
        packages_differ: Vec::new(),
        steps: 0,
        step_milliseconds: BTreeMap::new(),
        checks: Vec::new(),
        not_proved: args.level.leaves_open(),
        unrecorded: None,
    };
    let ended = match args.level {
        Level::Data => data::drill(&backup, &args.scratch, &progress, &mut drilled),
        Level::Packages => packages::drill(&backup, &args.scratch, &progress, &mut drilled),
        Level::Boot => boot::drill(&backup, args, &progress, &mut drilled),
    };
    drop(progress);
    // A drill takes its time, and what it misses of a backup that is gone is no damage.
    if !backup.is_there() {
        let what = format!("could not drill {}: it was let go meanwhile", backup.id());
        return Err(Failure::new(Exit::Failed, what));
    }
    match ended {
        // What keeps a drill from its end, and is the backup's, is what it found.
        Err(failure) if failure.exit == Exit::Damaged => {
            drilled.check("the end of the drill", "reached", &failure.message);
        }
        ended => ended?,
    }
    let differ = [
        &drilled.tables_differ,
        &drilled.files_differ,
        &drilled.packages_differ,
    ];
    drilled.passed = differ.into_iter().all(Vec::is_empty) && drilled.checks.iter().all(|c| c.held);
    drilled.milliseconds = began.elapsed();

    let mut record = EvidenceDraft::new("drill", &drilled.level, drilled.passed);
    record.tool = TOOL.into();
    record.began = began.rfc3339();
    record.milliseconds = drilled.milliseconds;
    record.findings = serde_json::to_value(&drilled).unwrap_or_default();
    // What was found is told all the same: a store may be mounted to be read.
    drilled.unrecorded = backup.record(record).err().map(|e| e.to_string());

    let kept = drilled.unrecorded.is_none() || is_file;
    let exit = match (drilled.passed, kept) {
        (false, _) => Exit::Damaged,
        (true, false) => Exit::Failed,
        (true, true) => Exit::Done,
    };
    let out = drilled.text();
    Ok(Answer::new(exit, &drilled, out))
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Packages => "packages",
            Self::Boot => "boot",
        }
    }

    /// Does a drill of this level bring the database and the files back?
    pub(crate) fn restores(self) -> bool {
        match self {
            Self::Data | Self::Boot => true,
            Self::Packages => false,
        }
    }

    /// What a drill of this level does not prove.
    fn leaves_open(self) -> Vec<String> {
        let open: &[&str] = match self {
            Self::Data => &[
                "that the packages can be installed",
                "that the services start",
                "the owners of files: they were checked against the index alone",
            ],
            Self::Packages => &[
                "that the database and the files come back",
                "that the services start",
            ],
            Self::Boot => &[
                "that boards and remote workers answer: there was no network",
                "mail, single sign-on and whatever else LAVA asks of other hosts",
            ],
        };
        open.iter().map(|what| (*what).to_owned()).collect()
    }
}

impl Drilled {
    /// Notes what was looked at.
    fn check(&mut self, what: &str, expected: &str, found: &str) {
        self.checks.push(Check {
            what: what.to_owned(),
            held: expected == found,
            expected: expected.to_owned(),
            found: found.to_owned(),
        });
    }

    fn text(&self) -> String {
        let word = if self.passed { "passed" } else { "FAILED" };
        let mut out = format!("drill    {word} {}\n", self.backup);
        if let Some(major) = self.postgresql {
            out += &format!(
                "database {}, {}, equal byte for byte in PostgreSQL {major}\n",
                text::count(self.tables_equal, "table"),
                text::count(self.rows, "row")
            );
        }
        for table in &self.tables_differ {
            out += &format!("DIFFERS  {table}\n");
        }
        if self.files_equal > 0 || self.level == Level::Data.name() {
            out += &format!(
                "files    {}, {}, equal\n",
                text::count(self.files_equal, "file"),
                text::bytes(self.bytes)
            );
        }
        if self.packages_equal > 0 {
            out += &format!(
                "packages {}, equal, in a system of the backup's .debs alone\n",
                text::count(self.packages_equal, "package")
            );
        }
        if self.steps > 0 {
            out += &format!(
                "plan     {} done in a system that booted without a network\n",
                text::count(self.steps, "step")
            );
        }
        for check in &self.checks {
            let Check {
                what,
                expected,
                found,
                ..
            } = check;
            out += &match check.held {
                true => format!("held     {what}: {found}\n"),
                false => format!("DIFFERS  {what}: {found}, not {expected}\n"),
            };
        }
        for package in &self.packages_differ {
            out += &format!("DIFFERS  {package}\n");
        }
        for file in &self.files_differ {
            out += &format!("DIFFERS  {file}\n");
        }
        out += &format!("took     {}\n", text::duration(self.milliseconds));
        for open in &self.not_proved {
            out += &format!("not proved: {open}\n");
        }
        if let Some(why) = &self.unrecorded {
            out += &format!("note: what was found could not be recorded: {why}\n");
        }
        out
    }
}
