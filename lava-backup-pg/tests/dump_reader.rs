//! The dump reader against dumps that PostgreSQL itself made, and against PostgreSQL's own view of
//! what is in them.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::Cluster;
use lava_backup_pg::archive::{
    ArchiveError, ArchiveErrorKind, DumpContents, DumpReader, Observer, Section, TableInfo,
    TableSummary, TocEntry,
};
use lava_backup_pg::digest::{TableDigest, TableHasher};
use proptest::prelude::*;
use proptest::sample::Index;

const SMALL: &[u8] = include_bytes!("data/small.dump");

/// Wants everything and notes all it is told.
#[derive(Debug, Default, PartialEq)]
struct Notes {
    entries: Vec<TocEntry>,
    begun: Vec<(TableInfo, u64)>,
    rows: Vec<(String, Vec<u8>)>,
    ended: Vec<TableSummary>,
}

impl Observer for Notes {
    fn entry(&mut self, entry: &TocEntry) {
        self.entries.push(entry.clone());
    }
    fn table_begins(&mut self, table: &TableInfo, offset: u64) {
        self.begun.push((table.clone(), offset));
    }
    fn wants(&mut self, _: &TableInfo) -> bool {
        true
    }
    fn row(&mut self, table: &TableInfo, row: &[u8]) {
        self.rows.push((table.name.clone(), row.to_vec()));
    }
    fn table_ends(&mut self, summary: &TableSummary) {
        self.ended.push(summary.clone());
    }
}

fn read<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(DumpContents, Notes), ArchiveError> {
    let mut notes = Notes::default();
    let mut reader = DumpReader::new();
    for piece in pieces {
        reader.feed(piece, &mut notes)?;
    }
    Ok((reader.finish()?, notes))
}

fn kind(dump: &[u8]) -> ArchiveErrorKind {
    read([dump]).unwrap_err().kind().clone()
}

fn odd_database(cluster: &Cluster) {
    cluster.output("createdb", ["odd"]);
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/odd.sql"),
        cluster.path("odd.sql"),
    )
    .unwrap();
    let file = cluster.path("odd.sql");
    cluster.output(
        "psql",
        [
            "-Xq",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            "odd",
            "-f",
            file.to_str().unwrap(),
        ],
    );
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Count and digest of a table's rows as a server gives them now.
fn on_server(cluster: &Cluster, database: &str, table: &TableInfo) -> (u64, TableDigest) {
    let columns: Vec<String> = table.columns.iter().map(|c| quoted(c)).collect();
    let list = if columns.is_empty() {
        String::new()
    } else {
        format!("({})", columns.join(", "))
    };
    let name = format!("{}.{}", quoted(&table.schema), quoted(&table.name));
    let text = cluster.sql(database, &format!("COPY {name} {list} TO STDOUT"));
    let mut hasher = TableHasher::unkeyed();
    for row in text.split_inclusive(|&b| b == b'\n') {
        hasher.add_row(row.strip_suffix(b"\n").unwrap());
    }
    (hasher.rows(), hasher.digest())
}

/// An entry as `pg_restore -l` shows it.
fn as_listed(entry: &TocEntry) -> String {
    let line = |text: &str| text.replace('\n', " ");
    format!(
        "{}; {} {} {} {} {} {}",
        entry.dump_id,
        entry.catalog,
        entry.oid,
        entry.desc,
        line(entry.namespace.as_deref().unwrap_or("-")),
        line(&entry.tag),
        line(entry.owner.as_deref().unwrap_or_default())
    )
}

/// Count and digest of the rows that follow each `COPY` of a script.
fn tables_of_script(script: &[u8]) -> BTreeMap<String, (u64, TableDigest)> {
    let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|w| w == what);
    let mut tables = BTreeMap::new();
    let mut rest = script;
    while let Some(at) = find(rest, b"\nCOPY ") {
        rest = &rest[at + 1..];
        let end = b" FROM stdin;\n";
        let (copy, rows) = rest.split_at(find(rest, end).unwrap() + end.len());
        let mut hasher = TableHasher::unkeyed();
        rest = rows;
        for row in rows.split_inclusive(|b| *b == b'\n') {
            rest = &rest[row.len()..];
            if row == b"\\.\n" {
                break;
            }
            hasher.add_row(row.strip_suffix(b"\n").unwrap());
        }
        let copy = String::from_utf8(copy.to_vec()).unwrap();
        tables.insert(copy, (hasher.rows(), hasher.digest()));
    }
    tables
}

