//! A database's owner who would have the superuser run what is his.

use lava_backup_pg::{ErrorKind, Restore, Scratch, compare};

use crate::common::lab::{bring, cluster, script};
use crate::trip::{Dumped, dumped};

/// What notes who runs it, as whatever the superuser's statements might mean by a name.
const TRAPS: &str = "SET ROLE owner; CREATE SCHEMA evil; CREATE TABLE evil.ran (who text);
    CREATE FUNCTION evil.note() RETURNS void LANGUAGE sql AS
        'INSERT INTO evil.ran SELECT current_user';
    CREATE FUNCTION evil.step(bigint) RETURNS bigint LANGUAGE sql AS
        'SELECT evil.note(); SELECT $1 + 1';
    CREATE AGGREGATE evil.count(*) (sfunc = evil.step, stype = bigint, initcond = '0');
    CREATE FUNCTION evil.same(oid, oid) RETURNS boolean LANGUAGE sql AS
        'SELECT evil.note(); SELECT oideq($1, $2)';
    CREATE OPERATOR evil.= (leftarg = oid, rightarg = oid, function = evil.same);
    CREATE FUNCTION evil.same(\"char\", \"char\") RETURNS boolean LANGUAGE sql AS
        'SELECT evil.note(); SELECT chareq($1, $2)';
    CREATE OPERATOR evil.= (leftarg = \"char\", rightarg = \"char\", function = evil.same);
    CREATE FUNCTION evil.unlike(name, text) RETURNS boolean LANGUAGE sql AS
        'SELECT evil.note(); SELECT nameregexne($1, $2)';
    CREATE OPERATOR evil.!~ (leftarg = name, rightarg = text, function = evil.unlike);
    ALTER DATABASE traps SET search_path = evil, pg_catalog";

/// A database of somebody else's, and a dump of it.
fn owned(cluster: &Scratch) -> Dumped {
    let made = "CREATE ROLE owner; ALTER DATABASE traps OWNER TO owner;
        SET ROLE owner; CREATE SCHEMA lab; CREATE TABLE lab.job (id serial)";
    dumped(cluster, "traps", made)
}

fn asked(dumped: &Dumped) -> Restore<'_> {
    Restore {
        holds_data: "SELECT count(*) FROM lab.job".into(),
        replace_data: false,
        ..dumped.spec("traps")
    }
}

fn who_ran(cluster: &Scratch, database: &str) -> Vec<Vec<String>> {
    script(cluster, database, "SELECT DISTINCT who FROM evil.ran")
}

#[test]
fn names_are_not_found_where_the_owner_says() {
    let cluster = cluster();
    let dumped = owned(&cluster);
    script(&cluster, "traps", TRAPS);
    // They do catch.
    script(&cluster, "traps", "SELECT count(*) FROM lab.job");
    script(
        &cluster,
        "traps",
        "SELECT FROM pg_class WHERE relkind = 'r'",
    );
    assert_eq!(who_ran(&cluster, "traps"), [["postgres"]]);
    script(&cluster, "traps", "DELETE FROM evil.ran");

    let admin = cluster.superuser();
    let found = compare(admin, "traps", &dumped.contents, &mut |_| ()).unwrap();
    assert_eq!(found.extra, ["evil.ran"]);
    let restored = bring(&cluster, &asked(&dumped), &dumped.bytes).unwrap();
    assert_eq!(who_ran(&cluster, &restored.kept.unwrap()), [[""; 0]; 0]);
}

/// What is immutable runs when it is planned, though no row is asked for.
#[test]
fn a_view_in_the_place_of_a_table_is_not_looked_into() {
    let cluster = cluster();
    let dumped = owned(&cluster);
    script(&cluster, "traps", TRAPS);
    let view = "SET search_path = pg_catalog; SET ROLE owner; DROP TABLE lab.job;
        CREATE FUNCTION evil.id() RETURNS int LANGUAGE plpgsql IMMUTABLE AS
            $$BEGIN RAISE EXCEPTION 'run by %', current_user; END$$;
        CREATE VIEW lab.job AS SELECT evil.id() AS id";
    script(&cluster, "traps", view);
    let admin = cluster.superuser();
    let planned = admin.query("traps", "SELECT id FROM lab.job LIMIT 0");
    let planned = planned.unwrap_err().to_string();
    assert!(planned.ends_with("run by postgres"), "{planned}");

    let found = compare(admin, "traps", &dumped.contents, &mut |_| ()).unwrap();
    let what = &found.differ[0].what;
    assert!(what.starts_with("can't be read: "), "{what}");
    assert!(!what.contains("run by"), "{what}");
    let refused = bring(&cluster, &asked(&dumped), &dumped.bytes).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::HoldsData, "{refused}");
    assert!(!refused.to_string().contains("run by"), "{refused}");

    let foreign = "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
        DROP VIEW lab.job; CREATE FOREIGN TABLE lab.job (id int) SERVER s";
    script(&cluster, "traps", foreign);
    let found = compare(admin, "traps", &dumped.contents, &mut |_| ()).unwrap();
    assert_eq!(found.differ[0].table, "lab.job");
    assert_eq!(found.differ[0].found, None, "{found:?}");
}
