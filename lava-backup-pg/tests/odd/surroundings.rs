//! Servers that are not like the one that the dump came from.

use std::io::Write;
use std::time::Duration;

use lava_backup_pg::{ErrorKind, Pace, Programs, Restore, Snapshot, Superuser, restore};

use crate::common::Cluster;
use crate::common::lab::{Kept, bring, cluster, databases, server_user, shared};
use crate::trip::{dumped, major, rows};

#[test]
fn a_role_that_is_missing_is_named_and_made_when_told_of() {
    let from = shared();
    let script =
        "CREATE ROLE \"grafana ro\"; CREATE TABLE t (a int); GRANT SELECT ON t TO \"grafana ro\"";
    let dumped = dumped(&from, "roles", script);
    let to = cluster();
    let mut untold = dumped.spec("roles");
    untold.roles.clear();
    let refused = bring(&to, &untold, &dumped.bytes).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Failed);
    assert!(
        refused
            .to_string()
            .contains("role \"grafana ro\" does not exist"),
        "{refused}"
    );
    assert_eq!(databases(&to, "roles"), [""; 0]);

    // What an admin has set for whoever works by hand ends nothing of ours.
    let admin = to.superuser();
    for setting in [
        "statement_timeout = 1",
        "lock_timeout = 1",
        "default_transaction_read_only = on",
        "client_encoding = latin1",
        "search_path = nowhere",
        "bytea_output = escape",
    ] {
        let set =
            format!("SET default_transaction_read_only = off; ALTER ROLE postgres SET {setting}");
        admin.query("postgres", &set).unwrap();
    }
    bring(&to, &dumped.spec("roles"), &dumped.bytes).unwrap();
    assert_eq!(databases(&to, "roles"), ["roles"]);
}

/// A dump may come slowly, from a store that is far away.
#[test]
fn who_ends_sessions_that_do_nothing_does_not_end_one_that_waits_for_the_dump() {
    let from = shared();
    let dumped = dumped(
        &from,
        "waited",
        "CREATE TABLE t (a int); CREATE TABLE u (a int)",
    );
    let to = cluster();
    let admin = to.superuser();
    for (setting, since) in [("idle_session_timeout", 14), ("transaction_timeout", 17)] {
        if major(&to) >= since {
            let set = format!("ALTER ROLE postgres SET {setting} = '1s'");
            admin.query("postgres", &set).unwrap();
        }
    }
    for jobs in [1, 2] {
        let spec = Restore {
            jobs,
            ..dumped.spec("waited")
        };
        let mut feed = |out: &mut dyn Write| {
            let (begun, rest) = dumped.bytes.split_at(dumped.bytes.len() - 30);
            out.write_all(begun)?;
            std::thread::sleep(Duration::from_secs(3));
            out.write_all(rest)
        };
        let restored = restore(admin, &spec, &mut feed, &mut |_| ()).unwrap();
        assert_eq!(restored.loaded_alone, None);
        assert!(restored.comparison.holds());
    }
}

#[test]
fn a_locale_that_the_server_does_not_have_is_named() {
    let cluster = shared();
    let dumped = dumped(&cluster, "locale", "CREATE TABLE t (a int)");
    let mut elsewhere = dumped.spec("locale");
    elsewhere.collate = "xx_XX.UTF-8".into();
    let refused = bring(&cluster, &elsewhere, &dumped.bytes).unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("locale xx_XX.UTF-8"), "{said}");
    assert_eq!(databases(&cluster, "locale"), ["locale"]);
}

#[test]
fn a_database_with_rules_of_its_own_for_sorting_comes_back_with_them() {
    let cluster = shared();
    let admin = cluster.superuser();
    let create = "CREATE DATABASE sorted TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-AT'";
    let made = admin.query("postgres", create);
    // Such databases came with version 15.
    assert_eq!(made.is_ok(), major(&cluster) >= 15, "{made:?}");
    if made.is_err() {
        return;
    }
    let sql =
        "CREATE TABLE public.t (a text UNIQUE); INSERT INTO public.t VALUES ('z'), ('ä'), ('a')";
    admin.query("sorted", sql).unwrap();
    let dumped = crate::trip::dump_again(&cluster, "sorted");
    crate::trip::back_from(&cluster, &dumped);
    let order = "SELECT string_agg(a, '' ORDER BY a) FROM public.t";
    let order = admin.value("sorted again", order).unwrap();
    assert_eq!(order.as_deref(), Some("aäz"));

    let create = "CREATE DATABASE built TEMPLATE template0 LOCALE_PROVIDER builtin \
                  BUILTIN_LOCALE 'C.UTF-8'";
    let made = admin.query("postgres", create);
    // And these with 17.
    assert_eq!(made.is_ok(), major(&cluster) >= 17, "{made:?}");
    if made.is_err() {
        return;
    }
    admin
        .query("built", "CREATE TABLE public.t (a text)")
        .unwrap();
    crate::trip::back_from(&cluster, &crate::trip::dump_again(&cluster, "built"));
    let as_made = "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'built again'";
    let as_made = admin.query("postgres", as_made).unwrap();
    assert_eq!(as_made, [["b", "C.UTF-8"]]);
}

