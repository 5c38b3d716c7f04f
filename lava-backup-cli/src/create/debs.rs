//! The .debs that go into a backup.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};

use lava_backup_core::{Backup, Class, FrameName, MemberPath, Meta, Store, Time};
use lava_backup_debian::{
    self as debian, DebOrigin, Fetch, Fetched, FetchedDeb, IndexWord, PackageState, Repository,
};
use lava_backup_pg::Pace;

use super::Making;
use crate::args::{CreateArgs, Packages};
use crate::debs::{self, ArchivedDeb, DebsDocument, LackingDeb};
use crate::exit::{CouldNot, Exit, Failure};
use crate::host::Host;
use crate::progress::Progress;
use crate::standing::is_sound;
use crate::text;
use crate::throwaway::{self, Throwaway, Use};

/// .debs that were fetched, and wait for their place in the archive.
pub(super) struct Debs {
    document: DebsDocument,
    fetched: Fetched,
    repository: Repository,
    _dir: Throwaway,
}

/// So many earlier backups are asked for a .deb.
const ASKED: usize = 30;
/// A .deb is read into memory up to this size.
const SMALL: u64 = 1 << 20;

impl Debs {
    /// Gets what is asked for; `None` if nothing is.
    pub(super) fn fetch(
        host: &Host,
        args: &CreateArgs,
        store: Option<&Store>,
        progress: &Progress,
    ) -> Result<Option<Self>, Failure> {
        let (scope, wanted) = match args.packages {
            Packages::None if args.repack => {
                let what = "could not repack packages: none are asked for";
                return Err(Failure::new(Exit::Usage, what)
                    .hint("name them with --packages critical or --packages closure"));
            }
            Packages::None => return Ok(None),
            Packages::Critical => {
                let shipped = debian::shipped_migrations(&host.debian, &host.packages)
                    .could_not("read the migrations of the installed packages")?;
                ("critical", debian::critical(&host.packages, &shipped))
            }
            Packages::Closure => {
                let installed = host.packages.iter().filter(|p| p.is_installed());
                ("closure", installed.collect())
            }
        };
        let parent = throwaway::large_files();
        let dir = Throwaway::new(&parent, Use::Debs)
            .could_not(format!("make a directory in {}", parent.display()))?;
        let mut earlier = Earlier::of(store);
        let total = wanted.len();
        let mut seen = 0;
        let how = Fetch {
            root: &host.debian,
            dir: dir.path(),
            rate: rate(args.rate),
            repack: args.repack,
            earlier: &mut |package, to| earlier.write(package, to),
            observe: &mut |package| {
                seen += 1;
                progress.say(format!(
                    "getting .debs, {seen} of {total}: {}",
                    package.name
                ));
            },
        };
        let fetched = debian::fetch(how, &wanted).could_not("get the .debs of the packages")?;
        let pairs: Vec<_> = fetched
            .debs
            .iter()
            .map(|d| (d.deb.clone(), d.sha256))
            .collect();
        let repository = Repository::of(&pairs).could_not("index the .debs")?;
        let architectures = debian::architectures(&host.debian, &host.packages)
            .could_not("find the architectures of dpkg")?;
        let mut document = DebsDocument {
            scope: scope.into(),
            debs: fetched
                .debs
                .iter()
                .map(|found| earlier.word(archived(found)))
                .collect(),
            lacking: fetched.lacking.iter().map(lacking).collect(),
            closed: None,
            open_ends: Vec::new(),
            architectures,
        };
        if args.packages == Packages::Closure && fetched.debs.is_empty() {
            document.closed = Some(false);
        } else if args.packages == Packages::Closure {
            progress.say("asking apt whether the .debs are all that it needs");
            let place = dir.path().join("debs");
            repository.write(&place).could_not("index the .debs")?;
            let all: Vec<_> = fetched.debs.iter().map(|d| &d.deb).collect();
            let scratch = dir.path().join("closure");
            let ends = debian::open_ends(&place, &scratch, &all, &document.architectures)
                .could_not("prove that the .debs are all that is needed")?;
            document.closed = Some(ends.is_empty());
            document.open_ends = ends;
        }
        Ok(Some(Self {
            document,
            fetched,
            repository,
            _dir: dir,
        }))
    }

    pub(super) fn document(&self) -> &DebsDocument {
        &self.document
    }
}

