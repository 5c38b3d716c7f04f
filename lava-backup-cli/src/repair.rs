//! Making anew what a store has lost and what follows from the rest.

use lava_backup_core::Store;
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Answer;
use crate::args::StoreArgs;
use crate::exit::{CouldNot, Exit, Failure};

/// What `repair` did.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Repaired {
    /// The store.
    pub(crate) store: String,
    /// Files that were made anew or put out of the way.
    pub(crate) repaired: Vec<Mended>,
    /// Files that can't be had from what is there.
    pub(crate) lost: Vec<Mended>,
}

/// One file of the store.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Mended {
    /// The file.
    pub(crate) file: String,
    /// What was done, or why nothing could be.
    pub(crate) what: String,
}

pub(crate) fn repair(args: &StoreArgs) -> Result<Answer, Failure> {
    let store = Store::open(&args.store).could_not("open the store")?;
    let report = lava_backup_core::repair(&store).could_not("repair the store")?;
    let repaired = Repaired {
        store: store.path().to_string_lossy().into_owned(),
        repaired: report
            .repaired
            .iter()
            .map(|r| mended(&r.file, &r.what))
            .collect(),
        lost: report
            .lost
            .iter()
            .map(|r| mended(&r.file, &r.what))
            .collect(),
    };
    let exit = match repaired.lost.is_empty() {
        true => Exit::Done,
        false => Exit::Damaged,
    };
    let said = repaired.text();
    Ok(Answer::new(exit, &repaired, said))
}

fn mended(file: &std::path::Path, what: &str) -> Mended {
    Mended {
        file: file.to_string_lossy().into_owned(),
        what: what.to_owned(),
    }
}

impl Repaired {
    fn text(&self) -> String {
        let mut out = String::new();
        for (word, files) in [("repaired", &self.repaired), ("LOST", &self.lost)] {
            for mended in files {
                out += &format!("{word:<8} {}: {}\n", mended.file, mended.what);
            }
        }
        if out.is_empty() {
            out += "nothing to repair; `lava-backup verify` looks at every frame\n";
        }
        out
    }
}
