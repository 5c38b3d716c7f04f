//! Is a backup equivalent to one that a drill has proved?

use lava_backup_core::compare::{self, Amount, Change, Finding, Rules, Survey, Tolerance};
use lava_backup_core::{Backup, BackupId, EvidenceDraft};
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Answer;
use crate::args::CompareArgs;
use crate::exit::{CouldNot, Exit, Failure};
use crate::named;
use crate::standing::{self, Standing};
use crate::{TOOL, clock, text};

mod stock;

/// How backups compare with drilled ones.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Equivalence {
    /// The store.
    pub(crate) store: String,
    /// Of a hundred files, bytes or rows, how many may be gone.
    pub(crate) tolerance: u8,
    /// The backups that were looked at, sorted by id.
    pub(crate) backups: Vec<Equivalent>,
}

/// How one backup compares with its reference.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Equivalent {
    /// Its id.
    pub(crate) backup: String,
    /// The reference's id; `null` if there is none.
    pub(crate) reference: Option<String>,
    /// Does it hold what the reference holds? `null` if that was not compared.
    pub(crate) equivalent: Option<bool>,
    /// Why it was not compared.
    pub(crate) why_not: Option<String>,
    /// The differences, sorted by what they are of and by name.
    pub(crate) differences: Vec<Difference>,
    /// Why this could not be recorded beside the backup; `null` if it was, or
    /// if nothing was compared.
    pub(crate) unrecorded: Option<String>,
}

/// One difference.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Difference {
    /// `file`, `kind` of path, `tree`, `table`, `migration` or `package`.
    pub(crate) of: String,
    /// Which one. In a kind, `N` stands for digits and `*` for a name that says
    /// nothing.
    pub(crate) name: String,
    /// `missing`, `shrunk`, `changed kind` or `new`.
    pub(crate) change: String,
    /// What the reference has.
    pub(crate) reference: Option<Measure>,
    /// What the backup has.
    pub(crate) found: Option<Measure>,
    /// Is the backup not equivalent because of it?
    pub(crate) fails: bool,
}

/// How much there is of something.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Measure {
    /// `file`, `dir`, `symlink`, `fifo`, or `item`: a table, a migration or a
    /// package.
    pub(crate) what: String,
    /// Entries; of an item, its count: a table's rows.
    pub(crate) entries: u64,
    /// Files among them that hold nothing.
    pub(crate) empty: u64,
    /// Bytes of content.
    pub(crate) bytes: u64,
    /// Is one of them secret?
    pub(crate) secret: bool,
}

impl From<Amount> for Measure {
    fn from(amount: Amount) -> Self {
        Self {
            what: amount.what.to_owned(),
            entries: amount.entries,
            empty: amount.empty,
            bytes: amount.bytes,
            secret: amount.secret,
        }
    }
}

impl From<Finding> for Difference {
    fn from(finding: Finding) -> Self {
        let change = match finding.change {
            Change::Missing => "missing",
            Change::Shrunk => "shrunk",
            Change::New => "new",
            _ => "changed kind",
        };
        Self {
            of: finding.of,
            name: finding.name,
            change: change.into(),
            reference: finding.reference.map(Into::into),
            found: finding.found.map(Into::into),
            fails: finding.fails,
        }
    }
}

