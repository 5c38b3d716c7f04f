//! All that dpkg and apt know of a host.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{
    Alternative, AptSetting, AutoInstalled, Base, ChangedConffile, Class, Confidence, Content,
    Diversion, Finding, FindingKind, Keyring, PackageState, PackageTimer, Preference, Result, Root,
    Selection, Signature, SourceEntry, SourceUri, StatOverride, Suite, alternatives, apt_conf,
    architectures, archive::Archive, auto_installed, base, changed_conffiles, debconf, diversions,
    journal, keyrings, origin::PackageOrigin, preferences, read_origins, read_sources, read_status,
    secrets, timers,
};

/// All that dpkg and apt know of a host, the same whether it runs or is a directory.
///
/// It holds no secret: passwords are left out as files are read, and the files that hold one are
/// named in [`secrets`](Self::secrets).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HostState {
    /// Which Debian it is.
    pub base: Base,
    /// The architectures that dpkg installs, the native one first.
    pub architectures: Vec<String>,
    /// Every package that dpkg has a stanza for.
    pub packages: Vec<PackageState>,
    /// What apt installed by itself.
    pub auto: AutoInstalled,
    /// The entries of dpkg's journal, which are merged into the packages.
    pub journal: Vec<String>,
    /// Where the packages came from, in their order.
    pub origins: Vec<PackageOrigin>,
    /// The archives that sources name.
    pub archives: Vec<Archive>,
    /// Configuration files that are not as shipped.
    pub conffiles: Vec<ChangedConffile>,
    /// Files that lie elsewhere than their packages say.
    pub diversions: Vec<Diversion>,
    /// Owners and modes that are not as their packages say.
    pub stat_overrides: Vec<StatOverride>,
    /// Which of several programs a name stands for.
    pub alternatives: Vec<Alternative>,
    /// The answers to packages' questions.
    pub selections: Vec<Selection>,
    /// Where apt takes packages from.
    pub sources: Vec<SourceEntry>,
    /// Which versions it prefers.
    pub preferences: Vec<Preference>,
    /// Its keys.
    pub keyrings: Vec<Keyring>,
    /// Its settings.
    pub settings: Vec<AptSetting>,
    /// What changes packages by itself.
    pub timers: Vec<PackageTimer>,
    /// Whether apt's timers may upgrade packages.
    pub upgrades_unattended: bool,
    /// Files that hold a password, absolute in the root, sorted: apt's and debconf's own, and any
    /// below apt's directory with a URI that holds one. What a link leads to is named beside it.
    pub secrets: Vec<PathBuf>,
    /// What is not in order, sorted.
    pub findings: Vec<Finding>,
}

impl HostState {
    /// Reads it, with `now` in seconds since 1970, for the age of lists. No program of the root is
    /// run; signatures are checked by the `gpgv` or `sqv` of the machine we run on.
    ///
    /// A file that is out of order is a finding, but for those without which nothing can be said.
    ///
    /// # Errors
    /// As [`read_status`], [`auto_installed`] and [`base`](crate::base()).
    pub fn capture(root: &Root, now: i64) -> Result<Self> {
        let mut findings = Findings::default();
        let packages = read_status(root)?;
        let architectures = architectures(root, &packages)?;
        let auto = auto_installed(root, &packages)?;
        let sources = findings.or_default(read_sources(root));
        let origins = read_origins(root, &sources, &packages, &architectures, now);
        let origins = findings.or_default(origins);
        let base = base::base_with(root, &packages, &sources, &origins)?;
        let settings = findings.or_default(apt_conf::read_apt_settings(root));
        let mut state = Self {
            base,
            architectures,
            auto,
            journal: journal(root)?,
            conffiles: findings.or_default(changed_conffiles(root, &packages)),
            diversions: findings.or_default(diversions::read_diversions(root)),
            stat_overrides: findings.or_default(diversions::read_stat_overrides(root)),
            alternatives: findings.or_default(alternatives::read_alternatives(root)),
            selections: findings.or_default(debconf::read_selections(root)),
            preferences: findings.or_default(preferences::read_preferences(root)),
            keyrings: findings.or_default(keyrings::read_keyrings(root, &sources)),
            timers: findings.or_default(timers::read_timers(root)),
            upgrades_unattended: timers::upgrades_unattended(&settings),
            secrets: Vec::new(),
            findings: Vec::new(),
            origins: origins.packages,
            archives: origins.archives,
            packages,
            sources,
            settings,
        };
        state.secrets = state.find_secrets(root, &mut findings);
        findings.of_packages(&state);
        findings.of_base(&state.base);
        findings.of_archives(&state);
        findings.of_apt(&state);
        state.findings = findings.0;
        state.findings.sort();
        state.findings.dedup();
        Ok(state)
    }

