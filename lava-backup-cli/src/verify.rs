//! Checking that a store is as it was written.

use std::path::Path;

use lava_backup_core::{Backup, Damage, Depth, EvidenceDraft, Sample, Sampled};
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Answer;
use crate::args::VerifyArgs;
use crate::exit::{CouldNot, Exit, Failure};
use crate::{TOOL, clock, named, text};

/// So many damaged frames a sample tells its chances of.
const DAMAGED: [(u64, &str); 3] = [(1, "one damaged frame"), (10, "ten"), (100, "a hundred")];

/// What evidence says of a check that read all.
pub(crate) const EVERY_BYTE: &str = "every byte";

/// What `verify` found.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Verified {
    /// The store, or the file.
    pub(crate) store: String,
    /// `quick`, `sample` or `full`.
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
    /// Bytes of frames read.
    pub(crate) bytes: u64,
    /// Which frames were read, and what that is worth; `null` if all or none
    /// were to be.
    pub(crate) sampled: Option<Drawn>,
    /// Entries looked at.
    pub(crate) entries: u64,
    /// What is not as it was written.
    pub(crate) damage: Vec<Broken>,
    /// Why this could not be recorded beside the backup; `null` if it was.
    pub(crate) unrecorded: Option<String>,
}

/// The frames that a sampled check has read.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Drawn {
    /// How many frames.
    pub(crate) frames: u64,
    /// Of how many that differ from each other.
    pub(crate) of: u64,
    /// With `--seed` it draws the same ones again.
    pub(crate) seed: u32,
    /// How likely it was to see damage.
    pub(crate) chances: Vec<Chance>,
}

/// How likely a sampled check was to see damage.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Chance {
    /// Of so many damaged frames,
    pub(crate) damaged: u64,
    /// at least one would have been seen so many times in a million; a million
    /// is certainty.
    pub(crate) per_million: u32,
}

impl From<Sampled> for Drawn {
    fn from(sampled: Sampled) -> Self {
        let chance = |damaged| {
            let chance = sampled.chance(damaged)?;
            let rounded = (chance * 1e6).round() as u32;
            let per_million = if chance < 1.0 {
                rounded.min(999_999)
            } else {
                1_000_000
            };
            Some(Chance {
                damaged,
                per_million,
            })
        };
        Self {
            frames: sampled.frames,
            of: sampled.of,
            seed: sampled.seed,
            chances: DAMAGED
                .iter()
                .filter_map(|(damaged, _)| chance(*damaged))
                .collect(),
        }
    }
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
    let seed = args.seed;
    let (depth, word) = match args.sample {
        Some(share) => (Depth::Sample(Sample { share, seed }), "sample"),
        None if args.quick => (Depth::Quick, "quick"),
        None => (Depth::Full, "full"),
    };
    if args.backup.as_deref() == Some("-") {
        return stream(depth);
    }
    let (store, ids) = match &args.backup {
        Some(name) => {
            let (store, id) = named::find(&args.store, name)?;
            (store, vec![id])
        }
        None => {
            let store = named::open_store(&args.store)?;
            let ids = store.backups().could_not("list the store")?;
            (store, ids)
        }
    };
    let is_file = named::is_one_file(&args.store, args.backup.as_deref().unwrap_or("latest"));
    let mut verified = Verified {
        store: store.path().to_string_lossy().into_owned(),
        depth: word.into(),
        backups: Vec::new(),
        foreign: Vec::new(),
    };
    if args.backup.is_none() || is_file {
        let foreign = lava_backup_core::verify_store(&store).could_not("look through the store")?;
        verified.foreign = foreign.into_iter().map(Into::into).collect();
    }
    for id in ids {
        let found = match store.backup(&id) {
            Ok(backup) => one(&backup, depth),
            Err(e) => {
                let failure = Failure::from(e);
                Ok(VerifiedBackup {
                    backup: id.to_string(),
                    sound: false,
                    frames: 0,
                    bytes: 0,
                    sampled: None,
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
                })
            }
        };
        // Whoever looks through a store for hours may meet one that was let go meanwhile.
        if !store.holds(&id) {
            if args.backup.is_some() {
                let what = format!("could not verify the backup {id}: it was let go meanwhile");
                return Err(Failure::new(Exit::Failed, what));
            }
            continue;
        }
        verified.backups.push(found?);
    }
    let sound = verified.foreign.is_empty() && verified.backups.iter().all(|b| b.sound);
    let exit = if sound { Exit::Done } else { Exit::Damaged };
    let out = verified.text();
    Ok(Answer::new(exit, &verified, out))
}

