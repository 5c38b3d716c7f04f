//! The program `lava-backup`, as a library: what its commands do, composed of
//! the four crates that do the work.
//!
//! [`run`] is the whole program. A command is a module with a function of the
//! same name, which gives an [`Answer`]: a document for
//! `--json`, text for a person, and an [`Exit`](exit::Exit).

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

mod admit;
pub mod answer;
mod args;
mod backup_facts;
mod clock;
mod collect;
mod compare;
mod create;
mod database;
mod debs;
mod diff;
mod drill;
pub mod exit;
mod extract;
mod finished;
mod forget;
mod host;
mod look;
mod named;
mod onefile;
mod packages;
mod paths;
mod plan;
mod progress;
mod prune;
mod repair;
mod restore;
#[cfg(test)]
mod schemas;
mod settings;
mod standing;
mod status;
mod text;
mod throwaway;
mod verify;

use answer::Answer;
use args::{Cli, Command};
use exit::Failure;

/// The program and its version, as seals and evidence name it.
pub(crate) const TOOL: &str = concat!("lava-backup ", env!("CARGO_PKG_VERSION"));

/// Runs the program: reads the arguments, does what they say, prints the
/// answer on standard output and everything else on standard error.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(e) => {
            // clap's own exit code for wrong usage is 2, as ours.
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2));
        }
    };
    let json = cli.json;
    match dispatch(&cli) {
        Ok(answer) => answer.print(json),
        Err(failure) => failure.print(),
    }
}

fn dispatch(cli: &Cli) -> Result<Answer, Failure> {
    match &cli.command {
        Command::Init(args) => look::init(args),
        Command::Create(args) => create::create(args, cli.quiet, cli.json),
        Command::Status(args) => status::status(args),
        Command::List(args) => look::list(args),
        Command::Show(args) => look::show(args),
        Command::Ls(args) => look::ls(args, cli.json),
        Command::Cat(args) => look::cat(args, cli.json),
        Command::Verify(args) => verify::verify(args),
        Command::Extract(args) => extract::extract(args, cli.quiet),
        Command::Facts(args) => collect::facts(args),
        Command::Database(args) => database::database(args, cli.quiet),
        Command::Packages(args) => packages::packages(args, cli.quiet),
        Command::Drill(args) => drill::drill(args, cli.quiet),
        Command::Plan(args) => plan::plan(args),
        Command::Admit(args) => admit::admit(args),
        Command::Restore(args) => restore::restore(args, cli.quiet),
        Command::Compare(args) => compare::compare(args),
        Command::Diff(args) => diff::diff(args, cli.json),
        Command::Forget(args) => forget::forget(args),
        Command::Prune(args) => prune::prune(args),
        Command::Export(args) => onefile::export(args, cli.json),
        Command::Import(args) => onefile::import(args),
        Command::Repair(args) => repair::repair(args),
    }
}