#[test]
fn a_dump_holds_the_tables_rows_and_sequences_that_the_server_has() {
    let cluster = Cluster::start();
    odd_database(&cluster);
    let dump = cluster.dump("odd");
    let (contents, notes) = read([&dump[..]]).unwrap();

    assert_eq!(contents.header.database, "odd");
    assert!(
        contents
            .header
            .server_version
            .starts_with(&format!("{}.", cluster.major())),
        "{:?}",
        contents.header
    );
    assert_eq!(contents.header.server_version, contents.header.dump_version);
    assert_eq!(contents.bytes, dump.len() as u64);
    assert_eq!(contents.large_objects, 2);

    let ordinary = cluster.sql(
        "odd",
        "SELECT format('%s|%s', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE relkind = 'r' AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
         ORDER BY nspname COLLATE \"C\", relname COLLATE \"C\"",
    );
    let read_tables: String = contents
        .tables
        .iter()
        .map(|t| format!("{}|{}\n", t.table.schema, t.table.name))
        .collect();
    assert_eq!(read_tables, String::from_utf8(ordinary).unwrap());

    for summary in &contents.tables {
        let name = format!(
            "{}.{}",
            quoted(&summary.table.schema),
            quoted(&summary.table.name)
        );
        let count = cluster.sql("odd", &format!("SELECT count(*) FROM {name}"));
        assert_eq!(format!("{}\n", summary.rows).as_bytes(), count, "{name}");
        let (rows, digest) = on_server(&cluster, "odd", &summary.table);
        assert_eq!((summary.rows, summary.digest), (rows, digest), "{name}");
    }

    for sequence in &contents.sequences {
        let name = format!("{}.{}", quoted(&sequence.schema), quoted(&sequence.name));
        let set = cluster.sql(
            "odd",
            &format!("SELECT last_value, is_called::text FROM {name}"),
        );
        let read = format!("{}\t{}\n", sequence.last_value, sequence.is_called);
        assert_eq!(read.as_bytes(), set, "{name}");
    }
    assert_eq!(contents.sequences.len(), 3);

    fs::write(cluster.path("dump"), &dump).unwrap();
    let list = cluster.output(
        "pg_restore",
        ["-l".as_ref(), cluster.path("dump").as_os_str()],
    );
    let list = String::from_utf8(list).unwrap();
    assert!(
        list.contains(&format!("TOC Entries: {}\n", contents.entries)),
        "{list}"
    );
    assert_eq!(notes.entries.len() as u64, contents.entries);
    let listed = list.lines().filter(|line| !line.starts_with(';'));
    let mut listed: Vec<String> = listed.map(str::to_owned).collect();
    // It tells only of what it would make.
    let session = ["ENCODING", "STDSTRINGS", "SEARCHPATH"];
    let made = |entry: &&TocEntry| !session.contains(&&*entry.desc) && entry.desc != "DATABASE";
    let entries = notes.entries.iter().filter(made);
    let mut entries: Vec<String> = entries.map(as_listed).collect();
    listed.sort();
    entries.sort();
    assert_eq!(entries, listed);

    let file = cluster.path("dump");
    let script = cluster.output("pg_restore", ["-f", "-", file.to_str().unwrap()]);
    let with_rows = notes.entries.iter().filter_map(|entry| {
        let copy = entry.copy_stmt.clone().filter(|copy| !copy.is_empty())?;
        let table = contents.table(entry.namespace.as_deref()?, &entry.tag)?;
        Some((copy, (table.rows, table.digest)))
    });
    let as_read: BTreeMap<String, (u64, TableDigest)> = with_rows.collect();
    assert_eq!(as_read.len(), contents.tables.len());
    assert_eq!(as_read, tables_of_script(&script));

    let rows_of = |name: &str| notes.rows.iter().filter(|(table, _)| table == name).count() as u64;
    for summary in &contents.tables {
        assert_eq!(rows_of(&summary.table.name), summary.rows);
    }
    for (table, offset) in &notes.begun {
        assert_eq!(
            dump[*offset as usize], 1,
            "{table:?} begins with the mark of a data block"
        );
    }
    let columns = |name: &str| {
        &contents
            .tables
            .iter()
            .find(|t| t.table.name == name)
            .unwrap()
            .table
            .columns
    };
    assert_eq!(
        columns("t \"q\".größe; --"),
        &["Id", "a, b) FROM stdin;", "q\"q", "new\nline"]
    );
    assert_eq!(columns("made"), &["a", "b"]);
    assert!(columns("nothing").is_empty());
}

