//! What no installed `pg_dump` writes: other versions of the format, and lies.
#![allow(clippy::unwrap_used)]

mod parts;
mod writer;

use super::*;
use crate::digest::TableHasher;
use writer::Writer;

fn read(dump: &[u8]) -> Result<DumpContents, ArchiveError> {
    let mut reader = DumpReader::new();
    reader.feed(dump, &mut ())?;
    reader.finish()
}

/// A dump of one table with the given chunks.
fn one_table(chunks: &[&str]) -> Writer {
    let mut dump = Writer::new(14, 1);
    dump.table_entry(7, "device");
    dump.table(7, chunks);
    dump
}

#[track_caller]
fn malformed(dump: &Writer, expected: &str) {
    match dump.read() {
        Err(error) => match error.kind() {
            ArchiveErrorKind::Malformed { what, .. } => assert_eq!(*what, expected, "{error}"),
            other => panic!("{other:?}"),
        },
        Ok(contents) => panic!("{contents:?}"),
    }
}

const END: &str = "\\.\n\n\n";

#[test]
fn every_version_of_the_format_reads_alike() {
    for minor in 12..=16 {
        let mut dump = Writer::new(minor, 4);
        dump.entry(5, "TABLE", "device", [Some("CREATE TABLE …"), None], 3);
        let set = "SELECT pg_catalog.setval('public.device_seq', 42, true);\n";
        dump.entry(6, "SEQUENCE SET", "device_seq", [Some(set), None], 3);
        dump.table_entry(7, "device");
        dump.entry(8, "BLOBS", "BLOBS", [None, None], 1);
        dump.table(7, &["1\tone\n2\tt", "wo\n\\", ".\n\n\n"]);
        dump.block(BLOCK_LARGE_OBJECTS, 8);
        for oid in [16_385, -294_967_296] {
            dump.int(oid);
            dump.chunks(&["la", "rge"]);
        }
        dump.int(0);

        let contents = dump.read().unwrap();
        assert_eq!(contents.header.version, ArchiveVersion { major: 1, minor });
        assert_eq!(contents.header.created.to_string(), "2026-11-22 21:34:29");
        assert_eq!((contents.entries, contents.large_objects), (4, 2));
        let mut objects = TableHasher::unkeyed();
        objects.add_row(b"4000000000\tlarge");
        objects.add_row(b"16385\tlarge");
        assert_eq!(contents.large_objects_digest, Some(objects.digest()));
        let device = contents.table("public", "device").unwrap();
        assert_eq!(device.table.columns, ["id", "name"]);
        assert_eq!((device.rows, device.bytes), (2, 12));
        let mut rows = TableHasher::unkeyed();
        rows.add_row(b"2\ttwo");
        rows.add_row(b"1\tone");
        assert_eq!(device.digest, rows.digest());
        assert_eq!(contents.sequences[0].last_value, 42);
        for length in 0..dump.out.len() {
            let (before, after) = dump.out.split_at(length);
            assert!(read(before).is_err(), "1.{minor} cut at {length}");
            let mut in_two = DumpReader::new();
            in_two.feed(before, &mut ()).unwrap();
            in_two.feed(after, &mut ()).unwrap();
            assert_eq!(in_two.finish().as_ref(), Ok(&contents), "{length}");
        }
    }
}

#[test]
fn a_dump_that_ends_too_early_is_told_with_what_it_ends_in() {
    let (before_count, before_entries) = (Writer::new(14, 1).out.len() - 5, 5);
    let dump = one_table(&["1\tone\n", END]).out;
    let block = dump.len() - (1 + 5) - (5 + 6) - (5 + 5) - 5;
    for (length, expected) in [
        (1, "its header"),
        (before_count, "its header"),
        (before_count + before_entries, "its table of contents"),
        (block - 1, "its table of contents"),
        (block + 1, "the head of a data block"),
        (dump.len() - 1, "the data of a table"),
    ] {
        let error = read(&dump[..length]).unwrap_err();
        let kind = ArchiveErrorKind::Truncated { inside: expected };
        assert_eq!((error.kind(), error.offset()), (&kind, length as u64));
    }
}

#[test]
fn a_version_that_is_not_known_is_refused_as_such() {
    for (major, minor) in [(1, 11), (1, 17), (2, 14), (0, 14)] {
        let mut dump = one_table(&[END]).out;
        dump[5..7].copy_from_slice(&[major, minor]);
        let error = read(&dump).unwrap_err();
        assert!(
            matches!(error.kind(), ArchiveErrorKind::UnsupportedVersion { found, .. }
                if *found == ArchiveVersion { major, minor }),
            "{error}"
        );
    }
}

