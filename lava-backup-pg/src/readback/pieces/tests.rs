#![allow(clippy::unwrap_used)]

use super::*;

const MB: u64 = 1 << 20;

/// Tables `0`, `1` and so on, with these bytes of rows.
fn dumped(bytes: &[u64]) -> DumpContents {
    let table = |(at, bytes): (usize, &u64)| {
        serde_json::json!({
            "table": { "schema": "s", "name": at.to_string(), "columns": ["id", "Name"] },
            "rows": 0, "bytes": bytes, "digest": format!("lthash16:{}", "0".repeat(64)),
        })
    };
    let tables: Vec<_> = bytes.iter().enumerate().map(table).collect();
    let created = serde_json::json!({
        "year": 2026, "month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0,
    });
    let header = serde_json::json!({
        "version": { "major": 1, "minor": 14 }, "created": created, "database": "",
        "server_version": "", "dump_version": "",
    });
    let contents = serde_json::json!({
        "header": header, "entries": 0, "tables": tables, "sequences": [],
        "large_objects": 0, "bytes": 0,
    });
    serde_json::from_value(contents).unwrap()
}

fn pages(of: &[u64]) -> BTreeMap<(String, String), u64> {
    let table = |(at, pages): (usize, &u64)| (("s".to_owned(), at.to_string()), *pages);
    of.iter().enumerate().map(table).collect()
}

#[test]
fn every_table_is_read_once_and_the_longest_first() {
    let pieces = Piece::all(&dumped(&[5, 90, 50, 7, 40]), &BTreeMap::new(), 2);
    let tables: Vec<usize> = pieces.iter().map(|piece| piece.table).collect();
    assert_eq!(tables, [1, 2, 4, 3, 0]);
    assert!(Piece::all(&dumped(&[]), &BTreeMap::new(), 2).is_empty());
    assert_eq!(Piece::all(&dumped(&[1]), &BTreeMap::new(), 0).len(), 1);
}

#[test]
fn a_large_table_is_cut_between_pages_and_all_of_it_is_read() {
    let dumped = dumped(&[100 * MB, 3 * MB]);
    let mut pieces = Piece::all(&dumped, &pages(&[1000, 70]), 2);
    pieces.sort_by_key(|piece| (piece.table, piece.from));
    let small = pieces.pop().unwrap();
    assert_eq!((small.table, small.from, small.upto), (1, None, None));
    assert_eq!(pieces.len(), 8);
    assert_eq!((pieces[0].from, pieces[7].upto), (None, None));
    for pair in pieces.windows(2) {
        assert!(pair[0].upto.is_some());
        assert_eq!(pair[0].upto, pair[1].from);
    }
    assert_eq!(pieces[3].upto, Some(500));
}

#[test]
fn what_is_small_is_not_cut_and_comes_before_smaller_parts_of_what_is_large() {
    let dumped = dumped(&[4 * MB + MB / 2, 4 * MB]);
    let pieces = Piece::all(&dumped, &pages(&[1000, 1000]), 2);
    let tables: Vec<usize> = pieces.iter().map(|piece| piece.table).collect();
    assert_eq!(tables, [1, 0, 0]);
}

#[test]
fn a_table_is_not_cut_for_one_session_nor_into_more_pieces_than_pages() {
    let dumped = dumped(&[100 * MB]);
    assert_eq!(Piece::all(&dumped, &pages(&[1000]), 1).len(), 1);
    let cut = |of| Piece::all(&dumped, &pages(&[of]), 2).len();
    // Rows may lie elsewhere than in the table's own pages.
    assert_eq!([cut(0), cut(1), cut(2), cut(1000)], [1, 1, 2, 8]);
}

#[test]
fn a_piece_is_read_by_its_pages_and_a_table_as_the_dump_reads_it() {
    let table = TableInfo {
        schema: "s".into(),
        name: "T".into(),
        columns: vec!["id".into(), "Name".into()],
    };
    let copy = |from, upto| {
        Piece {
            table: 0,
            from,
            upto,
        }
        .copy(&table)
    };
    assert_eq!(copy(None, None), r#"COPY "s"."T" ("id", "Name") TO STDOUT"#);
    assert_eq!(
        copy(Some(3), Some(9)),
        r#"COPY (SELECT "id", "Name" FROM ONLY "s"."T" WHERE ctid >= '(3,0)' AND ctid < '(9,0)') TO STDOUT"#
    );
    assert_eq!(
        copy(Some(3), None),
        r#"COPY (SELECT "id", "Name" FROM ONLY "s"."T" WHERE ctid >= '(3,0)') TO STDOUT"#
    );
}
