//! Devices, jobs and workers, as LAVA's database has them.
//!
//! Up to 2017.12 a device and a job had one `status`. It is told here in the words of the time
//! since, in which plans are made: an offline device takes no job, so it is in maintenance (LAVA's
//! own migration 0032 lets it take jobs again), and a job that runs or is being cancelled is
//! active. The numbers are those of that migration; that a worker is not shown is 0031's word for
//! retired. Which of the two a database has is seen by its columns, for its release is only what
//! some package is of.

use lava_backup_pg::{Row, Snapshot};
use lava_restore_plan::facts::{ActiveJob, Database};
use lava_restore_plan::release::{DeviceHealth, JobState};

use super::{number, rows};
use crate::exit::Failure;

/// A question, in the words of 2018.1 and of the releases before it.
type Question = [&'static str; 2];

const DEVICES: Question = [
    "SELECT health, hostname FROM public.lava_scheduler_app_device ORDER BY 1, 2",
    "SELECT CASE WHEN status = 0 THEN 4 WHEN status = 4 THEN 5 \
            WHEN health_status = 1 THEN 0 WHEN health_status = 2 THEN 3 \
            WHEN health_status = 3 THEN 2 ELSE 1 END, hostname \
     FROM public.lava_scheduler_app_device ORDER BY 1, 2",
];
const JOBS: Question = [
    "SELECT state, count(*) FROM public.lava_scheduler_app_testjob GROUP BY 1",
    "SELECT CASE status WHEN 0 THEN 0 WHEN 1 THEN 3 WHEN 5 THEN 4 ELSE 5 END, count(*) \
     FROM public.lava_scheduler_app_testjob GROUP BY 1",
];
const ACTIVE: Question = [
    "SELECT id, state FROM public.lava_scheduler_app_testjob \
     WHERE state IN (1, 2, 3, 4) ORDER BY 1",
    "SELECT id, CASE status WHEN 1 THEN 3 ELSE 4 END FROM public.lava_scheduler_app_testjob \
     WHERE status IN (1, 5) ORDER BY 1",
];
/// Those that a lab does without are not asked for: they are retired, or not shown.
const WORKERS: Question = [
    "SELECT hostname FROM public.lava_scheduler_app_worker WHERE health <> 2 ORDER BY 1",
    "SELECT hostname FROM public.lava_scheduler_app_worker WHERE display ORDER BY 1",
];

/// Adds them to what is known of a database; nothing where it has no such tables.
pub(super) fn add(database: &mut Database, snapshot: &mut Snapshot) -> Result<(), Failure> {
    let mut ask = |question: Question| {
        for sql in question {
            if let Some(rows) = rows(snapshot, sql)? {
                return Ok::<_, Failure>(Some(rows));
            }
        }
        Ok(None)
    };
    if let Some(devices) = ask(DEVICES)? {
        let by_health = database.devices_by_health.get_or_insert_default();
        for row in devices {
            if let (Some(health), Some(Some(name))) = (number(&row, 0), row.get(1))
                && let Some(health) = DeviceHealth::of(health)
            {
                by_health.entry(health).or_default().push(name.clone());
            }
        }
    }
    let state = |row: &Row, at| JobState::of(number(row, at)?);
    database.jobs_by_state = ask(JOBS)?.map(|rows| {
        let counted = rows
            .iter()
            .filter_map(|row| Some((state(row, 0)?, number(row, 1)? as u64)));
        counted.collect()
    });
    database.active_jobs = ask(ACTIVE)?.map(|rows| {
        let jobs = rows.iter().filter_map(|row| {
            let (id, state) = (number(row, 0)? as u64, state(row, 1)?);
            Some(ActiveJob { id, state })
        });
        jobs.collect()
    });
    database.worker_names = ask(WORKERS)?.map(|rows| {
        let names = rows.into_iter().filter_map(|row| row.into_iter().next()?);
        names.collect()
    });
    Ok(())
}
