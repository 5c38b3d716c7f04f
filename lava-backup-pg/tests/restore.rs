//! A database is dumped, brought back beside another, proved and swapped in,
//! on real servers.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{self, Write};
use std::net::TcpListener;
use std::path::Path;

use common::Cluster;
use common::lab::{
    Kept, STAMP, bring, cluster, databases, dump_of, script, server_user, skip, spec,
};
use lava_backup_pg::archive::{DumpContents, DumpReader, TableInfo};
use lava_backup_pg::{
    Address, DumpSink, ErrorKind, Pace, Password, Programs, Restore, RoleAttributes, Scratch,
    Snapshot, compare, dump, restore,
};

const LAB: &str = "
    CREATE ROLE lavaserver LOGIN PASSWORD 'old';
    CREATE DATABASE lab OWNER lavaserver TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8';
    \\connect lab
    SET ROLE lavaserver;
    CREATE TABLE job (id serial PRIMARY KEY, name text, spent float8, at timestamptz, during interval);
    INSERT INTO job (name, spent, at, during)
        SELECT 'job ' || n || E'\\t\\\\ é', n / 7.0, timestamptz '2026-01-01' + n * interval '1.5 hours', n * interval '1 day 2 ms'
        FROM generate_series(1, 5000) n;
    CREATE TABLE empty (id int);
";

fn lab(cluster: &Scratch) -> (Kept, DumpContents) {
    script(cluster, "postgres", LAB);
    dump_of(cluster, "lab")
}

#[test]
fn a_dump_shows_the_instant_of_its_snapshot() {
    let cluster = cluster();
    script(&cluster, "postgres", LAB);
    let mut snapshot = Snapshot::take(&cluster.address("lab")).unwrap();
    let later = "INSERT INTO public.job (name) VALUES ('later')";
    cluster.superuser().query("lab", later).unwrap();
    let mut kept = Kept::default();
    let contents = dump(&mut snapshot, Pace::Unlimited, &mut kept)
        .unwrap()
        .contents;
    assert_eq!(contents.table("public", "job").unwrap().rows, 5000);
    let counted = snapshot.query("SELECT count(*) FROM public.job").unwrap();
    assert_eq!(counted[0][0].as_deref(), Some("5000"));
    assert_eq!(kept.tables, ["empty", "job"]);
    assert_eq!(snapshot.facts().owner, "lavaserver");
    assert_eq!(snapshot.facts().encoding, "UTF8");

    let comparison = compare(cluster.superuser(), "lab", &contents, &mut |_| ()).unwrap();
    assert_eq!(comparison.differ[0].table, "public.job");
    assert_eq!(comparison.differ[0].found, Some(5001));
    let what = &comparison.differ[0].what;
    assert_eq!(what, "has 5001 rows instead of 5000");
}

/// Digests without a key: what the first versions put into seals.
#[test]
fn a_seal_of_an_earlier_version_proves_a_database_too() {
    let cluster = cluster();
    let large = "SELECT lo_from_bytea(7, convert_to(repeat('x', 9000), 'UTF8'))";
    script(&cluster, "postgres", LAB);
    cluster.superuser().query("lab", large).unwrap();
    let (kept, _) = dump_of(&cluster, "lab");
    let mut reader = DumpReader::new();
    reader.feed(&kept.bytes, &mut ()).unwrap();
    let sealed = serde_json::to_string(&reader.finish().unwrap()).unwrap();
    assert_eq!(
        sealed.matches(r#"digest":"lthash16:"#).count(),
        3,
        "{sealed}"
    );
    let contents: DumpContents = serde_json::from_str(&sealed).unwrap();

    let compared = || compare(cluster.superuser(), "lab", &contents, &mut |_| ()).unwrap();
    assert!(compared().holds(), "{:?}", compared());
    let change = "UPDATE public.job SET spent = spent + 1 WHERE id = 7; \
        SELECT lo_put(7, 8999, 'y')";
    cluster.superuser().query("lab", change).unwrap();
    let differ: Vec<_> = compared().differ.into_iter().map(|d| d.table).collect();
    assert_eq!(differ, ["public.job", "large objects"]);
}

#[test]
fn a_bad_question_does_not_end_the_snapshot() {
    let cluster = cluster();
    script(&cluster, "postgres", LAB);
    let mut snapshot = Snapshot::take(&cluster.address("lab")).unwrap();
    let error = snapshot.query("SELECT * FROM nothing").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Absent);
    assert!(error.to_string().contains("nothing"), "{error}");
    let error = snapshot.query("DELETE FROM public.job").unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
    assert!(dump(&mut snapshot, Pace::Unlimited, &mut Kept::default()).is_ok());
}

