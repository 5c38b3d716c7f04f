//! The arguments of `packages`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{BackupArgs, OptionalStore};

#[derive(Debug, Args)]
pub(crate) struct PackagesArgs {
    #[command(subcommand)]
    pub(crate) command: PackagesCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PackagesCommand {
    /// Write the .debs of a backup as a repository that apt takes as its only source
    Repo(RepoArgs),
    /// Print the commands that bring exactly these packages back
    InstallPlan(InstallPlanArgs),
    /// Bring packages back on this host, in exactly the versions of the backup
    Install(InstallArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Refused where LAVA's database holds jobs or devices: to configure lava-server \
    is to migrate it. What a backup has no .deb of comes from this host's own apt sources."
)]
pub(crate) struct InstallArgs {
    #[command(flatten)]
    pub(crate) store: OptionalStore,

    /// An id, the unique beginning of one, or `latest`; an exported file
    pub(crate) backup: String,

    /// The packages; if none is named, all that the backup has a .deb of
    pub(crate) packages: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RepoArgs {
    #[command(flatten)]
    pub(crate) store: OptionalStore,

    /// An id, the unique beginning of one, or `latest`; an exported file, or `-`
    pub(crate) backup: String,

    /// The new directory, which appears whole or not at all
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,

    /// Sign it with this key of yours, by calling gpg
    #[arg(long, value_name = "KEY")]
    pub(crate) sign_key: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The text is a script for sh. It changes nothing of the target's own apt \
    settings, and ends at the first command that fails."
)]
pub(crate) struct InstallPlanArgs {
    #[command(flatten)]
    pub(crate) backup: BackupArgs,

    /// Where the repository is on the target
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/lib/lava-backup/packages"
    )]
    pub(crate) repository: PathBuf,

    /// The key that it is signed with, on the target; without one, apt is told
    /// to trust it
    #[arg(long, value_name = "FILE")]
    pub(crate) keyring: Option<PathBuf>,
}
