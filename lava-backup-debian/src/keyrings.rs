//! The keys that apt takes for good, and which source may use which.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{Error, ErrorKind, Result, Root, Sha256, SourceEntry};

/// A file of public keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Keyring {
    /// The file, absolute in the root.
    pub file: PathBuf,
    /// Its size in bytes; `None` when it is not there though a source names it.
    pub size: Option<u64>,
    /// The SHA-256 of its bytes.
    pub sha256: Option<Sha256>,
    /// Whether sources that name no keyring may use it.
    pub trusted: bool,
    /// How many sources name it in `Signed-By`.
    pub named_by: usize,
}

const TRUSTED: &str = "/etc/apt/trusted.gpg";
const TRUSTED_PARTS: &str = "/etc/apt/trusted.gpg.d";
const OTHERS: [&str; 2] = ["/etc/apt/keyrings", "/usr/share/keyrings"];
const MOST_KEYRING: u64 = 16 << 20;

/// Every keyring that apt uses or that lies where keyrings are kept, in the order of paths.
///
/// # Errors
/// As [`read_sources`](crate::read_sources) for files that can't be read.
pub fn read_keyrings(root: &Root, sources: &[SourceEntry]) -> Result<Vec<Keyring>> {
    // By path: whether all sources may use it, and how many name it.
    let mut paths: BTreeMap<PathBuf, (bool, usize)> = BTreeMap::new();
    for path in trusted(root)? {
        paths.insert(path, (true, 0));
    }
    for dir in OTHERS {
        for name in root.names(dir)? {
            let path = Path::new(dir).join(name);
            let is_key = path
                .extension()
                .is_some_and(|e| e == "gpg" || e == "asc" || e == "pgp");
            if is_key {
                paths.insert(path, (false, 0));
            }
        }
    }
    for signer in sources
        .iter()
        .filter(|entry| entry.enabled)
        .map(Signers::of)
    {
        for path in signer.files {
            paths.entry(path).or_default().1 += 1;
        }
    }
    let mut keyrings = Vec::new();
    for (file, (trusted, named_by)) in paths {
        let bytes = read_keyring(root, &file)?;
        // What nobody names and is no file is nothing to apt.
        if bytes.is_none() && named_by == 0 {
            continue;
        }
        let io_error = |e| Error::io(format!("read {}", root.describe(&file)), e);
        keyrings.push(Keyring {
            size: bytes.as_ref().map(|bytes| bytes.len() as u64),
            sha256: bytes
                .map(|bytes| Sha256::of(bytes.as_slice()))
                .transpose()
                .map_err(io_error)?,
            file,
            trusted,
            named_by,
        });
    }
    Ok(keyrings)
}

/// The bytes of a keyring; `None` when no regular file is there.
fn read_keyring(root: &Root, file: &Path) -> Result<Option<Vec<u8>>> {
    match root.read(file, MOST_KEYRING) {
        Err(error) if error.kind() == ErrorKind::Path => Ok(None),
        read => read,
    }
}