/// Promise 8: the restored database is built beside the old one.
#[test]
fn a_restored_database_takes_the_name_and_the_old_one_is_kept() {
    let (from, to) = (cluster(), cluster());
    let (kept, contents) = lab(&from);
    let there = "CREATE ROLE lavaserver; CREATE DATABASE lab OWNER lavaserver";
    script(&to, "postgres", there);
    to.superuser()
        .query(
            "lab",
            "CREATE TABLE public.job (id int); CREATE TABLE public.mine (id int)",
        )
        .unwrap();

    let restored = bring(&to, &spec(&contents), &kept.bytes).unwrap();
    assert_eq!(restored.kept.as_deref(), Some("lab_before_20261122"));
    assert!(restored.comparison.holds());
    assert_eq!(restored.comparison.equal, 2);
    assert_eq!(restored.comparison.rows, 5000);
    assert_eq!(databases(&to, "lab"), ["lab", "lab_before_20261122"]);
    let old = "SELECT count(*) FROM public.mine";
    assert!(to.superuser().query("lab_before_20261122", old).is_ok());
    let again = compare(to.superuser(), "lab", &contents, &mut |_| ()).unwrap();
    assert!(again.holds(), "{again:?}");
    let next = "INSERT INTO public.job (name) VALUES ('x') RETURNING id";
    let next = to.superuser().value("lab", next).unwrap();
    assert_eq!(next.as_deref(), Some("5001"), "the sequence is behind");
    let verifier = "SELECT left(rolpassword, 13) FROM pg_authid WHERE rolname = 'lavaserver'";
    let verifier = to.superuser().value("postgres", verifier).unwrap();
    assert_eq!(verifier.as_deref(), Some("SCRAM-SHA-256"));
}

#[test]
fn data_that_nobody_can_make_again_goes_aside_only_when_asked() {
    let cluster = cluster();
    let (kept, contents) = lab(&cluster);
    let refused = bring(&cluster, &spec(&contents), &kept.bytes).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::HoldsData, "{refused}");
    assert_eq!(databases(&cluster, "lab"), ["lab"]);
    let mut asked = spec(&contents);
    asked.replace_data = true;
    bring(&cluster, &asked, &kept.bytes).unwrap();
    assert_eq!(databases(&cluster, "lab"), ["lab", "lab_before_20261122"]);
}

#[test]
fn data_that_can_not_be_looked_for_does_not_go_aside() {
    let cluster = cluster();
    let (kept, contents) = lab(&cluster);
    for (question, kind) in [
        ("SELECT count(*) FROM nowhere", ErrorKind::HoldsData),
        ("SELECT 0 WHERE false", ErrorKind::HoldsData),
        // Whoever asks again may be told.
        (
            "SELECT pg_terminate_backend(pg_backend_pid())",
            ErrorKind::Connection,
        ),
    ] {
        let mut asked = spec(&contents);
        asked.holds_data = question.into();
        let refused = bring(&cluster, &asked, &kept.bytes).unwrap_err();
        assert_eq!(refused.kind(), kind, "{refused}");
        assert_eq!(databases(&cluster, "lab"), ["lab"]);
    }
}

#[test]
fn a_database_in_use_is_not_replaced() {
    let cluster = cluster();
    let (kept, contents) = lab(&cluster);
    let user = Snapshot::take(&cluster.address("lab")).unwrap();
    let mut asked = spec(&contents);
    asked.replace_data = true;
    let refused = bring(&cluster, &asked, &kept.bytes).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(refused.to_string().contains("in use"), "{refused}");
    drop(user);
    assert_eq!(databases(&cluster, "lab"), ["lab"]);
}

/// Any failure leaves the old database serving.
#[test]
fn a_restore_that_fails_leaves_everything_as_it_was() {
    let cluster = cluster();
    let (kept, contents) = lab(&cluster);
    let mut asked = spec(&contents);
    asked.replace_data = true;

    let cut = &kept.bytes[..kept.bytes.len() * 2 / 3];
    let failed = bring(&cluster, &asked, cut).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Failed, "{failed}");
    assert_eq!(databases(&cluster, "lab"), ["lab"]);

    // One digit of one row differs: only reading back can tell.
    let mut bent = kept.bytes.clone();
    let at = bent.windows(9).position(|w| w == b"job 4321\\").unwrap();
    bent[at + 4] = b'9';
    let differs = bring(&cluster, &asked, &bent).unwrap_err();
    assert_eq!(differs.kind(), ErrorKind::Differs, "{differs}");
    let said = differs.to_string();
    assert!(
        said.ends_with("public.job: has as many rows, and not the same"),
        "{said}"
    );
    assert_eq!(databases(&cluster, "lab"), ["lab"]);

    cluster
        .superuser()
        .query("postgres", "CREATE DATABASE lab_restoring")
        .unwrap();
    let refused = bring(&cluster, &asked, &kept.bytes).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
    assert_eq!(databases(&cluster, "lab"), ["lab", "lab_restoring"]);
}

