//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lava_backup_core::{Glob, MemberPath, Share};
use lava_backup_pg::Pace;

mod keeping;
mod onefile;
mod packages;
mod prune;
mod restore;
mod status;

pub(crate) use keeping::{CompareArgs, DiffArgs, ForgetArgs};
pub(crate) use onefile::{DestinationArgs, ExportArgs, ImportArgs};
pub(crate) use packages::{InstallArgs, InstallPlanArgs, PackagesArgs, PackagesCommand, RepoArgs};
pub(crate) use prune::PruneArgs;
pub(crate) use restore::RestoreArgs;
pub(crate) use status::StatusArgs;

/// Back up a LAVA lab, prove the backup, and bring it back.
#[derive(Debug, Parser)]
#[command(
    name = "lava-backup",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused, \
    4 target must be prepared first, 5 incomplete or damaged, 6 plan out of date, 7 a gate did not hold."
)]
pub(crate) struct Cli {
    /// Print one JSON document on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Show no progress
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a store
    Init(StoreArgs),
    /// Back up this host
    Create(CreateArgs),
    /// Tell how well each host of a store is backed up
    Status(StatusArgs),
    /// List the backups of a store
    List(StoreArgs),
    /// Show what a backup is and holds
    Show(BackupArgs),
    /// List the files of a backup
    Ls(LsArgs),
    /// Print the content of a file of a backup
    Cat(CatArgs),
    /// Check that every byte is as it was written
    Verify(VerifyArgs),
    /// Bring files back below a root
    Extract(ExtractArgs),
    /// Print what this host is, as JSON
    Facts(FactsArgs),
    /// Look at, restore or compare a database
    Database(DatabaseArgs),
    /// Bring packages back from the .deb files of a backup
    Packages(PackagesArgs),
    /// Restore a backup into throwaway surroundings and compare everything
    Drill(DrillArgs),
    /// Print the steps that bring a backup back on a target
    Plan(PlanArgs),
    /// Let workers reach a restored LAVA, and nobody else; a step of a plan
    Admit(AdmitArgs),
    /// Run a plan on this host, from any interruption to its end
    Restore(RestoreArgs),
    /// Compare backups with a drilled one: do they hold the same kinds of content?
    Compare(CompareArgs),
    /// Tell what differs between two backups, file by file
    Diff(DiffArgs),
    /// Let backups go, by a policy or by name
    Forget(ForgetArgs),
    /// Remove from a store what no backup needs any more
    Prune(PruneArgs),
    /// Write a backup to one file, which `zstd` and `tar` alone restore
    Export(ExportArgs),
    /// Put a backup that is one file into a store
    Import(ImportArgs),
    /// Make anew what follows from the rest of a store, as lost indexes
    Repair(StoreArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// The store
    #[arg(long, value_name = "DIR", env = "LAVA_BACKUP_STORE")]
    pub(crate) store: PathBuf,
}

/// Of a command that may name a backup by the path of a file.
#[derive(Debug, Args)]
pub(crate) struct OptionalStore {
    /// The store; not needed for a backup that is an exported file
    #[arg(long, value_name = "DIR", env = "LAVA_BACKUP_STORE")]
    pub(crate) store: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    pub(crate) store: OptionalStore,

