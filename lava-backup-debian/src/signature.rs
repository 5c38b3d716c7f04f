//! Who signed the `Release` file of an archive, as the checker of signatures of this machine says.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde::Serialize;

use crate::{Error, Result, Root, keyrings::Signers};

/// The result of checking a signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum Signature {
    /// A key that the source may use signed it.
    Good {
        /// The fingerprints of the keys, in upper-case hexadecimal.
        keys: Vec<String>,
        /// Where the keys were taken from, absolute in the root; none for a key that stands in
        /// the source.
        keyrings: Vec<PathBuf>,
        /// What checked it: `gpgv` or `sqv`.
        checker: &'static str,
    },
    /// It is not signed.
    Missing,
    /// No key that the source may use signed what is there.
    Bad {
        /// In the words of whoever found out.
        why: String,
    },
    /// Nobody could check it.
    Unchecked {
        /// Why not.
        why: String,
    },
}

/// A file with its signature.
pub(crate) enum Signed<'a> {
    /// `InRelease`: the signature is in the file.
    Clear(&'a Path),
    /// `Release`, and `Release.gpg`.
    Detached(&'a Path, &'a Path),
}

/// Checks a signature by the keys that a source may use. The checker is that of the machine we run
/// on, never one of the root; files and keys are those of the root.
pub(crate) fn check(root: &Root, signed: &Signed<'_>, signers: &Signers) -> Signature {
    match try_check(root, signed, signers) {
        Ok(signature) => signature,
        Err(error) => Signature::Unchecked {
            why: format!("could not {error}"),
        },
    }
}

fn try_check(root: &Root, signed: &Signed<'_>, signers: &Signers) -> Result<Signature> {
    let mut keyring =
        tempfile::NamedTempFile::new().map_err(|e| Error::io("make a temporary keyring", e))?;
    let keyrings = match signers.write(root, &mut keyring) {
        Ok(keyrings) => keyrings,
        // Without its keys nothing a source has is good.
        Err(error) => {
            return Ok(Signature::Bad {
                why: format!("could not {error}"),
            });
        }
    };
    let real = |path: &Path| Ok::<_, Error>(root.find(path)?.unwrap_or_else(|| path.to_owned()));
    let files = match signed {
        Signed::Clear(file) => vec![real(file)?],
        Signed::Detached(file, signature) => vec![real(signature)?, real(file)?],
    };
    for checker in [gpgv, sqv] {
        match checker(keyring.path(), &files) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("run the checker of signatures", e)),
            Ok((name, found)) => {
                let (good, why) = found;
                let keys: Vec<String> = good
                    .iter()
                    .filter(|fingerprints| signers.allow(fingerprints))
                    .filter_map(|fingerprints| fingerprints.first().cloned())
                    .collect();
                return Ok(match keys.is_empty() {
                    false => Signature::Good {
                        keys,
                        keyrings,
                        checker: name,
                    },
                    true if good.is_empty() => Signature::Bad { why },
                    true => Signature::Bad {
                        why: "none of the keys that the source names signed it".to_owned(),
                    },
                });
            }
        }
    }
    Ok(Signature::Unchecked {
        why: "there is neither gpgv nor sqv on this machine".to_owned(),
    })
}

