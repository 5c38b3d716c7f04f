//! Of `restore`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The plan, as `plan --format json` prints it
    pub(crate) plan: PathBuf,

    /// The host of the plan to run the steps of, if it has several
    #[arg(long, value_name = "ID")]
    pub(crate) host: Option<String>,

    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Go on with a run that stopped, or was stopped
    #[arg(long)]
    pub(crate) resume: bool,

    /// The directory of the run: its journal, and what its commands printed; by default one named
    /// by the plan's digest, below /var/lib/lava-backup/restore
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// Answers to what the plan asks: a line STEP or STEP=CHOICE for each
    #[arg(long, value_name = "FILE")]
    pub(crate) confirm: Option<PathBuf>,

    /// What the run of this plan on another host proved, which steps of this one wait for: the
    /// HOST-verified.json of its directory
    #[arg(long, value_name = "FILE")]
    pub(crate) evidence: Vec<PathBuf>,

    /// The lock of this host; for tests that are several hosts
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/run/lava-backup/restore.lock",
        hide = true
    )]
    pub(crate) lock: PathBuf,
}
