//! The lab: what its seed and its size decide, before anything is written.

use std::collections::BTreeMap;

use crate::calendar::{DAY, Moment, SECOND};
use crate::dice::Dice;
use crate::job::{Job, State};

/// Kinds of boards.
pub const DEVICE_TYPES: [&str; 6] = [
    "qemu",
    "beaglebone-black",
    "x86",
    "hi6220-hikey-r2",
    "imx8mq-evk",
    "juno-uboot",
];

/// The lab's workers, and LAVA's health of each (0 active, 1 in maintenance,
/// 2 retired).
pub const WORKERS: [(&str, u8); 4] = [("rack-a", 0), ("rack-b", 0), ("rack-c", 1), ("rack-old", 2)];

/// The lab's users; the first was made by a migration, the second is admin.
pub const USERS: [&str; 5] = ["lava-health", "alice", "bob", "chloé", "ci-robot"];

/// Days that the history covers.
pub(crate) const HISTORY: u64 = 90;
const RUNNING: u32 = 3;
const WAITING: u32 = 4;

/// A lab as plain data. Everything else is a function of it.
///
/// Jobs are numbered from 1: first the finished ones, the oldest first, then a
/// few that run, then a few that wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lab {
    /// What the lab is drawn from.
    pub seed: u64,
    /// Finished jobs: each has a folder.
    pub jobs: u32,
    /// Mean size of a job's files in bytes, before logs are packed. Below
    /// about 10,000 jobs hold just what every job has, which is about 7,000.
    pub job_bytes: u64,
    /// The lab's present, 1971 or later: its history begins 90 days before.
    pub until: Moment,
    /// Of a hundred jobs, how many of the oldest have logs packed by `xz`.
    pub packed: u8,
    /// Files of 1 kB besides, a hundred in a folder: of jobs older than the
    /// lab's history, which the database does not know any more.
    pub small: u32,
}

impl Default for Lab {
    /// 6,000 jobs: 36,600 files, of which 10 % of the logs are packed.
    fn default() -> Self {
        Self {
            seed: 1,
            jobs: 6000,
            job_bytes: 330_000,
            until: Moment(1_685_577_600 * SECOND),
            packed: 10,
            small: 0,
        }
    }
}

/// A board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name, the primary key.
    pub hostname: String,
    /// One of [`DEVICE_TYPES`].
    pub kind: &'static str,
    /// One of [`WORKERS`].
    pub worker: &'static str,
    /// LAVA's health: 0 good … 5 retired.
    pub health: u8,
    /// LAVA's state: 0 idle, 2 running.
    pub state: u8,
}

impl Lab {
    /// How many boards: 24, and more in a large lab, up to 400.
    pub fn devices(&self) -> u32 {
        (self.jobs / 250).clamp(24, 400)
    }

    /// Board `number`, counted from 0.
    pub fn device(&self, number: u32) -> Device {
        const HEALTHS: [u8; 8] = [0, 0, 0, 1, 2, 3, 4, 5];
        let kind = DEVICE_TYPES[number as usize % DEVICE_TYPES.len()];
        Device {
            hostname: format!("{kind}-{number:02}"),
            kind,
            worker: WORKERS[number as usize % WORKERS.len()].0,
            health: HEALTHS[number as usize % HEALTHS.len()],
            state: if number < RUNNING { 2 } else { 0 },
        }
    }

    /// The token by which a worker's row and its own file know each other.
    pub fn worker_token(&self, worker: &str) -> String {
        let number = WORKERS
            .iter()
            .position(|(name, _)| *name == worker)
            .unwrap_or(WORKERS.len());
        Dice::new(self.seed, u64::MAX - number as u64).token(32)
    }

