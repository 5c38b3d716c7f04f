//! Dumps that were cut or changed on their way.

use std::collections::BTreeMap;

use lava_backup_pg::archive::{ArchiveError, DumpContents, DumpReader, Observer, TocEntry};
use lava_backup_pg::{ErrorKind, Scratch};

use crate::common::lab::{bring, databases, shared};
use crate::trip::{Dumped, dumped, rows};

#[derive(Default)]
struct Entries(Vec<TocEntry>);

impl Observer for Entries {
    fn entry(&mut self, entry: &TocEntry) {
        self.0.push(entry.clone());
    }
}

/// Reads what became of a dump, so that it can be compared with what it was.
fn read(dump: &[u8], was: &Dumped) -> Result<(DumpContents, Vec<TocEntry>), ArchiveError> {
    let key = was.contents.tables[0].digest.key().unwrap();
    let mut reader = DumpReader::new().with_digest_key(&key);
    let mut entries = Entries::default();
    reader.feed(dump, &mut entries)?;
    Ok((reader.finish()?, entries.0))
}

/// A spoilt dump does not take the place of a database.
fn is_not_restored(cluster: &Scratch, dumped: &Dumped, dump: &[u8], what: &str) {
    let error = bring(cluster, &dumped.spec(&dumped.name), dump).unwrap_err();
    let expected = [ErrorKind::Failed, ErrorKind::Differs];
    assert!(expected.contains(&error.kind()), "{what}: {error}");
    assert_eq!(
        databases(cluster, &dumped.name),
        [dumped.name.as_str()],
        "{what}"
    );
}

#[test]
fn a_dump_cut_at_every_64_kib_is_an_error_and_never_restored() {
    let cluster = shared();
    let dumped = dumped(
        &cluster,
        "cut",
        "CREATE TABLE a AS SELECT n AS id, repeat(md5(n::text), 20) AS text FROM generate_series(1, 1500) n;
         CREATE TABLE b AS SELECT * FROM a; CREATE TABLE c (id serial); SELECT lo_from_bytea(1, convert_to(repeat('x', 200000), 'UTF8'));
         ALTER TABLE a ADD PRIMARY KEY (id)",
    );
    let before = rows(&cluster, "cut");
    let cuts: Vec<usize> = (0..dumped.bytes.len()).step_by(64 << 10).collect();
    assert!(cuts.len() > 30, "{}", cuts.len());
    for (nth, &cut) in cuts.iter().enumerate() {
        let left = &dumped.bytes[..cut];
        assert!(read(left, &dumped).is_err(), "cut at {cut}");
        if nth % 16 == 8 {
            is_not_restored(&cluster, &dumped, left, &format!("cut at {cut}"));
        }
    }
    let all_but_one = &dumped.bytes[..dumped.bytes.len() - 1];
    is_not_restored(&cluster, &dumped, all_but_one, "without its last byte");
    assert_eq!(rows(&cluster, "cut"), before);
}

const PLACES: usize = 1000;

