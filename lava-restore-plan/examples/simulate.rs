//! Tries the plan for a lab in memory: `simulate STORE BACKUP TARGET [BACKUP TARGET]…`, documents
//! all but the first. It is run as it is, and then once more for each moment of it, cut off there and
//! gone on with.
#![allow(clippy::print_stdout)]

use lava_restore_plan::simulate::{End, Event, Fate, Journal, Lab, Moment};
use lava_restore_plan::{Backup, Facts, Host, Intent, Options, plan};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (store, documents) = arguments.split_first().ok_or("name a store")?;
    let mut hosts = Vec::new();
    for pair in documents.chunks_exact(2) {
        let backup = Backup::from_json(&std::fs::read(&pair[0])?)?;
        let target = Facts::from_json(&std::fs::read(&pair[1])?)?;
        hosts.push(Host::new(backup, store, target));
    }
    let (intent, options) = (Intent::RestoreLab, Options::default());
    let plan = plan(hosts.clone(), intent, &options);
    let lab = Lab::new(hosts, intent, &options);

    let (mut tried, mut journal) = (lab.clone(), Journal::default());
    match tried.run(&plan, &mut journal, &Fate::default())? {
        End::Stopped { at, why } => println!("stopped at {at}: {why}"),
        _ => println!("{} steps, {} lack", plan.steps.len(), tried.lacks().len()),
    }
    let mut went_on = 0;
    for moment in Moment::all(&plan) {
        let (mut lab, mut journal) = (lab.clone(), Journal::default());
        let crash = Fate::of(moment.clone(), Event::CrashWithin);
        lab.run(&plan, &mut journal, &crash)?;
        let end = lab.run(&plan, &mut journal, &Fate::default())?;
        went_on += usize::from(end == End::Done && lab.lacks().is_empty());
        for harm in lab.harms() {
            println!("cut off at {moment}: {harm}");
        }
    }
    println!("cut off at each moment: {went_on} times the goal");
    Ok(())
}
