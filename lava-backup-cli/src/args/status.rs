//! The arguments of `status`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::StoreArgs;
use super::prune::duration;

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 every host is good, 3 some are old, degraded or unproved, 5 some \
    have no backup that can be relied on."
)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,

    /// How old the newest good backup of a host may be
    #[arg(long, value_name = "TIME", default_value = "36h", value_parser = duration)]
    pub(crate) max_age: Duration,

    /// How long ago the last drill of a host's backups may be
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = duration)]
    pub(crate) max_drill_age: Duration,

    /// Also write metrics to this file, whole or not at all, for Prometheus' collector of text
    /// files
    #[arg(long, value_name = "FILE")]
    pub(crate) prometheus: Option<PathBuf>,
}