#[test]
fn a_dump_that_breaks_on_its_way_is_asked_for_once_and_leaves_everything_as_it_was() {
    let cluster = cluster();
    let (kept, contents) = lab(&cluster);
    let whole = kept.bytes.len();
    for (jobs, given) in [(1, whole / 2), (2, whole / 2), (1, whole), (2, whole)] {
        let spec = Restore {
            jobs,
            replace_data: true,
            ..spec(&contents)
        };
        let mut asked = 0;
        let mut feed = |out: &mut dyn Write| {
            asked += 1;
            out.write_all(&kept.bytes[..given])?;
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a frame is damaged",
            ))
        };
        let broken = restore(cluster.superuser(), &spec, &mut feed, &mut |_| ());
        let said = broken.unwrap_err().to_string();
        assert_eq!(asked, 1, "by {jobs}: {said}");
        assert_eq!(databases(&cluster, "lab"), ["lab"], "by {jobs}: {said}");
        // One `pg_restore` says itself that it has not got all.
        if jobs > 1 || given == whole {
            assert!(said.ends_with("a frame is damaged"), "{said}");
        }
    }
}

/// A master lives in its town's time zone; where it is restored may not.
#[test]
fn rows_are_the_same_whatever_the_settings_of_database_and_role() {
    let from = cluster();
    lab(&from);
    let sql = "ALTER TABLE public.job ADD COLUMN raw bytea DEFAULT '\\x00ff5c'; \
               ALTER DATABASE lab SET timezone = 'Asia/Tokyo'; \
               ALTER DATABASE lab SET bytea_output = escape; \
               ALTER DATABASE lab SET intervalstyle = sql_standard; \
               ALTER DATABASE lab SET datestyle = 'SQL, DMY'; \
               ALTER DATABASE lab SET extra_float_digits = 0";
    from.superuser().query("lab", sql).unwrap();
    let (kept, contents) = dump_of(&from, "lab");
    let to = cluster();
    let brought = bring(&to, &spec(&contents), &kept.bytes).unwrap();
    assert_eq!(brought.comparison.equal, 2);
    let there = compare(from.superuser(), "lab", &contents, &mut |_| ()).unwrap();
    assert!(there.holds(), "{there:?}");
}

#[test]
fn a_role_that_may_only_read_comes_back_with_its_rights() {
    let from = cluster();
    lab(&from);
    let sql = "CREATE ROLE \"grafana ro\" LOGIN; GRANT SELECT ON public.job TO \"grafana ro\"";
    from.superuser().query("lab", sql).unwrap();
    let roles = Snapshot::take(&from.address("lab")).unwrap();
    let roles = roles.facts().roles.clone();
    assert_eq!(roles, ["grafana ro", "lavaserver"]);
    let (kept, contents) = dump_of(&from, "lab");

    let to = cluster();
    let mut asked = spec(&contents);
    asked.roles = roles;
    bring(&to, &asked, &kept.bytes).unwrap();
    let sql = "SELECT has_table_privilege('grafana ro', 'public.job', 'SELECT'), rolcanlogin \
               FROM pg_roles WHERE rolname = 'grafana ro'";
    let may = to.superuser().query("lab", sql).unwrap();
    assert_eq!(may, [["t", "f"]]);
}

