//! The program `lava-backup`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lava_backup_cli::run(std::env::args_os())
}
