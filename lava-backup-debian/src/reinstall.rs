//! Bringing the exact packages back on a target.

use std::path::{Path, PathBuf};

use crate::{PackageVersion, Result, repository::ORIGIN, surroundings::source_line};

/// Packages to bring back out of a flat repository.
#[derive(Clone, Debug)]
pub struct Reinstall<'r> {
    /// The packages, in the order in which they are named to apt.
    pub packages: &'r [ExactPackage],
    /// The architecture of the target's dpkg.
    pub native: &'r str,
    /// Where the repository is on the target.
    pub repository: &'r Path,
    /// The key that it is signed with, on the target; without one apt is told to trust it, for the
    /// backup has proved its digests.
    pub keyring: Option<&'r Path>,
    /// Whether the repository is apt's only source; otherwise what it lacks comes from those that
    /// the target has, which are [borrowed](Reinstall::borrow).
    pub alone: bool,
}

/// One package in its exact version, with its marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: PackageVersion,
    /// Its architecture, which may be `all`.
    pub architecture: String,
    /// Whether apt installed it only because others need it.
    pub auto: bool,
    /// Whether an admin held it at its version.
    pub hold: bool,
}

/// A file that must be there before the commands are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupFile {
    /// Where.
    pub path: PathBuf,
    /// Its whole text.
    pub text: String,
}

impl Reinstall<'_> {
    /// The files that the commands need, a source list and pins. They lie beside the .debs: among the
    /// target's own they would stay when whoever wrote them is killed, and count for every apt there.
    ///
    /// # Errors
    /// [`ErrorKind::Path`](crate::ErrorKind::Path) if the path of the repository or the key is not
    /// absolute, or has a sign that source lists can't hold.
    pub fn files(&self) -> Result<Vec<SetupFile>> {
        let option = match self.keyring {
            None => "trusted=yes".to_owned(),
            Some(keyring) => {
                // Both are words of one line.
                source_line(keyring, "")?;
                format!("signed-by={}", keyring.display())
            }
        };
        let [list, pins] = self.places();
        Ok(vec![
            SetupFile {
                path: list,
                text: source_line(self.repository, &option)?,
            },
            SetupFile {
                path: pins,
                text: format!("Package: *\nPin: release o={ORIGIN}\nPin-Priority: 1001\n"),
            },
        ])
    }

    /// Of the source list and the pins: all that there is, or one of several.
    fn places(&self) -> [PathBuf; 2] {
        let places = match self.alone {
            true => ["apt/sources.list", "apt/preferences"],
            false => [
                "apt/sources.list.d/lava-backup-debs.list",
                "apt/preferences.d/lava-backup-debs.pref",
            ],
        };
        places.map(|place| self.repository.join(place))
    }

    /// Copies the target's own sources and pins beside those of the repository, before anything
    /// else; nothing where it is alone.
    pub fn borrow(&self) -> Vec<Vec<String>> {
        let copy = |name: &str| {
            let mut argv = words("cp -rLT");
            argv.push(format!("/etc/apt/{name}"));
            argv.push(self.parts(name));
            argv
        };
        match self.alone {
            true => Vec::new(),
            false => vec![copy("sources.list.d"), copy("preferences.d")],
        }
    }

    fn parts(&self, name: &str) -> String {
        let parts = self.repository.join("apt").join(name);
        parts.display().to_string()
    }

    /// Reads the index of the repository; if it is alone, into lists that are not the target's own:
    /// apt does not notice that an index changed where its release did not.
    pub fn update(&self) -> Vec<String> {
        let mut argv = words("apt-get");
        argv.extend(self.options());
        argv.push("update".into());
        argv
    }

    /// Installs every package in its exact version, downgrades where it must, removes nothing, and
    /// leaves configuration as it is.
    pub fn install(&self) -> Vec<String> {
        let mut argv = words("env DEBIAN_FRONTEND=noninteractive apt-get");
        argv.extend(self.options());
        argv.extend(words(
            "-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
             --yes --no-install-recommends --no-remove --allow-downgrades install",
        ));
        let exact = |p: &ExactPackage| exact(&p.name, &p.version, &p.architecture, self.native);
        argv.extend(self.packages.iter().map(exact));
        argv
    }

    /// Marks what apt had installed by itself.
    pub fn mark_auto(&self) -> Option<Vec<String>> {
        self.mark("auto", |package| package.auto)
    }

    /// Marks what was asked for: apt takes all that it is named for that, so this is to be sure.
    pub fn mark_manual(&self) -> Option<Vec<String>> {
        self.mark("manual", |package| !package.auto)
    }

    /// Holds what was held.
    pub fn hold(&self) -> Option<Vec<String>> {
        self.mark("hold", |package| package.hold)
    }

    fn mark(&self, verb: &str, which: impl Fn(&ExactPackage) -> bool) -> Option<Vec<String>> {
        let mut argv = vec!["apt-mark".to_owned(), verb.to_owned()];
        let names = self.packages.iter().filter(|package| which(package));
        argv.extend(names.map(|p| qualified(&p.name, &p.architecture, self.native)));
        (argv.len() > 2).then_some(argv)
    }

    fn options(&self) -> Vec<String> {
        let [list, pins] = self.places();
        let lists = self.repository.join("apt/lists");
        let options = match self.alone {
            true => vec![
                format!("Dir::Etc::SourceList={}", list.display()),
                "Dir::Etc::SourceParts=/dev/null".into(),
                format!("Dir::Etc::Preferences={}", pins.display()),
                "Dir::Etc::PreferencesParts=/dev/null".into(),
                format!("Dir::State::Lists={}", lists.display()),
            ],
            false => vec![
                format!("Dir::Etc::SourceParts={}", self.parts("sources.list.d")),
                format!("Dir::Etc::PreferencesParts={}", self.parts("preferences.d")),
            ],
        };
        let pairs = options.into_iter();
        pairs.flat_map(|option| ["-o".to_owned(), option]).collect()
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// A package as apt is told of it; of the native architecture, without it.
fn qualified(name: &str, architecture: &str, native: &str) -> String {
    match architecture == "all" || architecture == native {
        true => name.to_owned(),
        false => format!("{name}:{architecture}"),
    }
}

/// `name=version`, which apt takes as it is or not at all.
pub(crate) fn exact(
    name: &str,
    version: &PackageVersion,
    architecture: &str,
    native: &str,
) -> String {
    format!("{}={version}", qualified(name, architecture, native))
}