/// `pg_dump` leaves them out where it dumps one database.
#[test]
fn rights_to_the_database_itself_come_back() {
    const RIGHTS: &str = "SELECT array(SELECT unnest(datacl)::text ORDER BY 1), datconnlimit
        FROM pg_database WHERE datname = 'lab'";
    let from = cluster();
    script(&from, "postgres", LAB);
    let others = "CREATE ROLE \"grafana ro\" LOGIN; CREATE ROLE guest;
        REVOKE CONNECT ON DATABASE lab FROM PUBLIC; GRANT CREATE ON DATABASE lab TO guest;
        GRANT CONNECT ON DATABASE lab TO \"grafana ro\" WITH GRANT OPTION;
        ALTER DATABASE lab CONNECTION LIMIT 7";
    script(&from, "postgres", others);
    let facts = Snapshot::take(&from.address("lab"))
        .unwrap()
        .facts()
        .clone();
    assert_eq!(facts.roles, ["grafana ro", "guest", "lavaserver"]);
    let (kept, contents) = dump_of(&from, "lab");

    let to = cluster();
    let mut asked = Restore::of(&facts, &contents, STAMP);
    // Whoever made a server owns nothing that it keeps, and is named by rights all the same.
    asked.roles.clear();
    bring(&to, &asked, &kept.bytes).unwrap();
    let [then, now] = [&from, &to].map(|cluster| script(cluster, "postgres", RIGHTS));
    assert_eq!(then, now);
    let is_in = "SELECT rolname FROM pg_roles WHERE has_database_privilege(oid, 'lab', 'CONNECT')
        AND NOT rolsuper ORDER BY 1";
    let is_in = script(&to, "postgres", is_in);
    assert_eq!(is_in, [["grafana ro"], ["lavaserver"]]);

    // Nobody has changed them.
    let by_default = Snapshot::take(&from.address("postgres")).unwrap();
    let by_default = by_default.facts();
    assert_eq!(
        (&by_default.grants, by_default.connection_limit),
        (&None, None)
    );
    // Even the owner holds none.
    let none = "REVOKE ALL ON DATABASE lab FROM PUBLIC, lavaserver, guest, \"grafana ro\" CASCADE;
        ALTER DATABASE lab CONNECTION LIMIT -1";
    script(&from, "postgres", none);
    let facts = Snapshot::take(&from.address("lab"))
        .unwrap()
        .facts()
        .clone();
    assert_eq!(facts.grants, Some(Vec::new()));
    let mut again = Restore::of(&facts, &contents, STAMP);
    again.replace_data = true;
    bring(&to, &again, &kept.bytes).unwrap();
    assert_eq!(script(&to, "postgres", RIGHTS), [["{}", "-1"]]);
}

#[test]
fn what_lay_on_another_disk_comes_back_where_there_is_none_and_where_the_old_one_lies() {
    const PLACE: &str = "SELECT spcname, (SELECT count(*) FROM pg_class WHERE reltablespace <> 0
            AND relnamespace = 'public'::regnamespace) FROM pg_database d
        JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = 'lab'";
    let from = cluster();
    let disk = tempfile::tempdir().unwrap();
    if let Some(user) = server_user() {
        std::os::unix::fs::chown(disk.path(), Some(user.uid), Some(user.gid)).unwrap();
    }
    let spaces = ["fast", "slow"].map(|name| {
        let dir = disk.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        if let Some(user) = server_user() {
            std::os::unix::fs::chown(&dir, Some(user.uid), Some(user.gid)).unwrap();
        }
        format!("CREATE TABLESPACE {name} LOCATION '{}';", dir.display())
    });
    script(&from, "postgres", &spaces.concat());
    script(&from, "postgres", LAB);
    script(&from, "postgres", "ALTER DATABASE lab SET TABLESPACE fast");
    let moved = "ALTER TABLE job SET TABLESPACE slow; CREATE INDEX ON job (name) TABLESPACE slow";
    script(&from, "lab", moved);
    assert_eq!(script(&from, "lab", PLACE), [["fast", "2"]]);
    let (kept, contents) = dump_of(&from, "lab");

    let to = cluster();
    for jobs in [1, 2] {
        let mut asked = spec(&contents);
        (asked.jobs, asked.replace_data) = (jobs, true);
        bring(&to, &asked, &kept.bytes).unwrap();
        assert_eq!(script(&to, "lab", PLACE), [["pg_default", "0"]]);
        bring(&from, &asked, &kept.bytes).unwrap();
        assert_eq!(script(&from, "lab", PLACE), [["fast", "0"]]);
    }
}

#[test]
fn a_restored_database_tells_what_it_was_restored_from() {
    let cluster = cluster();
    let (kept, contents) = lab(&cluster);
    let mark = || lava_backup_pg::mark(cluster.superuser(), "lab").unwrap();
    assert_eq!(mark(), None);
    let mut asked = spec(&contents);
    asked.replace_data = true;
    asked.mark = Some("from '1'".into());
    bring(&cluster, &asked, &kept.bytes).unwrap();
    assert_eq!(mark().as_deref(), Some("from '1'"));
    asked.mark = None;
    bring(&cluster, &asked, &kept.bytes).unwrap();
    assert_eq!(mark(), None);
    let nowhere = lava_backup_pg::mark(cluster.superuser(), "nowhere");
    assert_eq!(nowhere.unwrap(), None);
}

