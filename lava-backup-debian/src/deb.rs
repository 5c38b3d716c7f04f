//! One .deb: what it says it is, and what it brings.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use md5::{Digest, Md5};

use crate::{
    Error, ErrorKind, Migration, PackageVersion, Result, Sha256, Shipped, ShippedMigration,
    deb822::{Comments, Paragraph, Scanner},
    hex::hex,
    migration_files,
};

mod container;
mod fields;
mod tarball;
mod unpacker;

use container::Container;
pub(crate) use fields::Identity;
use tarball::{Limits, TarEntry, TarError, TarKind, Tarball};
use unpacker::{Part, Unpacker};

/// A .deb whose outer form and control members were read.
///
/// The decompression is left to `dpkg-deb` of the machine that this runs on, within bounds of
/// time and memory: it is Essential on Debian, it knows every compression that dpkg will meet
/// when the package is installed, and what it reads is what dpkg will read. What comes out of it
/// is read here, and taken for hostile.
#[derive(Clone, Debug)]
pub struct Deb {
    path: PathBuf,
    size: u64,
    built: u64,
    control: Paragraph,
    identity: Identity,
    members: BTreeMap<String, Vec<u8>>,
}

/// What the files of a .deb are, as far as dpkg keeps it of an installed package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Absolute paths of everything, as dpkg lists them: `/.` for the root.
    pub(crate) paths: BTreeSet<Vec<u8>>,
    /// The MD5 of each regular file, by its absolute path; of a hard link, that of its first name.
    pub(crate) sums: BTreeMap<Vec<u8>, String>,
}

const CONTROL_LIMITS: Limits = Limits {
    entries: 256,
    names: 64 << 10,
    bytes: 128 << 20,
};
/// The largest list of sums seen, of google-cloud-cli, has some megabytes.
const MOST_MEMBER: u64 = 64 << 20;
/// The largest package of Debian has 200,000 files; one of 16 GiB would need ten hours to install.
const DATA_LIMITS: Limits = Limits {
    entries: 2_000_000,
    names: 256 << 20,
    bytes: 16 << 30,
};

impl Deb {
    /// Reads the outer form and the control members of a file.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for what dpkg would refuse, and for what two readers could take
    /// for two packages; [`ErrorKind::TooLarge`], [`ErrorKind::Tool`] without a `dpkg-deb`, and
    /// [`ErrorKind::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let what = || format!("read {}", path.display());
        let malformed = |why: String| Error::new(ErrorKind::Malformed, what(), why);
        let path = &std::path::absolute(path).map_err(|e| Error::io(what(), e))?;
        // Opening a pipe would wait for ever.
        let found = std::fs::symlink_metadata(path).map_err(|e| Error::io(what(), e))?;
        if !found.is_file() {
            return Err(Error::new(ErrorKind::Path, what(), "it is no regular file"));
        }
        let mut file = File::open(path).map_err(|e| Error::io(what(), e))?;
        let container = Container::read(&mut file, found.len()).map_err(malformed)?;

