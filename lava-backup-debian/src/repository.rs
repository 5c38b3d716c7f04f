//! A flat repository of .debs that apt takes as its only source.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Deb, Error, ErrorKind, Paragraph, Result, Sha256};

/// The files beside the .debs that make them a repository: the same bytes for the same .debs,
/// whenever and wherever they are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// The index of packages.
    pub packages: Vec<u8>,
    /// The file that names the index and its digest.
    pub release: Vec<u8>,
}

/// What the repository calls itself, for pins: `release o=lava-backup`.
pub const ORIGIN: &str = "lava-backup";

/// Fields of an index, which a control stanza has no business to have.
const OF_INDEX: [&str; 9] = [
    "Filename",
    "Size",
    "MD5sum",
    "SHA1",
    "SHA256",
    "SHA512",
    "Description-md5",
    "Status",
    "Auto-Installed",
];

impl Repository {
    /// That of these .debs, each under the name that [`Deb::file_name`] gives it, beside the files
    /// of the repository. The release's date is that of the latest build.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when two of them have one name, or are of one package, version and
    /// architecture.
    pub fn of(debs: &[(Deb, Sha256)]) -> Result<Self> {
        let mut debs: Vec<&(Deb, Sha256)> = debs.iter().collect();
        debs.sort_by_key(|(deb, _)| deb.file_name());
        if let Some(pair) = debs
            .windows(2)
            .find(|p| p[0].0.file_name() == p[1].0.file_name())
        {
            let what = format!("make a repository with {}", pair[1].0.path().display());
            let why = format!("{} has the same name in it", pair[0].0.path().display());
            return Err(Error::new(ErrorKind::Malformed, what, why));
        }
        let mut packages = Vec::new();
        for (deb, digest) in &debs {
            packages.extend(write_fields(
                deb.control(),
                &[
                    ("Filename", &format!("./{}", deb.file_name())),
                    ("Size", &deb.size().to_string()),
                    ("SHA256", &digest.to_string()),
                ],
            ));
            packages.push(b'\n');
        }
        let mut architectures: Vec<&str> = debs.iter().map(|(deb, _)| deb.architecture()).collect();
        architectures.sort_unstable();
        architectures.dedup();
        let built = debs.iter().map(|(deb, _)| deb.built()).max().unwrap_or(0);
        // A digest of a slice that is read without error.
        let digest = Sha256::of(packages.as_slice())
            .map_err(|e| Error::io("digest the index of packages", e))?;
        let release = format!(
            "Origin: {ORIGIN}\nLabel: {ORIGIN}\nSuite: archived\nDate: {}\nArchitectures: {}\n\
             Description: The exact packages of a backup\nSHA256:\n {digest} {} Packages\n",
            date(built),
            architectures.join(" "),
            packages.len(),
        );
        Ok(Self {
            packages,
            release: release.into_bytes(),
        })
    }

    /// Writes both files into the directory where the .debs are.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn write(&self, dir: &Path) -> Result<()> {
        for (name, bytes) in [("Packages", &self.packages), ("Release", &self.release)] {
            let path = dir.join(name);
            fs::write(&path, bytes)
                .map_err(|e| Error::io(format!("write {}", path.display()), e))?;
        }
        Ok(())
    }
}

/// Signs the `Release` of a repository with a key of whoever runs this, as `InRelease`, which is
/// what apt reads first; gives its path. `gpg` is run, and finds the key by id, fingerprint or
/// address in its usual place.
///
/// # Errors
/// [`ErrorKind::Tool`] with what `gpg` says.
pub fn sign(dir: &Path, key: &str) -> Result<PathBuf> {
    let what = || {
        format!(
            "sign {} with the key {key:?}",
            dir.join("Release").display()
        )
    };
    let signed = dir.join("InRelease");
    let out = Command::new("gpg")
        .args(["--batch", "--yes", "--no-tty", "--digest-algo", "SHA512"])
        .arg(format!("--local-user={key}"))
        .arg("--output")
        .arg(&signed)
        .arg("--clearsign")
        .arg(dir.join("Release"))
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Error::new(ErrorKind::Tool, what(), format!("could not run gpg: {e}")))?;
    match out.status.success() {
        true => Ok(signed),
        false => Err(Error::new(ErrorKind::Tool, what(), last_line(&out.stderr))),
    }
}