#[test]
fn a_restored_database_has_the_digests_of_its_dump() {
    let cluster = Cluster::start();
    odd_database(&cluster);
    let dump = cluster.dump("odd");
    let (contents, _) = read([&dump[..]]).unwrap();
    fs::write(cluster.path("dump"), &dump).unwrap();
    cluster.output("createdb", ["-T", "template0", "again"]);
    let file = cluster.path("dump");
    cluster.output(
        "pg_restore",
        ["--exit-on-error", "-d", "again", file.to_str().unwrap()],
    );
    for summary in &contents.tables {
        let expected = (summary.rows, summary.digest);
        assert_eq!(
            on_server(&cluster, "again", &summary.table),
            expected,
            "{:?}",
            summary.table
        );
    }

    cluster.sql("again", "UPDATE used SET note = 'tvo' WHERE note = 'two'");
    let used = contents.table("public", "used").unwrap();
    assert_ne!(on_server(&cluster, "again", &used.table).1, used.digest);

    let (again, _) = read([&cluster.dump("again")[..]]).unwrap();
    let differing: Vec<_> = contents
        .tables
        .iter()
        .zip(&again.tables)
        .filter(|(a, b)| a != b)
        .map(|(a, _)| a.table.name.as_str())
        .collect();
    assert_eq!(differing, ["used"]);
    assert_eq!(contents.sequences, again.sequences);
}

#[test]
fn a_dump_written_to_a_file_reads_as_one_that_was_piped() {
    let cluster = Cluster::start();
    odd_database(&cluster);
    let file = cluster.path("dump");
    cluster.output(
        "pg_dump",
        ["-Fc", "-Z0", "odd", "-f", file.to_str().unwrap()],
    );
    let mut from_file = fs::read(&file).unwrap();
    let (in_file, notes) = read([&from_file[..]]).unwrap();
    let (piped, _) = read([&cluster.dump("odd")[..]]).unwrap();
    assert_eq!(in_file.tables, piped.tables);
    assert_eq!(in_file.sequences, piped.sequences);

    // Only here does the table of contents say where the blocks are, and it must be right.
    for (table, offset) in &notes.begun {
        let entry = notes.entries.iter().find(|e| {
            e.desc == "TABLE DATA"
                && e.tag == table.name
                && e.namespace.as_deref() == Some(&table.schema)
        });
        assert_eq!(entry.unwrap().data_offset, Some(*offset));
    }
    let told = notes.begun[0].1.to_le_bytes();
    let at = from_file
        .windows(9)
        .position(|w| w[0] == 2 && w[1..] == told)
        .unwrap();
    from_file[at + 1] ^= 1;
    assert!(matches!(
        kind(&from_file),
        ArchiveErrorKind::Malformed {
            what: "the offset of a data block",
            ..
        }
    ));
}

#[test]
fn a_dump_that_can_not_be_seen_into_is_refused_by_what_it_is() {
    let cluster = Cluster::start();
    cluster.output("createdb", ["small"]);
    let sql = include_str!("data/small.sql");
    cluster.sql("small", sql);
    let dump = |args: &[&str]| cluster.output("pg_dump", args.iter().chain(&["small"]));

    let fresh = read([&dump(&["-Fc", "-Z0"])[..]]).unwrap().0;
    assert_eq!(fresh.tables, read([SMALL]).unwrap().0.tables);

    let gzip = ArchiveErrorKind::Compressed {
        method: "gzip".into(),
    };
    assert_eq!(kind(&dump(&["-Fc"])), gzip);
    assert!(matches!(
        kind(&dump(&["-Fc", "-Z0", "--inserts"])),
        ArchiveErrorKind::NotCopy { table, .. } if table == "device"
    ));
    assert!(matches!(
        kind(&dump(&["-Ft"])),
        ArchiveErrorKind::NotADump { .. }
    ));
    assert!(matches!(
        kind(&dump(&["-Fp"])),
        ArchiveErrorKind::NotADump { .. }
    ));

    let schema_only = read([&dump(&["-Fc", "-Z0", "--schema-only"])[..]])
        .unwrap()
        .0;
    assert!(schema_only.tables.is_empty());
    assert!(schema_only.entries > 0);
}

