//! The pace of a dump on a real server, as it was decided: no clock is asked how fast
//! the dump was, for a busy machine would answer.
#![allow(clippy::unwrap_used)]

use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use postgres::NoTls;

use super::*;
use crate::pace::{BESIDE_WORK, UNLIMITED};
use crate::scratch::Scratch;

/// Beside work of others it takes longer than a server must rest for a dump to go
/// faster.
const LAB: &str =
    "CREATE TABLE public.large AS SELECT repeat('x', 1000) AS line FROM generate_series(1, 30000)";

fn lab() -> Scratch {
    let cluster = Scratch::for_test();
    cluster.superuser().query("postgres", LAB).unwrap();
    cluster
}

/// Somebody else, with a long statement.
struct Other {
    cancel: postgres::CancelToken,
    at_work: JoinHandle<()>,
}

impl Other {
    fn begins(cluster: &Scratch) -> Self {
        let address = cluster.address("postgres");
        let mut config = postgres::Config::new();
        config.host_path(&address.host).user("postgres");
        let mut client = config.connect(NoTls).unwrap();
        Self {
            cancel: client.cancel_token(),
            at_work: std::thread::spawn(move || {
                client.batch_execute("SELECT pg_sleep(600)").unwrap_err();
            }),
        }
    }

    fn ends(self) {
        // It may not have begun.
        while !self.at_work.is_finished() {
            self.cancel.cancel_query(NoTls).unwrap();
            sleep(Duration::from_millis(10));
        }
        self.at_work.join().unwrap();
    }
}

/// Asks something before it takes a piece, and counts the bytes.
struct Ask<F>(F, u64);

impl<F: FnMut()> DumpSink for Ask<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0();
        self.1 += bytes.len() as u64;
        Ok(())
    }

    fn table_begins(&mut self, _: &TableInfo) -> io::Result<()> {
        Ok(())
    }
}

fn until(rate: &Rate, wanted: u64) {
    for _ in 0..6000 {
        if rate.now() == wanted {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    panic!("it stays at {} bytes a second", rate.now());
}

#[test]
fn a_dump_yields_to_work_that_others_begin_and_is_fast_again_when_they_have_left() {
    let cluster = lab();
    let mut snapshot = Snapshot::take(&cluster.address("postgres")).unwrap();
    let rate = Rate::of(Pace::Yielding);
    let mut other = None;
    let mut asked = 0;
    let ask = || {
        match asked {
            0 => until(&rate, UNLIMITED),
            1 => {
                other = Some(Other::begins(&cluster));
                until(&rate, BESIDE_WORK);
            }
            2 => {
                other.take().unwrap().ends();
                until(&rate, UNLIMITED);
            }
            _ => (),
        }
        asked += 1;
    };
    let mut brake = Brake::new(&rate);
    dump_under(&mut brake, &mut snapshot, Pace::Yielding, &mut Ask(ask, 0)).unwrap();
    assert!(asked > 3, "{asked}");
}

#[test]
fn only_what_passes_beside_work_of_others_is_held_back() {
    let cluster = lab();
    let mut snapshot = Snapshot::take(&cluster.address("postgres")).unwrap();
    let mut held_back = |ask: &dyn Fn(&Rate)| {
        let rate = Rate::of(Pace::Yielding);
        let mut brake = Brake::new(&rate);
        let begun = brake.free_at;
        let mut sink = Ask(|| ask(&rate), 0);
        dump_under(&mut brake, &mut snapshot, Pace::Yielding, &mut sink).unwrap();
        (brake.free_at - begun, sink.1)
    };

    let other = Other::begins(&cluster);
    let (beside, bytes) = held_back(&|rate| until(rate, BESIDE_WORK));
    let least = Duration::from_secs_f64(bytes as f64 / BESIDE_WORK as f64);
    assert!(beside > least * 9 / 10, "{bytes} bytes for {beside:?}");
    other.ends();

    let (at_rest, _) = held_back(&|rate| until(rate, UNLIMITED));
    assert_eq!(at_rest, Duration::ZERO);
}