#[test]
fn what_is_wrong_with_an_address_is_said() {
    let cluster = cluster();
    let kind = |address: &Address| Snapshot::take(address).err().unwrap();
    let no_database = kind(&cluster.address("nowhere"));
    assert_eq!(no_database.kind(), ErrorKind::Absent);
    assert!(no_database.to_string().contains("nowhere"), "{no_database}");
    let refused = Address {
        host: "127.0.0.1".into(),
        port: 1,
        password: Some(Password::new("hunter2")),
        ..cluster.address("lab")
    };
    let refused = kind(&refused);
    assert_eq!(refused.kind(), ErrorKind::Connection);
    assert!(!refused.to_string().contains("hunter2"));
    let in_clear = Address::parse("postgres://l@db/lab?sslmode=require").unwrap_err();
    assert!(in_clear.to_string().contains("TLS"), "{in_clear}");
    // None of these may be taken for the server on this host, or for the first of them.
    for several in [
        "hostaddr=10.0.0.5 dbname=lab user=l",
        "host=db hostaddr=10.0.0.5 dbname=lab user=l",
        "host=db,spare dbname=lab user=l",
        "postgres://l@db:1,spare:2/lab",
    ] {
        let refused = Address::parse(several).unwrap_err().to_string();
        assert!(refused.contains("several servers"), "{several}: {refused}");
    }
    assert_eq!(Programs::find(9).unwrap_err().kind(), ErrorKind::Program);
}

#[test]
fn a_dump_whose_sink_is_full_ends_with_the_sinks_error() {
    struct Full;
    impl DumpSink for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn table_begins(&mut self, _: &TableInfo) -> io::Result<()> {
            Ok(())
        }
    }
    let cluster = cluster();
    script(&cluster, "postgres", LAB);
    let mut snapshot = Snapshot::take(&cluster.address("lab")).unwrap();
    let error = dump(&mut snapshot, Pace::Unlimited, &mut Full).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
}

#[test]
fn no_such_role_is_not_taken_for_no_such_database() {
    let cluster = cluster();
    let nobody = Address {
        user: "nobody".into(),
        ..cluster.address("postgres")
    };
    let refused = Snapshot::take(&nobody).err().unwrap();
    assert!(refused.to_string().contains("does not exist"), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::Connection);
    let mut snapshot = Snapshot::take(&cluster.address("postgres")).unwrap();
    let missing = snapshot.query("SELECT 1 FROM public.nothing").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Absent);
}

/// How many programs of ours, for any test, are of this name; none shows the password to who
/// lists processes.
fn at_work_without_password(name: &str) -> usize {
    let me = format!("PPid:\t{}\n", std::process::id());
    let child = |process: io::Result<std::fs::DirEntry>| {
        let process = process.ok()?.path();
        let read = |file: &str| std::fs::read(process.join(file)).ok();
        let status = String::from_utf8(read("status")?).ok()?;
        let ours = status.starts_with(&format!("Name:\t{name}\n")) && status.contains(&me);
        let shown = [read("cmdline")?, read("environ")?].concat();
        ours.then_some(shown)
    };
    let shown = std::fs::read_dir("/proc").unwrap().filter_map(child);
    let holds = |shown: &[u8], what: &[u8]| shown.windows(what.len()).any(|w| w == what);
    shown
        .inspect(|shown| assert!(!holds(shown, b"hunter2")))
        // One that has ended shows nothing, and one that is asked for its version is not at work.
        .filter(|shown| holds(shown, b"PGOPTIONS="))
        .count()
}

#[test]
fn a_restore_shows_the_new_password_to_nobody() {
    let cluster = cluster();
    let (kept, contents) = lab(&cluster);
    for jobs in [1, 2] {
        let asked = Restore {
            jobs,
            replace_data: true,
            password: Some(Password::new("hunter2")),
            ..spec(&contents)
        };
        let mut seen = 0;
        let mut feed = |out: &mut dyn Write| {
            seen += at_work_without_password("pg_restore");
            out.write_all(&kept.bytes)
        };
        let restored = restore(cluster.superuser(), &asked, &mut feed, &mut |_| ());
        assert!(restored.unwrap().comparison.holds());
        // Where there are several sessions, it is at work before and after.
        assert!(jobs > 1 || seen > 0);
    }
}