/// Those that serve every source that names none.
fn trusted(root: &Root) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    if root.find(TRUSTED)?.is_some() {
        paths.push(PathBuf::from(TRUSTED));
    }
    for name in root.names(TRUSTED_PARTS)? {
        let path = Path::new(TRUSTED_PARTS).join(name);
        if path.extension().is_some_and(|e| e == "gpg" || e == "asc") {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// What the `Signed-By` of a source allows; nothing in it means every trusted key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signers {
    /// Files of keys, absolute in the root.
    pub(crate) files: Vec<PathBuf>,
    /// Keys, by their fingerprints in upper-case hexadecimal.
    pub(crate) fingerprints: Vec<String>,
    /// Keys that stand in the source itself.
    pub(crate) blocks: Vec<String>,
}

impl Signers {
    pub(crate) fn of(source: &SourceEntry) -> Self {
        let mut signers = Self::default();
        for value in source.options.get("signed-by").into_iter().flatten() {
            if value.contains("-----BEGIN PGP") {
                signers.blocks.push(value.clone());
                continue;
            }
            for word in value.split(',').filter(|word| !word.is_empty()) {
                if word.starts_with('/') {
                    signers.files.push(PathBuf::from(word));
                } else {
                    // A `!` asks for just that subkey, which is what is compared anyway.
                    signers
                        .fingerprints
                        .push(word.trim_end_matches('!').to_ascii_uppercase());
                }
            }
        }
        signers
    }

    /// Whether they are those of all sources that name none.
    pub(crate) fn names_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a signature by a key, told by the fingerprints of the key and of the primary key
    /// it belongs to, is one of these.
    pub(crate) fn allow(&self, fingerprints: &[String]) -> bool {
        self.fingerprints.is_empty()
            || self
                .fingerprints
                .iter()
                .any(|wanted| fingerprints.contains(wanted))
    }

    /// Writes all these keys as one keyring, as a checker of signatures takes it; the paths of the
    /// files it comes from.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for a key in the source that is no armoured key, and for the one
    /// file of keys that it names when that can't be used; [`ErrorKind::Path`] when a file that it
    /// names is not there.
    pub(crate) fn write(&self, root: &Root, mut to: impl Write) -> Result<Vec<PathBuf>> {
        let files = match self.files.is_empty() && self.blocks.is_empty() {
            true => trusted(root)?,
            false => self.files.clone(),
        };
        let mut put = |bytes: &[u8], place: &str| {
            let malformed = |why| {
                Error::new(
                    ErrorKind::Malformed,
                    format!("read the keys of {place}"),
                    why,
                )
            };
            let bytes = match is_armoured(bytes) {
                true => dearmoured(bytes).ok_or_else(|| malformed("they are no armoured keys"))?,
                false => bytes.to_vec(),
            };
            // An OpenPGP packet of a public key, in the old form or the new one.
            if !matches!(bytes.first(), Some(0x98..=0x9b | 0xc6)) {
                return Err(malformed("they do not begin with a public key"));
            }
            to.write_all(&bytes)
                .map_err(|e| Error::io("write a temporary keyring", e))
        };
        for block in &self.blocks {
            // apt and deb822 write an empty line as a dot.
            let lines: Vec<&str> = block
                .lines()
                .map(|l| if l.trim() == "." { "" } else { l.trim() })
                .collect();
            put(lines.join("\n").as_bytes(), "a source")?;
        }
        let mut used = Vec::new();
        for file in files {
            let place = root.describe(&file);
            match read_keyring(root, &file)? {
                // apt passes over an empty file, and of those for all sources over what is none.
                Some(bytes) if bytes.is_empty() => {}
                None if self.files.is_empty() => {}
                Some(bytes) => {
                    // One of many that is of no use is passed over; one that is named is needed.
                    match put(&bytes, &place) {
                        Err(e) if self.files.len() == 1 => return Err(e),
                        Err(_) => {}
                        Ok(()) => used.push(file),
                    }
                }
                None => {
                    let what = format!("read the keys of {place}");
                    return Err(Error::new(ErrorKind::Path, what, "there is no such file"));
                }
            }
        }
        Ok(used)
    }
}

const BEGIN: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &[u8] = b"-----END PGP PUBLIC KEY BLOCK-----";

fn is_armoured(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, BEGIN).is_some()
}

/// The bytes of every key block, one after the other.
fn dearmoured(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut keys = Vec::new();
    let mut lines = bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    while lines.any(|line| line == BEGIN) {
        // Headers, then an empty line.
        lines.by_ref().find(|line| line.is_empty())?;
        let mut base64 = Vec::new();
        loop {
            match lines.next()? {
                line if line == END => break,
                line if line.starts_with(b"=") => {}
                line => base64.extend_from_slice(line),
            }
        }
        keys.extend(of_base64(&base64)?);
    }
    Some(keys)
}

fn of_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = match text {
        [rest @ .., b'=', b'='] | [rest @ .., b'='] => rest,
        all => all,
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn armoured_keys_are_the_bytes_that_gpg_makes_of_them() {
        for entry in std::fs::read_dir("/etc/apt/trusted.gpg.d").unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|e| e != "asc") {
                continue;
            }
            let gpg = Command::new("gpg")
                .arg("--dearmor")
                .arg("-o-")
                .arg(&path)
                .output()
                .unwrap();
            assert!(gpg.status.success());
            let ours = dearmoured(&std::fs::read(&path).unwrap()).unwrap();
            assert!(ours == gpg.stdout, "{}", path.display());
        }
    }

    #[test]
    fn what_is_no_armour_gives_no_keys() {
        for bad in ["", "\nmQ\n", "\nmQ!\n-----END PGP PUBLIC KEY BLOCK-----"] {
            let text = format!("-----BEGIN PGP PUBLIC KEY BLOCK-----{bad}");
            assert_eq!(dearmoured(text.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_keys_or_none(bytes: Vec<u8>, text in "[A-Za-z0-9+/=\n]{0,40}") {
            let _ = dearmoured(&bytes);
            let armour = format!("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{text}\n-----END PGP PUBLIC KEY BLOCK-----\n");
            let _ = dearmoured(armour.as_bytes());
        }
    }
}