/// Of 1,000 flips, none in rows, large objects or what surrounds them passes for
/// the dump that it was. Those that do lie in the table of contents, where a
/// statement or a name that no row depends on is another: those are for the
/// frames' names to find.
#[test]
#[allow(clippy::print_stdout)]
fn a_flip_in_the_data_always_shows_and_one_elsewhere_is_in_a_statement() {
    let cluster = shared();
    let dumped = dumped(
        &cluster,
        "flip",
        "CREATE TABLE a (id serial PRIMARY KEY, f float8 DEFAULT 0.5, text text NOT NULL);
         INSERT INTO a (f, text) SELECT n / 7.0, repeat(md5(n::text) || E'\\n\\\\', 20) FROM generate_series(1, 40) n;
         CREATE TABLE b (a int REFERENCES a (id) DEFERRABLE INITIALLY DEFERRED); INSERT INTO b SELECT generate_series(1, 40);
         SELECT lo_from_bytea(1, convert_to(repeat('x', 9000), 'UTF8'));
         CREATE VIEW v AS SELECT count(*) FROM a; COMMENT ON TABLE a IS 'a table'",
    );
    let (contents, entries) = read(&dumped.bytes, &dumped).unwrap();
    assert_eq!(contents, dumped.contents);
    let data = data_begins(&dumped.bytes);
    // As many in the small part before the data as in the data.
    let half = PLACES / 2;
    let before = (0..half).map(|n| n * data / half);
    let within = (0..half).map(|n| data + n * (dumped.bytes.len() - data) / half);
    let mut unseen: BTreeMap<String, usize> = BTreeMap::new();
    let (mut refused, mut shown) = (0, 0);
    for (nth, at) in before.chain(within).enumerate() {
        let mut flipped = dumped.bytes.clone();
        flipped[at] ^= 1 << (nth % 8);
        match read(&flipped, &dumped) {
            Err(_) => refused += 1,
            Ok((found, _)) if found != contents => shown += 1,
            Ok((_, others)) => {
                assert!(
                    at < data,
                    "a flip at {at} of the data that begins at {data}"
                );
                *unseen.entry(changed(&entries, &others)).or_default() += 1;
            }
        }
        if at >= data && nth % 100 == 0 {
            is_not_restored(&cluster, &dumped, &flipped, &format!("flipped at {at}"));
        }
    }
    println!(
        "{PLACES} flips: {refused} are no dump, {shown} are another; not seen by rows: {unseen:?}"
    );
    assert_eq!(refused + shown + unseen.values().sum::<usize>(), PLACES);
}

/// Where the first block of data is.
fn data_begins(dump: &[u8]) -> usize {
    struct First(Option<u64>);
    impl Observer for First {
        fn table_begins(&mut self, _: &lava_backup_pg::archive::TableInfo, offset: u64) {
            self.0.get_or_insert(offset);
        }
    }
    let (mut reader, mut first) = (DumpReader::new(), First(None));
    reader.feed(dump, &mut first).unwrap();
    usize::try_from(first.0.unwrap()).unwrap()
}

/// The field of an entry that is not what it was.
fn changed(before: &[TocEntry], after: &[TocEntry]) -> String {
    let pair = before.iter().zip(after).find(|(a, b)| a != b);
    let Some((a, b)) = pair else {
        return "a value that is not kept".into();
    };
    let fields = [
        ("statement", a.defn != b.defn || a.drop_stmt != b.drop_stmt),
        ("copy statement", a.copy_stmt != b.copy_stmt),
        ("name", a.tag != b.tag || a.namespace != b.namespace),
        ("kind", a.desc != b.desc || a.section != b.section),
        ("owner", a.owner != b.owner),
        (
            "place",
            a.tablespace != b.tablespace || a.table_access_method != b.table_access_method,
        ),
        (
            "number",
            a.dump_id != b.dump_id || a.oid != b.oid || a.catalog != b.catalog,
        ),
        ("order", a.dependencies != b.dependencies),
    ];
    let named = fields
        .iter()
        .filter(|(_, differs)| *differs)
        .map(|(name, _)| *name);
    named.collect::<Vec<_>>().join(", ")
}

/// What the server adds to its words are rows that it could not take.
#[test]
fn no_row_gets_into_the_words_of_a_restore_that_fails() {
    let cluster = shared();
    let script = "CREATE TABLE token (secret text UNIQUE); \
        INSERT INTO token VALUES ('sesame-1'), ('sesame-2')";
    let mut dumped = dumped(&cluster, "tokens", script);
    let at = dumped.bytes.windows(8).position(|w| w == b"sesame-2");
    dumped.bytes[at.unwrap() + 7] = b'1';
    let failed = bring(&cluster, &dumped.spec("token"), &dumped.bytes).unwrap_err();
    let said = failed.to_string();
    assert!(said.contains("unique index"), "{said}");
    // It might have been the others that one session waits for.
    assert!(said.contains("by one session"), "{said}");
    assert!(!said.contains("sesame"), "{said}");
}
