//! Checking that a store is as it was written.

use lava_backup_core::{Backup, Damage, Depth, EvidenceDraft, Store};
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Answer;
use crate::args::VerifyArgs;
use crate::exit::{CouldNot, Exit, Failure};
use crate::{TOOL, clock, text};

/// What `verify` found.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Verified {
    /// The store.
    pub(crate) store: String,
    /// `quick` or `full`.
    pub(crate) depth: String,
    /// The backups that were looked at.
    pub(crate) backups: Vec<VerifiedBackup>,
    /// Files of the store that belong to no backup and should not be there.
    pub(crate) foreign: Vec<Broken>,
}

/// What `verify` found of one backup.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct VerifiedBackup {
    /// Its id.
    pub(crate) backup: String,
    /// Is every byte that was looked at as it was written?
    pub(crate) sound: bool,
    /// Frames looked at.
    pub(crate) frames: u64,
    /// Bytes of the tar stream read.
    pub(crate) bytes: u64,
    /// Entries looked at.
    pub(crate) entries: u64,
    /// What is not as it was written.
    pub(crate) damage: Vec<Broken>,
    /// Why this could not be recorded beside the backup; `null` if it was.
    pub(crate) unrecorded: Option<String>,
}

/// A file of the store that is not as it was written.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Broken {
    /// The file of the store.
    pub(crate) file: String,
    /// What is wrong with it.
    pub(crate) what: String,
    /// The files of the backup that can't be had because of it.
    pub(crate) members: Vec<String>,
}

impl From<Damage> for Broken {
    fn from(damage: Damage) -> Self {
        Self {
            file: damage.file.to_string_lossy().into_owned(),
            what: damage.what,
            members: damage.members.iter().map(ToString::to_string).collect(),
        }
    }
}

pub(crate) fn verify(args: &VerifyArgs) -> Result<Answer, Failure> {
    let store = Store::open(&args.store.store).could_not("open the store")?;
    let depth = if args.quick {
        Depth::Quick
    } else {
        Depth::Full
    };
    let ids = match &args.backup {
        Some(name) => vec![store.find(name).could_not("find the backup")?],
        None => store.backups().could_not("list the store")?,
    };
    let mut verified = Verified {
        store: store.path().to_string_lossy().into_owned(),
        depth: if args.quick { "quick" } else { "full" }.into(),
        backups: Vec::new(),
        foreign: Vec::new(),
    };
    if args.backup.is_none() {
        let foreign = lava_backup_core::verify_store(&store).could_not("look through the store")?;
        verified.foreign = foreign.into_iter().map(Into::into).collect();
    }
    for id in ids {
        verified.backups.push(match store.backup(&id) {
            Ok(backup) => one(&backup, depth)?,
            Err(e) => {
                let failure = Failure::from(e);
                VerifiedBackup {
                    backup: id.to_string(),
                    sound: false,
                    frames: 0,
                    bytes: 0,
                    entries: 0,
                    damage: vec![Broken {
                        file: store
                            .path()
                            .join("backups")
                            .join(id.as_str())
                            .join("backup.json")
                            .to_string_lossy()
                            .into_owned(),
                        what: failure.message,
                        members: Vec::new(),
                    }],
                    unrecorded: None,
                }
            }
        });
    }
    let sound = verified.foreign.is_empty() && verified.backups.iter().all(|b| b.sound);
    let recorded = verified.backups.iter().all(|b| b.unrecorded.is_none());
    let exit = match (sound, recorded) {
        (false, _) => Exit::Damaged,
        (true, false) => Exit::Failed,
        (true, true) => Exit::Done,
    };
    let out = verified.text();
    Ok(Answer::new(exit, &verified, out))
}

fn one(backup: &Backup, depth: Depth) -> Result<VerifiedBackup, Failure> {
    let began = clock::now();
    let report = lava_backup_core::verify(backup, depth)
        .could_not(format!("verify the backup {}", backup.id()))?;
    let mut verified = VerifiedBackup {
        backup: backup.id().to_string(),
        sound: report.damage.is_empty(),
        frames: report.frames,
        bytes: report.bytes,
        entries: report.entries,
        damage: report.damage.into_iter().map(Into::into).collect(),
        unrecorded: None,
    };
    let depth = match depth {
        Depth::Quick => "structure; no content was read",
        Depth::Full => "every byte",
    };
    let mut record = EvidenceDraft::new("verify", depth, verified.sound);
    record.tool = TOOL.into();
    record.began = began.rfc3339();
    record.milliseconds = began.elapsed();
    record.findings = serde_json::to_value(&verified).unwrap_or_default();
    // What was found is told all the same: a store may be mounted to be read.
    verified.unrecorded = backup.record(record).err().map(|e| e.to_string());
    Ok(verified)
}

impl Verified {
    fn text(&self) -> String {
        let mut out = String::new();
        for backup in &self.backups {
            let word = if backup.sound { "sound" } else { "DAMAGED" };
            out += &format!(
                "{word:<8} {}: {}, {}, {}\n",
                backup.backup,
                text::count(backup.entries, "file"),
                text::count(backup.frames, "frame"),
                match self.depth.as_str() {
                    "quick" => "structure alone".to_owned(),
                    _ => format!("{}, every byte", text::bytes(backup.bytes)),
                }
            );
            out += &broken(&backup.damage);
            if let Some(why) = &backup.unrecorded {
                out += &format!("  could not record what was found: {why}\n");
            }
        }
        out += &broken(&self.foreign);
        if self.backups.is_empty() {
            out += &format!("the store {} holds no backup\n", self.store);
        }
        out
    }
}

fn broken(damage: &[Broken]) -> String {
    let mut out = String::new();
    for damage in damage {
        out += &format!("  {}: {}\n", damage.file, damage.what);
        for member in &damage.members {
            out += &format!("    lost: {member}\n");
        }
    }
    out
}