/// Bytes a second that a download may take. What it would yield to can't be seen,
/// so then it is as slow as a dump is beside the work of others.
fn rate(pace: Pace) -> Option<u64> {
    match pace {
        Pace::Yielding => Some(10 << 20),
        Pace::Fixed(rate) => Some(rate),
        Pace::Unlimited => None,
    }
}

fn archived(found: &FetchedDeb) -> ArchivedDeb {
    let (index, uri, trust) = match &found.index {
        IndexWord::Same { place, trust } => ("same", Some(place.clone()), Some(*trust)),
        IndexWord::Other => ("other", None, None),
        IndexWord::Nothing => ("nothing", None, None),
    };
    ArchivedDeb {
        package: found.deb.name().into(),
        version: found.deb.version().to_string(),
        architecture: found.deb.architecture().into(),
        file: found.deb.file_name(),
        bytes: found.deb.size(),
        sha256: found.sha256,
        origin: found.origin,
        installed_build: found.differences.is_empty(),
        index: index.into(),
        uri,
        trust: trust.map(|trust| trust.as_str().to_owned()),
    }
}

fn lacking(lacking: &debian::LackingDeb) -> LackingDeb {
    LackingDeb {
        package: lacking.name.clone(),
        version: lacking.version.to_string(),
        architecture: lacking.architecture.clone(),
        code: lacking.lack.code().into(),
        why: lacking.why.clone(),
    }
}

impl Making {
    /// Puts the .debs into the archive, and names what is wrong with them.
    pub(super) fn debs(&mut self, debs: &Debs) -> Result<(), Failure> {
        let document = &debs.document;
        for lacking in &document.lacking {
            let LackingDeb {
                package,
                version,
                architecture,
                code,
                why,
            } = lacking;
            let message = format!("no .deb of {package} {version} ({architecture}): {why}");
            self.problem(code, message, true);
        }
        if !document.open_ends.is_empty() {
            let ends = document.open_ends.join("; ");
            let message = format!("the .debs are not all that is needed to install them: {ends}");
            self.problem("debs.open", message, true);
        }
        for why in &debs.fetched.unreadable {
            self.problem("debs.index", why.clone(), false);
        }
        for deb in &document.debs {
            let name = format!("{} {}", deb.package, deb.version);
            if deb.origin == DebOrigin::Repacked {
                let message = format!("{name} was packed anew from installed files");
                self.problem("deb.repacked", message, false);
            } else if deb.index == "other" {
                let message =
                    format!("{name} is another build than apt's index has under this version");
                self.problem("deb.other-index", message, false);
            }
        }
        self.progress.say("storing the .debs");
        // Nothing here depends on when this is done: the next backup shares its frames.
        let latest = debs.fetched.debs.iter().map(|d| d.deb.built()).max();
        let latest = built(latest.unwrap_or(0));
        let mut members: BTreeMap<MemberPath, Content<'_>> = BTreeMap::new();
        for (name, text) in [
            ("Packages", &debs.repository.packages),
            ("Release", &debs.repository.release),
        ] {
            members.insert(debs::member(name)?, Content::Text(text));
        }
        for found in &debs.fetched.debs {
            members.insert(debs::member(&found.deb.file_name())?, Content::Deb(found));
        }
        for (path, content) in members {
            match content {
                Content::Text(text) => {
                    self.writer
                        .add_file(path, Meta::private(Class::Plain, latest), text)?;
                }
                Content::Deb(found) => self.deb(path, found)?,
            }
        }
        let value = serde_json::to_value(document).unwrap_or_default();
        let text = format!("{value:#}\n");
        let meta = Meta::private(Class::Plain, latest);
        self.writer
            .add_file(debs::MANIFEST.parse()?, meta, text.as_bytes())?;
        self.documents.insert(debs::DOCUMENT.into(), value);
        Ok(())
    }

