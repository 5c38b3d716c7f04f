//! Bringing packages back from the .debs of a backup.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lava_backup_core::{Backup, FrameName, Kind, MemberPath};
use lava_backup_debian::{self as debian, Deb, ExactPackage, Reinstall, Repository, Sha256};
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Answer;
use crate::args::{InstallPlanArgs, PackagesArgs, PackagesCommand, RepoArgs};
use crate::debs::{self, ArchivedDeb, DebsDocument};
use crate::exit::{CouldNot, Exit, Failure};
use crate::progress::Progress;
use crate::{backup_facts, named, paths, text};

pub(crate) mod install;
pub(crate) mod plan;

pub(crate) fn packages(args: &PackagesArgs, quiet: bool) -> Result<Answer, Failure> {
    match &args.command {
        PackagesCommand::Repo(args) => repo(args, quiet),
        PackagesCommand::InstallPlan(args) => plan::install_plan(args),
        PackagesCommand::Install(args) => install::install(args, quiet),
    }
}

/// A repository that was written.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RepositoryMade {
    /// The backup.
    pub(crate) backup: String,
    /// Its directory.
    pub(crate) directory: String,
    /// How many .debs it has.
    pub(crate) debs: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Those that were asked for when the backup was made, and that it lacks.
    pub(crate) lacking: Vec<debs::LackingDeb>,
    /// Whether apt installed all of them from nothing else, by its simulation
    /// when the backup was made; `null` if that was not asked.
    pub(crate) closed: Option<bool>,
    /// The key that it is signed with.
    pub(crate) signed: Option<String>,
}

/// What the backup says of its .debs, which it must have.
pub(crate) fn need_debs(backup: &Backup) -> Result<DebsDocument, Failure> {
    debs::of(backup)?.ok_or_else(|| {
        let what = format!(
            "could not find .debs in the backup {}: it was made without",
            backup.id()
        );
        Failure::new(Exit::Failed, what)
            .hint("make one with `lava-backup create --packages closure`")
    })
}

fn repo(args: &RepoArgs, quiet: bool) -> Result<Answer, Failure> {
    let backup = named::open(&args.store, &args.backup)?;
    let document = need_debs(&backup)?;
    let shown = args.to.display();
    let is_free = match fs::read_dir(&args.to) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) => e.kind() == std::io::ErrorKind::NotFound,
    };
    if !is_free {
        let what = format!("could not make a repository at {shown}: something is there");
        return Err(
            Failure::new(Exit::Refused, what).hint("name a directory that is not there yet")
        );
    }
    let to = std::path::absolute(&args.to)?;
    let parent = to.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).could_not(format!("make {}", parent.display()))?;
    // Whole or not at all: it gets its name when all of it is there.
    let making = tempfile::Builder::new()
        .prefix(".lava-backup-repo-")
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(parent)
        .could_not(format!("make a directory in {}", parent.display()))?;
    write(&backup, &document, making.path(), &Progress::new(quiet))?;
    if let Some(key) = &args.sign_key {
        debian::sign(making.path(), key).could_not("sign the repository")?;
    }
    fs::rename(making.path(), &to).could_not(format!("make {shown}"))?;
    // Nothing of its name is left to remove.
    let _ = making.keep();

    let made = RepositoryMade {
        backup: backup.id().to_string(),
        directory: to.to_string_lossy().into_owned(),
        debs: document.debs.len() as u64,
        bytes: document.bytes(),
        closed: document.closed,
        lacking: document.lacking.clone(),
        signed: args.sign_key.clone(),
    };
    let mut out = format!(
        "repo     {}\nholds    {} of {}, {}\n",
        made.directory,
        text::count(made.debs, "deb"),
        made.backup,
        text::bytes(made.bytes)
    );
    out += match made.closed {
        Some(true) => "closed   apt needs no other source for them\n",
        Some(false) => "LACKS    apt needs other packages for them\n",
        None => "open     apt needs other packages for them from the host's own sources\n",
    };
    for lacking in &made.lacking {
        let debs::LackingDeb {
            package,
            version,
            why,
            ..
        } = lacking;
        out += &format!("LACKS    {package} {version}: {why}\n");
    }
    if let Some(key) = &made.signed {
        out += &format!("signed   {key}\n");
    }
    let exit = match document.is_complete() {
        true => Exit::Done,
        false => Exit::Damaged,
    };
    Ok(Answer::new(exit, &made, out))
}

/// Writes every .deb, proved by its digest, and the files that make them a
/// repository, which must be those that the backup has.
pub(crate) fn write(
    backup: &Backup,
    document: &DebsDocument,
    dir: &Path,
    progress: &Progress,
) -> Result<(), Failure> {
    let frames = backup.frames()?;
    let mut written = Vec::new();
    for (at, archived) in document.debs.iter().enumerate() {
        progress.say(format!(
            "{} of {}: {}",
            at + 1,
            document.debs.len(),
            archived.file
        ));
        written.push(write_deb(backup, &frames, archived, dir)?);
    }
    let made = Repository::of(&written).could_not("index the .debs")?;
    for (name, bytes) in [("Packages", &made.packages), ("Release", &made.release)] {
        let mut stored = Vec::new();
        let entry = backup.entry(&debs::member(name)?)?;
        backup.read(&frames, &entry, &mut stored)?;
        if stored != *bytes {
            let what = format!(
                "could not trust {name} of the backup {}: its .debs make another",
                backup.id()
            );
            return Err(Failure::new(Exit::Damaged, what));
        }
        let path = dir.join(name);
        fs::write(&path, bytes).could_not(format!("write {}", path.display()))?;
        readable(&path)?;
    }
    Ok(())
}

fn write_deb(
    backup: &Backup,
    frames: &[FrameName],
    archived: &ArchivedDeb,
    dir: &Path,
) -> Result<(Deb, Sha256), Failure> {
    let damaged = |why: &str| {
        let what = format!(
            "could not write {} of the backup {}: {why}",
            archived.file,
            backup.id()
        );
        Failure::new(Exit::Damaged, what)
    };
    let path = dir.join(&archived.file);
    let shown = path.display();
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .could_not(format!("write {shown}"))?;
    let entry = backup.entry(&archived.member()?)?;
    backup.read(frames, &entry, &mut file)?;
    file.flush()?;
    file.seek(SeekFrom::Start(0))?;
    let digest = Sha256::of(&file).could_not(format!("read {shown}"))?;
    if digest != archived.sha256 {
        return Err(damaged("it is not what the seal says"));
    }
    readable(&path)?;
    let deb = Deb::open(&path)?;
    let is_named = deb.file_name() == archived.file
        && deb.name() == archived.package
        && deb.version().as_str() == archived.version
        && deb.architecture() == archived.architecture;
    match is_named {
        true => Ok((deb, digest)),
        false => Err(damaged("it is another package than the seal says")),
    }
}

/// By apt's own user.
fn readable(path: &Path) -> Result<(), Failure> {
    fs::set_permissions(path, Permissions::from_mode(0o644))
        .could_not(format!("write {}", path.display()))
}