/// The password reaches `pg_dump` by a file that has no name to be left under.
#[test]
fn a_dump_comes_in_by_password_and_writes_it_to_no_directory() {
    struct Look(usize);
    impl DumpSink for Look {
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            if self.0 == 0 {
                assert!(at_work_without_password("pg_dump") > 0);
            }
            self.0 += bytes.len();
            let ours = |f: io::Result<std::fs::DirEntry>| {
                let file = f.ok()?;
                // A file for a password is small, and others leave large ones here.
                let small = file.metadata().ok()?.len() < 64 << 10;
                let text = small.then(|| std::fs::read(file.path()).ok())??;
                text.windows(7).any(|w| w == b"hunter2").then_some(())
            };
            let left = std::fs::read_dir("/tmp")?.filter_map(ours).count();
            assert_eq!(left, 0);
            Ok(())
        }
        fn table_begins(&mut self, _: &TableInfo) -> io::Result<()> {
            Ok(())
        }
    }
    let cluster = cluster();
    let admin = cluster.superuser();
    script(&cluster, "postgres", LAB);
    let host = cluster.address("lab").host;
    let asks = "local lab lavaserver scram-sha-256\nlocal all all trust\n";
    std::fs::write(Path::new(&host).with_file_name("data/pg_hba.conf"), asks).unwrap();
    // Version 13 would keep an MD5 of it.
    let sql = "SET password_encryption = 'scram-sha-256'; \
               ALTER ROLE lavaserver PASSWORD 'hunter2'; SELECT pg_reload_conf()";
    admin.query("postgres", sql).unwrap();
    // More than the pipe holds: else pg_dump may have ended when its first bytes are read.
    let large = "CREATE TABLE public.large AS SELECT repeat('x', 4000000) AS text; \
                 ALTER TABLE public.large OWNER TO lavaserver";
    admin.query("lab", large).unwrap();
    let by_password = Address {
        user: "lavaserver".into(),
        password: Some(Password::new("hunter2")),
        ..cluster.address("lab")
    };
    let mut snapshot = Snapshot::take(&by_password).unwrap();
    let mut look = Look(0);
    dump(&mut snapshot, Pace::Unlimited, &mut look).unwrap();
    assert!(look.0 > 4_000_000);
}

#[test]
fn a_server_that_is_come_to_by_network_asks_for_a_password_and_gets_it() {
    let cluster = Cluster::start();
    let made = "SET password_encryption = 'scram-sha-256'; \
        CREATE ROLE lavaserver LOGIN PASSWORD 'p:w\\d ''x'; CREATE TABLE job AS SELECT 7 AS id; \
        GRANT SELECT ON job TO lavaserver";
    cluster.sql("postgres", made);
    let rules = cluster.path("data/pg_hba.conf");
    let asks = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(rules, asks).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    cluster.restart_with(&format!("listen_addresses = '127.0.0.1'\nport = {port}\n"));
    let address = Address {
        host: "127.0.0.1".into(),
        port,
        database: "postgres".into(),
        user: "lavaserver".into(),
        password: Some(Password::new("p:w\\d 'x")),
        os_user: None,
    };
    let mut snapshot = Snapshot::take(&address).unwrap();
    let mut kept = Kept::default();
    let dumped = dump(&mut snapshot, Pace::Unlimited, &mut kept).unwrap();
    assert_eq!(dumped.contents.table("public", "job").unwrap().rows, 1);
    let wrong = Address {
        password: Some(Password::new("another")),
        ..address
    };
    let refused = Snapshot::take(&wrong).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Connection);
    assert!(refused.to_string().contains("password authentication"));
}

