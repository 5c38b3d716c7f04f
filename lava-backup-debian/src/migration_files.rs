//! The migration files of the installed packages.

use std::{collections::BTreeSet, ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use crate::{
    Error, ErrorKind, Migration, PackageState, Result, Root, Shipped, ShippedMigration, info,
    squash,
};

/// More than a hundred times the longest migration of a bookworm master.
pub(crate) const MOST_PYTHON: u64 = 4 << 20;

/// Finds the migration files of all installed packages, and reads what squashes replace.
///
/// A file is one when its package lists it as
/// `/usr/lib/python3*/dist-packages/…/APP/migrations/NNNN_*.py` (or of Python 2.7) and it is there.
/// The app's label is taken to be the directory's name, as it is for LAVA and all of Django.
///
/// # Errors
/// [`ErrorKind::Malformed`] when an installed package has no list of files, or a squash writes what
/// it replaces in a way that can't be read without running it.
pub fn shipped_migrations(root: &Root, packages: &[PackageState]) -> Result<Shipped> {
    let mut shipped = Vec::new();
    for package in packages.iter().filter(|package| package.is_installed()) {
        let list = file_list(root, package)?;
        for path in list.split(|b| *b == b'\n') {
            let Some(migration) = migration_of(path) else {
                continue;
            };
            let path = Path::new(OsStr::from_bytes(path));
            let Some(source) = root.read(path, MOST_PYTHON)? else {
                continue;
            };
            shipped.push(ShippedMigration {
                migration,
                package: package.name.clone(),
                path: path.to_owned(),
                replaces: replaced(&source, &root.describe(path))?,
            });
        }
    }
    Ok(shipped.into_iter().collect())
}

/// What the source of a migration says that it replaces; `place` names it in errors.
pub(crate) fn replaced(source: &[u8], place: &str) -> Result<BTreeSet<Migration>> {
    let replaces = squash::replaces(source).map_err(|unreadable| {
        Error::new(
            ErrorKind::Malformed,
            format!("read {place}, line {}", unreadable.line),
            "what this migration replaces is no list of plain names",
        )
    })?;
    let migration = |(app, name)| Migration { app, name };
    Ok(replaces.into_iter().map(migration).collect())
}

fn file_list(root: &Root, package: &PackageState) -> Result<Vec<u8>> {
    info::read(root, package, "list")?.ok_or_else(|| {
        Error::new(
            ErrorKind::Malformed,
            format!("list the files of package {}", package.name),
            format!("dpkg of {} has no list of them", root.path().display()),
        )
    })
}

pub(crate) fn migration_of(path: &[u8]) -> Option<Migration> {
    let path = std::str::from_utf8(path).ok()?;
    let (python, inside) = path
        .strip_prefix("/usr/lib/python")?
        .split_once("/dist-packages/")?;
    let version = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if !(python == "2.7" || (python.starts_with('3') && version(python))) {
        return None;
    }
    let mut parts = inside.rsplit('/');
    let name = parts.next()?.strip_suffix(".py")?;
    let numbered = name.len() > 5
        && name.as_bytes()[4] == b'_'
        && name.bytes().take(4).all(|b| b.is_ascii_digit());
    (numbered && parts.next()? == "migrations").then_some(())?;
    Some(Migration::new(parts.next()?, name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_directory_above_migrations_is_the_app() {
        let of = |path: &str| migration_of(path.as_bytes()).map(|m| m.to_string());
        let packages = "/usr/lib/python3/dist-packages";
        for (path, migration) in [
            (
                "lava_scheduler_app/migrations/0056_testjob_queue_timeout.py",
                "lava_scheduler_app.0056_testjob_queue_timeout",
            ),
            (
                "django/contrib/auth/migrations/0001_initial.py",
                "auth.0001_initial",
            ),
            (
                "rest_framework/authtoken/migrations/0001_initial.py",
                "authtoken.0001_initial",
            ),
        ] {
            assert_eq!(
                of(&format!("{packages}/{path}")).as_deref(),
                Some(migration)
            );
        }
        assert_eq!(
            of("/usr/lib/python2.7/dist-packages/django/contrib/sites/migrations/0002_alter_domain_unique.py").as_deref(),
            Some("sites.0002_alter_domain_unique")
        );
        for path in [
            "a/migrations/__init__.py",
            "a/migrations/0001_x.pyc",
            "a/migrations/0001.py",
            "a/migrations/001_x.py",
            "a/south_migrations/0001_x.py",
            "a/migrations/sub/0001_x.py",
            "migrations/0001_x.py",
        ] {
            assert_eq!(of(&format!("{packages}/{path}")), None, "{path}");
        }
        assert_eq!(
            of("/usr/lib/pythonic/dist-packages/a/migrations/0001_x.py"),
            None
        );
        assert_eq!(
            of("/srv/usr/lib/python3/dist-packages/a/migrations/0001_x.py"),
            None
        );
    }
}
