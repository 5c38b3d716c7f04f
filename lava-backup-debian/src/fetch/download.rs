//! What comes over the network, and what is made anew.

use std::{fs, path::Path};

use super::{DebOrigin, Gathering, Lack};
use crate::{
    Deb, Error, ErrorKind, PackageState, Result, Root,
    listed::Archives,
    proof::reason,
    repository::last_line,
    surroundings::{Surroundings, complaints, make_for_downloads},
};

/// Gets all that lists name in one call of apt, whose proxies, passwords and checks these are.
pub(super) fn by_apt(
    gathering: &mut Gathering,
    apt: &Surroundings,
    wanted: &[&PackageState],
) -> Result<()> {
    let asked: Vec<(&PackageState, String)> = wanted
        .iter()
        .filter(|package| !gathering.has(package))
        .filter_map(|package| {
            let version = package.version.as_ref()?;
            // One that no list names would make apt fetch nothing.
            let known = !gathering.listed.of(package).is_empty();
            let qualified = match package.architecture.as_str() {
                "all" => package.name.clone(),
                arch => format!("{}:{arch}", package.name),
            };
            known.then(|| (*package, format!("{qualified}={version}")))
        })
        .collect();
    if asked.is_empty() {
        return Ok(());
    }
    let dir = room(apt, "downloads")?;
    let mut command = apt.command("apt-get");
    command
        .arg("download")
        .args(asked.iter().map(|(_, name)| name));
    command.current_dir(&dir);
    let out = command
        .output()
        .map_err(|e| Error::new(ErrorKind::Tool, "run apt-get", e.to_string()))?;
    // Whatever it says, what came is looked at, by what it is and not by what it is called.
    let mut came = Vec::new();
    for entry in entries(&dir)? {
        if let Ok(deb) = Deb::open(&entry) {
            came.push(deb);
        }
    }
    for (package, _) in asked {
        if let Some(deb) = came.iter().find(|deb| super::is_of(deb, package)) {
            take(gathering, package, deb.path(), DebOrigin::Download)?;
        } else if !out.status.success() {
            let said = complaints(&out.stderr);
            let (lack, why) = reason_of(&package.name, &said);
            gathering.fail(package, lack, why);
        }
    }
    Ok(())
}

/// Gets those that are still lacking from where a list says that they are. This also finds what apt
/// itself would not take, such as a package of a source that was trusted once; the digest proves it.
pub(super) fn by_stanza(
    gathering: &mut Gathering,
    apt: &Surroundings,
    wanted: &[&PackageState],
) -> Result<()> {
    let mut asked = Vec::new();
    for package in wanted.iter().filter(|package| !gathering.has(package)) {
        let listings = gathering.listed.of(package).iter();
        asked.extend(listings.map(|listing| (*package, listing.clone())));
    }
    if asked.is_empty() {
        return Ok(());
    }
    let archives = match Archives::ask(apt) {
        Ok(archives) => archives,
        Err(error) => {
            gathering.listed.unreadable.push(reason(&error));
            return Ok(());
        }
    };
    for (package, listing) in asked {
        let (Some(digest), Some(uri)) = (listing.sha256(), archives.uri(&listing)) else {
            continue;
        };
        if gathering.has(package) {
            continue;
        }
        let dir = room(apt, "stanza")?;
        let file = dir.join("one.deb");
        let (to, digest) = (file.display().to_string(), format!("SHA256:{digest}"));
        let helper = "/usr/lib/apt/apt-helper";
        let out = apt.run(helper, ["download-file", &uri, &to, &digest])?;
        if out.status.success() && file.exists() {
            take(gathering, package, &file, DebOrigin::Stanza)?;
            continue;
        }
        let (lack, why) = reason_of(&package.name, &complaints(&out.stderr));
        gathering.fail(package, lack, why);
    }
    Ok(())
}

/// Makes one anew of what is installed.
pub(super) fn repack(
    gathering: &mut Gathering,
    root: &Root,
    apt: &Surroundings,
    package: &PackageState,
) -> Result<()> {
    let dir = room(apt, "repacked")?;
    let name = format!("{}:{}", package.name, package.architecture);
    let name = match package.is_coinstallable() {
        true => &name,
        false => &package.name,
    };
    let out = std::process::Command::new("dpkg-repack")
        .arg(format!("--root={}", root.path().display()))
        .arg(name)
        .env("LC_ALL", "C.UTF-8")
        .current_dir(&dir)
        .stdin(std::process::Stdio::null())
        .output();
    let out = match out {
        Ok(out) => out,
        Err(error) => {
            let why = format!("could not run dpkg-repack: {error}");
            gathering.fail(package, Lack::Unlisted, why);
            return Ok(());
        }
    };
    match entries(&dir)?.as_slice() {
        [file] if out.status.success() => {
            take(gathering, package, file, DebOrigin::Repacked)?;
        }
        _ => {
            let why = format!("dpkg-repack could not make it: {}", last_line(&out.stderr));
            gathering.fail(package, Lack::Unlisted, why);
        }
    }
    Ok(())
}

fn take(
    gathering: &mut Gathering,
    package: &PackageState,
    file: &Path,
    origin: DebOrigin,
) -> Result<bool> {
    let mut from =
        fs::File::open(file).map_err(|e| Error::io(format!("read {}", file.display()), e))?;
    let taken = gathering.put(package, origin, false, |to| {
        std::io::copy(&mut from, to).map(Some)
    });
    let _ = fs::remove_file(file);
    taken
}

/// An empty directory beside apt's own, for what is not trusted yet.
fn room(apt: &Surroundings, name: &str) -> Result<std::path::PathBuf> {
    let dir = apt.dir().join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(|e| Error::io(format!("remove {}", dir.display()), e))?;
    }
    make_for_downloads(&dir)?;
    Ok(dir)
}

fn entries(dir: &Path) -> Result<Vec<std::path::PathBuf>> {
    let failed = |e| Error::io(format!("list {}", dir.display()), e);
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        entries.push(entry.map_err(failed)?.path());
    }
    entries.sort();
    Ok(entries)
}

/// What apt's complaints mean for one package.
fn reason_of(name: &str, said: &[String]) -> (Lack, String) {
    let of_package = |line: &&String| line.contains(&format!("/{name}_"));
    let line = said.iter().find(of_package).or(said.first());
    let line = line.map_or("apt does not say why", String::as_str);
    let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
    let lack = if has(&["404", "410", "File not found", "No such file"]) {
        Lack::Gone
    } else if has(&["Hash Sum mismatch", "unexpected size"]) {
        Lack::Damaged
    } else {
        Lack::Unfetched
    };
    let why: String = line.chars().filter(|c| !c.is_control()).take(400).collect();
    (lack, format!("it could not be fetched: {why}"))
}
