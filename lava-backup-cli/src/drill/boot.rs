//! Level `boot`: a bare system of the backup's .debs boots without a network, and becomes the host
//! that was backed up by the steps of its plan.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use lava_backup_core::Backup;
use lava_restore_plan::Facts;
use lava_restore_plan::facts::{Package, Role};
use serde_json::Value;

use super::machine::Machine;
use super::packages::{self, Build};
use super::{Drilled, coherence};
use crate::args::DrillArgs;
use crate::exit::{CouldNot, Exit, Failure};
use crate::finished::{FinishedJobs, job_of_log};
use crate::named::Named;
use crate::progress::Progress;
use crate::throwaway::{Throwaway, Use};
use crate::{backup_facts, clock};

/// Where the machine sees the store, or the file, that holds the backup.
const STORE: &str = "/srv/lava-backup-store";
/// What a bare system needs to boot.
const INIT: [&str; 2] = ["dbus", "systemd-sysv"];

/// Jobs that were finished when the drill began, so in the backup, and whether everybody may see
/// them. Those that the plan has ended may have no log.
const FINISHED: &str = "SELECT id, is_public FROM lava_scheduler_app_testjob \
    WHERE state = 5 AND (end_time IS NULL OR end_time < 'BEGAN')";
/// Jobs that were started since; one that is ended before it began gets both times at once.
const STARTED: &str = "SELECT count(*) FROM lava_scheduler_app_testjob \
    WHERE start_time >= 'BEGAN' AND start_time IS DISTINCT FROM end_time";
const AT_WORK: &str = "SELECT count(*) FROM lava_scheduler_app_testjob WHERE state IN (1, 2, 3, 4)";

/// Prints the status of a page, and then the page. Apache answers 502 where gunicorn ends a kept
/// connection, two seconds old, just as it is used again: whoever asks again gets the page.
const PAGE: &str = "import sys, urllib.request, urllib.error
for _ in range(3):
    try: page = urllib.request.urlopen('http://localhost' + sys.argv[1], timeout=60)
    except urllib.error.HTTPError as e: page = e
    if page.status != 502: break
print(page.status); sys.stdout.flush(); sys.stdout.buffer.write(page.read())";

/// Prints a log, which may be packed.
const LOG: &str = "import sys, lzma
log = (lzma.open if sys.argv[1].endswith('.xz') else open)(sys.argv[1], 'rb')
sys.stdout.buffer.write(log.read())";

pub(super) fn drill(
    backup: &Backup,
    args: &DrillArgs,
    progress: &Progress,
    drilled: &mut Drilled,
) -> Result<(), Failure> {
    let dir = Throwaway::new(&args.scratch, Use::Drill)
        .could_not(format!("make a directory in {}", args.scratch.display()))?;
    // The machine has no other clock.
    let began = clock::now().rfc3339();
    let facts = backup_facts::facts(backup)?;
    let name = host_name(&facts)?;
    let wanted: Vec<&Package> = facts.packages.iter().filter(|p| p.is_installed()).collect();
    let is_init = |package: &&&Package| INIT.contains(&package.name.as_str());
    let init: Vec<&Package> = wanted.iter().filter(is_init).copied().collect();
    if init.len() < INIT.len() {
        let what = format!(
            "could not boot what {} restores: its host had no systemd",
            backup.id()
        );
        return Err(Failure::new(Exit::Refused, what));
    }
    let build = Build::of(backup, dir.path(), progress)?;
    progress.say("building a bare system of the backup's packages");
    let root = build.root(&facts, &init)?;
    build.clear()?;
    set_up(&root, &name)?;

    progress.say("booting it, without a network");
    let store = place(args)?;
    let console = dir.path().join("console");
    let machine = Machine::boot(&root, &name, (&store, STORE), &console)?;
    progress.say("running the plan in it");
    if !restore(&machine, backup, drilled)? {
        return Ok(());
    }
    progress.say("looking at what it serves");
    if facts.role == Role::Master {
        look(&machine, backup, &began, drilled)?;
    }
    // What was asked of each gate, once more of the whole.
    let only = machine.run(&["ls", "/sys/class/net"])?;
    drilled.check("network interfaces", "lo", &text(&only));
    drop(machine);
    packages::compare(&wanted, &root, drilled)
}