        let mut unpacker = Unpacker::start(path, Part::Control)?;
        let members = match control_members(unpacker.stream()) {
            Ok(members) => {
                unpacker.end()?;
                members
            }
            Err(error) => return Err(unpacker.explain(what(), error)),
        };
        let (control, identity) = read_control(&members, &path.display().to_string())?;
        Ok(Self {
            path: path.clone(),
            size: found.len(),
            built: container.built,
            control,
            identity,
            members,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// When it was built, in seconds since 1970, as it says itself.
    pub fn built(&self) -> u64 {
        self.built
    }

    /// The package's name.
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// The package's version.
    pub fn version(&self) -> &PackageVersion {
        &self.identity.version
    }

    /// The package's architecture, which may be `all`.
    pub fn architecture(&self) -> &str {
        &self.identity.architecture
    }

    /// Its control stanza.
    pub fn control(&self) -> &Paragraph {
        &self.control
    }

    /// All its control members by name, `control` among them.
    pub fn members(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.members
    }

    /// The name that a mirror would give it: `NAME_VERSION_ARCH.deb`, with the version without
    /// its epoch. No two packages of one installed system share one.
    pub fn file_name(&self) -> String {
        file_name(self.name(), self.version(), self.architecture())
    }

    /// The SHA-256 of its bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn sha256(&self) -> Result<Sha256> {
        let what = || format!("read {}", self.path.display());
        let file = File::open(&self.path).map_err(|e| Error::io(what(), e))?;
        Sha256::of(file).map_err(|e| Error::io(what(), e))
    }

    /// The absolute paths of all that it brings, in the order of their bytes.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn paths(&self) -> Result<Vec<Vec<u8>>> {
        let mut paths = BTreeSet::new();
        self.data(|_, path, _| {
            paths.insert(path);
            Ok(())
        })?;
        Ok(paths.into_iter().collect())
    }

    /// The migrations that it ships, as [`shipped_migrations`](crate::shipped_migrations) finds
    /// them once it is installed.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`ErrorKind::Malformed`] where what a squash replaces can't be
    /// read.
    pub fn migrations(&self) -> Result<Shipped> {
        let mut found: Vec<(Migration, Vec<u8>, Vec<u8>)> = Vec::new();
        self.data(|tar, path, _| {
            if let Some(migration) = migration_files::migration_of(&path) {
                found.push((migration, path, tar.content(migration_files::MOST_PYTHON)?));
            }
            Ok(())
        })?;
        let shipped = found.into_iter().map(|(migration, path, source)| {
            let path = PathBuf::from(String::from_utf8_lossy(&path).into_owned());
            let place = format!("{}, {}", self.path.display(), path.display());
            Ok(ShippedMigration {
                migration,
                package: self.name().to_owned(),
                replaces: migration_files::replaced(&source, &place)?,
                path,
            })
        });
        shipped.collect()
    }

    pub(crate) fn contents(&self) -> Result<Contents> {
        let mut contents = Contents::default();
        self.data(|tar, path, entry| {
            if entry.kind == TarKind::File {
                let mut md5 = Md5::new();
                tar.each(&mut |bytes| md5.update(bytes))?;
                contents.sums.insert(path.clone(), hex(&md5.finalize()));
            }
            if let Some(first) = &entry.same_as {
                let sum = contents.sums.get(&absolute(first)?).cloned();
                contents.sums.extend(sum.map(|sum| (path.clone(), sum)));
            }
            contents.paths.insert(path);
            Ok(())
        })?;
        Ok(contents)
    }

    /// Hands on every entry of its files with its absolute path.
    fn data(
        &self,
        mut each: impl FnMut(&mut Tarball<&mut dyn Read>, Vec<u8>, &TarEntry) -> Result<(), TarError>,
    ) -> Result<()> {
        let mut unpacker = Unpacker::start(&self.path, Part::Data)?;
        let mut tar = Tarball::new(unpacker.stream(), DATA_LIMITS);
        let mut walk = || {
            while let Some(entry) = tar.next()? {
                let path = absolute(&entry.path)?;
                each(&mut tar, path, &entry)?;
            }
            tar.drain()
        };
        match walk() {
            Ok(()) => unpacker.end(),
            Err(error) => {
                let what = format!("read the files of {}", self.path.display());
                Err(unpacker.explain(what, error))
            }
        }
    }
}

pub(crate) fn file_name(name: &str, version: &PackageVersion, architecture: &str) -> String {
    let text = version.as_str();
    let version = text.split_once(':').map_or(text, |(_, rest)| rest);
    format!("{name}_{version}_{architecture}.deb")
}

