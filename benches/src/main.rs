//! `lab`: lay out a generated LAVA master or worker.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use lava_backup_benches::{Lab, Moment, master, sql, worker};

/// Lay out a LAVA lab that does not exist: the same seed gives the same lab.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// A master: packages, configuration, logs, and six files for each job
    Master {
        /// Directory to fill; must be empty or absent
        dir: PathBuf,
        /// Finished jobs
        #[arg(long, value_name = "N", default_value_t = Lab::default().jobs,
              value_parser = clap::value_parser!(u32).range(..=50_000_000))]
        jobs: u32,
        /// Mean size of a job's files in bytes, before logs are packed; at least about 7,000
        #[arg(long, value_name = "N", default_value_t = Lab::default().job_bytes,
              value_parser = clap::value_parser!(u64).range(..=1 << 32))]
        job_bytes: u64,
        /// Of a hundred jobs, how many of the oldest have logs packed by xz
        #[arg(long, value_name = "PERCENT", default_value_t = Lab::default().packed,
              value_parser = clap::value_parser!(u8).range(..=100))]
        packed: u8,
        /// Files of 1 kB besides, a hundred in a folder, of jobs older than these
        #[arg(long, value_name = "N", default_value_t = Lab::default().small,
              value_parser = clap::value_parser!(u32).range(..=50_000_000))]
        small: u32,
        /// Also write the database, for psql
        #[arg(long, value_name = "FILE")]
        sql: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// The database of a master alone, for psql
    Database {
        /// File to write
        file: PathBuf,
        /// Finished jobs
        #[arg(long, value_name = "N", default_value_t = Lab::default().jobs,
              value_parser = clap::value_parser!(u32).range(..=50_000_000))]
        jobs: u32,
        #[command(flatten)]
        common: Common,
    },
    /// A worker of that master
    Worker {
        /// Directory to fill; must be empty or absent
        dir: PathBuf,
        /// Its name: rack-a, rack-b, rack-c and rack-old are in the database
        #[arg(long, default_value = "rack-b")]
        name: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args)]
struct Common {
    /// What the lab is drawn from
    #[arg(long, value_name = "N", default_value_t = Lab::default().seed)]
    seed: u64,
    /// The lab's present: its history is the 90 days before, in UTC
    #[arg(long, value_name = "YYYY-MM-DD", default_value = "2023-06-01", value_parser = present)]
    until: Moment,
}

/// A day that has a history before it.
fn present(text: &str) -> Result<Moment, &'static str> {
    let moment: Moment = text.parse()?;
    if moment.date().0 > 1970 {
        Ok(moment)
    } else {
        Err("expected a day from 1971 on")
    }
}

fn main() -> ExitCode {
    let outcome = run(Options::parse().what);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("lab: could not {error}");
            let mut cause = error.source();
            while let Some(deeper) = cause {
                text = format!("{text}: {deeper}");
                cause = deeper.source();
            }
            // Nobody is left to tell if standard error is gone.
            let _ = writeln!(std::io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: What) -> Result<(), Box<dyn Error>> {
    match what {
        What::Master {
            dir,
            jobs,
            job_bytes,
            packed,
            small,
            sql: file,
            common,
        } => {
            let lab = Lab {
                seed: common.seed,
                jobs,
                job_bytes,
                until: common.until,
                packed,
                small,
            };
            master::write(&lab, &dir)?;
            if let Some(file) = file {
                write_database(&lab, &file)?;
            }
        }
        What::Database { file, jobs, common } => {
            let lab = Lab {
                seed: common.seed,
                jobs,
                until: common.until,
                ..Lab::default()
            };
            write_database(&lab, &file)?;
        }
        What::Worker { dir, name, common } => {
            let lab = Lab {
                seed: common.seed,
                until: common.until,
                ..Lab::default()
            };
            worker::write(&lab, &name, &dir)?;
        }
    }
    Ok(())
}

fn write_database(lab: &Lab, file: &Path) -> Result<(), Box<dyn Error>> {
    let written = File::create(file).and_then(|open| sql::write(lab, &mut BufWriter::new(open)));
    written.map_err(|error| format!("write {}: {error}", file.display()).into())
}
