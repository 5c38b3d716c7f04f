use std::io;
use std::sync::Arc;

use super::*;

/// The parts of a dump, one after another.
#[derive(Default)]
struct Taken {
    contents: Vec<TableOfContents>,
    rows: Vec<(String, Vec<u8>)>,
}

impl Parts for Taken {
    fn contents(&mut self, contents: &TableOfContents) -> io::Result<()> {
        assert!(self.rows.is_empty());
        self.contents.push(TableOfContents {
            bytes: contents.bytes.clone(),
            others: contents.others.clone(),
        });
        Ok(())
    }

    fn rows(&mut self, copy: &Arc<str>, rows: Vec<u8>) -> io::Result<()> {
        assert!(rows.ends_with(b"\n"), "{}", rows.escape_ascii());
        self.rows.push((copy.to_string(), rows));
        Ok(())
    }
}

/// Takes a dump apart that comes in slices of this length.
fn take_apart(dump: &[u8], slices: usize) -> io::Result<Taken> {
    let (mut splitter, mut taken) = (Splitter::new(), Taken::default());
    for slice in dump.chunks(slices) {
        splitter.feed(slice, &mut taken)?;
    }
    splitter.finish().map(|()| taken)
}

fn copy_of(table: &str) -> String {
    format!("COPY public.{table} (id, name) FROM stdin;\n")
}

/// Of every version; the table of contents ends where the first block of data begins.
fn with_two_tables(minor: u8) -> (Vec<u8>, usize) {
    let mut dump = Writer::new(minor, 4);
    dump.section = 2;
    dump.entry(5, "TABLE", "device", [Some("CREATE TABLE …"), None], 3);
    dump.section = 3;
    dump.table_entry(7, "device");
    dump.table_entry(9, "job");
    let set = "SELECT pg_catalog.setval('public.device_seq', 42, true);\n";
    dump.entry(6, "SEQUENCE SET", "device_seq", [Some(set), None], 3);
    let contents = dump.out.len();
    dump.table(9, &["1\tone\n2\tt", "wo\n\\", ".\n\n\n"]);
    dump.table(7, &[END]);
    (dump.out, contents)
}

#[test]
fn a_dump_is_taken_apart_however_it_is_cut_into_slices() {
    for minor in 12..=16 {
        let (dump, contents) = with_two_tables(minor);
        for slices in [1, 2, 7, 100, dump.len()] {
            let taken = take_apart(&dump, slices).unwrap();
            let [found] = taken.contents.as_slice() else {
                panic!("{} tables of contents", taken.contents.len());
            };
            assert_eq!(found.bytes, dump[..contents]);
            assert_eq!(found.others, [5, 6]);
            // A table without rows needs no session.
            let rows = b"1\tone\n2\ttwo\n".to_vec();
            assert_eq!(taken.rows, [(copy_of("job"), rows)]);
        }
    }
}

#[test]
fn a_dump_that_is_cut_is_not_whole() {
    let (dump, contents) = with_two_tables(14);
    // Between two blocks of data nothing tells that another was to come; `DumpReader` knows.
    let whole = [contents, contents + 6 + 5 + 9 + 5 + 4 + 5 + 4 + 5];
    for end in 0..dump.len() {
        let taken = take_apart(&dump[..end], 64);
        assert_eq!(
            taken.is_ok(),
            whole.contains(&end),
            "{end} of {}",
            dump.len()
        );
    }
}

#[test]
fn a_large_table_comes_in_pieces_of_whole_rows() {
    let row = format!("1\t{}\n", "x".repeat(1000));
    let mut dump = Writer::new(14, 1);
    dump.table_entry(7, "job");
    let mut rows = vec![row.as_str(); 2000];
    rows.push(END);
    dump.table(7, &rows);
    let taken = take_apart(&dump.out, 4096).unwrap();
    let sizes: Vec<usize> = taken.rows.iter().map(|(_, rows)| rows.len()).collect();
    assert_eq!(sizes.len(), row.len() * 2000 / (256 << 10) + 1, "{sizes:?}");
    assert!(sizes.iter().all(|size| size % row.len() == 0), "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), row.len() * 2000);
}

#[test]
fn a_row_longer_than_a_piece_comes_whole_and_one_too_long_for_memory_not_at_all() {
    let of = |length: usize| {
        let row = format!("1\t{}", "x".repeat(length));
        let mut dump = Writer::new(14, 1);
        dump.table_entry(7, "job");
        dump.table(7, &["0\tx\n", &row, "\n2\tx\n", END]);
        take_apart(&dump.out, 1 << 20)
    };
    let rows: Vec<u8> = of(1 << 20)
        .unwrap()
        .rows
        .into_iter()
        .flat_map(|(_, rows)| rows)
        .collect();
    assert_eq!(rows.len(), (1 << 20) + "0\tx\n1\t\n2\tx\n".len());
    let Err(refused) = of(5 << 20) else {
        panic!("a row of 5 MiB is held in memory");
    };
    assert_eq!(refused.to_string(), "a row is very long");
}

#[test]
fn what_only_pg_restore_can_load_is_left_to_it() {
    let refused = |dump: &Writer| match take_apart(&dump.out, 64) {
        Ok(_) => panic!("it is taken apart"),
        Err(refused) => refused.to_string(),
    };
    let mut objects = Writer::new(14, 1);
    objects.entry(8, "BLOBS", "BLOBS", [None, None], 1);
    objects.block(BLOCK_LARGE_OBJECTS, 8);
    assert_eq!(refused(&objects), "its data is not all of tables");

    // A statement is run as it stands.
    let mut other = Writer::new(14, 1);
    let copy = "COPY public.t (id) FROM PROGRAM 'x';\n";
    other.entry(7, "TABLE DATA", "t", [Some(""), Some(copy)], 1);
    other.table(7, &[END]);
    assert_eq!(refused(&other), "its data is not all of tables");

    let endless = one_table(&["1\tone\n"]);
    assert_eq!(refused(&endless), "a table has no end");
}

/// It is held in memory until all of it is there.
#[test]
fn a_table_of_contents_of_more_than_256_mib_is_not_taken_apart() {
    let mut dump = Writer::new(14, 1_000_000);
    let (mut splitter, mut taken) = (Splitter::new(), Taken::default());
    let text = "x".repeat(8 << 20);
    let mut left = 256 << 20;
    let last = (1..).find_map(|id| {
        dump.entry(id, "COMMENT", "t", [Some(&text), None], 3);
        let next = std::mem::take(&mut dump.out);
        let fits = next.len().min(left);
        splitter.feed(&next[..fits], &mut taken).unwrap();
        left -= fits;
        next.get(fits).copied()
    });
    let refused = splitter.feed(&[last.unwrap()], &mut taken).unwrap_err();
    assert_eq!(refused.to_string(), "its table of contents is too long");
}
