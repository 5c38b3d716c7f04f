//! Bringing packages back on this host.

use std::process::{Command, Stdio};

use lava_backup_pg::ErrorKind;

use super::*;
use crate::args::InstallArgs;
use crate::collect;
use crate::host::Host;
use crate::throwaway::{Throwaway, Use};

/// Packages that were installed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Installed {
    /// The backup.
    pub(crate) backup: String,
    /// How many packages were asked for by name and version.
    pub(crate) packages: u64,
    /// Whether all came from the backup, with no other source at hand.
    pub(crate) alone: bool,
}

pub(super) fn install(args: &InstallArgs, quiet: bool) -> Result<Answer, Failure> {
    let backup = named::open(&args.store, &args.backup)?;
    let document = debs::of(&backup)?;
    let wanted = wanted(&backup, document.as_ref(), &args.packages)?;
    refuse_a_lab()?;
    let parent = Path::new("/var/lib/lava-backup");
    fs::create_dir_all(parent).could_not(format!("make {}", parent.display()))?;
    let place = Throwaway::new(parent, Use::Repository)
        .could_not(format!("make a directory in {}", parent.display()))?;
    let native = match &document {
        Some(document) => document.architectures.first().cloned(),
        None => backup_facts::facts(&backup)?.architecture,
    };
    let held = |package: &ExactPackage| {
        let debs = document.iter().flat_map(|document| &document.debs);
        debs.into_iter().any(|deb| deb.package == package.name)
    };
    let alone = wanted.iter().all(held)
        && document
            .as_ref()
            .is_some_and(|document| document.closed == Some(true));
    let reinstall = Reinstall {
        packages: &wanted,
        native: native.as_deref().unwrap_or_default(),
        repository: place.path(),
        keyring: None,
        alone,
    };
    let lists = place.path().join("apt/lists/partial");
    fs::create_dir_all(&lists).could_not(format!("make {}", lists.display()))?;
    if let Some(document) = &document {
        write(&backup, document, place.path(), &Progress::new(quiet))?;
        let files = reinstall.files();
        for file in files.could_not("write the source of the packages")? {
            set_up(&file)?;
        }
    }
    finish_what_was_cut_off()?;
    let commands = [
        reinstall.borrow(),
        vec![reinstall.update(), reinstall.install()],
        reinstall.mark_auto().into_iter().collect(),
        reinstall.mark_manual().into_iter().collect(),
    ];
    for argv in commands.concat() {
        run(&argv)?;
    }
    prove(&wanted)?;
    let installed = Installed {
        backup: backup.id().to_string(),
        packages: wanted.len() as u64,
        alone,
    };
    let text = format!(
        "installed {} of {}, in its versions\n",
        text::count(installed.packages, "package"),
        installed.backup
    );
    Ok(Answer::new(Exit::Done, &installed, text))
}

/// The packages by name, or all that there is a .deb of, with the marks of the backup's host.
fn wanted(
    backup: &Backup,
    document: Option<&DebsDocument>,
    names: &[String],
) -> Result<Vec<ExactPackage>, Failure> {
    let facts = backup_facts::facts(backup)?;
    let all = names.is_empty();
    if all && document.is_none() {
        need_debs(backup)?;
    }
    let is_wanted = |package: &&lava_restore_plan::facts::Package| match all {
        true => document.is_some_and(|document| {
            let mut debs = document.debs.iter();
            debs.any(|deb| deb.package == package.name && deb.architecture == package.architecture)
        }),
        false => names.contains(&package.name),
    };
    let packages = facts.packages.iter().filter(|p| p.is_installed());
    let wanted: Vec<ExactPackage> = packages
        .filter(is_wanted)
        .map(|package| ExactPackage {
            name: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
            auto: package.auto,
            hold: package.hold,
        })
        .collect();
    let missing = names
        .iter()
        .find(|name| !wanted.iter().any(|p| p.name == **name));
    match missing {
        Some(name) => Err(Failure::new(
            Exit::Refused,
            format!(
                "could not install {name}: the host of the backup {} did not have it",
                backup.id()
            ),
        )),
        None => Ok(wanted),
    }
}

