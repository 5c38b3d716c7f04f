#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::entry::{Class, Kind, Time};
use crate::error::{Error, ErrorKind};
use crate::frame::{Encoder, FrameName};
use crate::piece::{self, Holds};
use crate::store::Store;
use crate::writer::{Meta, SealInput, new_entry};

fn entry(path: &str, frame: u64) -> Entry {
    let meta = Meta::private(Class::Plain, Time::default());
    Entry {
        frame,
        offset: 512,
        ..new_entry(path.parse().unwrap(), Kind::Dir, meta)
    }
}

/// Where no block lies.
fn nowhere() -> Fetch {
    Arc::new(|name| panic!("{name} is asked for"))
}

/// The entries of these paths, each in a frame of its own.
fn entries<P: AsRef<str>>(paths: impl IntoIterator<Item = P>) -> Vec<Entry> {
    let numbered = paths.into_iter().zip(0..);
    numbered.map(|(p, n)| entry(p.as_ref(), n)).collect()
}

fn write(entries: &[Entry]) -> (Vec<u8>, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut index = IndexWriter::new("index".into(), file.reopen().unwrap(), Form::Inline).unwrap();
    for entry in entries {
        index.push(entry).unwrap();
    }
    let (count, digest, _) = index.finish().unwrap();
    assert_eq!(count, entries.len() as u64);
    (std::fs::read(file.path()).unwrap(), digest)
}

/// An index of blocks that end wherever one likes, and its digest.
fn forge(blocks: &[&[Entry]]) -> (Vec<u8>, String) {
    let text = |block: &&[Entry]| {
        let lines = block
            .iter()
            .map(|e| serde_json::to_string(e).unwrap() + "\n");
        lines.collect::<String>()
    };
    let mut texts: Vec<String> = blocks.iter().map(text).collect();
    texts[0].insert_str(0, HEADER);
    forge_texts(&texts)
}

fn forge_texts(texts: &[impl AsRef<str>]) -> (Vec<u8>, String) {
    let (mut out, mut names) = (Vec::new(), blake3::Hasher::new());
    for text in texts {
        let text = text.as_ref().as_bytes();
        let name = FrameName::of(text);
        names.update(name.as_bytes());
        let stored = Encoder::new(3).encode(name, text).unwrap();
        piece::write(&mut out, Holds::Content, name, &stored).unwrap();
    }
    (out, names.finalize().to_hex().to_string())
}

fn open((bytes, digest): &(Vec<u8>, String)) -> Result<Index> {
    Index::open(Path::new("i"), Box::new(bytes.clone()), digest, nowhere())
}

/// What is given out, and what it ends with if not well.
fn read(index: &(Vec<u8>, String)) -> (Vec<Entry>, Option<Error>) {
    let mut given = Vec::new();
    match open(index) {
        Ok(index) => {
            for entry in index {
                match entry {
                    Ok(entry) => given.push(entry),
                    Err(e) => return (given, Some(e)),
                }
            }
            (given, None)
        }
        Err(e) => (given, Some(e)),
    }
}

fn damaged(index: &(Vec<u8>, String)) -> Vec<Entry> {
    let (given, error) = read(index);
    assert_eq!(error.expect("damage").kind(), ErrorKind::Damaged);
    given
}

/// Five entries in three blocks.
fn small() -> (Vec<Entry>, (Vec<u8>, String)) {
    let all = entries(["config/a", "config/a/b", "config/c", "data/a", "logs/a"]);
    let index = forge(&[&all[..2], &all[2..3], &all[3..]]);
    (all, index)
}

#[test]
fn an_index_comes_back_entry_by_entry() {
    let (all, index) = small();
    assert_eq!(
        open(&index)
            .unwrap()
            .map(Result::unwrap)
            .collect::<Vec<_>>(),
        all
    );
    assert_eq!(
        open(&write(&all))
            .unwrap()
            .map(Result::unwrap)
            .collect::<Vec<_>>(),
        all
    );
    assert_eq!(read(&write(&[])).0, []);
    assert!(read(&write(&[])).1.is_none());
}