/// A host's own name, if it can be one: it came out of a backup.
fn host_name(facts: &Facts) -> Result<String, Failure> {
    let name = facts.hostname.clone().unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let good = !name.is_empty() && name.len() <= 64 && !name.starts_with(['-', '.']);
    match good && name.bytes().all(plain) {
        true => Ok(name),
        false => Err(Failure::new(
            Exit::Refused,
            format!("could not boot the restored system: {name:?} is no host's name"),
        )),
    }
}

/// Where the backup is, for the machine to see.
fn place(args: &DrillArgs) -> Result<PathBuf, Failure> {
    let path = match (Named::of(&args.backup.backup), &args.backup.store.store) {
        (Named::File(file), _) => file,
        (Named::InStore(_), Some(store)) => store,
        (Named::Stdin, _) | (_, None) => {
            let what = "could not boot what comes through a pipe: the system reads it again";
            return Err(Failure::new(Exit::Usage, what).hint("put it into a file, and name that"));
        }
    };
    Ok(path.canonicalize()?)
}

/// What a fresh installation has: a name, and this program.
fn set_up(root: &Path, name: &str) -> Result<(), Failure> {
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::write(&path, text).could_not(format!("write {}", path.display()))
    };
    write("etc/hostname", &format!("{name}\n"))?;
    write(
        "etc/hosts",
        &format!("127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost\n"),
    )?;
    let program = root.join("usr/local/bin/lava-backup");
    let own = std::env::current_exe()?;
    let copied = fs::create_dir_all(root.join("usr/local/bin")).and_then(|()| {
        fs::copy(own, &program)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
    });
    copied.could_not(format!("write {}", program.display()))
}

/// Facts, plan, and the plan's steps, all by the program in the machine; says whether all gates held.
fn restore(machine: &Machine, backup: &Backup, drilled: &mut Drilled) -> Result<bool, Failure> {
    let id = backup.id().to_string();
    let run = |command: &[&str]| {
        machine
            .run(command)
            .could_not("work in the restored system")
    };
    let plan = run(&[
        "lava-backup",
        "--json",
        "plan",
        "--intent",
        "drill",
        "--store",
        STORE,
        &id,
    ])?;
    let document: Value = serde_json::from_slice(&plan.stdout).unwrap_or_default();
    if !matches!(plan.status.code(), Some(0 | 4)) {
        let refused = document["findings"].as_array().into_iter().flatten();
        let refused = refused.filter(|finding| finding["severity"] == "refuse");
        let codes: Vec<&str> = refused
            .filter_map(|finding| finding["code"].as_str())
            .collect();
        let found = match codes.is_empty() {
            true => last_line(&plan),
            false => codes.join(", "),
        };
        drilled.check("the plan", "can be run", &found);
        return Ok(false);
    }
    let file = machine.root().join("root/plan.json");
    fs::write(&file, &plan.stdout).could_not(format!("write {}", file.display()))?;
    let restored = run(&["lava-backup", "--json", "restore", "/root/plan.json"])?;
    let document: Value = serde_json::from_slice(&restored.stdout).unwrap_or_default();
    let steps = document["done"].as_array().map_or(0, Vec::len);
    drilled.steps = steps as u64;
    drilled.step_milliseconds = super::step_milliseconds(&document);
    let stopped = &document["stopped"];
    let found = match (restored.status.success(), stopped["step"].as_str()) {
        (true, _) => "finished".to_owned(),
        (false, Some(step)) => format!(
            "stopped at {}: {}",
            stopped["gate"].as_str().unwrap_or(step),
            stopped["found"].as_str().unwrap_or("no more is known")
        ),
        (false, None) => last_line(&restored),
    };
    drilled.check("the steps of the plan", "finished", &found);
    if let (true, Some(dump)) = (restored.status.success(), backup_facts::dump(backup)?) {
        // Gates compared them, before devices and jobs were changed on purpose.
        drilled.tables_equal = dump.contents.tables.len() as u64;
        drilled.rows = dump.contents.tables.iter().map(|table| table.rows).sum();
        drilled.postgresql = Some(dump.server.major);
    }
    Ok(restored.status.success())
}

