//! The Django migrations that packages' files define, against those of a database.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

/// One migration by the app and the name that Django's table `django_migrations` has for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Migration {
    /// The app's label.
    pub app: String,
    /// The migration's name: that of its file, without `.py`.
    pub name: String,
}

impl Migration {
    /// A migration of an app.
    pub fn new(app: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            app: app.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.app, self.name)
    }
}

/// One migration file of an installed package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ShippedMigration {
    /// What it defines.
    pub migration: Migration,
    /// The package that ships it.
    pub package: String,
    /// Where it lies in the root, absolute.
    pub path: PathBuf,
    /// What it replaces, when it is a squash.
    pub replaces: BTreeSet<Migration>,
}

/// Every migration file of the installed packages, of every app, LAVA's or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Shipped(Vec<ShippedMigration>);

impl Shipped {
    /// The files, sorted by migration, then package. Django for Python 2 and for Python 3 both
    /// installed define the same migrations twice.
    pub fn iter(&self) -> impl Iterator<Item = &ShippedMigration> {
        self.0.iter()
    }

    /// The set of migrations that the files define.
    pub fn migrations(&self) -> BTreeSet<Migration> {
        self.iter()
            .map(|shipped| shipped.migration.clone())
            .collect()
    }

    /// How many migrations each app has.
    pub fn apps(&self) -> BTreeMap<String, usize> {
        let mut apps = BTreeMap::new();
        for migration in self.migrations() {
            *apps.entry(migration.app).or_default() += 1;
        }
        apps
    }

    /// Those of some apps alone. Packages ship apps that a LAVA does not use (`flatpages`), so a
    /// comparison is restricted to the apps that the database knows, or to a list.
    #[must_use]
    pub fn of_apps<'a>(&self, apps: impl IntoIterator<Item = &'a str>) -> Self {
        let apps: BTreeSet<&str> = apps.into_iter().collect();
        let of_apps = |shipped: &&ShippedMigration| apps.contains(shipped.migration.app.as_str());
        Self(self.iter().filter(of_apps).cloned().collect())
    }
}

impl FromIterator<ShippedMigration> for Shipped {
    fn from_iter<I: IntoIterator<Item = ShippedMigration>>(files: I) -> Self {
        let mut files: Vec<ShippedMigration> = files.into_iter().collect();
        files.sort();
        Self(files)
    }
}

/// The difference between the migrations of a database and those of the installed code. Both sets
/// empty: they fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Shipped and not applied: the database is older than the code.
    pub missing: BTreeSet<Migration>,
    /// Applied and not shipped: the database is newer than the code, which Django never reports.
    pub unknown: BTreeSet<Migration>,
}

impl Mismatch {
    /// Whether database and code fit each other.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unknown.is_empty()
    }
}