/// Checks a backup as it passes, which needs no room for it.
fn stream(depth: Depth) -> Result<Answer, Failure> {
    if depth != Depth::Full {
        let what = "could not look at a part of standard input: all of a pipe is read anyway";
        return Err(Failure::new(Exit::Usage, what).hint("leave --quick and --sample out"));
    }
    let place = Path::new(named::STDIN);
    let received = lava_backup_core::verify_stream(place, named::stdin()?);
    let seal = received.could_not("verify the backup")?.seal;
    let verified = Verified {
        store: named::STDIN.into(),
        depth: "full".into(),
        backups: vec![VerifiedBackup {
            backup: seal.id.to_string(),
            sound: true,
            frames: seal.archive.frames,
            bytes: seal.archive.bytes,
            sampled: None,
            entries: seal.archive.entries,
            damage: Vec::new(),
            unrecorded: Some("standard input: is read once, and never changed".into()),
        }],
        foreign: Vec::new(),
    };
    let out = verified.text();
    Ok(Answer::new(Exit::Done, &verified, out))
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
        sampled: report.sampled.map(Into::into),
        entries: report.entries,
        damage: report.damage.into_iter().map(Into::into).collect(),
        unrecorded: None,
    };
    let depth = match depth {
        Depth::Quick => "structure; no content was read",
        Depth::Sample(_) => "sample",
        Depth::Full => EVERY_BYTE,
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
                match (&backup.sampled, self.depth.as_str()) {
                    (Some(drawn), _) => drawn.read(),
                    (None, "full") => format!("{}, every byte", text::bytes(backup.bytes)),
                    (None, _) => "structure alone".to_owned(),
                }
            );
            if let (Some(drawn), true) = (&backup.sampled, backup.sound) {
                out += &format!("  {}\n", drawn.worth());
            }
            out += &broken(&backup.damage);
            if let Some(why) = &backup.unrecorded {
                out += &format!("  note: what was found could not be recorded: {why}\n");
            }
        }
        out += &broken(&self.foreign);
        if self.backups.is_empty() {
            out += &format!("the store {} holds no backup\n", self.store);
        }
        out
    }
}

impl Drawn {
    fn read(&self) -> String {
        let (frames, of) = (text::grouped(self.frames), text::grouped(self.of));
        format!(
            "read {frames} of {of} different frames, drawn with --seed {}",
            self.seed
        )
    }

    /// What it means that no damage was seen.
    fn worth(&self) -> String {
        let (mut out, mut would) = (String::new(), " would have been seen");
        for (damaged, words) in DAMAGED {
            let Some(chance) = self.chances.iter().find(|c| c.damaged == damaged) else {
                continue;
            };
            let comma = if out.is_empty() { "" } else { ", " };
            out += &format!("{comma}{words}{would} with {}", percent(chance.per_million));
            would = "";
        }
        out
    }
}

/// Never certainty for what is not certain, nor nothing for what is possible.
fn percent(per_million: u32) -> String {
    let percent = f64::from(per_million) / 10_000.0;
    match per_million {
        0..100 => "less than 0.01 %".into(),
        1_000_000 => "100 %".into(),
        10_000..=990_000 => format!("{percent:.0} %"),
        _ => format!("{:.2} %", percent.min(99.99)),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn drawn(frames: u64, of: u64) -> Drawn {
        Sampled {
            frames,
            of,
            seed: 1,
        }
        .into()
    }

    #[test]
    fn a_sample_says_what_it_is_worth() {
        assert_eq!(
            drawn(100, 1000).worth(),
            "one damaged frame would have been seen with 10 %, ten with 65 %, a hundred with 99.99 %"
        );
        assert_eq!(
            drawn(2, 9).worth(),
            "one damaged frame would have been seen with 22 %"
        );
        assert_eq!(drawn(0, 0).worth(), "");
    }

    /// What is printed, against the same sum in whole numbers.
    #[test]
    fn printed_chances_are_those_of_exact_arithmetic() {
        for of in 1u64..60 {
            for frames in 1..=of {
                for chance in drawn(frames, of).chances {
                    let ways = |n: u64, k: u64| -> u128 {
                        (0..u128::from(k))
                            .fold(1, |all, i| all * u128::from(n).saturating_sub(i) / (i + 1))
                    };
                    let missed = ways(of - chance.damaged, frames);
                    let all = ways(of, frames);
                    let exact = (all - missed) as f64 / all as f64 * 1e6;
                    let told = f64::from(chance.per_million);
                    assert!(
                        (told - exact).abs() <= 1.0,
                        "{frames} of {of}: {told}, {exact}"
                    );
                    assert_eq!(told == 1e6, missed == 0);
                }
            }
        }
    }

    #[test]
    fn what_is_not_certain_is_not_printed_as_certain() {
        let printed = [
            0, 99, 100, 9_999, 10_000, 100_000, 990_000, 990_001, 999_999, 1_000_000,
        ];
        assert_eq!(
            printed.map(percent),
            [
                "less than 0.01 %",
                "less than 0.01 %",
                "0.01 %",
                "1.00 %",
                "1 %",
                "10 %",
                "99 %",
                "99.00 %",
                "99.99 %",
                "100 %"
            ]
        );
    }
}
