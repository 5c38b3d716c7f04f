use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::digest::{RowHasher, TableDigest, TableHasher};

/// Adds up the rows of one table as they pass, by as many threads as there are
/// processors.
///
/// To hash a row takes longer than for the server to send it. Rows go to the
/// threads in batches, of which a few are under way; a long row is hashed as it
/// comes. Their order never matters.
#[derive(Debug)]
pub(crate) struct RowSum {
    /// Of long rows, and of all rows of a small table.
    here: TableHasher,
    rows: u64,
    batch: Batch,
    /// Where in the batch the row begins that is not over.
    begun: usize,
    /// That row, if it is long.
    long: Option<Box<RowHasher>>,
    crew: Option<Crew>,
}

/// Whole rows, one after another.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// Bytes of rows that go to a thread at once.
const BATCH: usize = 128 << 10;
/// Bytes of a row that is hashed by itself.
const LONG: usize = 64 << 10;

impl RowSum {
    pub(crate) fn new() -> Self {
        Self {
            here: TableHasher::new(),
            rows: 0,
            batch: Batch::default(),
            begun: 0,
            long: None,
            crew: None,
        }
    }

    /// How many rows have ended.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes the next bytes of a row.
    pub(crate) fn update(&mut self, piece: &[u8]) {
        if let Some(long) = &mut self.long {
            long.update(piece);
            return;
        }
        let so_far = self.batch.bytes.len() - self.begun;
        if so_far + piece.len() <= LONG {
            self.batch.bytes.extend_from_slice(piece);
            return;
        }
        let mut long = RowHasher::new();
        long.update(&self.batch.bytes[self.begun..]);
        long.update(piece);
        self.batch.bytes.truncate(self.begun);
        self.long = Some(Box::new(long));
    }

    /// The row is over.
    pub(crate) fn end_row(&mut self) {
        self.rows += 1;
        if let Some(long) = self.long.take() {
            self.here.add(&long);
            return;
        }
        self.begun = self.batch.bytes.len();
        self.batch.ends.push(self.begun);
        if self.begun >= BATCH || self.batch.ends.len() >= BATCH / 16 {
            let batch = std::mem::take(&mut self.batch);
            self.begun = 0;
            match self.crew.get_or_insert_with(Crew::start).give(batch) {
                Ok(()) => {}
                Err(batch) => batch.add_to(&mut self.here),
            }
        }
    }

    /// What was taken since the last row ended was none.
    pub(crate) fn forget_row(&mut self) {
        self.long = None;
        self.batch.bytes.truncate(self.begun);
    }

    /// Of all rows that have ended.
    pub(crate) fn finish(mut self) -> (u64, TableDigest) {
        self.batch.add_to(&mut self.here);
        if let Some(crew) = self.crew {
            crew.finish(&mut self.here);
        }
        (self.rows, self.here.digest())
    }
}

impl Batch {
    fn add_to(&self, table: &mut TableHasher) {
        let mut row = RowHasher::new();
        let mut begin = 0;
        for &end in &self.ends {
            row.update(&self.bytes[begin..end]);
            table.add(&row);
            row.reset();
            begin = end;
        }
    }
}

/// Threads that hash batches; each has a sum of its own. They end when nobody
/// gives them any more.
#[derive(Debug)]
struct Crew {
    give: SyncSender<Batch>,
    threads: Vec<JoinHandle<TableHasher>>,
}

impl Crew {
    fn start() -> Self {
        let most = thread::available_parallelism().map_or(1, |n| n.get().min(8));
        let (give, take) = mpsc::sync_channel(most);
        let take = Arc::new(Mutex::new(take));
        let threads = (0..most).map_while(|_| {
            let take = Arc::clone(&take);
            let name = thread::Builder::new().name("rows".into());
            name.spawn(move || work(&take)).ok()
        });
        let threads = threads.collect();
        Self { give, threads }
    }

    /// Gives the batch back if there is nobody to take it.
    fn give(&self, batch: Batch) -> Result<(), Batch> {
        match self.threads.is_empty() {
            true => Err(batch),
            false => self.give.send(batch).map_err(|back| back.0),
        }
    }

    fn finish(self, table: &mut TableHasher) {
        drop(self.give);
        for thread in self.threads {
            match thread.join() {
                Ok(sum) => table.merge(&sum),
                Err(panicked) => std::panic::resume_unwind(panicked),
            }
        }
    }
}

fn work(take: &Mutex<Receiver<Batch>>) -> TableHasher {
    let mut sum = TableHasher::new();
    loop {
        let batch = take.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match batch {
            Ok(batch) => batch.add_to(&mut sum),
            Err(_) => return sum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(rows: &[Vec<u8>]) -> (u64, TableDigest) {
        let mut table = TableHasher::new();
        rows.iter().for_each(|row| table.add_row(row));
        (table.rows(), table.digest())
    }

    fn summed(rows: &[Vec<u8>], piece: usize) -> (u64, TableDigest) {
        let mut sum = RowSum::new();
        for row in rows {
            row.chunks(piece).for_each(|piece| sum.update(piece));
            sum.end_row();
            // As the end mark of a table looks, and a row that is broken off.
            sum.update(b"\\.");
            sum.forget_row();
        }
        sum.finish()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn rows_of_any_length_in_any_pieces_give_the_digest_of_the_rows(
            lengths in proptest::collection::vec(
                prop_oneof![0..300_usize, LONG - 2..LONG + 3, Just(3 * LONG), Just(0)], 0..60),
            piece in prop_oneof![1..200_usize, Just(LONG), Just(1 << 20)],
        ) {
            let row = |(at, length): (usize, &usize)| vec![(at % 251) as u8; *length];
            let rows: Vec<Vec<u8>> = lengths.iter().enumerate().map(row).collect();
            prop_assert_eq!(summed(&rows, piece), plain(&rows));
        }
    }

    #[test]
    fn many_rows_are_all_counted_in() {
        let mut rows: Vec<Vec<u8>> = (0..100_000).map(|n| format!("row {n}").into()).collect();
        let all = summed(&rows, 7);
        assert_eq!(all, plain(&rows));
        rows[77_777].push(b'x');
        assert_ne!(summed(&rows, 7), all);
        // Empty ones, which are many to a batch.
        assert_eq!(
            summed(&vec![Vec::new(); 50_000], 1),
            plain(&vec![Vec::new(); 50_000])
        );
    }
}
