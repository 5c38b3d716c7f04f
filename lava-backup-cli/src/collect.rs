//! The facts of a host.

use std::path::PathBuf;

use lava_backup_debian as debian;
use lava_backup_pg::{Address, ErrorKind, Row, Snapshot};
use lava_restore_plan::Facts;
use lava_restore_plan::facts::{
    Apache, Database, DatabaseState, LavaFacts, Migration, PostgresqlFacts, Role, Settings,
    ShippedMigration, UNATTENDED,
};
use lava_restore_plan::release::RELEASES;

use crate::answer::Answer;
use crate::args::FactsArgs;
use crate::clock;
use crate::exit::{CouldNot, Exit, Failure};
use crate::host::{self, Host};

mod lab;
mod packages;
mod surroundings;

pub(crate) fn facts(args: &FactsArgs) -> Result<Answer, Failure> {
    let host = Host::open(&args.root)?;
    let (mut facts, _) = of_files(&host)?;
    if let Some(address) = address(&host, args.database.url.as_deref())? {
        match database(&address) {
            Ok(mut snapshot) => of_database(&mut facts, &mut snapshot)?,
            // Named on the command line it is asked for; found in the settings
            // of a host that is being prepared it may well be down.
            Err(e) if args.database.url.is_some() => return Err(e).could_not("read the database"),
            Err(e) if e.kind() == ErrorKind::Absent => {
                facts.database = DatabaseState::Absent;
            }
            Err(_) => {}
        }
    }
    facts.captured_at = Some(clock::now().rfc3339());
    facts.normalise();
    let document = serde_json::to_value(&facts).unwrap_or_default();
    Ok(Answer::new(Exit::Done, &facts, format!("{document:#}\n")))
}

/// Where the database is: as named, or as LAVA's settings say. An offline root
/// has none that runs.
pub(crate) fn address(host: &Host, named: Option<&str>) -> Result<Option<Address>, Failure> {
    let address = match named {
        Some(url) => {
            let bad = |e| Failure::new(Exit::Usage, format!("could not {e}"));
            Some(Address::parse(url).map_err(bad)?)
        }
        None if host.is_live() => host.settings.database.clone(),
        None => None,
    };
    Ok(address.map(|address| Address {
        os_user: host::user_at_socket(&address),
        ..address
    }))
}

/// The database at an address, as its own role sees it. lava-server's scripts write the settings
/// before they make that role and the database: where they were cut off between, the role is let in
/// nowhere, and the server's superuser knows that there is no database.
///
/// # Errors
/// As [`Snapshot::take`].
pub(crate) fn database(address: &Address) -> Result<Snapshot, lava_backup_pg::Error> {
    let shut_out = match Snapshot::take(address) {
        Err(e) if e.kind() == ErrorKind::Connection => e,
        taken => return taken,
    };
    let (Some(host), Ok(os_user)) = (host::socket(address), host::postgres_user()) else {
        return Err(shut_out);
    };
    let superuser = Address {
        host,
        port: address.port,
        database: address.database.clone(),
        user: "postgres".to_owned(),
        password: None,
        os_user,
    };
    match Snapshot::take(&superuser) {
        Err(e) if e.kind() == ErrorKind::Absent => Err(e),
        _ => Err(shut_out),
    }
}

/// What the files of a host say, and which of them hold a password of apt's or debconf's.
pub(crate) fn of_files(host: &Host) -> Result<(Facts, Vec<PathBuf>), Failure> {
    let state = packages::state(host)?;
    let mut facts = Facts::unknown();
    facts.role = host.role();
    facts.hostname = Some(host.name());
    packages::add(&mut facts, &state);
    facts.locales = surroundings::locales(&host.root);
    facts.lava = host.lava_version().map(|version| LavaFacts {
        version,
        package_version: host.lava_package().and_then(|p| p.version.clone()),
    });
    facts.migrations_shipped = Some(shipped(host)?);
    facts.units = Some(host.units(&lava_units()));
    facts.timers = Some(host.units(&UNATTENDED));
    facts.settings = Settings {
        media_root: Some(host.settings.media_root.to_string_lossy().into_owned()),
        log_backend: Some(host.settings.log_backend.clone()),
        instance_name: host.settings.instance_name.clone(),
        allow_version_mismatch: Some(host.settings.allow_version_mismatch),
    };
    facts.room = Some(surroundings::room(&host.root, &host.settings.media_root));
    facts.apache = Apache {
        lava_site_enabled: host.lava_site_enabled(),
        sites: host.sites(),
    };
    facts.worker = host.worker();
    let clusters = host.clusters();
    // The one whose port LAVA's settings name; else the newest.
    let wanted = host.settings.database.as_ref().map_or(5432, |a| a.port);
    let of_lava = clusters.iter().find(|c| c.port == Some(wanted));
    facts.postgresql = of_lava.or(clusters.last()).map(|c| PostgresqlFacts {
        major: c.major,
        clusters: clusters.clone(),
        ..PostgresqlFacts::default()
    });
    Ok((facts, state.secrets))
}