/// The fingerprints of each key that made a good signature, its own first, then that of the
/// primary key; and why, where there is none.
type Checked = (&'static str, (Vec<Vec<String>>, String));

fn run(program: &str, arguments: &[&OsStr]) -> io::Result<Output> {
    Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
}

fn gpgv(keyring: &Path, files: &[PathBuf]) -> io::Result<Checked> {
    let mut arguments: Vec<&OsStr> = ["--status-fd", "1", "--keyring"].map(OsStr::new).to_vec();
    arguments.push(keyring.as_os_str());
    arguments.extend(files.iter().map(|file| file.as_os_str()));
    let output = run("gpgv", &arguments)?;
    Ok(("gpgv", of_gpgv(&String::from_utf8_lossy(&output.stdout))))
}

/// Reads gpgv's status lines. A signature by an expired or revoked key, or over a digest that is
/// broken, is not good; one that can't be checked for want of its key says nothing, for archives
/// are signed by old keys and new ones.
fn of_gpgv(status: &str) -> (Vec<Vec<String>>, String) {
    const WEAK_DIGESTS: [&str; 3] = ["1", "2", "3"];
    let (mut good, mut why) = (Vec::new(), "no signature could be read".to_owned());
    let mut is_good = false;
    for line in status.lines() {
        let Some(line) = line.strip_prefix("[GNUPG:] ") else {
            continue;
        };
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["NEWSIG", ..] => is_good = false,
            ["GOODSIG", ..] => is_good = true,
            ["VALIDSIG", own, _, _, _, _, _, _, digest, _, primary, ..] if is_good => {
                if WEAK_DIGESTS.contains(&digest) {
                    why = format!("key {own} signed it over a digest that is broken");
                } else {
                    good.push(vec![own.to_owned(), primary.to_owned()]);
                }
            }
            // Changed after it was signed: whoever else signed, what is here is not it.
            ["BADSIG", key, ..] => {
                return (Vec::new(), format!("it is not what key {key} signed"));
            }
            ["EXPKEYSIG", key, ..] => why = format!("key {key} has expired"),
            ["EXPSIG", key, ..] => why = format!("the signature of key {key} has expired"),
            ["REVKEYSIG", key, ..] => why = format!("key {key} was revoked"),
            ["NO_PUBKEY", key, ..] => why = format!("key {key} is in none of its keyrings"),
            _ => {}
        }
    }
    (good, why)
}

fn sqv(keyring: &Path, files: &[PathBuf]) -> io::Result<Checked> {
    // It wants to write what was signed somewhere, and takes no file that is there.
    let dir = tempfile::tempdir()?;
    let output = dir.path().join("signed");
    let mut arguments: Vec<&OsStr> = vec![OsStr::new("--keyring"), keyring.as_os_str()];
    if files.len() == 1 {
        arguments.extend([
            OsStr::new("--output"),
            output.as_os_str(),
            OsStr::new("--cleartext"),
        ]);
    }
    arguments.extend(files.iter().map(|file| file.as_os_str()));
    let output = run("sqv", &arguments)?;
    // Older ones know no clear-signed files, and say that they were called wrongly.
    if output.status.code() == Some(2) {
        let why = "this sqv does not check signed texts";
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let is_fingerprint =
        |word: &&str| word.len() >= 40 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let good = match output.status.success() {
        true => text
            .split_whitespace()
            .filter(is_fingerprint)
            .map(|fingerprint| vec![fingerprint.to_ascii_uppercase()])
            .collect(),
        false => Vec::new(),
    };
    let error = String::from_utf8_lossy(&output.stderr);
    let first = error
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("sqv says no");
    let why = first
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect();
    Ok(("sqv", (good, why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "4CB50190207B4758A3F73A796ED0E7B82643E131";
    const PRIMARY: &str = "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8";

    fn valid(digest: u8) -> String {
        format!("[GNUPG:] VALIDSIG {OWN} 2026-11-21 1763719023 0 4 0 1 {digest} 01 {PRIMARY}\n")
    }

    #[test]
    fn one_good_signature_among_unknown_ones_is_enough() {
        let status = format!(
            "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 6ED0E7B82643E131 Debian\n{}[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG 0 1 8\n[GNUPG:] NO_PUBKEY 78DBA3BC47EF2265\n",
            valid(8)
        );
        assert_eq!(of_gpgv(&status).0, [[OWN, PRIMARY]]);
    }

    #[test]
    fn what_is_not_good_says_why() {
        for (status, why) in [
            (String::new(), "no signature"),
            (
                format!(
                    "[GNUPG:] NEWSIG\n[GNUPG:] EXPKEYSIG 6ED0E7B8 Debian\n{}",
                    valid(8)
                ),
                "expired",
            ),
            (
                format!("[GNUPG:] REVKEYSIG 6ED0E7B8 Debian\n{}", valid(8)),
                "revoked",
            ),
            (
                format!("[GNUPG:] GOODSIG 6ED0E7B8 Debian\n{}", valid(2)),
                "broken",
            ),
            (
                format!(
                    "[GNUPG:] GOODSIG 6ED0E7B8 x\n{}[GNUPG:] BADSIG 78DBA3BC x\n",
                    valid(8)
                ),
                "is not what",
            ),
            ("[GNUPG:] NO_PUBKEY 78DBA3BC47EF2265\n".into(), "in none"),
        ] {
            let (good, said) = of_gpgv(&status);
            assert!(
                good.is_empty() && said.contains(why),
                "{status}: {good:?} {said}"
            );
        }
    }
}
