use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How fast a dump may be read.
///
/// The pace is what spares a server: a dump that runs at a low priority and as
/// fast as it can costs others as much as one that does not (measured).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The server's own work comes first: 10 MiB a second while other sessions
    /// are at work there, and faster and faster, up to unlimited, while none
    /// is. It begins slowly, for what is not known is taken for work.
    Yielding,
    /// So many bytes a second, at most.
    Fixed(u64),
    /// As fast as the server gives and the sink takes.
    Unlimited,
}

/// What a server does for others than us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkOfOthers {
    /// Sessions with a statement under way, or of which nobody may know whether. A
    /// role that may not read all statistics is told of those of its own alone.
    pub sessions: u64,
    /// Transactions that have ended, of all databases, since the server began to
    /// count. It counts a session's when it rests for a second, or every ten.
    pub transactions: u64,
}

/// Beside work of others; a dump must end some time, for its snapshot keeps the
/// server from clearing up.
pub(crate) const BESIDE_WORK: u64 = 10 << 20;

/// From here on nothing is held back.
pub(crate) const UNLIMITED: u64 = 2 << 30;

/// How often the server is asked who is at work.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How far a stream may be behind its rate, and still catch up.
const CATCH_UP: Duration = Duration::from_millis(50);

/// How long nobody may have been at work before the pace rises. Work that comes
/// in short transactions is mostly not there when one looks.
const QUIET: Duration = Duration::from_secs(2);

/// Asks for [`WorkOfOthers`]. Within a transaction both are remembered unless
/// forgotten.
pub(crate) const WHO_IS_AT_WORK: &str = "SELECT pg_catalog.pg_stat_clear_snapshot(); \
    SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity \
            WHERE state IN ('active', 'fastpath function call', 'disabled') \
            AND backend_type = 'client backend' AND application_name <> 'lava-backup' \
            AND pid <> pg_catalog.pg_backend_pid()), \
        (SELECT pg_catalog.sum(xact_commit + xact_rollback) FROM pg_catalog.pg_stat_database)";

/// The rate that holds now, between who watches the server and who reads.
pub(crate) struct Rate(AtomicU64);

impl Rate {
    pub(crate) fn of(pace: Pace) -> Self {
        Self(AtomicU64::new(match pace {
            Pace::Yielding => BESIDE_WORK,
            Pace::Fixed(bytes_per_second) => bytes_per_second.max(1),
            Pace::Unlimited => UNLIMITED,
        }))
    }

    /// In bytes a second.
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What was last seen of the server's own work.
pub(crate) struct Work<'r> {
    rate: &'r Rate,
    transactions: Option<u64>,
    quiet_since: Instant,
}

impl<'r> Work<'r> {
    pub(crate) fn watch(rate: &'r Rate, now: Instant) -> Self {
        Self {
            rate,
            transactions: None,
            quiet_since: now,
        }
    }

    /// What could be seen; `None` if the server would not tell.
    pub(crate) fn take(&mut self, seen: Option<WorkOfOthers>, now: Instant) {
        let quiet = seen.is_some_and(|seen| {
            let before = self.transactions.replace(seen.transactions);
            seen.sessions == 0 && before.is_none_or(|before| before == seen.transactions)
        });
        if !quiet {
            self.quiet_since = now;
        }
        let rate = match now.duration_since(self.quiet_since) < QUIET {
            true => BESIDE_WORK,
            false => self.rate.now().saturating_mul(2).min(UNLIMITED),
        };
        self.rate.0.store(rate, Ordering::Relaxed);
    }
}

/// Keeps a stream to a rate by waiting where it is ahead.
pub(crate) struct Brake<'r> {
    pub(crate) rate: &'r Rate,
    /// When all that was held back so far is free to have passed.
    pub(crate) free_at: Instant,
}

impl<'r> Brake<'r> {
    pub(crate) fn new(rate: &'r Rate) -> Self {
        Self {
            rate,
            free_at: Instant::now(),
        }
    }

    /// So many bytes have passed: returns when more may.
    pub(crate) fn took(&mut self, bytes: u64) {
        std::thread::sleep(self.wait(bytes, Instant::now()));
    }

