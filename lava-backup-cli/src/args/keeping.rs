//! The commands that compare backups and let them go.

use clap::Args;
use lava_backup_core::MemberPath;

use super::{OptionalStore, StoreArgs};

#[derive(Debug, Args)]
#[command(
    after_help = "Each host's newest good and newest drilled backup are never forgotten. \
    The space comes back with `lava-backup prune`."
)]
pub(crate) struct ForgetArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,

    /// Ids, or the unique beginnings of some; instead of a policy
    #[arg(conflicts_with_all = ["host", "keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly"])]
    pub(crate) backups: Vec<String>,

    /// Only the backups of this host
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,

    /// Keep the last N backups of each host
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_last: u32,

    /// Keep one backup of each of the last N days that have one, in UTC
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_daily: u32,

    /// Keep one backup of each of the last N weeks that have one
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_weekly: u32,

    /// Keep one backup of each of the last N months that have one
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_monthly: u32,

    /// Keep one backup of each of the last N years that have one
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_yearly: u32,

    /// Say what would happen, and forget nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    pub(crate) store: OptionalStore,

    /// An id, the unique beginning of one, or `latest`; an exported file, or `-`
    #[arg(default_value = "latest")]
    pub(crate) backup: String,

    /// Every backup of the store
    #[arg(long, conflicts_with = "backup")]
    pub(crate) all: bool,

    /// What to compare with; the newest drilled backup of the same host that
    /// is not newer, if none is named
    #[arg(long, value_name = "BACKUP")]
    pub(crate) reference: Option<String>,

    /// Of a hundred files, bytes or rows, how many may be gone
    #[arg(long, value_name = "PERCENT", default_value_t = 20, value_parser = clap::value_parser!(u8).range(0..100))]
    pub(crate) tolerance: u8,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Ends with 0 whether or not they differ, and with another code if it could not look."
)]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    pub(crate) store: OptionalStore,

    /// The earlier backup: an id, the unique beginning of one, or `latest`; an
    /// exported file, or `-`
    pub(crate) first: String,

    /// The later backup
    pub(crate) second: String,

    /// Only this member and what is below it
    pub(crate) path: Option<MemberPath>,
}
