//! What a digest is made of is the same text on every major version.
//!
//! `data/every_type.copy` is what PostgreSQL 15 makes of the values below. `scripts/test` runs
//! this on 13, 15 and 17.

use std::collections::BTreeMap;
use std::fmt::Write;

use lava_backup_pg::archive::{DumpReader, Observer, TableInfo};

use crate::common::lab::{script, shared};
use crate::trip::{comes_back, major};

const ROWS: &str = include_str!("../data/every_type.copy");

/// A type that columns can have, and values of it.
#[rustfmt::skip]
const VALUES: &[(&str, &[&str])] = &[
    ("bool", &["yes", "0"]),
    ("bytea", &[r"\x", r"\x005c0aff", r"\\\000\377"]),
    ("\"char\"", &["", "a", r"\"]),
    ("name", &["a name", ""]),
    ("int2", &["-32768", "32767"]),
    ("int4", &["-2147483648", "+7"]),
    ("int8", &["-9223372036854775808", "9223372036854775807"]),
    ("int2vector", &["1 -2 3", ""]),
    ("oid", &["4294967295", "0"]),
    ("oidvector", &["1 2", ""]),
    ("tid", &["(0,1)", "(4294967295,65535)"]),
    ("xid", &["3", "4294967295"]),
    ("cid", &["0", "4294967295"]),
    ("xid8", &["0", "18446744073709551615"]),
    ("text", &["", r"\.", r"\N", "a\tb\nc\rd\\\u{8}\u{b}\u{c}", "größe 𝄞", " x "]),
    ("varchar", &["a    ", ""]),
    ("bpchar", &["a    ", ""]),
    ("char(5)", &["a", "", "größe"]),
    ("xml", &["<a b='&amp;'/>", "text only", "<?xml version=\"1.0\" encoding=\"UTF-8\"?><a/>"]),
    ("json", &["{\"a\" : 1,  \"a\":[2.50, 1e400]}", "\"\\u0000\"", " null "]),
    ("jsonb", &["{\"b\": 1, \"a\": [2.50, 1e3, -0, null]}", "\"\\u00e9\\n\"", "1e60"]),
    ("jsonpath", &["$.a[*] ? (@.b > 1.50 && @ like_regex \"^x\" flag \"i\")", "strict $[0 to last].\"k y\"", "lax -$.a + 2 * 3",
        "$.** {2 to 3}.datetime(\"HH24\")", "$ ? (exists(@.x) || !(@ starts with \"a\"))", "$.a.type().double().abs()"]),
    ("point", &["(1,2)", "(-0,1e300)", "(0.1,NaN)"]),
    ("lseg", &["[(0,0),(1.5,2)]"]),
    ("path", &["[(0,0),(1,1)]", "((0,0),(1,1),(2,0))"]),
    ("box", &["(0,0),(1,1)"]),
    ("polygon", &["((0,0),(1,1),(2,0))"]),
    ("line", &["{1,-1,0}"]),
    ("circle", &["<(0,0),2.5>"]),
    ("float4", &["NaN", "-infinity", "-0", "1e-45", "3.4028235e38", "0.1", "16777217"]),
    ("float8", &["NaN", "infinity", "-0", "5e-324", "1.7976931348623157e308", "0.30000000000000004", "1e15", "1e16"]),
    ("numeric", &["NaN", "-0", "0.00000000000000000000", "1e300", "-1e-300", "123456789.987654321000"]),
    ("numeric(10,3)", &["1.0005", "-1.0005", "1e6"]),
    ("money", &["12345.678", "-0.01"]),
    ("macaddr", &["08-00-2b-01-02-03"]),
    ("macaddr8", &["08002b0102030405"]),
    ("inet", &["::1/64", "0.0.0.0/0", "10.1.2.3", "::ffff:1.2.3.4"]),
    ("cidr", &["10.1.2.0/24", "2001:db8::/32"]),
    ("date", &["4713-01-01 BC", "5874897-12-31", "infinity", "2026-02-28"]),
    ("time", &["24:00:00", "12:34:56.123456", "00:00"]),
    ("timetz", &["12:00:00+05:30", "24:00:00-15:59:59"]),
    ("timestamp", &["4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999", "-infinity", "2026-03-29 02:30:00.1"]),
    ("timestamptz", &["0044-03-15 12:00:00+01:23:45 BC", "infinity", "2026-03-29 02:30:00 Europe/Berlin"]),
    ("interval", &["178000000 years", "-1 mon +1 day -0.000001 s", "0", "1 year 2 mons -3 days 04:05:06.7", "-00:00:01"]),
    ("bit(3)", &["101"]),
    ("varbit", &["", "1", "101010101"]),
    ("uuid", &["A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    ("pg_lsn", &["0/0", "FFFFFFFF/FFFFFFFF"]),
    ("txid_snapshot", &["10:20:10,14,15"]),
    ("pg_snapshot", &["10:20:10,14,15"]),
    ("tsvector", &["'a '' b':1A,2 c", "", "'ÿ':16383D"]),
    ("tsquery", &["'a b':*A & !(c <2> d | e)", "!!a"]),
    ("refcursor", &["a cursor"]),
    ("aclitem", &["postgres=arwdDxt/postgres", "=r*/postgres"]),
    ("regclass", &["pg_class", "0", "4000000000"]),
    ("regtype", &["int4", "timestamp with time zone[]"]),
    ("regproc", &["now"]),
    ("regprocedure", &["abs(numeric)"]),
    ("regoper", &["|/"]),
    ("regoperator", &["+(int4,int4)"]),
    ("regcollation", &["\"C\""]),
    ("regrole", &["postgres"]),
    ("regnamespace", &["pg_catalog"]),
    ("regconfig", &["english"]),
    ("regdictionary", &["simple"]),
    ("int4range", &["[1,5]", "empty", "(,)", "(-3,)"]),
    ("int8range", &["[1,5]"]),
    ("numrange", &["(1.50,NaN]", "[,1e10)"]),
    ("daterange", &["[2026-01-01,infinity]", "(4713-01-01 BC,]"]),
    ("tsrange", &["[2026-01-01,infinity)"]),
    ("tstzrange", &["(2026-01-01 00:00+02,]"]),
    ("text[]", &[r#"{"",NULL,"NULL","{",",","\"","\\",a b}"#, "{}", "[3:4]={a,b}", "{{a,b},{c,NULL}}"]),
    ("float8[]", &["{NaN,-0,0.1}"]),
    ("jsonb[]", &[r#"{"{\"a\": \"\\n\"}"}"#]),
    ("information_schema.time_stamp", &["2026-01-01 00:00+00"]),
    ("public.mood", &["so so", "größe"]),
    ("public.pair", &["(1,\"a \"\"b\\\\\")", "(,)", "(2,\"\")"]),
    ("public.short", &["abc"]),
];

/// Types that came later, with the major version that has them first.
#[rustfmt::skip]
const LATER: &[(u32, &str, &[&str])] = &[
    (14, "int4multirange", &["{[1,3],[5,7)}", "{}"]),
    (14, "int8multirange", &["{[1,3]}"]),
    (14, "nummultirange", &["{[1.50,2],(3,)}"]),
    (14, "datemultirange", &["{[2026-01-01,2026-02-01]}"]),
    (14, "tsmultirange", &["{(2026-01-01,)}"]),
    (14, "tstzmultirange", &["{(,2026-01-01 00:00+02)}"]),
];

/// No column is of them, or no value is given to one.
const NO_VALUES: [&str; 9] = [
    "cstring",
    "gtsvector",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
    "unknown",
];

fn values(major: u32) -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    let later = LATER.iter().filter(move |later| later.0 <= major);
    VALUES
        .iter()
        .copied()
        .chain(later.map(|&(_, of, values)| (of, values)))
}

/// What makes a table of each type, named as the type is.
fn tables(major: u32) -> String {
    let mut sql = String::from(
        "CREATE TYPE public.mood AS ENUM ('so so', 'größe');
         CREATE TYPE public.pair AS (a int, b text);
         CREATE DOMAIN public.short AS varchar(3);\n",
    );
    for (of, values) in values(major) {
        let table = of.replace('"', "\"\"");
        writeln!(sql, "CREATE TABLE public.\"{table}\" (value {of});").unwrap();
        for value in values {
            let value = value.replace('\'', "''");
            writeln!(sql, "INSERT INTO public.\"{table}\" VALUES ('{value}');").unwrap();
        }
        writeln!(sql, "INSERT INTO public.\"{table}\" VALUES (NULL);").unwrap();
    }
    sql
}

/// The rows of each table, as a dump has them.
#[derive(Default)]
struct Rows(BTreeMap<String, Vec<String>>);

impl Observer for Rows {
    fn wants(&mut self, _: &TableInfo) -> bool {
        true
    }

    fn row(&mut self, table: &TableInfo, row: &[u8]) {
        let row = String::from_utf8(row.to_vec()).unwrap();
        self.0.entry(table.name.clone()).or_default().push(row);
    }
}

#[test]
fn a_value_has_the_same_text_on_every_major() {
    let cluster = shared();
    let major = major(&cluster);
    let dumped = comes_back("every type", &tables(major));
    let mut rows = Rows::default();
    let mut reader = DumpReader::new();
    reader.feed(&dumped.bytes, &mut rows).unwrap();
    reader.finish().unwrap();

    let mut expected = BTreeMap::<_, Vec<_>>::new();
    for line in ROWS.lines() {
        let (of, row) = line.split_once('\t').unwrap();
        expected
            .entry(of.to_owned())
            .or_default()
            .push(row.to_owned());
    }
    let known: Vec<_> = values(major).map(|(of, _)| of.to_owned()).collect();
    expected.retain(|of, _| known.contains(of));
    assert_eq!(rows.0, expected);
}

#[test]
fn every_type_that_a_server_has_is_among_them() {
    let cluster = shared();
    let sql = "SELECT typname FROM pg_catalog.pg_type WHERE typtype IN ('b', 'r', 'm')
        AND typnamespace = 'pg_catalog'::regnamespace AND typname !~ '^_' ORDER BY 1";
    let known: Vec<_> = values(major(&cluster)).map(|(of, _)| of).collect();
    let is_known = |of: &str| {
        let named = |known: &&str| known.trim_matches('"').split('(').next() == Some(of);
        NO_VALUES.contains(&of) || known.iter().any(named)
    };
    let all = script(&cluster, "postgres", sql);
    let new: Vec<_> = all
        .iter()
        .map(|row| row[0].as_str())
        .filter(|of| !is_known(of))
        .collect();
    assert_eq!(new, [""; 0]);
}