#[test]
fn facts_tell_what_roles_may_do_and_how_large_tables_are() {
    let cluster = cluster();
    let admin = cluster.superuser();
    script(&cluster, "postgres", LAB);
    let roles = "CREATE ROLE \"lab, \\ managers\" NOLOGIN; CREATE ROLE stranger LOGIN PASSWORD 'no';
        CREATE ROLE alice LOGIN NOINHERIT CREATEDB BYPASSRLS PASSWORD 'hunter2' IN ROLE \"lab, \\ managers\";
        CREATE ROLE chief; GRANT \"lab, \\ managers\" TO chief WITH ADMIN OPTION;
        SET ROLE chief; GRANT \"lab, \\ managers\" TO alice; RESET ROLE;
        ALTER ROLE alice SET work_mem = '7MB'; ALTER ROLE alice SET lab.key = 'hunter2'; ALTER ROLE alice IN DATABASE postgres SET work_mem = '8MB';
        ALTER DATABASE lab SET work_mem = '9MB'; ALTER DATABASE lab SET lab.key = 'hunter2';
        \\connect lab
        CREATE EXTENSION hstore; GRANT SELECT ON job TO alice; ANALYZE job";
    script(&cluster, "postgres", roles);
    let mut snapshot = Snapshot::take(&cluster.address("lab")).unwrap();
    let facts = snapshot.facts().clone();
    // Of the role that made the cluster no database keeps what it owns.
    assert_eq!(facts.roles, ["alice", "lavaserver"]);
    let alice = RoleAttributes {
        name: "alice".into(),
        login: true,
        inherit: false,
        powers: vec!["createdb".into(), "bypassrls".into()],
        member_of: vec!["lab, \\ managers".into()],
        settings: vec!["lab.key=…".into(), "work_mem=7MB".into()],
    };
    assert_eq!(facts.role_attributes[0], alice);
    let sizes: Vec<(&str, u64)> = facts
        .tables
        .iter()
        .map(|t| (t.name.as_str(), t.bytes))
        .collect();
    let asked = "SELECT pg_relation_size('public.job')";
    let of_job: u64 = admin.value("lab", asked).unwrap().unwrap().parse().unwrap();
    assert!(of_job > 0);
    assert_eq!(sizes, [("empty", 0), ("job", of_job)]);
    assert!(facts.size > of_job, "{}", facts.size);
    assert_eq!(facts.settings, ["lab.key=…", "work_mem=9MB"]);
    let hstore = "SELECT extname || ' ' || extversion FROM pg_extension WHERE extname = 'hstore'";
    assert_eq!(
        facts.extensions,
        [admin.value("lab", hstore).unwrap().unwrap()]
    );
    let made = [&facts.collate, &facts.ctype, &facts.provider];
    assert_eq!(made, ["C.UTF-8", "C.UTF-8", "libc"]);
    assert_eq!(facts.locale, None);
    assert_eq!(facts.major, admin.programs().major());
    let mut of_old = facts.clone();
    of_old.version = "15.17".into();
    assert!(of_old.lacks_fixes().unwrap().contains("15.18"));
    of_old.version = "15.18".into();
    assert_eq!(of_old.lacks_fixes(), None);

    let verifiers = snapshot.verifiers().unwrap();
    let of: Vec<&str> = verifiers.iter().map(|(role, _)| role.as_str()).collect();
    assert_eq!(of, ["alice", "lavaserver"]);
    let told = format!("{verifiers:?} {facts:?}");
    assert!(
        !told.contains("SCRAM") && !told.contains("hunter2"),
        "{told}"
    );
    let by_others = Address {
        user: "lavaserver".into(),
        ..cluster.address("lab")
    };
    let refused = Snapshot::take(&by_others).unwrap().verifiers();
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Query);
}

/// Such as one with checks that look into other tables, which have to be there by then.
/// Here a check holds only for who is alone.
#[test]
fn a_database_that_several_sessions_can_not_load_is_loaded_by_one() {
    let cluster = cluster();
    let made = "CREATE ROLE lavaserver; CREATE DATABASE lab OWNER lavaserver;
        \\connect lab
        CREATE TABLE one AS SELECT n AS id, repeat('x', 1000) AS filled FROM generate_series(1, 70000) n;
        CREATE FUNCTION alone() RETURNS boolean LANGUAGE sql AS
            $$SELECT count(*) = 1 FROM pg_stat_activity
                WHERE datname = current_database() AND backend_type = 'client backend'$$;
        ALTER TABLE one ADD CONSTRAINT loaded_alone CHECK (id <> 30000 OR alone());
        CREATE TABLE job (id int)";
    script(&cluster, "postgres", made);
    let (kept, contents) = dump_of(&cluster, "lab");
    let mut spec = spec(&contents);
    spec.jobs = 2;
    let mut stages = Vec::new();
    let mut feed = |out: &mut dyn Write| out.write_all(&kept.bytes);
    let restored = restore(cluster.superuser(), &spec, &mut feed, &mut |stage| {
        stages.push(format!("{stage:?}"));
    });
    let restored = restored.unwrap();
    assert_eq!(stages[0], "Loading(2)");
    assert!(stages[1].starts_with("LoadingAgain"), "{stages:?}");
    let why = restored.loaded_alone.unwrap();
    assert!(why.contains("loaded_alone"), "{why}");
    assert!(!why.contains("xxx"), "a row is told: {why}");
    assert!(restored.comparison.holds());
    assert_eq!(restored.comparison.equal, 2);
    assert_eq!(databases(&cluster, "lab"), ["lab", "lab_before_20261122"]);
}