#[test]
fn blocks_end_after_the_line_that_fills_them_and_zstd_sees_one_text() {
    let all = entries((0..9_000).map(|n| format!("data/job-output/{n:06}/output.yaml.xz")));
    let index = write(&all);
    let lines = all.iter().map(|e| serde_json::to_string(e).unwrap() + "\n");
    let text = HEADER.to_owned() + &lines.collect::<String>();
    assert_eq!(zstd::decode_all(&index.0[..]).unwrap(), text.as_bytes());
    let preludes = piece::survey(Path::new("i"), &index.0, 99).unwrap();
    assert!(preludes.len() > 3);
    let mut rest = text.as_str();
    for (number, prelude) in preludes.iter().enumerate() {
        let end = match rest.get(BLOCK - 1..) {
            Some(tail) => BLOCK + tail.find('\n').unwrap(),
            None => rest.len(),
        };
        assert_eq!(
            prelude.name,
            FrameName::of(&rest.as_bytes()[..end]),
            "{number}"
        );
        rest = &rest[end..];
    }
    assert_eq!(rest, "");
    assert_eq!(read(&index).0, all);
}

#[test]
fn every_changed_bit_is_found_and_no_entry_is_given_that_was_not_sealed() {
    let (all, index) = small();
    for bit in 0..index.0.len() * 8 {
        let mut bad = index.clone();
        bad.0[bit / 8] ^= 1 << (bit % 8);
        let given = damaged(&bad);
        assert!(
            given.len() < all.len() && all.starts_with(&given),
            "bit {bit}"
        );
    }
}

#[test]
fn an_index_that_is_cut_off_or_goes_on_is_found_before_an_entry_is_given() {
    let (_, index) = small();
    for length in 0..index.0.len() {
        let bad = (index.0[..length].to_vec(), index.1.clone());
        assert_eq!(damaged(&bad), [], "{length}");
    }
    for more in [&[0][..], &index.0] {
        let bad = ([&index.0, more].concat(), index.1.clone());
        assert_eq!(damaged(&bad), []);
    }
}

#[test]
fn blocks_swapped_dropped_or_repeated_are_found_before_an_entry_is_given() {
    let (_, (bytes, digest)) = small();
    let preludes = piece::survey(Path::new("i"), &bytes, 9).unwrap();
    let piece = |number: usize| {
        let begin = preludes[number].offset as usize - piece::PRELUDE;
        &bytes[begin..preludes[number].end() as usize]
    };
    for order in [
        &[0, 2, 1][..],
        &[1, 0, 2],
        &[0, 1],
        &[1, 2],
        &[0, 2],
        &[0, 1, 1, 2],
        &[],
    ] {
        let changed: Vec<&[u8]> = order.iter().map(|n| piece(*n)).collect();
        assert_eq!(
            damaged(&(changed.concat(), digest.clone())),
            [],
            "{order:?}"
        );
    }
    let whole: Vec<&[u8]> = (0..3).map(piece).collect();
    assert!(read(&(whole.concat(), digest)).1.is_none());
}

#[test]
fn a_block_that_was_changed_under_its_sealed_name_gives_no_entry() {
    let (all, index) = small();
    let preludes = piece::survey(Path::new("i"), &index.0, 9).unwrap();
    // The forger keeps the names, and gives other bytes the trailers that fit these.
    let mut other = all[2].clone();
    other.mode = 0o777;
    let text = serde_json::to_string(&other).unwrap() + "\n";
    let name = preludes[1].name;
    let stored = Encoder::new(3).encode(name, text.as_bytes()).unwrap();
    let mut forged = index.0[..preludes[0].end() as usize].to_vec();
    piece::write(&mut forged, Holds::Content, name, &stored).unwrap();
    forged.extend_from_slice(&index.0[preludes[1].end() as usize..]);
    let forged = (forged, index.1);
    assert_eq!(damaged(&forged), all[..2]);
    let find = |at: usize| {
        let path = &all[at].path;
        Index::find(
            Path::new("i"),
            Box::new(forged.0.clone()),
            &forged.1,
            nowhere(),
            path,
        )
    };
    assert_eq!(find(0).unwrap().as_ref(), Some(&all[0]));
    assert_eq!(find(2).unwrap_err().kind(), ErrorKind::Damaged);
}