#[test]
fn what_other_platforms_write_is_an_error_at_its_byte() {
    for (at, what) in [
        (8, "the size of integers"),
        (9, "the size of offsets"),
        (10, "the format of the archive"),
    ] {
        let mut dump = one_table(&[END]);
        dump.out[at] = 3;
        malformed(&dump, what);
        assert_eq!(dump.read().unwrap_err().offset(), at as u64);
    }
}

struct Entries(Vec<TocEntry>);

impl Observer for Entries {
    fn entry(&mut self, entry: &TocEntry) {
        self.0.push(entry.clone());
    }
}

#[test]
fn a_section_is_one_of_four() {
    let read = |section| {
        let mut dump = Writer::new(14, 1);
        dump.section = section;
        dump.table_entry(7, "device");
        let mut told = Entries(Vec::new());
        let outcome = DumpReader::new().feed(&dump.out, &mut told);
        outcome.map(|()| told.0.remove(0).section)
    };
    let known = [
        Section::None,
        Section::PreData,
        Section::Data,
        Section::PostData,
    ];
    assert_eq!([1, 2, 3, 4].map(read), known.map(Ok));
    for unknown in [0, 5] {
        let error = read(unknown).unwrap_err();
        let words = format!("the section of an entry is {unknown}, expected 1 to 4");
        assert!(error.to_string().ends_with(&words), "{error}");
    }
}

#[test]
fn an_entry_is_told_as_it_stands_in_the_dump() {
    let mut dump = Writer::new(16, 1);
    dump.table_entry(7, "device");
    let mut told = Entries(Vec::new());
    DumpReader::new().feed(&dump.out, &mut told).unwrap();
    let device = TocEntry {
        dump_id: 7,
        catalog: 1259,
        oid: 16384,
        tag: "device".into(),
        desc: "TABLE DATA".into(),
        section: Section::Data,
        defn: Some(String::new()),
        drop_stmt: Some(String::new()),
        copy_stmt: Some("COPY public.device (id, name) FROM stdin;\n".into()),
        namespace: Some("public".into()),
        tablespace: Some(String::new()),
        table_access_method: Some("heap".into()),
        relation_kind: Some(i32::from(b'r')),
        owner: Some("lavaserver".into()),
        dependencies: vec![200],
        has_data: true,
        data_offset: None,
    };
    assert_eq!(told.0, [device]);
}

#[test]
fn a_reader_tells_how_far_it_is_and_what_it_knows() {
    let dump = one_table(&[END]).out;
    let mut reader = DumpReader::new();
    assert_eq!((reader.offset(), reader.header()), (0, None));
    reader.feed(&dump, &mut ()).unwrap();
    assert_eq!(reader.offset(), dump.len() as u64);
    assert_eq!(reader.header().unwrap().database, "lavaserver");
}

#[test]
fn every_method_of_compression_is_named() {
    for (method, name) in [(1, "gzip"), (2, "lz4"), (3, "zstd"), (9, "method 9")] {
        let mut dump = Writer::new(16, 0).out;
        dump[11] = method;
        let error = read(&dump).unwrap_err();
        let kind = ArchiveErrorKind::Compressed {
            method: name.to_owned(),
        };
        assert_eq!((error.kind(), error.offset()), (&kind, 11));
    }
}