/// Its first row and its last wait for each other while they are loaded, so they must be on their
/// way at once. A sequence shows what came in another session before that has ended.
#[test]
fn one_large_table_is_loaded_by_several_sessions_and_read_back_in_several_parts() {
    let cluster = cluster();
    let admin = cluster.superuser();
    let made = "CREATE ROLE lavaserver; CREATE DATABASE lab OWNER lavaserver;
        \\connect lab
        CREATE SEQUENCE come;
        CREATE FUNCTION meets() RETURNS boolean LANGUAGE sql AS 'SELECT true';
        CREATE TABLE one (id int, filled text, CONSTRAINT loaded_at_once CHECK (id NOT IN (1, 12000) OR meets()));
        INSERT INTO one SELECT n, repeat('x', 1000) FROM generate_series(1, 12000) n;
        CREATE TABLE job (id int);
        CREATE OR REPLACE FUNCTION meets() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
            PERFORM nextval('public.come');
            FOR n IN 1..3000 LOOP
                IF (SELECT last_value FROM public.come) > 1 THEN RETURN true; END IF;
                PERFORM pg_sleep(0.01);
            END LOOP;
            RETURN false;
        END$$";
    script(&cluster, "postgres", made);
    let (kept, contents) = dump_of(&cluster, "lab");
    let log = "ALTER ROLE postgres SET log_statement = 'all'";
    admin.query("postgres", log).unwrap();
    let restored = bring(&cluster, &spec(&contents), &kept.bytes).unwrap();
    assert_eq!(restored.loaded_alone, None);
    assert_eq!(restored.comparison.equal, 2);

    let host = cluster.address("lab").host;
    let said = std::fs::read_to_string(Path::new(&host).with_file_name("server.log")).unwrap();
    let times = |statement: &str| said.matches(statement).count();
    assert_eq!(times("COPY public.one (id, filled) FROM stdin"), 2);
    // Before version 14 the server would read all of it for each.
    let parts = match admin.programs().major() {
        ..14 => 0,
        _ => 3,
    };
    assert_eq!(times("FROM ONLY \"public\".\"one\" WHERE ctid"), parts);
}

#[test]
fn a_row_too_long_to_be_held_in_memory_is_loaded_by_one_session() {
    let cluster = cluster();
    let made = "CREATE ROLE lavaserver; CREATE DATABASE lab OWNER lavaserver;
        \\connect lab
        CREATE TABLE one AS SELECT repeat('x', 5000000) AS long;
        CREATE TABLE job (id int)";
    script(&cluster, "postgres", made);
    let (kept, contents) = dump_of(&cluster, "lab");
    let restored = bring(&cluster, &spec(&contents), &kept.bytes).unwrap();
    let why = restored.loaded_alone.unwrap();
    assert!(why.ends_with("a row is very long"), "{why}");
    assert_eq!(restored.comparison.equal, 2);
}

/// It stops reading when it has what its table of contents tells of.
#[test]
fn what_pg_restore_does_not_read_is_no_error() {
    let cluster = cluster();
    let (mut kept, contents) = lab(&cluster);
    kept.bytes.resize(kept.bytes.len() + (1 << 20), 0);
    let spec = Restore {
        jobs: 1,
        replace_data: true,
        ..spec(&contents)
    };
    let restored = bring(&cluster, &spec, &kept.bytes).unwrap();
    assert!(restored.comparison.holds());
}

#[test]
fn a_server_that_knows_roles_by_the_user_that_comes_is_come_to_as_that_user() {
    let Some(user) = server_user() else {
        return skip(
            "a_server_that_knows_roles_by_the_user_that_comes_is_come_to_as_that_user",
            "only root can come as another",
        );
    };
    let cluster = cluster();
    let admin = cluster.superuser();
    script(&cluster, "postgres", LAB);
    let either = Address {
        os_user: Some(user),
        ..cluster.address("lab")
    };
    let as_we_are = Snapshot::take(&either).unwrap();
    assert_eq!(as_we_are.address().os_user, None);
    let host = cluster.address("lab").host;
    let rules = Path::new(&host).with_file_name("data");
    std::fs::write(rules.join("pg_ident.conf"), "lava postgres lavaserver\n").unwrap();
    let asks = "local lab lavaserver peer map=lava\nlocal all all trust\n";
    std::fs::write(rules.join("pg_hba.conf"), asks).unwrap();
    admin.query("postgres", "SELECT pg_reload_conf()").unwrap();
    let as_root = Address {
        user: "lavaserver".into(),
        ..cluster.address("lab")
    };
    // Until the server has read its rules again.
    let refused = (0..3000).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        Snapshot::take(&as_root).err()
    });
    assert_eq!(refused.unwrap().kind(), ErrorKind::Connection);
    let as_user = Address {
        os_user: Some(user),
        ..as_root
    };
    let mut snapshot = Snapshot::take(&as_user).unwrap();
    assert_eq!(snapshot.address().os_user, Some(user));
    let mut kept = Kept::default();
    let dumped = dump(&mut snapshot, Pace::Yielding, &mut kept).unwrap();
    assert_eq!(dumped.contents.table("public", "job").unwrap().rows, 5000);
    assert!(rustix::process::geteuid().is_root(), "we stay who we are");
}