#[test]
fn a_text_of_another_form_is_refused() {
    let line = |path, frame| serde_json::to_string(&entry(path, frame)).unwrap();
    let [first, second] = [line("config/a", 0), line("config/b", 1)];
    let fine = format!("{HEADER}{first}\n");
    assert!(
        read(&forge_texts(&[&fine, &(second.clone() + "\n")]))
            .1
            .is_none()
    );
    for end in [second.as_str(), &format!("{second}\n\n"), "\n", "{}\n"] {
        assert_eq!(
            damaged(&forge_texts(&[fine.as_str(), end])).len(),
            1 + usize::from(end.ends_with("\n\n"))
        );
    }
    let long = format!("{{{}{}\n", " ".repeat(MAX_LINE), &second[1..]);
    assert_eq!(damaged(&forge_texts(&[&fine, &long])).len(), 1);
    let longest = long.replacen(&" ".repeat(second.len() + 1), "", 1);
    assert_eq!(longest.len(), MAX_LINE);
    assert!(read(&forge_texts(&[&fine, &longest])).1.is_none());
    assert_eq!(damaged(&forge_texts(&["", &fine])).len(), 0);
    for header in ["\n", "{\"format\":\"lava-backup-index/2\"}\n", "{}"] {
        let error = read(&forge_texts(&[header, &fine])).1.unwrap();
        assert_eq!(error.kind(), ErrorKind::TooNew, "{header:?}");
        let line = format!("{:?}", header.trim_end());
        assert!(error.to_string().ends_with(&line), "{error}");
    }
    let new = fine.replace("\"dir\"", "\"door\"");
    assert_eq!(
        read(&forge_texts(&[new])).1.unwrap().kind(),
        ErrorKind::TooNew
    );
}

#[test]
fn entries_out_of_order_are_damage_in_one_block_and_between_two() {
    for (paths, good) in [
        (["config/b", "config/a", "config/c"], 1),
        (["config/a", "config/a", "config/b"], 1),
        (["config/a", "data/a", "config/b"], 2),
    ] {
        let all = entries(paths);
        assert_eq!(damaged(&forge(&[&all])), all[..good]);
        for cut in 1..3 {
            assert_eq!(damaged(&forge(&[&all[..cut], &all[cut..]])), all[..good]);
        }
    }
    let mut all = entries(["config/a", "config/b"]);
    all[1].frame = 0;
    assert_eq!(damaged(&forge(&[&all[..1], &all[1..]])), all[..1]);
}

#[test]
fn an_entry_that_contradicts_itself_is_damage() {
    let fine = entry("config/a", 0);
    let with = |change: fn(&mut Entry)| {
        let mut bad = fine.clone();
        change(&mut bad);
        assert_eq!(damaged(&write(&[bad])), []);
    };
    with(|e| e.mode = 0o100_644);
    with(|e| e.kind = Kind::File);
    with(|e| e.kind = Kind::Symlink);
    with(|e| e.size = 1);
    with(|e| e.blake3 = Some("00".repeat(32)));
}

#[test]
fn an_index_with_an_entry_that_no_line_can_hold_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut index = IndexWriter::new("i".into(), file.reopen().unwrap(), Form::Inline).unwrap();
    let mut long = entry("config/a", 0);
    long.user = "u".repeat(MAX_LINE);
    index.push(&long).unwrap();
    let error = index.finish().map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let line = serde_json::to_string(&long).unwrap() + "\n";
    long.user.truncate(2 * MAX_LINE - line.len());
    // What stands before it in its block does not count.
    let mut before = entry("config/A", 0);
    before.user = "u".repeat(BLOCK - 1000);
    write(&[before, long]);
}

#[test]
fn what_goes_wrong_while_blocks_are_written_is_told() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let mut index = IndexWriter::new("i".into(), full(), Form::Inline).unwrap();
    index.push(&entry("config/a", 0)).unwrap();
    let error = index.finish().unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    // Long before the end, too.
    let mut index = IndexWriter::new("i".into(), full(), Form::Inline).unwrap();
    let error = (0..).find_map(|n| {
        let mut entry = entry(&format!("config/{n:09}"), n);
        entry.user = crate::frame::FrameName::of(&n.to_le_bytes())
            .to_string()
            .repeat(99);
        index.push(&entry).err()
    });
    assert!(error.unwrap().to_string().contains("No space left"));
}

