//! The migrations that a database has had against those that code ships.

use std::collections::BTreeSet;
use std::path::PathBuf;

use lava_backup_debian as debian;
pub use lava_backup_debian::Mismatch;

use crate::facts::{Migration, ShippedMigration};

/// LAVA's own applications; a migration of one of them that is missing counts even when the
/// database has no row of it.
pub(crate) const LAVA_APPS: [&str; 3] = [
    "lava_scheduler_app",
    "lava_results_app",
    "linaro_django_xmlrpc",
];

/// How the rows of `django_migrations` differ from the files of the packages, squashes expanded:
/// [`debian::expand`], of LAVA's applications and of those that the database has, for Django ships
/// some that LAVA does not install.
///
/// LAVA's own checks see neither a row that the code does not know (measured: every one of them
/// exits 0) nor, but for one, a migration that is still to come, so the names themselves are
/// compared.
pub fn compare(applied: &[Migration], shipped: &[ShippedMigration]) -> Mismatch {
    let applied = names(applied);
    let file = |file: &ShippedMigration| debian::ShippedMigration {
        migration: debian::Migration::new(&file.app, &file.name),
        package: String::new(),
        path: PathBuf::new(),
        replaces: names(&file.replaces),
    };
    let shipped: debian::Shipped = shipped.iter().map(file).collect();
    let apps = applied.iter().map(|migration| migration.app.as_str());
    debian::expand(&applied, &shipped.of_apps(apps.chain(LAVA_APPS)))
}

fn names(migrations: &[Migration]) -> BTreeSet<debian::Migration> {
    let name = |migration: &Migration| debian::Migration::new(&migration.app, &migration.name);
    migrations.iter().map(name).collect()
}

/// What differs, for a person; nothing if nothing does.
pub fn in_words(mismatch: &Mismatch) -> String {
    let sides = [
        ("database", &mismatch.unknown),
        ("packages", &mismatch.missing),
    ];
    let only = sides.iter().filter(|(_, names)| !names.is_empty());
    let only = only.map(|(side, names)| format!("only in the {side}: {}", list(names)));
    only.collect::<Vec<_>>().join("; ")
}

/// Names for a person to read: the first few and how many more there are.
pub(crate) fn list(names: &BTreeSet<debian::Migration>) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<String> = names.iter().take(SHOWN).map(ToString::to_string).collect();
    if names.len() > SHOWN {
        text.push(format!("and {} more", names.len() - SHOWN));
    }
    text.join(", ")
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
            assert!(compare(&whole, &code).is_empty());
        }
        // A squash of squashes, too.
        let twice = shipped(&[
            ("0001_squashed_0002_b", &["0001_a", "0002_b"]),
            ("0001_squashed_0003_c", &["0001_squashed_0002_b", "0003_c"]),
        ]);
        assert!(compare(&applied(&["0001_a", "0002_b", "0003_c"]), &twice).is_empty());
        let half = compare(&applied(&["0001_a", "0003_c"]), &code);
        assert_eq!(list(&half.missing), "lava_results_app.0001_squashed_0002_b");
    }

    #[test]
    fn a_row_that_no_file_knows_makes_the_database_newer() {
        let mismatch = compare(
            &applied(&["0001_a", "0019_auto_x"]),
            &shipped(&[("0001_a", &[])]),
        );
        assert_eq!(list(&mismatch.unknown), "lava_results_app.0019_auto_x");
        assert!(mismatch.missing.is_empty());
        let both = compare(&applied(&["0002_b"]), &shipped(&[("0001_a", &[])]));
        assert_eq!(
            in_words(&both),
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
        assert!(compare(&applied(&["0001_a"]), &code).is_empty());
        assert_eq!(compare(&[], &code).missing.len(), 1);
    }
}
