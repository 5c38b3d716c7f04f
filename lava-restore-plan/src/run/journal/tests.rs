#![allow(clippy::unwrap_used)]
use super::*;

fn entry(step: usize) -> Entry {
    Entry::StepBegins {
        step: format!("master.base.s{step}"),
        title: "a \"title\",\"digest\":\"é\n".into(),
    }
}

/// A journal of so many records, closed again.
fn journal(records: usize) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut journal = Journal::open(&path).unwrap();
    journal.anchor("plan");
    for step in 0..records {
        journal.append(format!("at {step}"), entry(step)).unwrap();
    }
    (dir, path)
}

#[test]
fn what_was_written_is_read_back_and_goes_on() {
    let (_dir, path) = journal(3);
    let mut again = Journal::open(&path).unwrap();
    assert_eq!((again.records().len(), again.torn()), (3, 0));
    assert_eq!(again.records()[0].after, "plan");
    again.append("later".into(), entry(3)).unwrap();
    let records = Journal::look(&path).unwrap();
    let steps: Vec<Entry> = records.iter().map(|r| r.entry.clone()).collect();
    assert_eq!(steps, (0..4).map(entry).collect::<Vec<_>>());
}

#[test]
fn a_record_that_is_torn_at_any_byte_is_cut_off_and_no_other_is_lost() {
    let (dir, path) = journal(3);
    let whole = std::fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1]
        .iter()
        .rposition(|b| *b == b'\n')
        .unwrap()
        + 1;
    for end in last..=whole.len() {
        let torn = dir.path().join("torn");
        std::fs::write(&torn, &whole[..end]).unwrap();
        let mut journal = Journal::open(&torn).unwrap();
        // All of a record but its newline is that record.
        let whole_record = end >= whole.len() - 1;
        assert_eq!(
            journal.records().len(),
            if whole_record { 3 } else { 2 },
            "{end}"
        );
        let cut = if whole_record { 0 } else { end - last };
        assert_eq!(journal.torn(), cut as u64);
        journal.append("at 2".into(), entry(2)).unwrap();
        let records = Journal::open(&torn).unwrap();
        assert_eq!(records.records().len(), if whole_record { 4 } else { 3 });
        if !whole_record {
            assert_eq!(std::fs::read(&torn).unwrap(), whole);
        }
    }
}

#[test]
fn blocks_of_the_last_record_that_did_not_reach_the_disk_are_no_damage() {
    let (_dir, path) = journal(3);
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes[..bytes.len() - 1]
        .iter()
        .rposition(|b| *b == b'\n')
        .unwrap()
        + 1;
    bytes[last..last + 20].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let journal = Journal::open(&path).unwrap();
    assert_eq!(journal.records().len(), 2);
    assert_eq!(journal.torn(), (bytes.len() - last) as u64);
}

#[test]
fn every_changed_byte_is_seen() {
    let (dir, path) = journal(3);
    let whole = std::fs::read(&path).unwrap();
    let honest = Journal::look(&path).unwrap();
    let end = whole.len() - 1;
    let last = whole[..end].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    let changed = dir.path().join("changed");
    for at in 0..whole.len() {
        for mask in [1u8, 0x20, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= mask;
            std::fs::write(&changed, &bytes).unwrap();
            match Journal::open(&changed) {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged),
                // A last line without its newline, or with a NUL in it, may be torn: it is said.
                Ok(journal) => {
                    let torn = at == whole.len() - 1 || (at >= last && bytes[at] == 0);
                    assert!(torn && journal.torn() > 0, "byte {at}");
                    assert_eq!(journal.records(), &honest[..2]);
                }
            }
        }
    }
}

#[test]
fn records_that_are_left_out_or_change_places_are_seen() {
    let (dir, path) = journal(4);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for wrong in [
        vec![1, 2, 3],
        vec![0, 2, 3],
        vec![0, 2, 1, 3],
        vec![0, 1, 1, 2, 3],
        vec![0, 1, 3],
    ] {
        let changed = dir.path().join("changed");
        let text: String = wrong.iter().map(|n| lines[*n]).collect();
        std::fs::write(&changed, text).unwrap();
        let error = Journal::open(&changed).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{wrong:?}");
        assert!(error.to_string().contains("line "), "{error}");
    }
}

#[test]
fn after_a_write_that_failed_and_could_not_be_undone_nothing_is_written() {
    let (_dir, path) = journal(3);
    let length = std::fs::metadata(&path).unwrap().len();
    let mut journal = Journal::open(&path).unwrap();
    journal.file = OpenOptions::new().read(true).open(&path).unwrap();
    let error = journal.append("x".into(), entry(3)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    journal.file = OpenOptions::new().append(true).open(&path).unwrap();
    assert!(journal.append("x".into(), entry(3)).is_err());
    assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
}