    /// An id, the unique beginning of one, or `latest`; an exported file, or `-`
    #[arg(default_value = "latest")]
    pub(crate) backup: String,
}

#[derive(Debug, Default, Args)]
pub(crate) struct DatabaseAddress {
    /// The database, as postgres://USER@HOST:PORT/NAME; found in LAVA's settings.
    /// With a password, give it in the environment: a command line is everybody's
    #[arg(
        long = "database",
        value_name = "URL",
        env = "LAVA_BACKUP_DATABASE",
        hide_env_values = true
    )]
    #[arg(id = "database")]
    pub(crate) url: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Runs lava-server
    Master,
    /// Runs lava-dispatcher alone
    Worker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Packages {
    /// No .deb: a restore gets the exact versions elsewhere
    None,
    /// Those that LAVA's manual calls critical, and all that ship migrations
    Critical,
    /// Every installed package, so that the backup alone brings them back
    Closure,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    pub(crate) destination: DestinationArgs,

    /// What the host does in its lab; found by itself
    #[arg(long)]
    pub(crate) role: Option<Role>,

    /// Back up the Debian below DIR
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,

    #[command(flatten)]
    pub(crate) database: DatabaseAddress,

    /// Leave the database out
    #[arg(long, conflicts_with = "database")]
    pub(crate) no_database: bool,

    /// Pace of the dump: `yield` is slow while others are at work on the server, `20MiB/s` fixes
    /// it, `unlimited` lifts it. .debs are fetched as fast, with `yield` slowly
    #[arg(long, value_name = "RATE", default_value = "yield", value_parser = rate)]
    pub(crate) rate: Pace,

    /// Take this file or directory as well
    #[arg(long, value_name = "PATH")]
    pub(crate) include: Vec<PathBuf>,

    /// The .deb files to archive; they are taken from apt's cache, an earlier
    /// backup, or the archives that apt knows
    #[arg(long, value_name = "WHICH", default_value = "none")]
    pub(crate) packages: Packages,

    /// Where no archive has a package any more, pack it anew from installed
    /// files, with dpkg-repack: with its configuration as it was changed here
    #[arg(long)]
    pub(crate) repack: bool,

    /// Read every file, also those that stand as they did at the last backup
    #[arg(long)]
    pub(crate) paranoid: bool,

    /// Seconds for which a changed file is not sure to stand still
    #[arg(long, value_name = "SECONDS", default_value_t = 60, hide = true)]
    pub(crate) unsure: u32,
}

#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    #[command(flatten)]
    pub(crate) backup: BackupArgs,

    /// Only these members and what is below them; or patterns of members, such
    /// as 'data/**/output.yaml*'
    pub(crate) paths: Vec<Glob>,
}

#[derive(Debug, Args)]
pub(crate) struct CatArgs {
    #[command(flatten)]
    pub(crate) store: OptionalStore,

    /// An id, the unique beginning of one, or `latest`; an exported file, or `-`
    pub(crate) backup: String,

