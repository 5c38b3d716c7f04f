//! Prints the plan for a lab: `plan STORE BACKUP TARGET [BACKUP TARGET]…`, documents all but the
//! first; the master's backup anywhere among them.
#![allow(clippy::print_stdout)]

use lava_restore_plan::{Backup, Facts, Host, Intent, Options, plan, render};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (store, documents) = arguments.split_first().ok_or("name a store")?;
    let mut hosts = Vec::new();
    for pair in documents.chunks_exact(2) {
        let backup = Backup::from_json(&std::fs::read(&pair[0])?)?;
        let target = Facts::from_json(&std::fs::read(&pair[1])?)?;
        hosts.push(Host::new(backup, store, target));
    }
    let plan = plan(hosts, Intent::RestoreLab, &Options::default());
    println!("{}", render::json(&plan)?);
    Ok(())
}
