//! What a root has, what is not in order there, and what another root has otherwise.
//!
//!     cargo run -p lava-backup-debian --example differences -- / /srv/old-master
//!
//! With one root it prints that one's state; `--json` prints it as a document.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{
    error::Error,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use lava_backup_debian::{HostState, Root};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("could not {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    arguments.retain(|argument| argument != "--json");
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64;
    let capture = |path: &String| HostState::capture(&Root::open(path)?, now);
    match &arguments[..] {
        [here] => {
            let state = capture(here)?;
            if json {
                println!("{}", serde_json::to_string(&state)?);
                return Ok(ExitCode::SUCCESS);
            }
            for (subject, how) in state.subjects() {
                println!("{}  {}", plain(&subject), plain(&how));
            }
            findings(&state);
            Ok(ExitCode::SUCCESS)
        }
        [here, there] => {
            let (here, there) = (capture(here)?, capture(there)?);
            let differences = here.differences(&there);
            for difference in &differences {
                println!("{}", plain(&difference.subject));
                for (sign, how) in [("-", &difference.here), ("+", &difference.there)] {
                    if let Some(how) = how {
                        println!("  {sign} {}", plain(how));
                    }
                }
            }
            findings(&there);
            println!("{} differ", differences.len());
            Ok(ExitCode::from(u8::from(!differences.is_empty())))
        }
        _ => {
            eprintln!("usage: differences [--json] ROOT [OTHER-ROOT]");
            Ok(ExitCode::from(2))
        }
    }
}

fn findings(state: &HostState) {
    for finding in &state.findings {
        println!(
            "found {} {}: {}",
            finding.kind.code(),
            plain(&finding.subject),
            plain(&finding.found)
        );
    }
}

/// Names of another host's files may hold what would act on a terminal.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
