//! The commands for backups that are one file.

use std::path::PathBuf;

use clap::Args;

use super::{OptionalStore, StoreArgs};

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) store: OptionalStore,

    /// An id, the unique beginning of one, or `latest`; an exported file, or `-`
    pub(crate) backup: String,

    /// The new file, best named as .tar.zst; `-` for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,

    /// What `export` or `create --to` has written; `-` for standard input
    pub(crate) file: PathBuf,
}

/// Where a new backup goes. A store that the environment names gives way to a
/// file, so it is not clap's to read.
#[derive(Debug, Args)]
pub(crate) struct DestinationArgs {
    /// The store [env: LAVA_BACKUP_STORE]
    #[arg(long, value_name = "DIR", conflicts_with = "to")]
    pub(crate) store: Option<PathBuf>,

    /// Instead of a store, this new file, best named as .tar.zst, which appears
    /// whole or not at all; `-` for standard output, where what ends without its
    /// seal is no backup
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
}
