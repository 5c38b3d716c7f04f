//! apt of the machine that this runs on, looking at the sources and indexes of a root.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::{Error, ErrorKind, Result, Root, apt::without_credentials};

/// A private directory in which apt finds everything that it would look for in a root, and writes
/// everything that it would write there.
///
/// No program of the root is run, no file of it is changed and none of its locks is taken, be it
/// the running host's own. apt's settings (a proxy, say) are those of the machine that this runs
/// on, for the network is that machine's too.
#[derive(Debug)]
pub(crate) struct Surroundings {
    dir: PathBuf,
    options: Vec<String>,
}

/// Files of a root's apt that are read, and may be large in no honest root.
const MOST_SETTING: u64 = 16 << 20;
/// Bytes of what a tool says that are kept.
const MOST_SAID: usize = 256 << 10;

impl Surroundings {
    /// Makes them in `dir`, which must not be there yet, with the sources and indexes of a root.
    pub(crate) fn of_root(root: &Root, dir: PathBuf, architectures: &[String]) -> Result<Self> {
        let made = Self::empty(dir, architectures)?;
        let etc = made.dir.join("etc");
        for name in ["sources.list", "auth.conf"] {
            copy(root, format!("etc/apt/{name}"), &etc.join(name))?;
        }
        for parts in ["sources.list.d", "auth.conf.d"] {
            for name in root.names(format!("etc/apt/{parts}"))? {
                let inside = Path::new("etc/apt").join(parts).join(&name);
                copy(root, &inside, &etc.join(parts).join(&name))?;
            }
        }
        // Links to where the root itself would find its indexes: they are large, and only read.
        for name in root.names("var/lib/apt/lists")? {
            let inside = Path::new("var/lib/apt/lists").join(&name);
            let Some(found) = root.find(&inside)? else {
                continue;
            };
            if found.is_file() && name != *"lock" {
                let link = made.dir.join("lists").join(&name);
                symlink(&found, &link)
                    .map_err(|e| Error::io(format!("make {}", link.display()), e))?;
            }
        }
        Ok(made)
    }

    /// Makes them in `dir`, which must not be there yet, with a directory of .debs and an index
    /// as the only source.
    pub(crate) fn of_repository(
        repository: &Path,
        dir: PathBuf,
        architectures: &[String],
    ) -> Result<Self> {
        let made = Self::empty(dir, architectures)?;
        let line = source_line(repository, "trusted=yes")?;
        let list = made.dir.join("etc/sources.list");
        fs::write(&list, line).map_err(|e| Error::io(format!("write {}", list.display()), e))?;
        Ok(made)
    }

    fn empty(dir: PathBuf, architectures: &[String]) -> Result<Self> {
        let dir = std::path::absolute(&dir)
            .map_err(|e| Error::io(format!("find {}", dir.display()), e))?;
        // Passed through by the user that apt downloads as, who can list none of it.
        make(&dir, 0o711)?;
        for part in [
            "etc",
            "etc/sources.list.d",
            "etc/auth.conf.d",
            "etc/none.d",
            "lists",
            "lists/partial",
            "cache",
            "cache/archives",
            "cache/archives/partial",
        ] {
            make(&dir.join(part), 0o700)?;
        }
        for file in [
            "status",
            "extended_states",
            "etc/sources.list",
            "etc/auth.conf",
        ] {
            let path = dir.join(file);
            fs::write(&path, "").map_err(|e| Error::io(format!("make {}", path.display()), e))?;
        }
        let at = |path: &str| dir.join(path).display().to_string();
        let mut options = vec![
            format!("Dir::Etc::SourceList={}", at("etc/sources.list")),
            format!("Dir::Etc::SourceParts={}", at("etc/sources.list.d")),
            format!("Dir::Etc::netrc={}", at("etc/auth.conf")),
            format!("Dir::Etc::netrcparts={}", at("etc/auth.conf.d")),
            // A pin must not keep an exact version away.
            "Dir::Etc::Preferences=/dev/null".into(),
            format!("Dir::Etc::PreferencesParts={}", at("etc/none.d")),
            "APT::Default-Release=".into(),
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::State::status={}", at("status")),
            format!("Dir::State::extended_states={}", at("extended_states")),
            format!("Dir::Cache={}", at("cache")),
            format!("Dir::Cache::archives={}", at("cache/archives")),
            "Debug::NoLocking=1".into(),
            "Acquire::Languages=none".into(),
            "Acquire::PDiffs=false".into(),
            "APT::Update::Error-Mode=any".into(),
            "APT::Get::AllowUnauthenticated=false".into(),
            "quiet=2".into(),
        ];
        if let [native, ..] = architectures {
            options.push(format!("APT::Architecture={native}"));
        }
        let all = architectures.iter();
        options.extend(all.map(|one| format!("APT::Architectures::={one}")));
        Ok(Self { dir, options })
    }

