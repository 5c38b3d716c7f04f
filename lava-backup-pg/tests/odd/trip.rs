//! There and back: what a server says of a database, and of the one that was
//! restored from its dump.

use std::process::Command;

use lava_backup_pg::archive::DumpContents;
use lava_backup_pg::{Pace, Restore, Restored, Result, Scratch, ServerFacts, Snapshot};

use crate::common::lab::{Kept, STAMP, bring, script, shared};

/// A database that was dumped.
pub(crate) struct Dumped {
    pub(crate) name: String,
    pub(crate) facts: ServerFacts,
    pub(crate) bytes: Vec<u8>,
    pub(crate) contents: DumpContents,
}

/// Makes a database with a script and dumps it.
pub(crate) fn dumped(cluster: &Scratch, name: &str, made: &str) -> Dumped {
    let create = format!("CREATE DATABASE {} TEMPLATE template0", quoted(name));
    cluster.superuser().query("postgres", &create).unwrap();
    script(cluster, name, made);
    dump_again(cluster, name)
}

pub(crate) fn dump_again(cluster: &Scratch, name: &str) -> Dumped {
    let mut snapshot = Snapshot::take(&cluster.address(name)).unwrap();
    let mut kept = Kept::default();
    let dumped = lava_backup_pg::dump(&mut snapshot, Pace::Unlimited, &mut kept).unwrap();
    assert_eq!(dumped.warnings, [""; 0]);
    Dumped {
        name: name.to_owned(),
        facts: snapshot.facts().clone(),
        bytes: kept.bytes,
        contents: dumped.contents,
    }
}

impl Dumped {
    /// To be restored under another name, over whatever is there.
    pub(crate) fn spec(&self, name: &str) -> Restore<'_> {
        Restore {
            database: name.to_owned(),
            replace_data: true,
            jobs: 3,
            ..Restore::of(&self.facts, &self.contents, STAMP)
        }
    }

    /// Restores it beside and swaps it for a database of the other name.
    pub(crate) fn swap_in(&self, cluster: &Scratch, name: &str) -> Result<Restored> {
        self.swap_in_by(3, cluster, name)
    }

    fn swap_in_by(&self, jobs: u32, cluster: &Scratch, name: &str) -> Result<Restored> {
        let admin = cluster.superuser();
        let create = format!("CREATE DATABASE {}", quoted(name));
        admin.query("postgres", &create).unwrap();
        admin.query(name, "CREATE TABLE public.old ()").unwrap();
        let spec = Restore {
            jobs,
            ..self.spec(name)
        };
        bring(cluster, &spec, &self.bytes)
    }
}

/// Dumps what a script makes, restores it beside another database, swaps, and
/// finds on the server what was there before.
pub(crate) fn comes_back(name: &str, script: &str) -> Dumped {
    let cluster = shared();
    let dumped = dumped(&cluster, name, script);
    back_from(&cluster, &dumped);
    dumped
}

/// The way back from a dump that was made on this cluster, by several sessions
/// and by one.
pub(crate) fn back_from(cluster: &Scratch, dumped: &Dumped) {
    let name = &dumped.name;
    for (jobs, way) in [(3, "again"), (1, "alone")] {
        let again = format!("{name} {way}");
        let restored = dumped.swap_in_by(jobs, cluster, &again).unwrap();
        assert_eq!(restored.loaded_alone, None, "{name}");
        assert!(restored.comparison.holds(), "{:?}", restored.comparison);
        let tables = dumped.contents.tables.len() as u64;
        assert_eq!(restored.comparison.equal, tables);
        let kept = format!("{again}_before_{STAMP}");
        assert_eq!(restored.kept.as_deref(), Some(kept.as_str()));
        assert_eq!(rows(cluster, &kept), [["old", "0"]]);

        assert_eq!(rows(cluster, name), rows(cluster, &again), "{again}");
        assert_eq!(sequences(cluster, name), sequences(cluster, &again));
        assert_eq!(schema(cluster, name), schema(cluster, &again), "{again}");
    }
}

/// Of every table and materialised view, the name and what the server makes of
/// all its rows; of large objects too. Nothing of ours is asked.
pub(crate) fn rows(cluster: &Scratch, database: &str) -> Vec<Vec<String>> {
    let sql = r"SET work_mem = '1GB'; SET extra_float_digits = 3; SET timezone = 'Asia/Tokyo';
        SELECT pg_catalog.format('SELECT %L, count(*) || coalesce('' '' || md5(string_agg(md5(t::text), '''' '
            'ORDER BY md5(t::text))), '''') FROM ONLY %s t', c.oid::regclass, c.oid::regclass)
        FROM pg_class c WHERE relkind IN ('r', 'm') AND relispopulated
        AND relnamespace::regnamespace::text !~ '^(pg_|information_schema)' ORDER BY c.oid::regclass::text
        \gexec
        SELECT oid::regclass, 'is not filled' FROM pg_class WHERE NOT relispopulated ORDER BY 1;
        SELECT oid, md5(lo_get(oid)), pg_get_userbyid(lomowner) FROM pg_largeobject_metadata ORDER BY 1";
    script(cluster, database, sql)
}

/// Every sequence with its value.
fn sequences(cluster: &Scratch, database: &str) -> Vec<Vec<String>> {
    let sql = r"SELECT pg_catalog.format('SELECT %L, last_value, is_called FROM %s',
            c.oid::regclass, c.oid::regclass)
        FROM pg_class c WHERE relkind = 'S' ORDER BY c.oid::regclass::text
        \gexec
        ";
    script(cluster, database, sql)
}

/// What makes the database without its rows, in `pg_dump`'s words.
fn schema(cluster: &Scratch, database: &str) -> Vec<String> {
    let address = cluster.address(database);
    let program = format!("/usr/lib/postgresql/{}/bin/pg_dump", major(cluster));
    let out = Command::new(program)
        .args(["--schema-only", "--encoding=UTF8", "--username=postgres"])
        .env("PGHOST", &address.host)
        .env("PGPORT", address.port.to_string())
        .env("PGDATABASE", database)
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let text = String::from_utf8(out.stdout).unwrap();
    // A line with a random word, in newer versions.
    let is_key = |line: &&str| line.starts_with("\\restrict") || line.starts_with("\\unrestrict");
    text.lines()
        .filter(|l| !is_key(l))
        .map(str::to_owned)
        .collect()
}

/// What the server is, such as 15.
pub(crate) fn major(cluster: &Scratch) -> u32 {
    cluster.superuser().programs().major()
}

pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