    /// Every job in the database: finished, running and waiting.
    pub fn all_jobs(&self) -> impl Iterator<Item = Job> + '_ {
        (1..=self.jobs + RUNNING + WAITING).map(|id| self.job(id))
    }

    /// Job `id`, at least 1. Takes a microsecond or so: nothing is stored.
    pub fn job(&self, id: u32) -> Job {
        let mut dice = Dice::new(self.seed, u64::from(id));
        let state = match id.saturating_sub(self.jobs) {
            0 => State::Finished,
            queued if queued <= RUNNING => State::Running,
            _ => State::Submitted,
        };
        let submit = if state == State::Finished {
            // An hour is left in the end, so that the last one can finish.
            let span = HISTORY * DAY - 3600 * SECOND;
            let step = span / u64::from(self.jobs);
            let past = u64::from(id - 1) * step + dice.below(step);
            Moment(self.until.0 - HISTORY * DAY + past)
        } else {
            let left = u64::from(self.jobs + RUNNING + WAITING + 1 - id);
            Moment(self.until.0 - left * 7 * SECOND - dice.below(SECOND))
        };
        let device = match state {
            State::Running => id - self.jobs - 1,
            _ => dice.below(u64::from(self.devices())) as u32,
        };
        // Most jobs are short and a few are very long; the mean is one.
        let size = match dice.below(100) {
            0..70 => 0.2 + 0.6 * dice.unit(),
            70..95 => 0.8 + 1.6 * dice.unit(),
            _ => 2.0 + 6.0 * dice.unit(),
        };
        Job {
            id,
            state,
            submit,
            start: submit.after(dice.between(2, 9) * SECOND + dice.below(SECOND)),
            seconds: dice.between(60, 1800),
            device,
            kind: self.device(device).kind,
            user: dice.between(1, USERS.len() as u64 - 1) as u32,
            public: dice.chance(80),
            health_check: state == State::Finished && id.is_multiple_of(16),
            failed: state == State::Finished && dice.chance(15),
            bytes: (self.job_bytes as f64 * size) as u64,
            packed: u64::from(id) * 100 <= u64::from(self.jobs) * u64::from(self.packed),
            dice,
        }
    }

    /// The newest health check of each board that has one, by its number.
    pub fn last_health_checks(&self) -> BTreeMap<u32, u32> {
        (1..=self.jobs)
            .map(|id| self.job(id))
            .filter(|job| job.health_check)
            .map(|job| (job.device, job.id))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_in_order_of_submission_and_end_before_the_present() {
        let lab = Lab {
            jobs: 500,
            ..Lab::default()
        };
        let jobs: Vec<Job> = lab.all_jobs().collect();
        assert_eq!(jobs.len(), 507);
        assert!(jobs.windows(2).all(|pair| pair[0].submit < pair[1].submit));
        assert!(jobs[..500].iter().all(|job| job.end() < lab.until));
        let count = |state| jobs.iter().filter(|job| job.state == state).count();
        assert_eq!(
            [
                count(State::Finished),
                count(State::Running),
                count(State::Submitted)
            ],
            [500, 3, 4]
        );
    }

    #[test]
    fn sizes_have_the_mean_that_was_asked_for() {
        let lab = Lab {
            jobs: 20_000,
            job_bytes: 1_000_000,
            ..Lab::default()
        };
        let total: u64 = (1..=lab.jobs).map(|id| lab.job(id).bytes).sum();
        let mean = total / u64::from(lab.jobs);
        assert!((960_000..1_040_000).contains(&mean), "{mean}");
    }

    #[test]
    fn the_oldest_tenth_is_packed() {
        let lab = Lab {
            jobs: 50,
            ..Lab::default()
        };
        let packed: Vec<u32> = lab
            .all_jobs()
            .filter(|job| job.packed)
            .map(|job| job.id)
            .collect();
        assert_eq!(packed, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_health_check_ran_on_the_board_that_reports_it() {
        let lab = Lab {
            jobs: 2000,
            ..Lab::default()
        };
        let checks = lab.last_health_checks();
        assert!(checks.len() > 20);
        for (device, id) in checks {
            let job = lab.job(id);
            assert!(job.device == device && job.health_check && job.state == State::Finished);
        }
    }
}
