//! Values whose text is not plain.

use lava_backup_pg::{ErrorKind, Pace, Snapshot};

use crate::common::lab::{Kept, shared};
use crate::trip::{comes_back, major, rows};

#[test]
fn numbers_that_are_none_and_times_without_end() {
    // Infinite numerics came with version 14.
    let infinity = match major(&shared()) {
        13 => "1e131071",
        _ => "infinity",
    };
    let dumped = comes_back(
        "numbers",
        &format!("CREATE TABLE n (f4 float4, f8 float8, n numeric, d date, t timestamp, z timestamptz, i interval);
         INSERT INTO n VALUES
            ('NaN', 'NaN', 'NaN', 'infinity', 'infinity', 'infinity', '178000000 years'),
            ('-infinity', '-infinity', '-{infinity}', '-infinity', '-infinity', '-infinity', '-1 mon +1 day -0.000001 s'),
            ('infinity', '5e-324', '{infinity}', '4713-01-01 BC', '4713-01-01 00:00:00 BC', '0044-03-15 12:00:00+01:23:45 BC', '0'),
            ('-0', '-0', '0.00000000000000000000', '5874897-12-31', '294276-12-31 23:59:59.999999', '2026-03-29 02:30:00 Europe/Berlin', '1 year'),
            (0.1 + 0.2, 0.1::float8 + 0.2, repeat('9', 1000)::numeric, 'epoch', 'epoch', 'epoch', NULL)"),
    );
    assert_eq!(dumped.contents.table("public", "n").unwrap().rows, 5);
}

#[test]
fn text_that_looks_like_the_ends_of_things() {
    comes_back(
        "texts",
        r#"CREATE TABLE t (a text, b bytea, c char(5), d varchar, e xml, f jsonb, g json, h tsvector, i text[], j bytea[], k int4range, l uuid, m bit varying, n inet);
          INSERT INTO t (a) VALUES ('\.'), ('\N'), ('\'), (''), (NULL), ('\\'), (E'\n'), (E'\\.\n\\.'), ('\x00'), ('\000'), (E'\r'), (E'\r\n'), (E'\t'), ('. 00000'), ('\. 00000'), (E'\u0001\u001f\u007f'), ('𝄞é́'), (E'\uFEFF');
          INSERT INTO t (b) VALUES ('\x00'), ('\x'), ('\x5c2e0a'), ('\x0000000000'), ('\xff'), (decode(repeat('00ff5c0a', 5000), 'hex'));
          INSERT INTO t (c, d) VALUES ('', ''), ('a', 'a    '), ('     ', ' ');
          INSERT INTO t (e, f, g) VALUES ('<a b=''&amp;''/>', '{"a": "\u0041\n\"", "b": [1e400, null, {}]}', E'{"a" : "\\u0000", \n "a":1}');
          INSERT INTO t (h, i, j, k, l, m, n) VALUES
            ('''a '''' b'':1A', ARRAY['', NULL, 'NULL', '{', '}', ',', '"', '\', E'\n'], ARRAY['\x00'::bytea, NULL], '[1,)', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '', '::1/64'),
            (NULL, '{}', '[3:4]={a,b}'::bytea[], 'empty', NULL, '0', '0.0.0.0/0'),
            (NULL, '{{a,b},{c,NULL}}', NULL, '(,)', NULL, '1', '10.1.2.3')"#,
    );
}

/// Longer than any buffer on the way, and twice as long when it is copied.
#[test]
fn rows_as_long_as_many_others() {
    let dumped = comes_back(
        "long",
        r"CREATE TABLE log (id int, text text);
          ALTER TABLE log ALTER text SET STORAGE EXTERNAL;
          INSERT INTO log VALUES (1, repeat(E'\\\t\n', 600000)), (2, 'short'), (3, repeat('x', 2000000));",
    );
    let log = dumped.contents.table("public", "log").unwrap();
    assert_eq!((log.rows, log.bytes > 5_600_000), (3, true));
}

/// A value of half a gigabyte and more is one of a gigabyte and more as text,
/// which is more than the server can give.
#[test]
#[ignore = "takes two gigabytes of memory and twenty seconds"]
fn a_row_that_the_server_can_not_give_ends_the_dump_with_its_words() {
    let cluster = shared();
    let admin = cluster.superuser();
    admin.query("postgres", "CREATE DATABASE huge").unwrap();
    let huge = "CREATE TABLE public.huge AS SELECT convert_to(repeat('x', 540000000), 'UTF8') AS b";
    admin.query("huge", huge).unwrap();
    let mut snapshot = Snapshot::take(&cluster.address("huge")).unwrap();
    let error =
        lava_backup_pg::dump(&mut snapshot, Pace::Unlimited, &mut Kept::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    let said = error.to_string();
    assert!(said.contains("invalid memory alloc request"), "{said}");
    assert!(said.contains("public.huge"), "{said}");
}

#[test]
fn a_database_in_another_encoding() {
    let cluster = shared();
    let admin = cluster.superuser();
    let create = "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'";
    admin.query("postgres", create).unwrap();
    let sql = "CREATE TABLE public.\"größe\" (\"maß\" text); INSERT INTO public.\"größe\" VALUES ('Äöü'), (chr(255))";
    admin.query("latin", sql).unwrap();
    let dumped = crate::trip::dump_again(&cluster, "latin");
    crate::trip::back_from(&cluster, &dumped);
    assert!(dumped.contents.table("public", "größe").is_some());
    let encoding = admin.value("latin again", "SHOW server_encoding").unwrap();
    assert_eq!(encoding.as_deref(), Some("LATIN1"));
}

/// What such a database holds may be anything: it comes back as the bytes that
/// it is.
#[test]
fn a_database_that_knows_no_encoding() {
    let cluster = shared();
    let admin = cluster.superuser();
    let create = "CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'";
    admin.query("postgres", create).unwrap();
    let sql = r"CREATE TABLE public.t (a text); INSERT INTO public.t VALUES (E'\xff\xfe'), (E'\xc3\xa9'), (E'\xe9')";
    admin.query("ascii", sql).unwrap();
    let dumped = crate::trip::dump_again(&cluster, "ascii");
    let restored = dumped.swap_in(&cluster, "ascii again").unwrap();
    assert_eq!(restored.loaded_alone, None, "several are not tried");
    assert!(restored.comparison.holds());
    let bytes = "SELECT string_agg(encode(a::bytea, 'hex'), ' ' ORDER BY a) FROM public.t";
    let bytes = |name: &str| {
        admin
            .value(name, &format!("SET client_encoding = 'SQL_ASCII'; {bytes}"))
            .unwrap()
    };
    assert_eq!(bytes("ascii again").as_deref(), Some("c3a9 e9 fffe"));
    assert_eq!(rows(&cluster, "ascii again")[0][0], "t");
}