    /// Where they are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn option(&mut self, option: String) {
        self.options.push(option);
    }

    /// One of apt's programs, which reads nothing and is not asked anything.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for option in &self.options {
            command.arg("-o").arg(option);
        }
        command
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .current_dir(&self.dir);
        command
    }

    /// Runs one of apt's programs to its end.
    ///
    /// # Errors
    /// [`ErrorKind::Tool`] when there is no such program; how it ends is the caller's to judge.
    pub(crate) fn run(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<Output> {
        let mut out = self
            .command(program)
            .args(arguments)
            .output()
            .map_err(|e| {
                let what = format!("run {program}");
                Error::new(ErrorKind::Tool, what, e.to_string())
            })?;
        out.stderr.truncate(MOST_SAID);
        Ok(out)
    }
}

/// Makes a directory.
pub(crate) fn make(dir: &Path, mode: u32) -> Result<()> {
    let made = DirBuilder::new().mode(mode).create(dir);
    made.map_err(|e| Error::io(format!("make {}", dir.display()), e))
}

/// Makes a directory for what comes over the network. As root it is that of the user that apt
/// downloads as, if this machine has one: otherwise apt would parse what comes as root, and says so.
pub(crate) fn make_for_downloads(dir: &Path) -> Result<()> {
    make(dir, 0o700)?;
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = users.lines().find_map(|line| line.strip_prefix("_apt:"));
    let id = line.and_then(|line| line.split(':').nth(1)?.parse().ok());
    if let Some(id) = id {
        // Only root can; nobody else has a need to.
        let _ = std::os::unix::fs::chown(dir, Some(id), None);
    }
    Ok(())
}

/// The line of a source list for a directory on this machine.
pub(crate) fn source_line(repository: &Path, option: &str) -> Result<String> {
    let is_plain = |c: char| c.is_alphanumeric() || "/-_.,+~:@".contains(c);
    match repository.to_str() {
        Some(path) if path.starts_with('/') && path.chars().all(is_plain) => {
            Ok(format!("deb [{option}] file:{path} ./\n"))
        }
        _ => {
            let what = format!("let apt look at {repository:?}");
            let why = "its path is not absolute, or has a sign that source lists can't hold";
            Err(Error::new(ErrorKind::Path, what, why))
        }
    }
}

fn copy(root: &Root, inside: impl AsRef<Path>, to: &Path) -> Result<()> {
    match root.read(inside, MOST_SETTING) {
        Ok(Some(bytes)) => {
            fs::write(to, bytes).map_err(|e| Error::io(format!("write {}", to.display()), e))
        }
        Ok(None) => Ok(()),
        // A directory of that name is nothing to apt.
        Err(e) if e.kind() == ErrorKind::Path => Ok(()),
        Err(e) => Err(e),
    }
}

/// What apt complains of, line by line, without its marks and without the passwords of URIs.
pub(crate) fn complaints(said: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(said);
    let lines = text.lines().filter_map(|line| {
        let line = line
            .strip_prefix("E: ")
            .or_else(|| line.strip_prefix("Err:"))?;
        Some(without_credentials(line.trim()).0)
    });
    lines.collect()
}