#[test]
fn a_name_that_is_not_utf_8_is_refused() {
    let cluster = Cluster::start();
    cluster.output(
        "createdb",
        ["-T", "template0", "-E", "LATIN1", "--locale=C", "latin"],
    );
    cluster.sql("latin", "CREATE TABLE größe (x text)");
    let dump = |encoding| cluster.output("pg_dump", ["-Fc", "-Z0", encoding, "latin"]);
    assert!(matches!(
        kind(&dump("--encoding=LATIN1")),
        ArchiveErrorKind::NotUtf8 { .. }
    ));
    let utf8 = dump("--encoding=UTF8");
    assert_eq!(read([&utf8[..]]).unwrap().0.tables[0].table.name, "größe");
}

#[test]
fn byte_by_byte_a_dump_reads_as_at_once() {
    let cluster = Cluster::start();
    odd_database(&cluster);
    let dump = cluster.dump("odd");
    let whole = read([&dump[..]]).unwrap();
    for size in [1, 7, 4096] {
        assert!(
            read(dump.chunks(size)).unwrap() == whole,
            "in pieces of {size}"
        );
    }
}

#[test]
fn a_small_dump_is_read() {
    let (contents, notes) = read([SMALL]).unwrap();
    assert_eq!(contents.header.version.to_string(), "1.14");
    assert_eq!(contents.tables.len(), 2);
    assert_eq!(contents.large_objects, 1);
    let sections = ["TABLE", "TABLE DATA", "CONSTRAINT"].map(|desc| {
        let entry = notes.entries.iter().find(|e| e.desc == desc);
        entry.unwrap().section
    });
    assert_eq!(
        sections,
        [Section::PreData, Section::Data, Section::PostData]
    );
    let rows: Vec<_> = notes
        .rows
        .iter()
        .map(|(table, row)| (table.as_str(), &row[..]))
        .collect();
    assert_eq!(
        rows,
        [
            ("device", &b"qemu-01\t\\N\t0"[..]),
            ("device", b"qemu-02\ttwo\\nlines\t4")
        ]
    );
}

#[test]
fn a_dump_cut_anywhere_is_an_error() {
    assert!(matches!(kind(b""), ArchiveErrorKind::Empty));
    for length in 1..SMALL.len() {
        let error = read([&SMALL[..length]]).unwrap_err();
        assert!(
            matches!(
                error.kind(),
                ArchiveErrorKind::Truncated { .. } | ArchiveErrorKind::MissingData { .. }
            ),
            "{length}: {error}"
        );
        assert_eq!(error.offset(), length as u64);
    }
}

#[test]
fn a_dump_with_anything_behind_it_is_an_error() {
    for byte in 0..=255 {
        let dump = [SMALL, &[byte]].concat();
        assert!(read([&dump[..]]).is_err(), "{byte}");
    }
    let twice = [SMALL, SMALL].concat();
    assert!(read([&twice[..]]).is_err());
}

/// What a flipped bit changes is an error, or shows in what was read; or it lies in one of the
/// values that are skipped.
#[test]
fn a_flipped_bit_never_panics_and_in_a_row_always_shows() {
    let (contents, _) = read([SMALL]).unwrap();
    let rows = SMALL.windows(7).position(|w| w == b"qemu-01").unwrap();
    for at in 0..SMALL.len() {
        for bit in 0..8 {
            let mut dump = SMALL.to_vec();
            dump[at] ^= 1 << bit;
            if let Ok((flipped, _)) = read([&dump[..]]) {
                let in_row = (rows..rows + 12).contains(&at);
                assert!(!in_row || flipped.tables != contents.tables, "{at}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_cuts_into_slices_make_no_difference(cuts in prop::collection::vec(any::<Index>(), 0..20)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(SMALL.len() + 1)).collect();
        cuts.extend([0, SMALL.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|ends| &SMALL[ends[0]..ends[1]]);
        prop_assert_eq!(read(pieces), read([SMALL]));
    }

    #[test]
    fn noise_in_a_dump_never_panics_and_reads_the_same_in_slices(
        noise in prop::collection::vec((any::<Index>(), any::<u8>()), 1..6),
        cut in any::<Index>(),
    ) {
        let mut dump = SMALL.to_vec();
        for (at, byte) in noise {
            dump[at.index(SMALL.len())] = byte;
        }
        let (left, right) = dump.split_at(cut.index(dump.len() + 1));
        let in_slices = read([left, right]);
        prop_assert_eq!(in_slices, read([&dump[..]]));
    }
}