    fn wait(&mut self, bytes: u64, now: Instant) -> Duration {
        let rate = self.rate.now();
        if rate >= UNLIMITED {
            return Duration::ZERO;
        }
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        // A sleep is too long by a little, and the stream itself takes time: that is
        // caught up with. Longer rests are not saved up, to be spent in a burst.
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        self.free_at = self.free_at.max(earliest) + cost;
        self.free_at.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Looks once every [`LOOK_EVERY`] for as long as said.
    fn look(
        work: &mut Work<'_>,
        now: &mut Instant,
        long: Duration,
        seen: impl Fn(u64) -> (u64, u64),
    ) {
        let until = *now + long;
        let mut times = 0;
        while *now < until {
            *now += LOOK_EVERY;
            times += 1;
            let (sessions, transactions) = seen(times);
            let seen = WorkOfOthers {
                sessions,
                transactions,
            };
            work.take(Some(seen), *now);
        }
    }

    #[test]
    fn the_pace_is_low_beside_work_and_rises_only_after_a_while_without() {
        let rate = Rate::of(Pace::Yielding);
        let mut now = Instant::now();
        let mut work = Work::watch(&rate, now);
        assert_eq!(rate.now(), BESIDE_WORK, "nothing is known yet");
        look(&mut work, &mut now, Duration::from_secs(1), |_| (0, 7));
        assert_eq!(rate.now(), BESIDE_WORK, "for too short a time");
        look(&mut work, &mut now, Duration::from_secs(3), |_| (0, 7));
        assert_eq!(rate.now(), UNLIMITED);
        // One session, seen once.
        look(&mut work, &mut now, LOOK_EVERY, |_| (1, 7));
        assert_eq!(rate.now(), BESIDE_WORK);
        look(&mut work, &mut now, Duration::from_secs(4), |_| (0, 7));
        assert_eq!(rate.now(), UNLIMITED);
        // Nobody seen at work, and transactions of others all the same, which
        // the server tells of once in a while.
        look(&mut work, &mut now, Duration::from_secs(9), |times| {
            (0, 8 + times / 10)
        });
        assert_eq!(rate.now(), BESIDE_WORK);
    }

    #[test]
    fn a_server_that_tells_nothing_is_taken_for_one_at_work() {
        let rate = Rate::of(Pace::Yielding);
        let mut now = Instant::now();
        let mut work = Work::watch(&rate, now);
        look(&mut work, &mut now, Duration::from_secs(4), |_| (0, 7));
        assert_eq!(rate.now(), UNLIMITED);
        work.take(None, now);
        assert_eq!(rate.now(), BESIDE_WORK);
    }

    #[test]
    fn a_stream_is_held_to_its_rate_and_time_not_used_is_not_saved_up() {
        let rate = Rate::of(Pace::Fixed(10 * MIB));
        let mut brake = Brake::new(&rate);
        let start = brake.free_at;
        let tenth = Duration::from_millis(100);
        assert_eq!(brake.wait(MIB, start), tenth);
        assert_eq!(brake.wait(MIB, start), 2 * tenth, "it has not waited yet");
        // Late by a little: the next waits for less. By much: for almost as much.
        let late = start + 2 * tenth + CATCH_UP / 2;
        assert_eq!(brake.wait(MIB, late), tenth - CATCH_UP / 2);
        assert_eq!(brake.wait(MIB, start + 60 * tenth), tenth - CATCH_UP);
        let rate = Rate::of(Pace::Unlimited);
        assert_eq!(Brake::new(&rate).wait(1 << 40, start), Duration::ZERO);
    }

    #[test]
    fn who_has_passed_a_piece_comes_back_when_more_may_pass() {
        let rate = Rate::of(Pace::Fixed(10 * MIB));
        let mut brake = Brake::new(&rate);
        let begun = brake.free_at;
        brake.took(MIB);
        assert_eq!(brake.free_at - begun, Duration::from_millis(100));
        assert!(Instant::now() >= brake.free_at);
    }
}
