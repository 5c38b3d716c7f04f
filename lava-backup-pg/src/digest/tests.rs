#![allow(clippy::unwrap_used)]

use super::sum::Sum;
use super::*;
use proptest::prelude::*;

const KEY: DigestKey = DigestKey([0x5a; 32]);

fn both() -> [TableHasher; 2] {
    [TableHasher::keyed(&KEY), TableHasher::unkeyed()]
}

fn table<R: AsRef<[u8]>>(mut table: TableHasher, rows: impl IntoIterator<Item = R>) -> TableDigest {
    rows.into_iter().for_each(|row| table.add_row(row.as_ref()));
    table.digest()
}

#[test]
fn a_row_twice_is_not_a_row_once() {
    for none in both() {
        let of = |rows: &[&str]| table(none.clone(), rows);
        assert_ne!(of(&["a"]), of(&["a", "a"]));
        assert_ne!(of(&["a"]), of(&["a", "a", "a"]));
        assert_ne!(of(&["a", "a"]), of(&["b", "b"]));
    }
}

#[test]
fn an_empty_row_is_not_no_row() {
    for none in both() {
        assert_ne!(table(none.clone(), [""]), none.digest());
    }
}

#[test]
fn bytes_swapped_between_rows_show() {
    for none in both() {
        let of = |rows: [&str; 2]| table(none.clone(), rows);
        assert_ne!(of(["1\tred", "2\tblue"]), of(["1\tblue", "2\tred"]));
        assert_ne!(of(["ab", "c"]), of(["a", "bc"]));
    }
}

/// Digests stand in seals that are read for ever.
#[test]
fn the_digests_of_known_rows_are_those_of_the_page() {
    let page = include_str!("../../../docs/FORMAT.md");
    let (_, example) = page.split_once("```json format:tables\n").unwrap();
    let example = example.split_once("```").unwrap().0;
    let example: serde_json::Value = serde_json::from_str(example).unwrap();
    let rows: Vec<String> = serde_json::from_value(example["rows"].clone()).unwrap();
    let [keyed, unkeyed] = both().map(|none| table(none, &rows).to_string());
    assert_eq!(keyed, example["keyed256"]);
    assert_eq!(unkeyed, example["lthash16"]);
}

/// The sum is one number, not parts that wrap each by itself.
#[test]
fn the_lower_half_of_a_sum_carries_into_the_upper() {
    let mut sum = Sum::default();
    sum.add(&[0xff; 32]);
    assert_eq!(sum.to_bytes(), [0xff; 32]);
    let mut one = [0; 32];
    one[0] = 1;
    sum.add(&one);
    assert_eq!(sum.to_bytes(), [0; 32]);
    let mut half = [0; 32];
    half[..16].fill(0xff);
    sum.add(&half);
    sum.add(&one);
    let mut carried = [0; 32];
    carried[16] = 1;
    assert_eq!(sum.to_bytes(), carried);
}

/// However many of a length there are, and wherever the sum is asked for.
#[test]
fn rows_that_wait_for_one_another_have_each_its_own_hash() {
    let mut sum = Sum::default();
    let mut rows = TableHasher::keyed(&KEY);
    for round in 0..19 {
        for length in 0..1100_usize {
            let row: Vec<u8> = (0..length).map(|at| (at * 7 + round) as u8).collect();
            sum.add(blake3::keyed_hash(&KEY.0, &row).as_bytes());
            rows.add_row(&row);
            if length % 101 == round {
                let sum = sum.to_bytes();
                assert_eq!(rows.digest(), TableDigest(Kind::Keyed { key: KEY, sum }));
            }
        }
    }
}

/// 2^16 times the same row adds up to lanes that are all 0.
#[test]
fn the_number_of_rows_is_part_of_an_unkeyed_digest() {
    let many = table(TableHasher::unkeyed(), vec!["a"; 1 << 16]);
    assert_ne!(many, TableHasher::unkeyed().digest());
}