pub(crate) fn compare(args: &CompareArgs) -> Result<Answer, Failure> {
    named::stdin_once(&args.backup, args.reference.as_deref().unwrap_or_default())?;
    let (store, one) = if args.all {
        (named::open_store(&args.store)?, None)
    } else {
        let (store, id) = named::find(&args.store, &args.backup)?;
        (store, Some(id))
    };
    let chosen = args.reference.as_deref();
    let chosen = chosen
        .map(|name| named::open(&args.store, name))
        .transpose()?;
    let standings = standing::of_all(&store)?;
    // What one file is compared with lies in the store, if there is one.
    let is_file = !args.all && named::is_one_file(&args.store, &args.backup);
    let of_store = match (is_file, &args.store.store) {
        (true, Some(_)) => standing::of_all(&named::open_store(&args.store)?)?,
        _ => Vec::new(),
    };
    let proofs: Vec<&Standing> = standings.iter().chain(&of_store).collect();
    let rules = stock::rules(Tolerance {
        percent: args.tolerance,
        ..Tolerance::default()
    })?;
    let mut answer = Equivalence {
        store: store.path().to_string_lossy().into_owned(),
        tolerance: args.tolerance,
        backups: Vec::new(),
    };
    let mut exit = Exit::Done;
    // References in a row are mostly the same.
    let mut surveyed: Option<(BackupId, Survey)> = None;
    for standing in &standings {
        if one.as_ref().is_some_and(|one| one != standing.id()) {
            continue;
        }
        let backup = match &standing.backup {
            Ok(backup) => backup,
            Err(failure) if one.is_some() => return Err(failure.clone()),
            Err(failure) => {
                exit = Exit::Damaged;
                answer
                    .backups
                    .push(skipped(standing, failure.message.clone()));
                continue;
            }
        };
        let reference = match reference(standing, backup, &proofs, chosen.as_ref()) {
            Ok(reference) => reference,
            Err(failure) if one.is_some() => return Err(failure),
            Err(failure) => {
                // One that is older than every drill is no failure of its own.
                if !proofs.iter().any(|s| is_proof_for(s, backup)) {
                    exit = worse(exit, Exit::Refused);
                }
                answer.backups.push(skipped(standing, failure.message));
                continue;
            }
        };
        if surveyed.as_ref().is_none_or(|(id, _)| id != reference.id()) {
            surveyed = Some((reference.id().clone(), survey(reference, &rules)?));
        }
        let Some((_, ref_survey)) = &surveyed else {
            continue;
        };
        let equivalent = judge(backup, reference, ref_survey, &rules)?;
        if equivalent.equivalent == Some(false) {
            exit = worse(exit, Exit::Refused);
        } else if equivalent.unrecorded.is_some() && !is_file {
            exit = worse(exit, Exit::Failed);
        }
        answer.backups.push(equivalent);
    }
    let out = answer.text();
    Ok(Answer::new(exit, &answer, out))
}

/// Damage is worst, then what is not equivalent.
fn worse(one: Exit, other: Exit) -> Exit {
    let rank = |exit: Exit| match exit {
        Exit::Damaged => 3,
        Exit::Refused => 2,
        Exit::Failed => 1,
        _ => 0,
    };
    if rank(other) > rank(one) { other } else { one }
}

fn skipped(standing: &Standing, why: String) -> Equivalent {
    Equivalent {
        backup: standing.id().to_string(),
        reference: None,
        equivalent: None,
        why_not: Some(why),
        differences: Vec::new(),
        unrecorded: None,
    }
}

/// Has a drill proved it, and is it of the host of `backup`?
fn is_proof_for(standing: &Standing, backup: &Backup) -> bool {
    standing.is_drilled() && standing.host() == Some(&backup.seal().host)
}

/// What a backup is compared with.
///
/// A lab grows: an old backup lacks what a newer one has, and is fine. So the
/// reference is the newest that is not newer than the backup.
fn reference<'s>(
    standing: &Standing,
    backup: &'s Backup,
    standings: &[&'s Standing],
    chosen: Option<&'s Backup>,
) -> Result<&'s Backup, Failure> {
    if let Some(chosen) = chosen {
        return Ok(chosen);
    }
    let age = |backup: &Backup| (backup.seal().taken.clone(), backup.id().clone());
    let proofs = standings.iter().filter(|s| is_proof_for(s, backup));
    let older = proofs
        .filter_map(|s| s.backup.as_ref().ok())
        .filter(|proof| age(proof) < age(backup));
    if let Some(newest) = older.max_by_key(|proof| age(proof)) {
        return Ok(newest);
    }
    if standing.is_drilled() {
        return Ok(backup);
    }
    let (id, host) = (backup.id(), &backup.seal().host);
    let what = format!(
        "could not compare the backup {id}: no backup of the host {host:?} that is not newer was drilled"
    );
    let hint = "`lava-backup drill BACKUP` proves one; --reference names any other";
    Err(Failure::new(Exit::Refused, what).hint(hint))
}