/// How many blocks beside the first are decoded on the way to something.
fn decoded<T>(index: &(Vec<u8>, String), look: impl FnOnce(&Blocks) -> T) -> (T, usize) {
    let blocks = Blocks::open(
        Path::new("i"),
        Box::new(index.0.clone()),
        &index.1,
        nowhere(),
    )
    .unwrap();
    let found = look(&blocks);
    (found, blocks.decoded.load(Ordering::Relaxed) - 1)
}

#[test]
fn one_of_a_hundred_thousand_entries_is_found_in_few_blocks() {
    let few = ["facts", "packages", "config"].map(|s| (0..300).map(move |n| format!("{s}/{n:03}")));
    let jobs = (0..100_000).map(|n| format!("data/{:03}/{n:06}/output.yaml", n / 1000));
    let logs = (0..9_000).map(|n| format!("logs/{n:04}"));
    let all = entries(few.into_iter().flatten().chain(jobs).chain(logs));
    let index = write(&all);
    let blocks = piece::survey(Path::new("i"), &index.0, 999).unwrap().len();
    assert!(blocks > 32, "{blocks}");
    for wanted in all.iter().step_by(10_007).chain(all.last()) {
        let (found, count) = decoded(&index, |b| Search::new(b).entry(&wanted.path).unwrap());
        assert_eq!(found.as_ref(), Some(wanted));
        assert!(
            count <= 20,
            "{count} of {blocks} blocks for {}",
            wanted.path
        );
    }
    for absent in ["aaa/a", "data/050/x", "data/zzz", "zzz/a"] {
        let path = absent.parse().unwrap();
        let (found, count) = decoded(&index, |b| Search::new(b).entry(&path).unwrap());
        assert!(found.is_none() && count <= 20, "{count} {absent}");
    }
    let below: MemberPath = "data/050".parse().unwrap();
    let (range, count) = decoded(&index, |b| Search::new(b).range(&below).unwrap());
    assert!(range.len() <= 2 && count <= 20, "{range:?} {count}");
    let given = Index::open_at(
        Path::new("i"),
        Box::new(index.0.clone()),
        &index.1,
        nowhere(),
        &below,
    )
    .unwrap();
    assert_eq!(given.map(Result::unwrap).count(), 1000);
}

/// The blocks in which these entries should lie: their names, and the frames
/// from which they count.
fn expected_in_frames(all: &[Entry]) -> Vec<(FrameName, u64)> {
    let (mut blocks, mut text) = (Vec::new(), HEADER.to_owned());
    let mut base = None;
    for (number, entry) in all.iter().enumerate() {
        let first = *base.get_or_insert(entry.frame);
        let mut counted = entry.clone();
        counted.frame -= first;
        text += &(serde_json::to_string(&counted).unwrap() + "\n");
        let chosen = blake3::hash(entry.path.as_bytes()).as_bytes()[1].is_multiple_of(128);
        let ends = text.len() >= 512 << 10 || (text.len() >= 64 << 10 && chosen);
        let section = |e: &Entry| e.path.section().to_vec();
        let last = all.get(number + 1).map(section) != Some(section(entry));
        if ends || last {
            blocks.push((FrameName::of(text.as_bytes()), first));
            (text, base) = (String::new(), None);
        }
    }
    blocks
}