/// Reads a tar with control members, as it is in a .deb but without compression.
fn control_members(reader: &mut dyn Read) -> Result<BTreeMap<String, Vec<u8>>, TarError> {
    let mut tar = Tarball::new(reader, CONTROL_LIMITS);
    let mut members = BTreeMap::new();
    while let Some(entry) = tar.next()? {
        let name = entry.path.strip_prefix(b"./").unwrap_or(&entry.path);
        if entry.kind == TarKind::Directory && matches!(name, b"" | b".") {
            continue;
        }
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.+".contains(b);
        let name = match std::str::from_utf8(name) {
            Ok(text) if name.iter().all(plain) && !text.starts_with('.') => text.to_owned(),
            _ => {
                return Err(TarError::Malformed(
                    "a control member has a name that none has",
                ));
            }
        };
        if entry.kind != TarKind::File {
            return Err(TarError::Malformed("a control member is no regular file"));
        }
        if members.insert(name, tar.content(MOST_MEMBER)?).is_some() {
            return Err(TarError::Malformed("a control member stands twice"));
        }
    }
    tar.drain()?;
    Ok(members)
}

fn read_control(members: &BTreeMap<String, Vec<u8>>, place: &str) -> Result<(Paragraph, Identity)> {
    let malformed = |why: &str| Error::new(ErrorKind::Malformed, format!("read {place}"), why);
    let text = members
        .get("control")
        .ok_or_else(|| malformed("it has no control stanza"))?;
    let place = format!("control of {place}");
    let mut scanner = Scanner::new(text.as_slice(), &place, Comments::Refused);
    let control = scanner
        .next_paragraph()?
        .ok_or_else(|| malformed("its control stanza is empty"))?;
    if scanner.next_paragraph()?.is_some() {
        return Err(malformed("it has more than one control stanza"));
    }
    let identity = Identity::of(&control, &place)?;
    Ok((control, identity))
}

/// As dpkg lists it: `./usr/` is `/usr`, and `./` is `/.`.
fn absolute(path: &[u8]) -> Result<Vec<u8>, TarError> {
    let mut absolute = Vec::with_capacity(path.len());
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(TarError::Malformed("a path leads upwards")),
            part => {
                absolute.push(b'/');
                absolute.extend_from_slice(part);
            }
        }
    }
    Ok(match absolute.is_empty() {
        true => b"/.".to_vec(),
        false => absolute,
    })
}

/// Reads what a .deb may hold, for fuzzing: its outer form, a tar of control members, one of files.
#[doc(hidden)]
pub fn fuzz_deb(bytes: &[u8]) {
    let _ = Container::read(&mut io::Cursor::new(bytes), bytes.len() as u64);
    if let Ok(members) = control_members(&mut &*bytes) {
        assert!(members.values().map(Vec::len).sum::<usize>() <= bytes.len());
        if let Ok((control, identity)) = read_control(&members, "fuzz") {
            let name = file_name(&identity.name, &identity.version, &identity.architecture);
            assert!(!name.contains('/') && !name.starts_with('.'));
            let again = crate::repository::write_fields(&control, &[]);
            let (read, _) = read_control(&BTreeMap::from([("control".into(), again)]), "fuzz")
                .expect("what was written reads back");
            let fields = |paragraph: Paragraph| {
                let fields = paragraph.fields.into_iter();
                fields.map(|f| (f.name, f.value)).collect::<Vec<_>>()
            };
            assert_eq!(fields(read), fields(control));
        }
    }
    let mut tar = Tarball::new(bytes, DATA_LIMITS);
    while let Ok(Some(entry)) = tar.next() {
        if let Ok(path) = absolute(&entry.path) {
            assert!(path.starts_with(b"/") && !path.windows(4).any(|w| w == b"/../"));
        }
        let mut read = 0;
        if tar.each(&mut |bytes| read += bytes.len() as u64).is_err() {
            break;
        }
        assert!(read == entry.size || entry.kind != TarKind::File);
    }
}

#[cfg(test)]
pub(crate) mod tests;