/// What a tool said last, which is why it gave up.
pub(crate) fn last_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(&said[said.len().saturating_sub(4096)..]).into_owned();
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    last.unwrap_or("it says nothing").trim().to_owned()
}

/// The text of a stanza, with fields of an index at its end in place of any that it brings.
pub(crate) fn write_fields(stanza: &Paragraph, more: &[(&str, &str)]) -> Vec<u8> {
    let mut text = Vec::new();
    for field in &stanza.fields {
        if !more.is_empty()
            && OF_INDEX
                .iter()
                .any(|of| of.eq_ignore_ascii_case(&field.name))
        {
            continue;
        }
        text.extend_from_slice(field.name.as_bytes());
        text.push(b':');
        if !field.value.starts_with(b"\n") && !field.value.is_empty() {
            text.push(b' ');
        }
        for byte in &field.value {
            text.push(*byte);
            if *byte == b'\n' {
                text.push(b' ');
            }
        }
        text.push(b'\n');
    }
    for (name, value) in more {
        text.extend_from_slice(format!("{name}: {value}\n").as_bytes());
    }
    text
}

/// As Debian's releases write it, in UTC.
fn date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    // A .deb can say any time; apt reads four digits of a year.
    let seconds = seconds.min(253_402_300_799);
    let (day, time) = (seconds / 86_400, seconds % 86_400);
    let weekday = DAYS[(day % 7) as usize];
    // Years of 366 days end in February, so count from March of the year 0.
    let from_march = day + 719_468;
    let (era, of_era) = (from_march / 146_097, from_march % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * march + 2) / 5 + 1;
    let month = (march + 2) % 12;
    let year = year + era * 400 + u64::from(month < 2);
    format!(
        "{weekday}, {day_of_month:02} {} {year:04} {:02}:{:02}:{:02} UTC",
        MONTHS[month as usize],
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::deb::tests::build;

    #[test]
    fn a_date_is_that_of_the_system() {
        for seconds in [
            0,
            951_782_400,
            951_868_800,
            1_700_000_000,
            4_107_542_399,
            u64::MAX,
        ] {
            let out = Command::new("date")
                .args(["-u", "+%a, %d %b %Y %H:%M:%S UTC", "-d"])
                .arg(format!("@{}", seconds.min(253_402_300_799)))
                .env("LC_ALL", "C")
                .output()
                .unwrap();
            assert_eq!(date(seconds), String::from_utf8(out.stdout).unwrap().trim());
        }
    }

    #[test]
    fn the_same_debs_give_the_same_bytes_in_whatever_order() {
        let dir = tempfile::tempdir().unwrap();
        let deb = |name: &str, more: &str| {
            let path = dir.path().join(format!("whatever-{name}"));
            let control = format!(
                "Package: {name}\nVersion: 1:2\nArchitecture: all\nMaintainer: n\n{more}Description: x\n y\n .\n  z\n"
            );
            build(&path, &control, &[("a", name)], "xz");
            let deb = Deb::open(&path).unwrap();
            let digest = deb.sha256().unwrap();
            (deb, digest)
        };
        let debs = [
            deb("one", ""),
            deb("two", "Filename: ../../etc/passwd\nSize: 3\n"),
        ];
        let made = Repository::of(&debs).unwrap();
        let [one, two] = debs;
        assert_eq!(Repository::of(&[two.clone(), one.clone()]).unwrap(), made);
        let text = String::from_utf8(made.packages).unwrap();
        let stanza = format!(
            "Package: two\nVersion: 1:2\nArchitecture: all\nMaintainer: n\nDescription: x\n y\n .\n  z\n\
             Filename: ./two_2_all.deb\nSize: {}\nSHA256: {}\n\n",
            two.0.size(),
            two.1
        );
        assert!(text.ends_with(&stanza), "{text}");
        assert!(!text.contains("passwd"), "{text}");
        let release = String::from_utf8(made.release).unwrap();
        assert!(
            release.contains("Date: Tue, 14 Nov 2023 22:13:20 UTC\n"),
            "{release}"
        );

        let twice = Repository::of(&[one.clone(), one]).unwrap_err();
        assert!(twice.to_string().contains("same name"), "{twice}");
    }
}
