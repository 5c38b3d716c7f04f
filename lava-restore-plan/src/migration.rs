//! The migrations that a database has had against those that code ships.

use std::collections::BTreeSet;
use std::fmt;

use crate::facts::{Migration, ShippedMigration};

/// LAVA's own applications; a pending migration in one of them counts even when the database has
/// no row of it.
pub(crate) const LAVA_APPS: [&str; 3] = [
    "lava_scheduler_app",
    "lava_results_app",
    "linaro_django_xmlrpc",
];

/// How the migrations that a database has had differ from those that code ships.
///
/// LAVA's own checks see neither a row that the code does not know (measured: every one of them
/// exits 0) nor, but for one, a migration that is still to come, so the names themselves are
/// compared, squashes expanded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Applied, and unknown to the code: the database is newer.
    pub unknown: BTreeSet<(String, String)>,
    /// Shipped, and not applied: the code is newer. Only of LAVA and of applications that the
    /// database has, for Django ships some that LAVA does not install.
    pub pending: BTreeSet<(String, String)>,
}

impl Difference {
    /// Of the rows of `django_migrations` and the files of the packages.
    pub fn of(applied: &[Migration], shipped: &[ShippedMigration]) -> Self {
        let applied: BTreeSet<(&str, &str)> = applied.iter().map(pair).collect();
        let apps: BTreeSet<&str> = applied
            .iter()
            .map(|(app, _)| *app)
            .chain(LAVA_APPS)
            .collect();
        let mut known = applied_or_shipped(shipped);
        known.extend(
            shipped
                .iter()
                .flat_map(|squash| squash.replaces.iter().map(pair)),
        );
        let replaced_by_applied: BTreeSet<(&str, &str)> = shipped
            .iter()
            .filter(|squash| applied.contains(&(squash.app.as_str(), squash.name.as_str())))
            .flat_map(|squash| squash.replaces.iter().map(pair))
            .collect();
        let done = |migration: &ShippedMigration| {
            let name = (migration.app.as_str(), migration.name.as_str());
            applied.contains(&name)
                || replaced_by_applied.contains(&name)
                || (!migration.replaces.is_empty()
                    && migration
                        .replaces
                        .iter()
                        .all(|part| applied.contains(&pair(part))))
        };
        Self {
            unknown: applied.difference(&known).map(owned).collect(),
            pending: shipped
                .iter()
                .filter(|migration| apps.contains(migration.app.as_str()) && !done(migration))
                .map(|migration| (migration.app.clone(), migration.name.clone()))
                .collect(),
        }
    }

    /// Do they fit each other?
    pub fn is_empty(&self) -> bool {
        self.unknown.is_empty() && self.pending.is_empty()
    }
}

impl fmt::Display for Difference {
    /// Nothing if it is empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sides = [("database", &self.unknown), ("packages", &self.pending)];
        let only = sides.iter().filter(|(_, names)| !names.is_empty());
        let only = only.map(|(side, names)| format!("only in the {side}: {}", list(names)));
        f.write_str(&only.collect::<Vec<_>>().join("; "))
    }
}

/// Names for a person to read: the first few and how many more there are.
pub(crate) fn list(names: &BTreeSet<(String, String)>) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|(app, name)| format!("{app}.{name}"))
        .collect();
    if names.len() > SHOWN {
        text.push(format!("and {} more", names.len() - SHOWN));
    }
    text.join(", ")
}

fn applied_or_shipped(shipped: &[ShippedMigration]) -> BTreeSet<(&str, &str)> {
    shipped
        .iter()
        .map(|migration| (migration.app.as_str(), migration.name.as_str()))
        .collect()
}

fn pair(migration: &Migration) -> (&str, &str) {
    (&migration.app, &migration.name)
}

fn owned(name: &(&str, &str)) -> (String, String) {
    (name.0.to_owned(), name.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = "lava_results_app";

    fn applied(names: &[&str]) -> Vec<Migration> {
        let row = |name: &&str| Migration {
            app: APP.into(),
            name: (*name).into(),
        };
        names.iter().map(row).collect()
    }

    fn shipped(names: &[(&str, &[&str])]) -> Vec<ShippedMigration> {
        let file = |(name, replaces): &(&str, &[&str])| ShippedMigration {
            app: APP.into(),
            name: (*name).into(),
            replaces: applied(replaces),
        };
        names.iter().map(file).collect()
    }

    #[test]
    fn a_squash_stands_for_all_it_replaces_and_nothing_less() {
        let code = shipped(&[
            ("0001_squashed_0002_b", &["0001_a", "0002_b"]),
            ("0003_c", &[]),
        ]);
        for whole in [
            applied(&["0001_a", "0002_b", "0003_c"]),
            applied(&["0001_squashed_0002_b", "0003_c"]),
            applied(&["0001_a", "0002_b", "0001_squashed_0002_b", "0003_c"]),
        ] {
            assert!(Difference::of(&whole, &code).is_empty());
        }
        let half = Difference::of(&applied(&["0001_a", "0003_c"]), &code);
        assert_eq!(list(&half.pending), "lava_results_app.0001_squashed_0002_b");
    }

    #[test]
    fn a_row_that_no_file_knows_makes_the_database_newer() {
        let difference = Difference::of(
            &applied(&["0001_a", "0019_auto_x"]),
            &shipped(&[("0001_a", &[])]),
        );
        assert_eq!(list(&difference.unknown), "lava_results_app.0019_auto_x");
        assert!(difference.pending.is_empty());
        let both = Difference::of(&applied(&["0002_b"]), &shipped(&[("0001_a", &[])]));
        assert_eq!(
            both.to_string(),
            "only in the database: lava_results_app.0002_b; \
             only in the packages: lava_results_app.0001_a"
        );
    }

    #[test]
    fn an_application_that_only_the_code_has_is_pending_only_when_it_is_lavas() {
        let mut code = shipped(&[("0001_a", &[])]);
        code.push(ShippedMigration {
            app: "flatpages".into(),
            name: "0001_initial".into(),
            replaces: vec![],
        });
        assert!(Difference::of(&applied(&["0001_a"]), &code).is_empty());
        assert_eq!(Difference::of(&[], &code).pending.len(), 1);
    }
}