/// As `initdb` makes it where no locale is set.
#[test]
fn a_server_that_knows_no_encoding_gets_a_database_that_does() {
    let from = shared();
    let script = "CREATE TABLE \"größe\" (a text); INSERT INTO \"größe\" VALUES ('é')";
    let dumped = dumped(&from, "größe", script);
    let to = Cluster::start_as(&["-E", "SQL_ASCII", "--locale=C"]);
    let programs = Programs::at_least(13).unwrap();
    let socket = to.path("").to_string_lossy().into_owned();
    let admin = Superuser::new(programs, server_user(), socket.trim_end_matches('/'), 5432);
    let mut feed = |out: &mut dyn std::io::Write| out.write_all(&dumped.bytes);
    let restored = restore(&admin, &dumped.spec("größe"), &mut feed, &mut |_| ()).unwrap();
    assert!(restored.comparison.holds());
    let there = admin.query(
        "größe",
        "SELECT encode(convert_to(a, 'UTF8'), 'hex') FROM public.\"größe\"",
    );
    assert_eq!(there.unwrap(), [["c3a9"]]);
    let encoding = admin.value("größe", "SHOW server_encoding").unwrap();
    assert_eq!(encoding.as_deref(), Some("UTF8"));
}

#[test]
fn what_the_server_says_beside_a_dump_that_is_good_is_kept() {
    let cluster = shared();
    let admin = cluster.superuser();
    dumped(&cluster, "warned", "CREATE TABLE t (a int)");
    // As if the C library had changed since.
    let sql = "UPDATE pg_database SET datcollversion = 'old' WHERE datname = 'warned'";
    let changed = admin.query("postgres", sql);
    // From version 15 on the server remembers, and says so.
    assert_eq!(changed.is_ok(), major(&cluster) >= 15, "{changed:?}");
    if changed.is_err() {
        return;
    }
    let mut snapshot = Snapshot::take(&cluster.address("warned")).unwrap();
    let dumped =
        lava_backup_pg::dump(&mut snapshot, Pace::Unlimited, &mut Kept::default()).unwrap();
    assert!(
        dumped.warnings.concat().contains("collation version"),
        "{:?}",
        dumped.warnings
    );
    assert_eq!(dumped.contents.tables.len(), 1);
    assert_eq!(rows(&cluster, "warned"), [["t", "0"]]);
}

/// What hash partitions of an enum hold depends on numbers that each database gives its values.
#[test]
fn hash_partitions_of_an_enum_hold_other_rows_elsewhere_and_are_refused() {
    let cluster = shared();
    // That each of forty values gets its old partition by chance won't happen.
    let script = "SELECT 'CREATE TYPE mood AS ENUM (' || string_agg(quote_literal(n), ', ') || ')'
            FROM generate_series(1, 40) n
        \\gexec
        CREATE TABLE p (m mood) PARTITION BY HASH (m);
        CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        INSERT INTO p SELECT unnest(enum_range(NULL::mood))";
    let dumped = dumped(&cluster, "moods", script);
    let refused = dumped.swap_in(&cluster, "moods again").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Differs, "{refused}");
    assert!(refused.to_string().contains("public.p0"), "{refused}");
    assert_eq!(rows(&cluster, "moods again"), [["old", "0"]]);
}

#[test]
fn a_value_that_names_a_role_is_not_loaded_where_that_is_missing() {
    let (from, to) = (shared(), cluster());
    let script = "CREATE ROLE named; CREATE TABLE t (a regrole); INSERT INTO t VALUES ('named')";
    let dumped = dumped(&from, "names", script);
    let refused = bring(&to, &dumped.spec("names"), &dumped.bytes).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("role \"named\" does not exist"),
        "{refused}"
    );
    assert_eq!(databases(&to, "names"), [""; 0]);
}
