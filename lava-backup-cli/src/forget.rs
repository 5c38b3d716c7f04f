//! Letting backups go.

use lava_backup_core::retention::{Candidate, Decision, Keep, Reason, protect, retain};
use lava_backup_core::{BackupId, Store};
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Answer;
use crate::args::ForgetArgs;
use crate::exit::{CouldNot, Exit, Failure};
use crate::standing::{self, Standing};
use crate::text;

/// What became of the backups of a store.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Forgotten {
    /// The store.
    pub(crate) store: String,
    /// Was nothing done but to say what would be?
    pub(crate) dry_run: bool,
    /// Backups that are forgotten.
    pub(crate) forgotten: u64,
    /// The backups that were looked at, sorted by id.
    pub(crate) backups: Vec<Fate>,
}

/// What became of one backup.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Fate {
    /// Its id.
    pub(crate) backup: String,
    /// The host; `null` if its seal can't be read.
    pub(crate) host: Option<String>,
    /// Is it kept?
    pub(crate) kept: bool,
    /// Why it is kept, such as `daily 2026-11-22`; why it is not: `named`, or
    /// `no rule keeps it`.
    pub(crate) reasons: Vec<String>,
}

pub(crate) fn forget(args: &ForgetArgs) -> Result<Answer, Failure> {
    let store = Store::open(&args.store.store).could_not("open the store")?;
    let keep = Keep {
        last: args.keep_last,
        daily: args.keep_daily,
        weekly: args.keep_weekly,
        monthly: args.keep_monthly,
        yearly: args.keep_yearly,
    };
    if args.backups.is_empty() && keep == Keep::default() {
        let what = "could not tell what to forget: neither backups nor anything to keep is named";
        let hint = "name backups, or what to keep: --keep-daily 7 --keep-weekly 8";
        return Err(Failure::new(Exit::Usage, what).hint(hint));
    }
    let mut standings = standing::of_all(&store)?;
    if let Some(host) = &args.host {
        standings.retain(|s| s.host() == Some(host));
        if standings.is_empty() {
            let what = format!("could not find a backup of the host {host:?}");
            return Err(Failure::new(Exit::Failed, what));
        }
    }
    let candidates: Vec<Candidate> = standings.iter().map(|s| s.candidate.clone()).collect();
    let (decisions, gone): (_, Vec<BackupId>) = if args.backups.is_empty() {
        let decisions = retain(&keep, &candidates).could_not("forget by this policy")?;
        let gone = decisions.iter().filter(|d| d.reasons.is_empty());
        let gone = gone.map(|d| d.id.clone()).collect();
        (decisions, gone)
    } else {
        let decisions = protect(&candidates);
        let gone = named(&store, args, &decisions)?;
        (decisions, gone)
    };
    if !args.dry_run {
        for (before, id) in gone.iter().enumerate() {
            store.forget(id).could_not(match before {
                0 => format!("forget the backup {id}"),
                n => format!("forget the backup {id}, after {n} others were forgotten"),
            })?;
        }
    }
    let by_name = !args.backups.is_empty();
    let fates = standings.iter().zip(&decisions);
    let fate = |(standing, decision): (&Standing, &Decision)| {
        fate(standing, decision, by_name, gone.contains(standing.id()))
    };
    let answer = Forgotten {
        store: store.path().to_string_lossy().into_owned(),
        dry_run: args.dry_run,
        forgotten: gone.len() as u64,
        backups: fates
            .map(fate)
            .filter(|fate| !by_name || !fate.kept)
            .collect(),
    };
    let out = answer.text();
    Ok(Answer::new(Exit::Done, &answer, out))
}

/// The backups that a person names, if every one of them may go.
fn named(
    store: &Store,
    args: &ForgetArgs,
    decisions: &[Decision],
) -> Result<Vec<BackupId>, Failure> {
    let mut gone = Vec::new();
    for name in &args.backups {
        let id = store.find(name).could_not("find the backup")?;
        let reasons = decisions.iter().filter(|d| d.id == id);
        let protected = reasons.flat_map(|d| &d.reasons).find(|r| r.protects());
        if let Some(reason) = protected {
            let what = format!("could not forget the backup {id}: of its host it is the {reason}");
            let hint = "make a newer one first, and drill it; nothing was forgotten";
            return Err(Failure::new(Exit::Refused, what).hint(hint));
        }
        gone.push(id);
    }
    gone.sort();
    gone.dedup();
    Ok(gone)
}

fn fate(standing: &Standing, decision: &Decision, by_name: bool, gone: bool) -> Fate {
    let reasons = match (gone, by_name) {
        (true, true) => vec!["named".into()],
        (true, false) => vec!["no rule keeps it".into()],
        (false, _) => decision.reasons.iter().map(Reason::to_string).collect(),
    };
    Fate {
        backup: standing.id().to_string(),
        host: standing.host().map(str::to_owned),
        kept: !gone,
        reasons,
    }
}

impl Forgotten {
    fn text(&self) -> String {
        let mut out = String::new();
        let widest = |of: fn(&Fate) -> usize| self.backups.iter().map(of).max().unwrap_or(0);
        let id = widest(|f| f.backup.len());
        let host = widest(|f| f.host.as_deref().unwrap_or("?").len());
        for fate in &self.backups {
            let word = if fate.kept { "keep" } else { "forget" };
            out += &format!(
                "{word:<6}  {:<id$}  {:<host$}  {}\n",
                fate.backup,
                fate.host.as_deref().unwrap_or("?"),
                fate.reasons.join(", ")
            );
        }
        let gone = text::count(self.forgotten, "backup");
        out += &match (self.forgotten, self.dry_run) {
            (0, _) => "nothing to forget\n".to_owned(),
            (_, true) => format!("{gone} would be forgotten\n"),
            (_, false) => format!("{gone} forgotten; `lava-backup prune` gives the space back\n"),
        };
        out
    }
}
