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

fn tables(bytes: &[u64], sessions: usize) -> Vec<Vec<usize>> {
    let shares = Share::all(&dumped(bytes), &BTreeMap::new(), sessions);
    assert_eq!(shares.iter().filter(|share| share.large_objects).count(), 1);
    let tables = |share: Share| share.pieces.iter().map(|p| p.table).collect();
    shares.into_iter().map(tables).collect()
}

#[test]
fn every_table_is_read_once_and_sessions_have_about_the_same_to_read() {
    assert_eq!(tables(&[5, 90, 50, 7, 40], 2), [vec![1, 3], vec![2, 4, 0]]);
    assert_eq!(tables(&[5, 90, 50, 7, 40], 1), [[1, 2, 4, 3, 0]]);
}

#[test]
fn there_are_no_more_sessions_than_tables_and_always_one() {
    assert_eq!(tables(&[0, 0], 8).len(), 2);
    assert_eq!(tables(&[], 8), [[0; 0]]);
    assert_eq!(tables(&[1], 0), [[0]]);
}

#[test]
fn a_large_table_is_cut_between_pages_and_all_of_it_is_read() {
    let dumped = dumped(&[100 * MB, 3 * MB]);
    let shares = Share::all(&dumped, &pages(&[1000, 70]), 2);
    let mut pieces: Vec<_> = shares.into_iter().flat_map(|share| share.pieces).collect();
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
fn a_table_is_not_cut_for_one_session_nor_into_more_pieces_than_pages() {
    let dumped = dumped(&[100 * MB]);
    assert_eq!(Share::all(&dumped, &pages(&[1000]), 1)[0].pieces.len(), 1);
    let cut = |of| {
        let shares = Share::all(&dumped, &pages(&[of]), 2);
        shares.iter().map(|share| share.pieces.len()).sum::<usize>()
    };
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