    /// Where a package came from.
    pub fn origin(&self, package: &PackageState) -> Option<&PackageOrigin> {
        // Both are in the order of names and architectures.
        let key = (package.name.as_str(), package.architecture.as_str());
        let at = self
            .origins
            .binary_search_by(|o| (o.name.as_str(), o.architecture.as_str()).cmp(&key));
        Some(&self.origins[at.ok()?])
    }

    fn find_secrets(&self, root: &Root, findings: &mut Findings) -> Vec<PathBuf> {
        let mut secrets = findings.or_default(secrets::of_apt(root));
        secrets.extend(findings.or_default(secrets::with_credentials(root)));
        let sources = self.sources.iter();
        let sources = sources.filter(|s| s.uris.iter().any(SourceUri::had_credentials));
        secrets.extend(sources.map(|source| source.file.clone()));
        let settings = self.settings.iter().filter(|setting| setting.had_secret);
        secrets.extend(settings.map(|setting| setting.file.clone()));
        let mut of_debconf = vec![debconf::PASSWORDS];
        // Answers that could not be read may be secret.
        if self.selections.is_empty() || self.selections.iter().any(|s| s.is_kept()) {
            of_debconf.push(debconf::CONFIG);
        }
        // debconf keeps what was there before.
        for file in of_debconf
            .iter()
            .flat_map(|f| [(*f).to_owned(), format!("{f}-old")])
        {
            if findings.or_default(root.find(&file)).is_some() {
                secrets.push(PathBuf::from(file));
            }
        }
        // What a link leads to holds the password.
        for at in 0..secrets.len() {
            let found = findings.or_default(root.find(&secrets[at]));
            let inside = found.and_then(|f| Some(f.strip_prefix(root.path()).ok()?.to_owned()));
            secrets.extend(inside.map(|inside| Path::new("/").join(inside)));
        }
        secrets.sort();
        secrets.dedup();
        secrets
    }
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, kind: FindingKind, subject: impl Into<String>, found: impl Into<String>) {
        self.0.push(Finding {
            kind,
            subject: subject.into(),
            found: found.into(),
        });
    }

    /// What was read, or nothing and a finding.
    fn or_default<T: Default>(&mut self, read: Result<T>) -> T {
        read.unwrap_or_else(|error| {
            let error = error.to_string();
            let (subject, found) = error.split_once(": ").unwrap_or((&error, ""));
            self.add(FindingKind::Unreadable, subject, found);
            T::default()
        })
    }

    fn of_packages(&mut self, state: &HostState) {
        if !state.journal.is_empty() {
            let found = format!("{} entries are not merged", state.journal.len());
            self.add(FindingKind::Interrupted, "/var/lib/dpkg/updates", found);
        }
        for package in &state.packages {
            let subject = || format!("{}:{}", package.name, package.architecture);
            if package.is_held() {
                let version = package.version.as_ref().map(ToString::to_string);
                self.add(FindingKind::Held, subject(), version.unwrap_or_default());
            }
            if package.is_unclean() {
                let kind = match package.state {
                    crate::State::HalfConfigured => FindingKind::HalfConfigured,
                    _ => FindingKind::Unclean,
                };
                self.add(
                    kind,
                    subject(),
                    format!("{} {}", package.flag, package.state),
                );
            }
            if !package.is_installed() {
                continue;
            }
            let Some(origin) = state.origin(package) else {
                continue;
            };
            let kind = match origin.class {
                Class::Local => FindingKind::Local,
                Class::Rebuilt => FindingKind::Rebuilt,
                Class::Superseded => FindingKind::Superseded,
                _ => continue,
            };
            let found = match &origin.newer {
                Some(newer) => format!("{}, where {newer} is offered", origin.version),
                None => origin.version.to_string(),
            };
            self.add(kind, subject(), found);
        }
    }

    fn of_base(&mut self, base: &Base) {
        let said = || {
            let evidence = base
                .evidence
                .iter()
                .map(|e| format!("{:?} {:?}", e.signal, e.text));
            evidence.collect::<Vec<_>>().join(", ")
        };
        if base.confidence == Confidence::Ambiguous {
            self.add(FindingKind::BaseAmbiguous, "base", said());
        }
        if base.is_mixed() {
            let shares = base
                .releases
                .iter()
                .filter(|(_, share)| !share.essential.is_empty());
            let found: Vec<String> = shares
                .map(|(suite, share)| format!("{suite}: {}", share.essential.join(" ")))
                .collect();
            self.add(FindingKind::BaseMixed, "base", found.join("; "));
        }
    }

    fn of_archives(&mut self, state: &HostState) {
        let has_lists = |archive: &Archive| archive.release.is_some() || !archive.lists.is_empty();
        if !state.archives.iter().any(has_lists) {
            let found = format!("{} archives are named", state.archives.len());
            self.add(FindingKind::NoLists, "/var/lib/apt/lists", found);
            return;
        }
        for archive in &state.archives {
            let subject = archive.describe();
            if archive.trusted {
                self.add(FindingKind::Trusted, &*subject, "trusted=yes");
            }
            if !has_lists(archive) {
                self.add(FindingKind::ListsMissing, &*subject, "apt has none");
                continue;
            }
            match &archive.signature {
                Signature::Good { .. } => {}
                Signature::Missing => {
                    self.add(FindingKind::Unsigned, &*subject, "it has no signature")
                }
                Signature::Bad { why } => self.add(FindingKind::BadSignature, &*subject, why),
                Signature::Unchecked { why } => self.add(FindingKind::Unchecked, &*subject, why),
            }
            if archive.expired {
                self.add(
                    FindingKind::ListsExpired,
                    &*subject,
                    "its Valid-Until has passed",
                );
            }
            for list in &archive.lacking {
                let found = format!("apt has no {list}, which its release names");
                self.add(FindingKind::ListsMissing, &*subject, found);
            }
            for list in &archive.lists {
                let file = list.file.to_string_lossy();
                match &list.content {
                    Content::Listed => {}
                    Content::Altered => {
                        self.add(FindingKind::ListsAltered, file, "its digest is another");
                    }
                    Content::Unlisted if archive.release.is_none() => {}
                    Content::Unlisted => {
                        self.add(
                            FindingKind::ListsAltered,
                            file,
                            "its release does not name it",
                        );
                    }
                    Content::Unreadable(why) => self.add(FindingKind::ListsUnreadable, file, why),
                }
            }
        }
    }

    fn of_apt(&mut self, state: &HostState) {
        for source in state.sources.iter().filter(|source| source.enabled) {
            for suite in &source.suites {
                let plain = suite.split(['/', '-']).next().unwrap_or_default();
                if Suite::is_alias(plain) {
                    let subject = format!("{}:{}", source.file.display(), source.line);
                    self.add(FindingKind::Alias, subject, suite);
                }
            }
        }
        let places = |file: &Path, line: u64| format!("{}:{line}", file.display());
        for source in &state.sources {
            if source.uris.iter().any(SourceUri::had_credentials) {
                let subject = places(&source.file, source.line);
                self.add(
                    FindingKind::Secret,
                    subject,
                    "its URI holds a password or a token",
                );
            }
        }
        for setting in state.settings.iter().filter(|setting| setting.had_secret) {
            let subject = places(&setting.file, setting.line);
            self.add(FindingKind::Secret, subject, &setting.name);
        }
        let moves = ["dir", "rootdir"];
        for setting in &state.settings {
            let first = setting
                .name
                .split("::")
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase();
            if moves.contains(&first.as_str()) && !is_harmless(&setting.name) {
                let subject = places(&setting.file, setting.line);
                self.add(FindingKind::Moved, subject, &setting.name);
            }
        }
        for keyring in state.keyrings.iter().filter(|k| k.size.is_none()) {
            self.add(
                FindingKind::KeyringMissing,
                keyring.file.to_string_lossy(),
                "it is not there",
            );
        }
    }
}

/// Settings below `Dir` that move nothing that is read here.
fn is_harmless(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [
        "dir::cache",
        "dir::log",
        "dir::bin",
        "dir::ignore-files-silently",
        "dir::media",
    ]
    .iter()
    .any(|harmless| name.starts_with(harmless))
}

#[cfg(test)]
mod tests;