#[test]
fn a_length_is_checked_before_memory_is_taken() {
    for limited in [TocLimit::Tag, TocLimit::Definition] {
        let mut dump = Writer::new(14, 1);
        dump.int(7);
        dump.int(0);
        dump.text(Some("0"));
        dump.text(Some("0"));
        if limited == TocLimit::Definition {
            dump.text(Some("t"));
            dump.text(Some("TABLE"));
            dump.int(2);
        }
        let at = dump.out.len() as u64;
        dump.int(i32::MAX);
        let error = dump.read().unwrap_err();
        assert_eq!(error.offset(), at);
        assert!(
            matches!(error.kind(), ArchiveErrorKind::TooLarge { found, limit, .. }
                if *found == i32::MAX as u64 && *limit == limited as u64),
            "{error}"
        );
    }
    let mut header = Writer::new(14, 0).out;
    let name = header.windows(4).position(|w| w == b"lava").unwrap();
    header[name - 4..name].copy_from_slice(&i32::MAX.to_le_bytes());
    let error = read(&header).unwrap_err();
    let words = "the name of the database is 2147483647, above the limit of 65536";
    assert!(error.to_string().ends_with(words), "{error}");
    let error = Writer::new(14, 1_000_001).read().unwrap_err();
    assert!(
        matches!(
            error.kind(),
            ArchiveErrorKind::TooLarge {
                limit: 1_000_000,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_length_may_be_its_limit() {
    for (length, fits) in [(16, true), (17, false)] {
        let mut dump = Writer::new(14, 1);
        dump.int(7);
        dump.int(0);
        dump.text(Some(&"0".repeat(length)));
        let outcome = DumpReader::new().feed(&dump.out, &mut ());
        assert_eq!(outcome.is_ok(), fits, "{length}: {outcome:?}");
    }
}

#[test]
fn an_entry_has_a_million_dependencies_at_most() {
    let mut dump = Writer::new(14, 1);
    dump.table_entry(7, "device");
    // Up to the end of the list, which has one.
    dump.out.truncate(dump.out.len() - 5 - 9);
    (1..1_000_000).for_each(|_| dump.text(Some("2")));
    let mut reader = DumpReader::new();
    assert_eq!(reader.feed(&dump.out, &mut ()), Ok(()));
    let at = dump.out.len();
    dump.text(Some("2"));
    let error = reader.feed(&dump.out[at..], &mut ()).unwrap_err();
    let words = "the number of dependencies of an entry is 1000001, above the limit of 1000000";
    assert!(error.to_string().ends_with(words), "{error}");
}

#[test]
fn what_an_error_shows_of_a_dump_is_short_and_on_one_line() {
    for (length, shown) in [(59, "\""), (60, "…\"")] {
        let mut dump = Writer::new(14, 1);
        let kind = format!("\n{}", "x".repeat(length));
        dump.entry(7, &kind, "device", [None, None], 1);
        let found = format!("is \"\\n{}{shown}, expected", "x".repeat(59));
        let error = dump.read().unwrap_err();
        assert!(error.to_string().contains(&found), "{error}");
    }
}

#[derive(Clone, Copy, PartialEq)]
enum TocLimit {
    Tag = 1_048_576,
    Definition = 16_777_216,
}

/// 2 GiB are announced, and as many can follow; what is kept is one byte more than came.
#[test]
fn a_chunk_may_be_announced_larger_than_memory() {
    let mut dump = one_table(&[]);
    dump.out.truncate(dump.out.len() - 5);
    dump.int(i32::MAX);
    dump.out.push(b'x');
    let error = dump.read().unwrap_err();
    assert!(
        matches!(error.kind(), ArchiveErrorKind::Truncated { .. }),
        "{error}"
    );
}

#[test]
fn the_table_of_contents_may_not_fill_the_memory() {
    let mut dump = Writer::new(14, 1_000_000);
    let wide = (0..100_000)
        .map(|n| format!("c{n}"))
        .collect::<Vec<_>>()
        .join(", ");
    let copy = format!("COPY public.t ({wide}) FROM stdin;\n");
    let head = std::mem::take(&mut dump.out);
    let mut reader = DumpReader::new();
    reader.feed(&head, &mut ()).unwrap();
    let error = (1..100).find_map(|id| {
        dump.out.clear();
        dump.entry(id, "TABLE DATA", "t", [None, Some(&copy)], 1);
        reader.feed(&dump.out, &mut ()).err()
    });
    let error = error.unwrap();
    assert!(
        matches!(
            error.kind(),
            ArchiveErrorKind::TooLarge {
                limit: 268_435_456,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(
        reader.feed(b"", &mut ()),
        Err(error.clone()),
        "an error stays"
    );
    assert_eq!(reader.finish(), Err(error));
}

#[test]
fn a_row_is_limited_only_where_it_must_be_kept() {
    struct Want(bool);
    impl Observer for Want {
        fn wants(&mut self, _: &TableInfo) -> bool {
            self.0
        }
    }
    for (limit, wanted, fails) in [
        (10, true, None),
        (9, true, Some("90")),
        (4, true, Some("45")),
        (9, false, None),
    ] {
        for chunks in [&["1\t34567890\n", END][..], &["1\t3456", "7890\n", END]] {
            let mut reader = DumpReader::new().with_row_limit(limit);
            let dump = one_table(chunks).out;
            let outcome = reader.feed(&dump, &mut Want(wanted));
            let mut by_bytes = DumpReader::new().with_row_limit(limit);
            let feed = |byte| by_bytes.feed(std::slice::from_ref(byte), &mut Want(wanted));
            assert_eq!(outcome, dump.iter().try_for_each(feed));
            let Some(last) = fails else {
                assert_eq!(outcome, Ok(()));
                continue;
            };
            let error = outcome.unwrap_err();
            // The last byte that may be and the first that may not.
            let last = dump.windows(2).position(|two| two == last.as_bytes());
            assert_eq!(error.offset(), last.unwrap() as u64 + 1);
            let length = limit + 1;
            let words = format!("the length of a row is {length}, above the limit of {limit}");
            assert!(error.to_string().ends_with(&words), "{error}");
        }
    }
    let mut unseen = DumpReader::new().with_row_limit(1);
    let dump = one_table(&["1\tone\n", END]).out;
    assert_eq!(unseen.feed(&dump, &mut ()), Ok(()));
}

#[test]
fn a_row_may_have_64_mib_unless_told_otherwise() {
    struct Want;
    impl Observer for Want {
        fn wants(&mut self, _: &TableInfo) -> bool {
            true
        }
    }
    let mut dump = one_table(&[]);
    dump.out.truncate(dump.out.len() - 5);
    dump.int(i32::MAX);
    let mut reader = DumpReader::new();
    reader.feed(&dump.out, &mut Want).unwrap();
    let mib = vec![b'x'; 1024 * 1024];
    for _ in 0..64 {
        assert_eq!(reader.feed(&mib, &mut Want), Ok(()));
    }
    assert!(reader.feed(b"x", &mut Want).is_err());
}

#[test]
fn a_table_ends_with_its_end_mark_and_two_empty_lines() {
    assert!(one_table(&["1\tone\n", END]).read().is_ok());
    for chunks in [
        &[][..],
        &["1\tone\n"],
        &["1\tone"],
        &["\\.\n"],
        &["\\.\n\n"],
        &["\\."],
        &["1\tone", END],
    ] {
        malformed(&one_table(chunks), "the end of a table's data");
    }
    let error = one_table(&["1\tone\n"]).read().unwrap_err();
    let words = "is row 2 of public.device, expected an end mark";
    assert!(error.to_string().ends_with(words), "{error}");
    for chunks in [
        &["\\.\n\n\n\n"][..],
        &[END, "1\tone\n"],
        &["\\.\nx\n"],
        &["\\.\n\nx"],
    ] {
        let dump = one_table(chunks);
        malformed(&dump, "what follows a table's end mark");
        let mut by_bytes = DumpReader::new();
        let feed = |byte| by_bytes.feed(std::slice::from_ref(byte), &mut ());
        assert_eq!(dump.out.iter().try_for_each(feed).err(), dump.read().err());
    }
}

#[test]
fn rows_are_digested_with_the_key_that_the_reader_is_given() {
    let key = [7; 32].into();
    let mut reader = DumpReader::new().with_digest_key(&key);
    let dump = one_table(&["1\tone\n", END]).out;
    reader.feed(&dump, &mut ()).unwrap();
    let mut rows = TableHasher::keyed(&key);
    rows.add_row(b"1\tone");
    assert_eq!(reader.finish().unwrap().tables[0].digest, rows.digest());
}

#[test]
fn a_dump_without_large_objects_has_no_digest_of_any() {
    assert_eq!(one_table(&[END]).read().unwrap().large_objects_digest, None);
}

#[test]
fn a_row_that_looks_like_the_end_mark_is_a_row() {
    let contents = one_table(&["\\\\.\n.\n\\\n\\.x\n\n", END]).read().unwrap();
    assert_eq!(contents.tables[0].rows, 5);
}

#[test]
fn every_announced_block_comes_once() {
    let mut twice = one_table(&[END]);
    twice.table(7, &[END]);
    malformed(&twice, "the number of a data block");

    let mut unknown = one_table(&[END]);
    unknown.table(8, &[END]);
    malformed(&unknown, "the number of a data block");

    let mut other_type = Writer::new(14, 1);
    other_type.table_entry(7, "device");
    other_type.block(BLOCK_LARGE_OBJECTS, 7);
    malformed(&other_type, "the type of a data block");

    let mut same_number = Writer::new(14, 2);
    same_number.table_entry(7, "device");
    same_number.table_entry(7, "worker");
    malformed(&same_number, "the number of an entry with data");

    let mut same_name = Writer::new(14, 2);
    same_name.table_entry(7, "device");
    same_name.table_entry(8, "device");
    same_name.table(7, &[END]);
    same_name.table(8, &[END]);
    malformed(&same_name, "the name of a table");

    let mut missing = Writer::new(14, 3);
    for (id, name) in [(7, "device"), (8, "worker"), (9, "tag")] {
        missing.table_entry(id, name);
    }
    missing.table(8, &[END]);
    assert_eq!(
        missing.read().unwrap_err().to_string(),
        format!(
            "read the dump at byte {}: 2 of 3 data blocks are missing, the first of them table public.device",
            missing.out.len()
        )
    );
}

#[test]
fn numbers_are_written_in_one_way_only() {
    for number in [
        [2, 7, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0x80],
        [1, 7, 0, 0, 0],
    ] {
        let mut dump = Writer::new(14, 1);
        let at = dump.out.len();
        dump.out.extend(number);
        // More than the rest of the number comes at once.
        dump.out.extend([0; 9]);
        let error = dump.read().unwrap_err();
        assert!(
            matches!(error.kind(), ArchiveErrorKind::Malformed { .. }),
            "{error}"
        );
        assert_eq!(error.offset(), at as u64);
        for cut in at..at + 5 {
            let mut in_two = DumpReader::new();
            in_two.feed(&dump.out[..cut], &mut ()).unwrap();
            let again = in_two.feed(&dump.out[cut..], &mut ()).unwrap_err();
            assert_eq!(again, error);
        }
    }
}