#[test]
fn blocks_in_frames_end_where_a_path_says_so_and_with_their_section() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    let mut writer = store.create("b1".parse().unwrap()).unwrap();
    let mut add = |path: String, content: &[u8]| {
        let meta = Meta::private(Class::Plain, Time::default());
        writer
            .add_file(path.parse().unwrap(), meta, content)
            .unwrap();
    };
    let mut noise = vec![0; 2 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    for section in ["config", "data", "logs"] {
        for n in 0..1500 {
            add(format!("{section}/{n:04}"), &[]);
            if n % 500 == 7 {
                add(format!("{section}/{n:04}-large"), &noise);
            }
        }
    }
    // None of these is chosen, so that the block ends when it is full.
    let long = "x".repeat(1000);
    let unchosen = (0..).map(|n| format!("logs/l{n:05}{long}"));
    let unchosen =
        unchosen.filter(|p| !blake3::hash(p.as_bytes()).as_bytes()[1].is_multiple_of(128));
    unchosen.take(900).for_each(|path| add(path, &[]));
    let sealed = writer.seal(SealInput::default()).unwrap();
    let backup = store.backup(&sealed.seal.id).unwrap();
    let all: Vec<Entry> = backup.index().unwrap().map(Result::unwrap).collect();
    assert_eq!(all.len(), 3 * 1503 + 900);
    let index = std::fs::read(backup.place(crate::layout::INDEX)).unwrap();
    let blocks = piece::survey(Path::new("i"), &index, 99).unwrap();
    assert!(blocks.iter().all(|b| b.holds == Holds::Reference));
    let found: Vec<_> = blocks.iter().map(|b| (b.name, b.length)).collect();
    assert!(found.len() > 9, "{}", found.len());
    assert_eq!(found, expected_in_frames(&all));
}

#[test]
fn the_way_to_one_of_thousands_of_blocks_is_short_and_does_not_grow_with_them() {
    let all = entries((0..4096).map(|n| format!("data/{n:04}")));
    let blocks: Vec<&[Entry]> = all.chunks(1).collect();
    let index = forge(&blocks);
    for wanted in all.iter().step_by(511) {
        let (found, count) = decoded(&index, |b| Search::new(b).entry(&wanted.path).unwrap());
        assert_eq!(found.as_ref(), Some(wanted));
        assert!(count <= 26, "{count} blocks for {}", wanted.path);
        let (range, count) = decoded(&index, |b| Search::new(b).range(&wanted.path).unwrap());
        assert_eq!((range.len(), &all[range.start]), (1, wanted));
        assert!(count <= 28, "{count} blocks for {}", wanted.path);
    }
}

proptest! {
    #[test]
    fn what_is_looked_for_is_what_reading_all_would_find(
        sections in proptest::sample::subsequence(vec!["data", "b", "config", "a-b", "logs"], 1..5),
        names in prop::collection::btree_set("[ab-]{1,2}(/[ab-]{1,2}){0,2}", 1..30),
        cuts in prop::collection::btree_set(0..60usize, 0..20),
        wanted in "(data|b|config|a-b|x)(/[ab-]{1,2}){0,3}",
    ) {
        let mut all: Vec<MemberPath> = Vec::new();
        for (number, section) in sections.iter().enumerate() {
            let mut paths: Vec<MemberPath> = names
                .iter()
                .skip(number * 3)
                .map(|name| format!("{section}/{name}").parse().unwrap())
                .collect();
            paths.sort();
            all.extend(paths);
        }
        let all = entries(all.iter().map(ToString::to_string));
        let mut blocks = Vec::new();
        let mut begin = 0;
        for cut in cuts.into_iter().map(|c| c.min(all.len())).chain([all.len()]) {
            if blocks.is_empty() || cut > begin {
                blocks.push(&all[begin..cut]);
            }
            begin = cut;
        }
        let index = forge(&blocks);
        let wanted: MemberPath = wanted.parse().unwrap();
        let below = Index::open_at(Path::new("i"), Box::new(index.0.clone()), &index.1, nowhere(), &wanted).unwrap();
        let below: Vec<Entry> = below.map(Result::unwrap).collect();
        let expected = all.iter().filter(|e| e.path.is_within(&wanted));
        prop_assert_eq!(below, expected.cloned().collect::<Vec<_>>());
        for path in all.iter().map(|e| &e.path).chain([&wanted]) {
            let found = Index::find(Path::new("i"), Box::new(index.0.clone()), &index.1, nowhere(), path).unwrap();
            let expected = all.iter().find(|e| e.path == *path);
            prop_assert_eq!(found.as_ref(), expected);
        }
    }
}
