//! What a LAVA host must have, and where names come and go.

use std::collections::{BTreeMap, BTreeSet};

use lava_backup_core::compare::{Inventory, Rules, Tolerance};
use lava_backup_core::{Backup, MemberPath};
use lava_restore_plan::facts::DatabaseState;
use lava_restore_plan::release::RELEASES;

use crate::exit::Failure;
use crate::{backup_facts, paths};

/// What editors and dpkg leave beside files.
const LEFT_BESIDE: &[&str] = &[
    "**/*~",
    "**/#*#",
    "**/.*.sw?",
    "**/*.dpkg-*",
    "**/*.ucf-*",
    "**/__pycache__/**",
];

/// Tables that LAVA and Django empty by themselves: they must be there.
const FLEETING: &[&str] = &["public.django_session"];

/// Of these, packages must be there; others come and go with updates.
const NEEDED: &[&str] = &["apache2", "lava-", "postgresql"];

/// How the files of any LAVA host are to be looked at.
pub(super) fn rules(tolerance: Tolerance) -> Result<Rules, Failure> {
    let mut named: BTreeSet<&str> = paths::named().collect();
    let mut collections = BTreeSet::new();
    for release in RELEASES {
        named.extend(release.settings);
        collections.extend(release.device_config);
    }
    let member = |path: &str| -> Result<MemberPath, Failure> {
        let section = paths::section(path);
        let path = path.trim_matches('/');
        Ok(format!("{section}/{path}").parse()?)
    };
    let ignored = LEFT_BESIDE.iter().map(|pattern| Ok(pattern.parse()?));
    Ok(Rules {
        named: named.into_iter().map(member).collect::<Result<_, _>>()?,
        collections: collections
            .into_iter()
            .map(member)
            .collect::<Result<_, _>>()?,
        living: vec![paths::DATA.parse()?, paths::LOGS.parse()?],
        ignored: ignored.collect::<Result<_, Failure>>()?,
        tolerance,
    })
}

/// What the seal of a backup says to be in it: tables with their rows, applied
/// migrations, packages.
pub(super) fn inventories(backup: &Backup) -> Result<Vec<Inventory>, Failure> {
    let facts = backup_facts::facts(backup)?;
    let mut tables = BTreeMap::new();
    for table in backup_facts::dump(backup)?
        .map(|d| d.contents.tables)
        .unwrap_or_default()
    {
        let name = format!("{}.{}", table.table.schema, table.table.name);
        let rows = (!FLEETING.contains(&name.as_str())).then_some(table.rows);
        tables.insert(name, rows);
    }
    let mut migrations = BTreeMap::new();
    if let DatabaseState::Present(database) = &facts.database {
        for migration in database.migrations.iter().flatten() {
            migrations.insert(format!("{}.{}", migration.app, migration.name), None);
        }
    }
    let mut packages = BTreeMap::new();
    let installed = facts.packages.iter().filter(|p| p.is_installed());
    let count = installed
        .map(|package| {
            if NEEDED.iter().any(|needed| package.name.starts_with(needed)) {
                // An upgrade brings postgresql-15 in the place of postgresql-13.
                let stem = package.name.trim_end_matches(|c: char| c.is_ascii_digit());
                packages.insert(stem.trim_end_matches('-').to_owned(), None);
            }
        })
        .count();
    if count > 0 {
        packages.insert("(all installed)".into(), Some(count as u64));
    }
    let inventory = |name: &str, items| Inventory {
        name: name.into(),
        items,
    };
    Ok(vec![
        inventory("migration", migrations),
        inventory("package", packages),
        inventory("table", tables),
    ])
}