/// To configure lava-server is to migrate whatever database it finds.
fn refuse_a_lab() -> Result<(), Failure> {
    let host = Host::open(Path::new("/"))?;
    let refused = |what: String| {
        Failure::new(Exit::Refused, format!("could not install packages: {what}")).hint(
            "lava-server migrates whatever database it finds; restore to a host without a lab",
        )
    };
    // Settings outlive a package that was removed, and its scripts make them when it is configured.
    let Some(address) = collect::address(&host, None)? else {
        return match host.has("lava-server") {
            true => Err(refused("LAVA's settings name no database".to_owned())),
            false => Ok(()),
        };
    };
    let mut snapshot = match collect::database(&address) {
        Ok(snapshot) => snapshot,
        Err(e) if e.kind() == ErrorKind::Absent => return Ok(()),
        Err(e) => {
            return Err(refused(format!(
                "whether a lab is there can't be told: {e}"
            )));
        }
    };
    for (table, what) in [
        ("lava_scheduler_app_testjob", "jobs"),
        ("lava_scheduler_app_device", "devices"),
    ] {
        let sql = format!("SELECT count(*) FROM public.{table}");
        let rows = collect::rows(&mut snapshot, &sql)?;
        let count = rows
            .iter()
            .flatten()
            .next()
            .and_then(|row| row.first().cloned());
        if let Some(Some(count)) = count
            && count != "0"
        {
            return Err(refused(format!(
                "LAVA's database on this host holds {count} {what}"
            )));
        }
    }
    Ok(())
}

fn set_up(file: &debian::SetupFile) -> Result<(), Failure> {
    if let Some(parent) = file.path.parent() {
        fs::create_dir_all(parent).could_not(format!("make {}", parent.display()))?;
    }
    fs::write(&file.path, &file.text).could_not(format!("write {}", file.path.display()))
}

/// Where a dpkg was killed apt does nothing until another has put its records in order, and what it
/// unpacked is not configured. What this can't finish yet, for a package that it needs is not
/// unpacked, apt does with the others, or tells of.
fn finish_what_was_cut_off() -> Result<(), Failure> {
    let host = Host::open(Path::new("/"))?;
    let journal = debian::journal(&host.debian).could_not("read dpkg's journal")?;
    if journal.is_empty() && !host.packages.iter().any(debian::PackageState::is_unclean) {
        return Ok(());
    }
    Command::new("dpkg")
        .args([
            "--force-confdef",
            "--force-confold",
            "--configure",
            "--pending",
        ])
        .env("LC_ALL", "C.UTF-8")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .could_not("run dpkg")?;
    Ok(())
}

/// What the tool says goes where progress goes: standard output is for the answer.
fn run(argv: &[String]) -> Result<(), Failure> {
    let [program, arguments @ ..] = argv else {
        return Ok(());
    };
    let status = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .could_not(format!("run {program}"))?;
    if status.success() {
        return Ok(());
    }
    let verb = arguments
        .iter()
        .find(|word| ["update", "install"].contains(&word.as_str()));
    let verb = verb.unwrap_or(program);
    Err(Failure::new(
        Exit::Failed,
        format!("could not install the packages: {verb} ended with {status}"),
    )
    .hint("what it said is above; run this again when it is mended"))
}

/// dpkg is asked, not believed to have done what it was told.
fn prove(wanted: &[ExactPackage]) -> Result<(), Failure> {
    let host = Host::open(Path::new("/"))?;
    let is_there = |wanted: &&ExactPackage| {
        host.packages.iter().any(|package| {
            package.name == wanted.name
                && package.architecture == wanted.architecture
                && package.is_installed()
                && package.version.as_ref().map(debian::PackageVersion::as_str)
                    == Some(wanted.version.as_str())
        })
    };
    match wanted.iter().find(|package| !is_there(package)) {
        None => Ok(()),
        Some(package) => Err(Failure::new(
            Exit::Failed,
            format!(
                "could not install {}={}: dpkg has something else now",
                package.name, package.version
            ),
        )),
    }
}