fn survey(backup: &Backup, rules: &Rules) -> Result<Survey, Failure> {
    let doing = format!("look through the backup {}", backup.id());
    let mut survey = Survey::of(backup, rules).could_not(doing)?;
    for inventory in stock::inventories(backup)? {
        survey.take_stock(inventory);
    }
    Ok(survey)
}

fn judge(
    backup: &Backup,
    reference: &Backup,
    ref_survey: &Survey,
    rules: &Rules,
) -> Result<Equivalent, Failure> {
    let began = clock::now();
    let found = survey(backup, rules)?;
    let findings = compare::compare(ref_survey, &found, &rules.tolerance);
    let equivalent = findings.iter().all(|f| !f.fails);
    let mut judged = Equivalent {
        backup: backup.id().to_string(),
        reference: Some(reference.id().to_string()),
        equivalent: Some(equivalent),
        why_not: None,
        differences: findings.into_iter().map(Into::into).collect(),
        unrecorded: None,
    };
    let mut record = EvidenceDraft::new("compare", reference.id().as_str(), equivalent);
    record.tool = TOOL.into();
    record.began = began.rfc3339();
    record.milliseconds = began.elapsed();
    record.findings = serde_json::to_value(&judged).unwrap_or_default();
    // What was found is told all the same: a store may be mounted to be read.
    judged.unrecorded = backup.record(record).err().map(|e| e.to_string());
    Ok(judged)
}

impl Equivalence {
    fn text(&self) -> String {
        let mut out = String::new();
        for backup in &self.backups {
            let word = match backup.equivalent {
                Some(true) => "equivalent",
                Some(false) => "NOT EQUIVALENT",
                None => "not compared",
            };
            out += &format!("{word:<14} {}", backup.backup);
            out += &match (&backup.reference, &backup.why_not) {
                (Some(reference), _) if *reference == backup.backup => {
                    ": it was drilled itself\n".to_owned()
                }
                (Some(reference), _) => format!(" to {reference}\n"),
                (None, why) => format!(": {}\n", why.as_deref().unwrap_or("unknown")),
            };
            for difference in &backup.differences {
                out += &difference.text();
            }
            if let Some(why) = &backup.unrecorded {
                out += &format!("  note: what was found could not be recorded: {why}\n");
            }
        }
        if self.backups.is_empty() {
            out += &format!("the store {} holds no backup\n", self.store);
        }
        out
    }
}

impl Difference {
    fn text(&self) -> String {
        let word = if self.fails { "LACKS" } else { "note" };
        let side = |measure: &Option<Measure>| match measure {
            Some(measure) => measure.text(),
            None => "nothing".to_owned(),
        };
        format!(
            "  {word:<6} {:<12} {} {}: {}, was {}\n",
            self.change,
            self.of,
            self.name,
            side(&self.found),
            side(&self.reference)
        )
    }
}

impl Measure {
    fn text(&self) -> String {
        if self.what == "item" {
            return text::grouped(self.entries);
        }
        let noun = if self.what == "dir" {
            "directory"
        } else {
            &self.what
        };
        let mut out = match (noun, self.entries) {
            ("directory", n) if n != 1 => format!("{} directories", text::grouped(n)),
            (noun, n) => text::count(n, noun),
        };
        if self.what == "file" {
            out += &format!(" of {}", text::bytes(self.bytes));
        }
        if self.empty > 0 {
            out += &format!(", {} empty", text::grouped(self.empty));
        }
        if self.secret {
            out += ", secret";
        }
        out
    }
}
