//! Level `packages`: a system of the backup's .debs alone, where there is no network.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lava_backup_core::Backup;
use lava_backup_debian as debian;
use lava_restore_plan::Facts;
use lava_restore_plan::facts::Package;

use super::Drilled;
use crate::exit::{CouldNot, Exit, Failure};
use crate::progress::Progress;
use crate::throwaway::{Throwaway, Use};
use crate::{backup_facts, packages};

/// What makes a bare root of a repository, in namespaces of its own: first what is essential, and
/// apt, then the rest in it, as on a target.
const BUILD: &str = include_str!("build.sh");

pub(super) fn drill(
    backup: &Backup,
    scratch: &Path,
    progress: &Progress,
    drilled: &mut Drilled,
) -> Result<(), Failure> {
    let dir = Throwaway::new(scratch, Use::Drill)
        .could_not(format!("make a directory in {}", scratch.display()))?;
    let facts = backup_facts::facts(backup)?;
    let wanted: Vec<&Package> = facts.packages.iter().filter(|p| p.is_installed()).collect();
    let build = Build::of(backup, dir.path(), progress)?;
    progress.say("building a system of them");
    let root = build.root(&facts, &wanted)?;
    compare(&wanted, &root, drilled)
}

/// The repository of a backup, in a directory of the drill's.
pub(super) struct Build {
    dir: PathBuf,
    repository: PathBuf,
}

impl Build {
    /// Writes the repository.
    ///
    /// # Errors
    /// `Refused` if the backup does not hold the whole closure; `Damaged` if a .deb is not what it
    /// was; `Failed` if a tool is missing, or this is not root.
    pub(super) fn of(backup: &Backup, dir: &Path, progress: &Progress) -> Result<Self, Failure> {
        let document = packages::need_debs(backup)?;
        if document.closed != Some(true) || !document.lacking.is_empty() {
            let what = format!(
                "could not drill the packages of {}: it does not hold all that apt needs",
                backup.id()
            );
            let hint = "make a backup with `lava-backup create --packages closure`";
            return Err(Failure::new(Exit::Refused, what).hint(hint));
        }
        if !rustix::process::geteuid().is_root() {
            let what = "could not drill the packages: only root can install them";
            return Err(Failure::new(Exit::Failed, what));
        }
        for (tool, package) in [("mmdebstrap", "mmdebstrap"), ("unshare", "util-linux")] {
            let there = |dir: &&str| Path::new(dir).join(tool).exists();
            if !["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin"]
                .iter()
                .any(there)
            {
                let what = format!("could not drill the packages: {tool} is missing");
                let hint = format!("install the package {package}");
                return Err(Failure::new(Exit::Failed, what).hint(hint));
            }
        }
        let repository = dir.join("repository");
        fs::create_dir(&repository).could_not(format!("make {}", repository.display()))?;
        packages::write(backup, &document, &repository, progress)?;
        Ok(Self {
            dir: dir.to_owned(),
            repository,
        })
    }

    /// Lets the repository go, which is not needed any more.
    pub(super) fn clear(&self) -> Result<(), Failure> {
        let shown = self.repository.display();
        fs::remove_dir_all(&self.repository).could_not(format!("remove {shown}"))
    }

    /// A root with these packages, each of a name in its version.
    ///
    /// # Errors
    /// `Damaged` if they make none, but for reasons of this host.
    pub(super) fn root(&self, facts: &Facts, wanted: &[&Package]) -> Result<PathBuf, Failure> {
        let native = facts.architecture.as_deref().unwrap_or_default();
        let exact = |package: &&Package| match package.architecture.as_str() {
            "all" => format!("{}={}", package.name, package.version),
            a if a == native => format!("{}={}", package.name, package.version),
            other => format!("{}:{other}={}", package.name, package.version),
        };
        let wanted: Vec<String> = wanted.iter().map(exact).collect();
        let root = self.dir.join("root");
        let log = self.dir.join("build.log");
        let shown = log.display();
        let out = fs::File::create(&log).could_not(format!("write {shown}"))?;
        let errors = out.try_clone().could_not(format!("write {shown}"))?;
        let status = Command::new("unshare")
            .args(["--net", "--pid", "--fork", "--mount", "--kill-child"])
            .args(["sh", "-c", BUILD, "build"])
            .args(&wanted)
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("LC_ALL", "C.UTF-8")
            .env("ROOT", &root)
            .env("REPOSITORY", &self.repository)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .status()
            .could_not("run unshare")?;
        if status.success() {
            return Ok(root);
        }
        let text = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
        let last: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let of_this_host =
            |line: &&str| line.starts_with("unshare: ") || line.contains("No space left on device");
        let exit = match last.iter().any(of_this_host) {
            true => Exit::Failed,
            false => Exit::Damaged,
        };
        let last = last[last.len().saturating_sub(3)..].join(" / ");
        let what = format!("could not build a system of the backup's .debs: {last}");
        Err(Failure::new(exit, what))
    }
}

/// What dpkg has in the new root, against what it had on the backup's host.
pub(super) fn compare(
    wanted: &[&Package],
    root: &Path,
    drilled: &mut Drilled,
) -> Result<(), Failure> {
    let shown = root.display();
    let root = debian::Root::open(root).could_not(format!("read the packages of {shown}"))?;
    let built = debian::read_status(&root).could_not(format!("read the packages of {shown}"))?;
    let line = |name: &str, architecture: &str, version: &str, state: &str| {
        format!("{name} {version} {architecture} {state}")
    };
    let then: BTreeSet<String> = wanted
        .iter()
        .map(|p| line(&p.name, &p.architecture, p.version.as_str(), &p.state))
        .collect();
    let now: BTreeSet<String> = built
        .iter()
        .filter_map(|p| {
            let version = p.version.as_ref()?.as_str();
            Some(line(&p.name, &p.architecture, version, p.state.as_str()))
        })
        .collect();
    drilled.packages_equal = then.intersection(&now).count() as u64;
    let lacking = then
        .difference(&now)
        .map(|line| format!("{line}: not so in the new system"));
    let beyond = now
        .difference(&then)
        .map(|line| format!("{line}: not so on the backup's host"));
    drilled.packages_differ = lacking.chain(beyond).collect();
    Ok(())
}
