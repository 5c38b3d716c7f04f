//! Is a .deb the build that is installed?

use std::{
    collections::{BTreeMap, BTreeSet},
    io::BufReader,
    os::unix::ffi::OsStrExt,
};

use crate::{
    Deb, Error, PackageState, Paragraph, Result, Root,
    build_mark::plain,
    deb822::{Comments, Scanner},
    info,
};

/// What dpkg keeps of the .debs that it installed: their stanzas, control members, lists of files
/// and sums. It keeps no digest of a .deb, so this is what one is recognised by.
#[derive(Debug)]
pub struct InstalledBuilds {
    root: Root,
    stanzas: BTreeMap<(String, String), Paragraph>,
}

const MOST: u64 = 128 << 20;

/// Fields of the stanza that dpkg takes from the .deb. Of those that it rewrites, only spelling
/// is its own. Section and Priority can come from elsewhere.
const FIELDS: [&str; 18] = [
    "Package",
    "Version",
    "Architecture",
    "Multi-Arch",
    "Source",
    "Essential",
    "Protected",
    "Installed-Size",
    "Pre-Depends",
    "Depends",
    "Recommends",
    "Suggests",
    "Enhances",
    "Breaks",
    "Conflicts",
    "Replaces",
    "Provides",
    "Maintainer",
];

/// No more differences of one kind are told.
const TOLD: usize = 3;

impl InstalledBuilds {
    /// Reads the stanzas of a root.
    ///
    /// # Errors
    /// As [`read_status`](crate::read_status).
    pub fn read(root: &Root) -> Result<Self> {
        const STATUS: &str = "var/lib/dpkg/status";
        let mut stanzas = BTreeMap::new();
        if let Some(file) = root.open_file(STATUS, MOST)? {
            let place = root.describe(STATUS.as_ref());
            let mut scanner = Scanner::new(BufReader::new(file), place, Comments::Refused);
            while let Some(stanza) = scanner.next_paragraph()? {
                let text = |field| stanza.text(field).unwrap_or_default();
                stanzas.insert((text("Package"), text("Architecture")), stanza);
            }
        }
        Ok(Self {
            root: root.clone(),
            stanzas,
        })
    }

    /// What tells a .deb from the one that a package was installed from, each a fragment that fits
    /// after "its"; nothing if it is that build: name, version, architecture and relations, every
    /// control member byte for byte, the path of every file, and the MD5 of every file's content.
    ///
    /// # Errors
    /// As [`Deb::open`], and what is wrong with dpkg's files.
    pub fn differences(&self, package: &PackageState, deb: &Deb) -> Result<Vec<String>> {
        let mut differences = Vec::new();
        self.compare_stanza(package, deb, &mut differences);
        // Another package altogether, of which nothing else need be said.
        if !differences.is_empty() {
            return Ok(differences);
        }
        self.compare_members(package, deb, &mut differences)?;
        if differences.is_empty() {
            self.compare_files(package, deb, &mut differences)?;
        }
        Ok(differences)
    }

    fn compare_stanza(&self, package: &PackageState, deb: &Deb, differences: &mut Vec<String>) {
        let key = (package.name.clone(), package.architecture.clone());
        let Some(stanza) = self.stanzas.get(&key) else {
            differences.push("package is in no stanza of dpkg's status".into());
            return;
        };
        for field in FIELDS {
            let value = |stanza: &Paragraph| stanza.get(field).map(plain);
            let (theirs, ours) = (value(deb.control()), value(stanza));
            if theirs != ours {
                let shown = |value: Option<Vec<u8>>| match value {
                    Some(value) => format!("{:.60?}", String::from_utf8_lossy(&value)),
                    None => "missing".into(),
                };
                let (theirs, ours) = (shown(theirs), shown(ours));
                differences.push(format!("{field} is {theirs}, the installed one's {ours}"));
            }
        }
    }

    fn compare_members(
        &self,
        package: &PackageState,
        deb: &Deb,
        differences: &mut Vec<String>,
    ) -> Result<()> {
        for (name, theirs) in deb.members().iter().filter(|(name, _)| *name != "control") {
            match info::read(&self.root, package, name)? {
                Some(ours) if ours == *theirs => {}
                Some(_) => differences.push(format!("control member {name} is another")),
                None => differences.push(format!("control member {name} is not installed")),
            }
        }
        for member in self.installed_members(package)? {
            // dpkg makes the list itself, and the sums where a package brings none.
            let made = matches!(member, "list" | "md5sums");
            if !made && !deb.members().contains_key(member) {
                differences.push(format!("control member {member} is missing"));
            }
        }
        Ok(())
    }