#[test]
fn keys_are_drawn_anew_and_make_other_digests_of_the_same_rows() {
    let [one, other] = [(); 2].map(|()| DigestKey::random().unwrap());
    assert_ne!(one, other);
    let of = |key| table(TableHasher::keyed(key), ["a"]);
    assert_ne!(of(&one), of(&other));
    let TableDigest(Kind::Keyed { sum, .. }) = of(&one) else {
        panic!("{:?}", of(&one));
    };
    assert_ne!(of(&other), TableDigest(Kind::Keyed { key: other, sum }));
}

#[test]
fn a_digest_that_was_written_says_how_to_make_one_that_compares() {
    for none in both() {
        let written = table(none, ["a", "b"]).to_string();
        let again = TableHasher::like(&written.parse().unwrap());
        assert_eq!(table(again, ["b", "a"]).to_string(), written);
    }
}

#[test]
fn only_the_written_form_is_read_back() {
    for none in both() {
        let digest = table(none, ["a"]);
        let text = digest.to_string();
        assert_eq!(text.parse::<TableDigest>().unwrap(), digest);
        let json = serde_json::to_value(digest).unwrap();
        assert_eq!(json, text);
        assert_eq!(serde_json::from_value::<TableDigest>(json).unwrap(), digest);
        let (prefix, hex) = text.split_once(':').unwrap();
        for wrong in [
            text.to_uppercase(),
            format!("{}:{hex}", prefix.to_uppercase()),
            format!("{prefix}:{}", hex.to_uppercase()),
            hex.to_owned(),
            format!("{text}0"),
            format!("{text}:"),
            text[..text.len() - 1].to_owned(),
            format!("{prefix}:0{hex}"),
            format!("lthash16:{}", hex.replace(':', "")) + &"0".repeat(64),
            format!("keyed256:{hex}:{hex}:"),
        ] {
            assert!(wrong.parse::<TableDigest>().is_err(), "{wrong}");
        }
    }
}

proptest! {
    #[test]
    fn order_never_matters(
        (rows, shuffled) in prop::collection::vec(any::<Vec<u8>>(), 0..20)
            .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle()))
    ) {
        for none in both() {
            prop_assert_eq!(table(none.clone(), &rows), table(none, &shuffled));
        }
    }

    #[test]
    fn parts_merged_are_the_whole(
        rows in prop::collection::vec(any::<Vec<u8>>(), 0..20),
        at in any::<prop::sample::Index>(),
    ) {
        let (left, right) = rows.split_at(at.index(rows.len() + 1));
        for none in both() {
            let [mut merged, mut more] = [none.clone(), none.clone()];
            left.iter().for_each(|row| merged.add_row(row));
            right.iter().for_each(|row| more.add_row(row));
            merged.merge(&more);
            prop_assert_eq!(merged.rows(), rows.len() as u64);
            prop_assert_eq!(merged.digest(), table(none, &rows));
        }
    }

    #[test]
    fn pieces_of_a_row_are_the_row(row in any::<Vec<u8>>(), at in any::<prop::sample::Index>()) {
        let (left, right) = row.split_at(at.index(row.len() + 1));
        for none in both() {
            let mut pieces = none.begin_row();
            pieces.update(left);
            pieces.update(right);
            let mut by_pieces = none.clone();
            by_pieces.end_row(&pieces);
            prop_assert_eq!(by_pieces.rows(), 1);
            prop_assert_eq!(by_pieces.digest(), table(none, [&row]));
        }
    }

    #[test]
    fn one_changed_byte_shows(
        mut rows in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..30), 1..10),
        row in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        flip in 1..=255u8,
    ) {
        let before = both().map(|none| table(none, &rows));
        let row = row.index(rows.len());
        let byte = byte.index(rows[row].len());
        rows[row][byte] ^= flip;
        let after = both().map(|none| table(none, &rows));
        prop_assert!(before[0] != after[0] && before[1] != after[1]);
    }
}