    /// The member, as `ls` prints it
    pub(crate) path: MemberPath,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) store: OptionalStore,

    /// An id, the unique beginning of one, or `latest`; an exported file, or `-`;
    /// all of the store if none is named
    pub(crate) backup: Option<String>,

    /// Look at the structure alone, not at every byte
    #[arg(long)]
    pub(crate) quick: bool,

    /// Look at the structure, and read this share of each backup's frames, as
    /// `10%`, or so many of them; drawn by lot
    #[arg(long, value_name = "SHARE", conflicts_with = "quick", value_parser = share)]
    pub(crate) sample: Option<Share>,

    /// Draw the frames that an earlier sample drew, by the seed that it printed
    #[arg(long, value_name = "N", requires = "sample")]
    pub(crate) seed: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct ExtractArgs {
    #[command(flatten)]
    pub(crate) store: OptionalStore,

    /// An id, the unique beginning of one, or `latest`; an exported file, or `-`
    pub(crate) backup: String,

    /// Sections or members to bring back; `config`, `data` and `logs` if none
    /// is named
    pub(crate) paths: Vec<MemberPath>,

    /// The root to bring them back below
    #[arg(long, value_name = "DIR")]
    pub(crate) root: PathBuf,

    /// Leave out this member and what is below it
    #[arg(long, value_name = "MEMBER")]
    pub(crate) exclude: Vec<MemberPath>,

    /// Replace what differs; the old files are kept aside
    #[arg(long)]
    pub(crate) replace: bool,

    /// Say what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Answer whether everything is there as the backup has it; change nothing
    #[arg(long, conflicts_with_all = ["replace", "dry_run"])]
    pub(crate) check: bool,

    /// Leave all files to whoever runs this
    #[arg(long)]
    pub(crate) no_owners: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FactsArgs {
    /// The Debian below DIR
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,

    #[command(flatten)]
    pub(crate) database: DatabaseAddress,
}

#[derive(Debug, Args)]
pub(crate) struct DatabaseArgs {
    #[command(subcommand)]
    pub(crate) command: DatabaseCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DatabaseCommand {
    /// Show what the dump of a backup holds
    Show(BackupArgs),
    /// Build the database beside the one that is there, compare, and swap
    Restore(DatabaseTargetArgs),
    /// Compare every table of a database with the dump of a backup
    Compare(DatabaseTargetArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DatabaseTargetArgs {
    #[command(flatten)]
    pub(crate) store: OptionalStore,

    /// An id, the unique beginning of one, or `latest`; an exported file, or `-`
    pub(crate) backup: String,

    /// The Debian whose LAVA settings name the database and its password
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,

    /// The database's name, if not that of the settings
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// The directory of the server's socket; Debian's own if the settings name
    /// a server on this host
    #[arg(long, value_name = "DIR")]
    pub(crate) socket: Option<PathBuf>,

    /// The server's port, if not that of the settings
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,

    /// The database that is there holds data, and may go aside
    #[arg(long)]
    pub(crate) replace_data: bool,

    /// Sequences may stand so low that their tables hold the next value already
    #[arg(long)]
    pub(crate) low_sequences: bool,
}

/// How deep a drill goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// The database in a scratch cluster, and every file in a directory
    Data,
    /// A system built of the backup's .debs alone, without a network; by itself it proves neither
    /// database nor files
    Packages,
    /// Both in a system that boots, restored by the steps of its plan, and looked at
    Boot,
}

#[derive(Debug, Args)]
pub(crate) struct DrillArgs {
    #[command(flatten)]
    pub(crate) backup: BackupArgs,

    /// How deep
    #[arg(long, default_value = "data")]
    pub(crate) level: Level,

    /// Where to make the throwaway surroundings
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub(crate) scratch: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "`admit workers` writes the configuration of apache's that a plan puts into \
    service. With --check nothing is written: apache on this host is asked, and the answer is \
    yes (0) or no (7)."
)]
pub(crate) struct AdmitArgs {
    /// Who may reach LAVA
    pub(crate) whom: Admitted,

    /// See whether it is so
    #[arg(long, required_if_eq_any = [("whom", "nobody"), ("whom", "all")])]
    pub(crate) check: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Admitted {
    /// Neither users nor workers
    Nobody,
    /// Workers, through the part of LAVA that they alone use
    Workers,
    /// Users too
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// A runbook to read
    Markdown,
    /// A runbook to print, or to tick in a browser
    Html,
    /// A script to run
    Sh,
    /// A playbook to run
    Ansible,
    /// A document for programs
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanIntent {
    /// Bring a master back
    RestoreMaster,
    /// Bring a worker back; its master runs
    RestoreWorker,
    /// Bring a master back, and then its workers one by one
    RestoreLab,
    /// Set up a new host with a backup's packages and configuration, without its data
    Grow,
    /// Bring a host back without a network, with nobody to ask
    Drill,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Of several backups, the first target is for the first of them, and so on. The plan \
    has the master first whatever their order.\n\nExit codes: 0 the plan can be run, 3 refused, \
    4 the plan can be run and prepares the target first."
)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct PlanArgs {
    #[command(subcommand)]
    pub(crate) command: Option<PlanCommand>,

    #[command(flatten)]
    pub(crate) store: OptionalStore,

    /// Backups, one for each host: ids, unique beginnings of ids, or `latest`; exported files
    #[arg(value_name = "BACKUP", default_value = "latest")]
    pub(crate) backups: Vec<String>,

    /// A target's facts, as `lava-backup facts` prints them, for each backup; `-` for
    /// standard input; of one backup, this host's if not given
    #[arg(long = "target", value_name = "FILE")]
    pub(crate) targets: Vec<PathBuf>,

    /// What is to be; if not given, what the backups are of is restored
    #[arg(long)]
    pub(crate) intent: Option<PlanIntent>,

    /// How to print it
    #[arg(long, default_value = "markdown")]
    pub(crate) format: PlanFormat,

    /// Whose part of a lab's plan a script is for: `master`, or `worker_` and its name
    #[arg(long, value_name = "ID")]
    pub(crate) host: Option<String>,

    /// The lab that is on the target may be replaced
    #[arg(long)]
    pub(crate) replace_data: bool,

    /// The id of the restored lab's next job: one more than the highest that anybody saw
    #[arg(long, value_name = "N")]
    pub(crate) next_job_id: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Tell what differs between two plans, by the ids of steps and gates
    Diff(PlanDiffArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Ends with 0 if they are the same plan, and with 3 if they are not.")]
pub(crate) struct PlanDiffArgs {
    /// The earlier plan, as `plan --format json` printed it; `-` for standard input
    pub(crate) old: PathBuf,

    /// The later plan
    pub(crate) new: PathBuf,
}

fn rate(text: &str) -> Result<Pace, String> {
    match text {
        "yield" => return Ok(Pace::Yielding),
        "unlimited" => return Ok(Pace::Unlimited),
        _ => {}
    }
    let wrong = || format!("{text:?} is no rate: write it as 20MiB/s, or `yield`, or `unlimited`");
    let number = text.strip_suffix("/s").unwrap_or(text);
    let unit = number.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = &number[..number.len() - unit.len()];
    let factor = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match number.checked_mul(factor) {
        Some(rate) if rate > 0 => Ok(Pace::Fixed(rate)),
        _ => Err(wrong()),
    }
}

fn share(text: &str) -> Result<Share, String> {
    let wrong = || {
        format!("{text:?} is no share: write a number of frames, or a percentage above 0, as 10%")
    };
    let plain = |number: &str| number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let share = match text.strip_suffix('%') {
        None => text.parse().ok().map(Share::Frames),
        Some(percent) => percent
            .parse()
            .ok()
            .filter(|p: &f64| plain(percent) && *p <= 100.0)
            .map(|p| Share::PerMillion((p * 10_000.0).round() as u32)),
    };
    share
        .filter(|s| !matches!(s, Share::Frames(0) | Share::PerMillion(0)))
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_share_is_a_percentage_or_a_number_of_frames() {
        assert_eq!(share("10%"), Ok(Share::PerMillion(100_000)));
        assert_eq!(share("0.25%"), Ok(Share::PerMillion(2_500)));
        assert_eq!(share("100%"), Ok(Share::PerMillion(1_000_000)));
        assert_eq!(share("500"), Ok(Share::Frames(500)));
        for bad in [
            "", "%", "0", "0%", "101%", "-1%", "1e1%", "inf%", "0.5", "10 %", "0.00001%",
        ] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rate_is_a_number_with_a_unit() {
        for twenty in [
            "20M",
            "20MiB",
            "20MiB/s",
            "20480K",
            "20971520",
            "20971520B/s",
        ] {
            assert_eq!(rate(twenty), Ok(Pace::Fixed(20 << 20)), "{twenty}");
        }
        assert_eq!(rate("20MB/s"), Ok(Pace::Fixed(20_000_000)));
        assert_eq!(rate("unlimited"), Ok(Pace::Unlimited));
        assert_eq!(rate("yield"), Ok(Pace::Yielding));
        for bad in [
            "",
            "0",
            "M",
            "3T",
            "-1",
            "3MM",
            "99999999999G",
            "/s",
            "3M/h",
            "1e3",
            "3 M",
        ] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