    fn compare_files(
        &self,
        package: &PackageState,
        deb: &Deb,
        differences: &mut Vec<String>,
    ) -> Result<()> {
        let contents = deb.contents()?;
        let list = info::read(&self.root, package, "list")?.unwrap_or_default();
        let ours: BTreeSet<&[u8]> = list
            .split(|b| *b == b'\n')
            .filter(|path| !path.is_empty())
            .collect();
        // Configuration that the package once had stays on dpkg's list.
        let obsolete: BTreeSet<&[u8]> = package
            .conffiles
            .iter()
            .filter(|conffile| conffile.obsolete)
            .map(|conffile| conffile.path.as_os_str().as_bytes())
            .collect();
        let theirs: BTreeSet<&[u8]> = contents.paths.iter().map(Vec::as_slice).collect();
        let extra = theirs.difference(&ours);
        let is_left_over = |path: &&&[u8]| {
            obsolete.contains(**path)
                // The directories above such a file are listed with it.
                || obsolete.iter().any(|conffile| {
                    conffile.strip_prefix(**path).is_some_and(|rest| rest.starts_with(b"/"))
                })
        };
        let missing = ours.difference(&theirs).filter(|path| !is_left_over(path));
        tell(
            differences,
            "has a file that is not installed",
            extra.copied(),
        );
        tell(differences, "lacks an installed file", missing.copied());

        let sums = info::read(&self.root, package, "md5sums")?.unwrap_or_default();
        let mut installed: BTreeMap<Vec<u8>, String> = BTreeMap::new();
        for line in sums.split(|b| *b == b'\n').filter(|line| line.len() > 34) {
            let (sum, path) = line.split_at(32);
            let path = path[2..].strip_prefix(b"./").unwrap_or(&path[2..]);
            let sum = String::from_utf8_lossy(sum).to_ascii_lowercase();
            installed.insert([b"/", path].concat(), sum);
        }
        for conffile in package
            .conffiles
            .iter()
            .filter(|conffile| !conffile.obsolete)
        {
            if let Some(sum) = &conffile.md5 {
                installed.insert(conffile.path.as_os_str().as_bytes().to_vec(), sum.clone());
            }
        }
        // Without a sum it is a link or a directory in the place of a file.
        let another = installed.iter().filter(|(path, sum)| {
            contents.paths.contains(*path) && contents.sums.get(*path) != Some(*sum)
        });
        let another = another.map(|(path, _)| path.as_slice());
        tell(differences, "has another content in", another);
        Ok(())
    }

    /// Which members dpkg keeps of a package.
    fn installed_members(&self, package: &PackageState) -> Result<Vec<&'static str>> {
        // The directory has thousands of names, so ask for those that packages can have.
        const MEMBERS: [&str; 11] = [
            "conffiles",
            "config",
            "md5sums",
            "postinst",
            "postrm",
            "preinst",
            "prerm",
            "shlibs",
            "symbols",
            "templates",
            "triggers",
        ];
        let mut found = Vec::new();
        for member in MEMBERS {
            if info::has(&self.root, package, member)? {
                found.push(member);
            }
        }
        Ok(found)
    }
}

fn tell<'p>(differences: &mut Vec<String>, what: &str, paths: impl Iterator<Item = &'p [u8]>) {
    let paths: Vec<&[u8]> = paths.collect();
    for path in paths.iter().take(TOLD) {
        differences.push(format!(
            "archive {what}: {:.200}",
            path.escape_ascii().to_string()
        ));
    }
    if paths.len() > TOLD {
        differences.push(format!("archive {what}: {} more", paths.len() - TOLD));
    }
}

/// That a package is not the one it should be.
pub(crate) fn another(package: &PackageState, differences: &[String]) -> String {
    format!(
        "the .deb of {} is not the installed build: its {}",
        package.name,
        differences.join("; its ")
    )
}

/// An error, as a fragment that fits after "could not".
pub(crate) fn reason(error: &Error) -> String {
    format!("could not {error}")
}