/// Adds what the database holds, all of one instant.
pub(crate) fn of_database(facts: &mut Facts, snapshot: &mut Snapshot) -> Result<(), Failure> {
    let server = snapshot.facts().clone();
    let clusters = facts.postgresql.take().map(|p| p.clusters);
    let mut names = |sql: &str| {
        let rows = rows(snapshot, sql)?;
        let first = |rows: Vec<Row>| rows.into_iter().filter_map(|row| row.into_iter().next()?);
        Ok::<_, Failure>(rows.map(|rows| first(rows).collect()))
    };
    facts.postgresql = Some(PostgresqlFacts {
        major: server.major,
        server_version: Some(server.version.clone()),
        clusters: clusters.unwrap_or_default(),
        roles: names("SELECT rolname FROM pg_catalog.pg_roles WHERE rolname !~ '^pg_'")?,
        extensions: names("SELECT name FROM pg_catalog.pg_available_extensions")?,
    });
    let name = |extension: &String| extension.split(' ').next().map(str::to_owned);
    let extensions = server.extensions.iter().filter_map(name).collect();
    let address = snapshot.address().clone();
    let mut database = Database {
        name: server.database,
        owner: Some(server.owner),
        host: (!address.host.starts_with('/')).then_some(address.host),
        port: Some(address.port),
        encoding: Some(server.encoding),
        collate: Some(server.collate),
        ctype: Some(server.ctype),
        provider: Some(server.provider),
        extensions: Some(extensions),
        size_bytes: Some(server.size),
        ..Database::default()
    };
    database.migrations = migrations(snapshot)?;
    lab::add(&mut database, snapshot)?;
    let mut count = |sql: &str| {
        let first = rows(snapshot, sql)?.and_then(|rows| number(rows.first()?, 0));
        Ok::<_, Failure>(first.map(|n| n as u64))
    };
    database.workers = count("SELECT count(*) FROM public.lava_scheduler_app_worker")?;
    database.max_job_id =
        count("SELECT coalesce(max(id), 0) FROM public.lava_scheduler_app_testjob")?;
    database.queries = count(
        "SELECT count(*) FROM pg_catalog.pg_matviews WHERE schemaname = 'public' \
         AND matviewname ~ '^query_[0-9]+$'",
    )?;
    facts.database = DatabaseState::Present(Box::new(database));
    Ok(())
}

/// The migrations that a database has had.
pub(crate) fn migrations(snapshot: &mut Snapshot) -> Result<Option<Vec<Migration>>, Failure> {
    let sql = "SELECT app, name FROM public.django_migrations ORDER BY 1, 2";
    let migration = |row: Row| match <[Option<String>; 2]>::try_from(row) {
        Ok([Some(app), Some(name)]) => Some(Migration { app, name }),
        _ => None,
    };
    let applied = rows(snapshot, sql)?;
    Ok(applied.map(|rows| rows.into_iter().filter_map(migration).collect()))
}

/// What a table of LAVA holds; `None` if this database has no such table or
/// column. That it could not be asked is another thing, and ends the reading.
pub(crate) fn rows(snapshot: &mut Snapshot, sql: &str) -> Result<Option<Vec<Row>>, Failure> {
    match snapshot.query(sql) {
        Ok(rows) => Ok(Some(rows)),
        Err(e) if e.kind() == ErrorKind::Absent => Ok(None),
        Err(e) => Err(e).could_not("read the database"),
    }
}

fn number(row: &Row, at: usize) -> Option<usize> {
    row.get(at)?.as_deref()?.parse().ok()
}

/// The migrations that the installed packages' files define.
fn shipped(host: &Host) -> Result<Vec<ShippedMigration>, Failure> {
    let found = debian::shipped_migrations(&host.debian, &host.packages)
        .could_not("read the migrations of the installed packages")?;
    let migration = |m: &debian::Migration| Migration {
        app: m.app.clone(),
        name: m.name.clone(),
    };
    let shipped = found.iter().map(|found| ShippedMigration {
        app: found.migration.app.clone(),
        name: found.migration.name.clone(),
        replaces: found.replaces.iter().map(migration).collect(),
    });
    Ok(shipped.collect())
}

/// Every unit that any release of LAVA has.
fn lava_units() -> Vec<&'static str> {
    let mut units: Vec<&str> = vec!["lava-coordinator.service"];
    for release in RELEASES {
        units.extend(release.master_units);
        units.extend(release.optional_units);
        units.push(release.worker_unit);
    }
    units.sort_unstable();
    units.dedup();
    units
}

/// Is it a master or a worker, and does it say so?
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Master => "master",
        Role::Worker => "worker",
        Role::Unknown => "unknown",
    }
}