/// Compares what a database has applied with what the installed code ships, squashes expanded.
///
/// - A squash counts as applied when its own name is, or all that it replaces: either way the
///   database has its tables. (Django writes all these names when it applies a squash, and Django
///   3.2 takes one for not applied that has its own name alone.)
/// - What a shipped squash replaces is known, and is not missing while the squash is applied.
/// - Where nothing of a squash is applied, the squash is missing and what it replaces is not.
/// - Where a part is, what it replaces is missing one by one if all of it is shipped, as Django
///   would then go on with it; else the squash is missing.
pub fn expand(applied: &BTreeSet<Migration>, shipped: &Shipped) -> Mismatch {
    let present = shipped.migrations();
    let mut squashes: BTreeMap<&Migration, BTreeSet<&Migration>> = BTreeMap::new();
    for file in shipped.iter().filter(|file| !file.replaces.is_empty()) {
        squashes
            .entry(&file.migration)
            .or_default()
            .extend(&file.replaces);
    }
    let replaced: BTreeSet<&Migration> = squashes.values().flatten().copied().collect();

    // A squash may replace squashes, so go on until nothing new counts as applied.
    let mut counted: BTreeSet<&Migration> = applied.iter().collect();
    loop {
        let newly: Vec<&Migration> = squashes
            .iter()
            .filter(|(name, targets)| !counted.contains(*name) && targets.is_subset(&counted))
            .map(|(name, _)| *name)
            .collect();
        if newly.is_empty() {
            break;
        }
        counted.extend(newly);
    }

    // Downwards too: what an applied squash replaces is done, and what that replaces.
    let mut covered: BTreeSet<&Migration> = BTreeSet::new();
    let mut ahead: Vec<&Migration> = counted.iter().copied().collect();
    while let Some(done) = ahead.pop() {
        for target in squashes.get(done).into_iter().flatten() {
            if covered.insert(target) {
                ahead.push(target);
            }
        }
    }

    let is_done =
        |migration: &Migration| counted.contains(migration) || covered.contains(migration);
    let mut missing: BTreeSet<Migration> = present
        .iter()
        .filter(|migration| !is_done(migration))
        .cloned()
        .collect();
    for (squash, targets) in squashes.iter().filter(|(squash, _)| !is_done(squash)) {
        let begun = targets.iter().any(|target| is_done(target));
        if begun && targets.iter().all(|target| present.contains(target)) {
            missing.remove(*squash);
        } else if !begun {
            missing.retain(|migration| !targets.contains(migration));
        }
    }
    // Squashes that replace each other would hide each other; nothing may hide that way.
    if missing.is_empty() {
        missing = present
            .iter()
            .filter(|migration| !is_done(migration))
            .cloned()
            .collect();
    }
    let is_known =
        |migration: &Migration| present.contains(migration) || replaced.contains(migration);
    let unknown = applied
        .iter()
        .filter(|migration| !is_known(migration))
        .cloned()
        .collect();
    Mismatch { missing, unknown }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn set(names: &[&str]) -> BTreeSet<Migration> {
        names
            .iter()
            .map(|name| Migration::new("app", *name))
            .collect()
    }

    /// `a<b,c` is a squash a of b and c.
    fn shipped(names: &[&str]) -> Shipped {
        names
            .iter()
            .map(|text| {
                let (name, replaces) = text.split_once('<').unwrap_or((text, ""));
                let replaces: Vec<&str> = replaces.split(',').filter(|n| !n.is_empty()).collect();
                ShippedMigration {
                    migration: Migration::new("app", name),
                    package: "package".into(),
                    path: PathBuf::new(),
                    replaces: set(&replaces),
                }
            })
            .collect()
    }

    fn compare(applied: &[&str], files: &[&str]) -> (Vec<String>, Vec<String>) {
        let names = |set: BTreeSet<Migration>| set.into_iter().map(|m| m.name).collect();
        let mismatch = expand(&set(applied), &shipped(files));
        (names(mismatch.missing), names(mismatch.unknown))
    }

    fn found(missing: &[&str], unknown: &[&str]) -> (Vec<String>, Vec<String>) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        (owned(missing), owned(unknown))
    }

    #[test]
    fn without_squashes_it_is_the_difference_of_two_sets() {
        assert_eq!(compare(&["1", "2"], &["1", "2"]), found(&[], &[]));
        assert_eq!(compare(&["1"], &["1", "2"]), found(&["2"], &[]));
        assert_eq!(compare(&["1", "2"], &["1"]), found(&[], &["2"]));
        assert_eq!(compare(&["1", "x"], &["1", "y"]), found(&["y"], &["x"]));
    }

    #[test]
    fn a_squash_is_applied_by_its_own_name_or_by_all_that_it_replaces() {
        let files = ["s<1,2", "3"];
        for applied in [
            &["1", "2", "3"][..],
            &["s", "3"],
            &["s", "1", "2", "3"],
            &["s", "1", "3"],
        ] {
            assert_eq!(compare(applied, &files), found(&[], &[]), "{applied:?}");
        }
        assert_eq!(compare(&["1", "3"], &files), found(&["s"], &[]));
        assert_eq!(
            compare(&["s", "3"], &["1", "2", "s<1,2", "3"]),
            found(&[], &[])
        );
        assert_eq!(compare(&["s", "0", "3"], &files), found(&[], &["0"]));
    }

    #[test]
    fn a_squash_that_is_shipped_beside_what_it_replaces_is_missing_once() {
        let files = ["1", "2", "s<1,2", "3"];
        assert_eq!(compare(&[], &files), found(&["3", "s"], &[]));
        assert_eq!(compare(&["1"], &files), found(&["2", "3"], &[]));
        assert_eq!(compare(&["1", "2"], &files), found(&["3"], &[]));
    }

    #[test]
    fn a_squash_of_squashes_is_expanded_both_ways() {
        let files = ["t<s,3", "s<1,2", "3"];
        assert_eq!(compare(&["1", "2", "3"], &files), found(&[], &[]));
        assert_eq!(compare(&["t"], &files), found(&[], &[]));
        assert_eq!(compare(&["s", "3"], &files), found(&[], &[]));
    }

    proptest! {
        #[test]
        fn what_is_applied_exactly_as_it_is_shipped_fits(
            files in proptest::collection::btree_set("[a-e](<[a-e](,[a-e]){0,2})?", 0..6)
        ) {
            let files: Vec<&str> = files.iter().map(String::as_str).collect();
            let shipped = shipped(&files);
            prop_assert!(expand(&shipped.migrations(), &shipped).is_empty());
        }

        #[test]
        fn an_empty_database_always_misses_something(
            files in proptest::collection::btree_set("[a-e](<[a-e](,[a-e]){0,2})?", 1..6)
        ) {
            let files: Vec<&str> = files.iter().map(String::as_str).collect();
            let mismatch = expand(&BTreeSet::new(), &shipped(&files));
            prop_assert!(!mismatch.missing.is_empty() && mismatch.unknown.is_empty());
        }

        #[test]
        fn what_no_file_names_is_always_unknown(
            files in proptest::collection::btree_set("[a-e](<[a-e](,[a-e]){0,2})?", 0..6),
            applied in proptest::collection::btree_set("[a-e]", 0..5)
        ) {
            let files: Vec<&str> = files.iter().map(String::as_str).collect();
            let mut applied: Vec<&str> = applied.iter().map(String::as_str).collect();
            applied.push("stranger");
            let mismatch = expand(&set(&applied), &shipped(&files));
            prop_assert!(mismatch.unknown.contains(&Migration::new("app", "stranger")));
        }
    }
}