    fn deb(&mut self, path: MemberPath, found: &FetchedDeb) -> Result<(), Failure> {
        let class = match found.origin {
            // It holds configuration as it was changed here.
            DebOrigin::Repacked => Class::Secret,
            _ => Class::Plain,
        };
        let meta = Meta::private(class, built(found.deb.built()));
        let place = found.deb.path();
        let shown = place.display();
        let mut file = File::open(place).could_not(format!("read {shown}"))?;
        if found.deb.size() <= SMALL {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)
                .could_not(format!("read {shown}"))?;
            self.writer.add_file(path, meta, &bytes)?;
        } else {
            let mut member = self.writer.stream(path, meta)?;
            io::copy(&mut file, &mut member).could_not(format!("store {shown}"))?;
            member.finish()?;
        }
        // It is in the store now, and the rest of the backup needs the room.
        fs::remove_file(place).could_not(format!("remove {shown}"))?;
        Ok(())
    }
}

enum Content<'c> {
    Text(&'c [u8]),
    Deb(&'c FetchedDeb),
}

fn built(seconds: u64) -> Time {
    Time {
        seconds: i64::try_from(seconds).unwrap_or(0),
        nanoseconds: 0,
    }
}

/// What earlier backups of the store have.
struct Earlier {
    backups: Vec<(Backup, Option<Vec<FrameName>>)>,
    /// Of each package, which backup has it.
    known: BTreeMap<(String, String, String), (usize, ArchivedDeb)>,
}

impl Earlier {
    /// Of any host: what is taken is proved to be what is installed.
    fn of(store: Option<&Store>) -> Self {
        let mut earlier = Self {
            backups: Vec::new(),
            known: BTreeMap::new(),
        };
        let ids = store
            .and_then(|store| store.backups().ok())
            .unwrap_or_default();
        for id in ids.into_iter().rev().take(ASKED) {
            let Some(Ok(backup)) = store.map(|store| store.backup(&id)) else {
                continue;
            };
            let sound = backup.evidence().is_ok_and(|found| is_sound(&found));
            let Ok(Some(document)) = debs::of(&backup) else {
                continue;
            };
            if !sound {
                continue;
            }
            let number = earlier.backups.len();
            for deb in document.debs {
                let key = (
                    deb.package.clone(),
                    deb.version.clone(),
                    deb.architecture.clone(),
                );
                // What was packed anew may be had from its archive by now.
                if deb.origin != DebOrigin::Repacked {
                    earlier.known.entry(key).or_insert((number, deb));
                }
            }
            earlier.backups.push((backup, None));
        }
        earlier
    }

    /// What an index said of the same bytes when they came, where none does now.
    fn word(&self, deb: ArchivedDeb) -> ArchivedDeb {
        let key = (
            deb.package.clone(),
            deb.version.clone(),
            deb.architecture.clone(),
        );
        match self.known.get(&key) {
            Some((_, known)) if deb.index == "nothing" && known.sha256 == deb.sha256 => {
                ArchivedDeb {
                    index: known.index.clone(),
                    uri: known.uri.clone(),
                    trust: known.trust.clone(),
                    ..deb
                }
            }
            _ => deb,
        }
    }

    /// Writes what a backup has for a package, if it is what its manifest says.
    fn write(&mut self, package: &PackageState, to: &mut File) -> io::Result<Option<DebOrigin>> {
        let version = package.version.as_ref().map(ToString::to_string);
        let key = (
            package.name.clone(),
            version.unwrap_or_default(),
            package.architecture.clone(),
        );
        let Some((number, deb)) = self.known.get(&key) else {
            return Ok(None);
        };
        let Some((backup, frames)) = self.backups.get_mut(*number) else {
            return Ok(None);
        };
        // A store that can't be read has no .deb for us; another way may have it.
        let mut read = || {
            let entry = backup.entry(&deb.member()?)?;
            let frames = match frames {
                Some(frames) => frames,
                None => frames.insert(backup.frames()?),
            };
            backup.read(frames, &entry, to)
        };
        read().map_err(io::Error::other)?;
        to.flush()?;
        to.seek(SeekFrom::Start(0))?;
        match debian::Sha256::of(&mut *to)? == deb.sha256 {
            true => Ok(Some(deb.origin)),
            false => Err(io::Error::other("it is not what its manifest says")),
        }
    }
}

/// What `create` says of them.
pub(super) fn line(document: &DebsDocument) -> String {
    let count = text::count(document.debs.len() as u64, "deb");
    let closed = match document.closed {
        Some(true) => ", which need no other",
        _ => "",
    };
    format!(
        "{count} ({}), {}{closed}",
        document.scope,
        text::bytes(document.bytes())
    )
}