/// LAVA's own pages, as users get them.
fn look(
    machine: &Machine,
    backup: &Backup,
    began: &str,
    drilled: &mut Drilled,
) -> Result<(), Failure> {
    let database = backup_facts::dump(backup)?.map(|dump| dump.server.database);
    let database = database.unwrap_or_default();
    let ask = |sql: &str| {
        let psql = [
            "env", "-C", "/", "runuser", "-u", "postgres", "--", "psql", "-XAtq",
        ];
        let out = machine.run(&[&psql[..], &["-d", &database, "-c", sql]].concat())?;
        Ok::<_, Failure>(text(&out))
    };
    let get = |path: &str| -> Result<(String, Vec<u8>), Failure> {
        let out = machine.run(&["python3", "-c", PAGE, path])?.stdout;
        let end = out
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(out.len());
        let status = String::from_utf8_lossy(&out[..end]).into_owned();
        Ok((status, out.get(end + 1..).unwrap_or_default().to_vec()))
    };
    let deploy = machine.run(&["lava-server", "manage", "check", "--deploy"])?;
    let code = |out: &Output| out.status.code().unwrap_or(-1).to_string();
    // Held packages fail it, and the plan has let them go by now.
    drilled.check(
        "lava-server manage check --deploy exits",
        "0",
        &code(&deploy),
    );
    drilled.check("the list of jobs", "200", &get("/scheduler/alljobs")?.0);
    let rows = ask(&FINISHED.replace("BEGAN", began))?;
    let rows = rows.lines().filter_map(|row| row.split_once('|'));
    let rows = rows.filter_map(|(id, public)| Some((id.parse().ok()?, public == "t")));
    let finished: BTreeMap<u64, bool> = rows.collect();
    let mut without_log: FinishedJobs = finished.keys().copied().collect();
    // The newest with a log that everybody may read, and where that is.
    let mut newest: Option<(u64, String)> = None;
    for entry in backup.entries_below(&"data".parse()?)? {
        let entry = entry?;
        without_log.saw(&entry);
        let Some(job) = job_of_log(&entry).filter(|job| finished.get(job) == Some(&true)) else {
            continue;
        };
        if newest.as_ref().is_none_or(|(newest, _)| *newest < job) {
            let path = entry.path.to_string();
            let restored = path.strip_prefix("data").unwrap_or(&path);
            newest = Some((job, restored.to_owned()));
        }
    }
    coherence::check_logs(&without_log, backup, drilled);
    if let Some((job, log)) = newest {
        let path = format!("/scheduler/job/{job}");
        drilled.check("the page of a job", "200", &get(&path)?.0);
        let (status, page) = get(&format!("/api/v0.2/jobs/{job}/"))?;
        drilled.check("that job, by the REST API", "200", &status);
        let named = String::from_utf8_lossy(&page).contains(&format!("\"id\":{job}"));
        drilled.check("that job's id in the answer", "true", &named.to_string());
        let (status, served) = get(&format!("{path}/log_file/plain"))?;
        drilled.check("that job's log", "200", &status);
        let log = machine.run(&["python3", "-c", LOG, &log])?.stdout;
        let is_served = (!log.is_empty() && served == log).to_string();
        drilled.check("that job's log is the restored one", "true", &is_served);
    } else {
        drilled
            .not_proved
            .push("a job's page: no finished job with a log is public".into());
    }
    let started = ask(&STARTED.replace("BEGAN", began))?;
    drilled.check("jobs started in the drill", "0", &started);
    drilled.check("jobs at work", "0", &ask(AT_WORK)?);
    Ok(())
}

fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

fn last_line(out: &Output) -> String {
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or("it said nothing").to_owned()
}
