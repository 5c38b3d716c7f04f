//! The database of the lab as plain SQL.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::calendar::SECOND;
use crate::dice::Dice;
use crate::job::{Job, SUITES, State};
use crate::lab::{DEVICE_TYPES, Lab, USERS, WORKERS};
use crate::migrations;

const TESTJOB: &str = "is_public, id, sub_id, target_group, description, health_check, submit_time, start_time, end_time, \
    priority, definition, original_definition, multinode_definition, failure_comment, actual_device_id, \
    requested_device_type_id, submitter_id, pipeline_compatibility, health, state, token, queue_timeout";
const TESTCASE: &str = "id, name, units, result, measurement, metadata, logged, suite_id, test_set_id, end_log_line, start_log_line";

/// Write the lab's database, for `psql --set ON_ERROR_STOP=1` into an empty
/// UTF-8 database, as a superuser or as the database's owner.
///
/// All is one transaction. The jobs are those of the folders that
/// [`master::write`](crate::master::write) makes of the same lab, and a few
/// that run or wait. Rows are in the order of their keys; memory does not grow
/// with their number.
///
/// # Errors
/// Those of `out`.
pub fn write(lab: &Lab, out: &mut impl Write) -> io::Result<()> {
    let mut rows = Rows {
        out,
        table: "",
        counts: BTreeMap::new(),
    };
    rows.out.write_all(include_bytes!("schema.sql"))?;
    site(lab, &mut rows)?;
    jobs(lab, &mut rows)?;
    results(lab, &mut rows)?;
    for table in [
        "django_migrations",
        "auth_user",
        "lava_scheduler_app_testjob",
        "lava_results_app_testsuite",
        "lava_results_app_testcase",
    ] {
        let count = rows.counts.get(table).copied().unwrap_or_default();
        // A sequence that gave nothing yet is at 1 and "not called".
        let (value, called) = (count.max(1), count > 0);
        writeln!(
            rows.out,
            "SELECT pg_catalog.setval('public.{table}_id_seq', {value}, {called});"
        )?;
    }
    rows.out.write_all(include_bytes!("keys.sql"))?;
    rows.out.flush()
}

/// The tables that do not grow with the history.
fn site(lab: &Lab, rows: &mut Rows<'_, impl Write>) -> io::Result<()> {
    let installed = lab.until.0 - 200 * crate::calendar::DAY;
    rows.table("django_migrations", "id, app, name, applied")?;
    for (place, (app, name)) in (1..).zip(migrations::applied()) {
        let applied = crate::Moment(installed + place * 41_017);
        rows.add(&[&Text(place), &app, &name, &Text(applied)])?;
    }
    rows.table("auth_user", "id, password, last_login, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined")?;
    for (place, name) in USERS.iter().enumerate() {
        let mut dice = Dice::new(lab.seed, u64::MAX / 3 + place as u64);
        let password = format!(
            "pbkdf2_sha256$260000${}${}=",
            dice.token(22),
            dice.token(43)
        );
        let joined = Text(crate::Moment(installed + place as u64 * SECOND));
        let admin = Flag(place == 1);
        let login = (place == 0).then_some(&joined);
        rows.add(&[
            &Text(place + 1),
            &password,
            &login,
            &admin,
            name,
            &"",
            &"",
            &format!("{name}@lab.test"),
            &admin,
            &Flag(true),
            &joined,
        ])?;
    }
    rows.table("lava_scheduler_app_devicetype", "name, display, architecture_id, bits_id, core_count, cpu_model, processor_id, description, health_denominator, health_frequency, disable_health_check")?;
    for (place, name) in DEVICE_TYPES.iter().enumerate() {
        let cores = (place % 2 == 1).then_some(Text(4));
        rows.add(&[
            name,
            &Flag(true),
            &NULL,
            &NULL,
            &cores,
            &NULL,
            &NULL,
            &(place == 3).then_some("a\tboard of\nmany « lines » \\ more"),
            &Text(0),
            &Text(24),
            &Flag(false),
        ])?;
    }
    rows.table("lava_scheduler_app_worker", "hostname, description, health, state, last_ping, job_limit, version, master_version_notified, token")?;
    for (name, health) in WORKERS {
        let description = format!("Rack « {name} »");
        let online = u8::from(health == 2);
        rows.add(&[
            &name,
            &description,
            &Text(health),
            &Text(online),
            &Text(lab.until),
            &Text(0),
            &(health < 2).then_some("2023.01"),
            &NULL,
            &lab.worker_token(name),
        ])?;
    }
    rows.table("lava_scheduler_app_device", "hostname, device_version, description, device_type_id, last_health_report_job_id, physical_group_id, physical_owner_id, worker_host_id, health, state, is_synced")?;
    let checks = lab.last_health_checks();
    for number in 0..lab.devices() {
        let device = lab.device(number);
        let owner = (number % 7 == 0).then_some(Text(2));
        rows.add(&[
            &device.hostname,
            &NULL,
            &format!("Shelf {number}"),
            &device.kind,
            &checks.get(&number).map(Text),
            &NULL,
            &owner,
            &device.worker,
            &Text(device.health),
            &Text(device.state),
            &Flag(true),
        ])?;
    }
    Ok(())
}

fn jobs(lab: &Lab, rows: &mut Rows<'_, impl Write>) -> io::Result<()> {
    rows.table("lava_scheduler_app_testjob", TESTJOB)?;
    for job in lab.all_jobs() {
        let waits = job.state == State::Submitted;
        let finished = job.state == State::Finished;
        let definition = job.definition();
        let health = match (finished, job.failed) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2 + u8::from(job.id % 10 == 0),
        };
        rows.add(&[
            &Flag(job.public),
            &Text(job.id),
            &"",
            &NULL,
            &job.description(),
            &Flag(job.health_check),
            &Text(job.submit),
            &(!waits).then_some(Text(job.start)),
            &finished.then_some(Text(job.end())),
            &Text(50),
            &definition,
            &definition,
            &"",
            &job.failure(),
            &(!waits).then_some(lab.device(job.device).hostname),
            &job.kind,
            &Text(job.user + 1),
            &Text(0),
            &Text(health),
            &Text(job.state as u8),
            &job.dice(7).token(32),
            &job.health_check.then_some(Text(5_000_000_000u64)),
        ])?;
    }
    Ok(())
}

fn results(lab: &Lab, rows: &mut Rows<'_, impl Write>) -> io::Result<()> {
    let finished = || (1..=lab.jobs).map(|id| lab.job(id));
    rows.table("lava_results_app_testsuite", "id, name, job_id")?;
    for job in finished() {
        for (place, name) in SUITES.iter().enumerate() {
            rows.add(&[&Text(suite(&job, place)), name, &Text(job.id)])?;
        }
    }
    rows.table("lava_results_app_testcase", TESTCASE)?;
    let mut id = 0u32;
    for job in finished() {
        let folder = format!("/{}/{}", crate::master::JOB_OUTPUT, job.folder());
        let (file, _) = job.metadata();
        for (line, case) in job.cases().into_iter().enumerate() {
            id += 1;
            let place = usize::from(case.suite != SUITES[0]);
            let metadata = format!(
                "case: {}\ndefinition: {}\nextra: {folder}/metadata/{file}\nresult: {}\n",
                case.name,
                case.suite,
                case.outcome()
            );
            let (value, unit) = case.measurement.unzip();
            rows.add(&[
                &Text(id),
                &case.name,
                &unit.unwrap_or_default(),
                &Text(case.result),
                // Django hands PostgreSQL the whole of a float, as a decimal.
                &value.map(|value| format!("{value:.30}")),
                &metadata,
                &Text(job.start.after(line as u64 * SECOND)),
                &Text(suite(&job, place)),
                &NULL,
                &Text(line + 2),
                &(line % 9 != 8).then_some(Text(line)),
            ])?;
        }
    }
    rows.end()
}

/// Suites are numbered as their jobs are.
fn suite(job: &Job, place: usize) -> usize {
    (job.id as usize - 1) * SUITES.len() + place + 1
}

/// `COPY … FROM stdin` of one table after the other.
struct Rows<'a, W> {
    out: &'a mut W,
    table: &'static str,
    counts: BTreeMap<&'static str, u64>,
}

impl<W: Write> Rows<'_, W> {
    fn table(&mut self, name: &'static str, columns: &str) -> io::Result<()> {
        self.end()?;
        self.counts.insert(name, 0);
        self.table = name;
        writeln!(self.out, "COPY public.{name} ({columns}) FROM stdin;")
    }

    fn add(&mut self, fields: &[&dyn Field]) -> io::Result<()> {
        if let Some(count) = self.counts.get_mut(self.table) {
            *count += 1;
        }
        let mut row = String::with_capacity(256);
        for (place, field) in fields.iter().enumerate() {
            if place > 0 {
                row.push('\t');
            }
            field.append_to(&mut row);
        }
        row.push('\n');
        self.out.write_all(row.as_bytes())
    }

    fn end(&mut self) -> io::Result<()> {
        if !self.table.is_empty() {
            self.table = "";
            self.out.write_all(b"\\.\n\n")?;
        }
        Ok(())
    }
}

/// A value in COPY's text format.
trait Field {
    fn append_to(&self, row: &mut String);
}

/// Something whose text has nothing to escape: numbers and moments.
struct Text<T>(T);
struct Flag(bool);
const NULL: Option<&str> = None;

impl<T: std::fmt::Display> Field for Text<T> {
    fn append_to(&self, row: &mut String) {
        row.push_str(&self.0.to_string());
    }
}

impl Field for Flag {
    fn append_to(&self, row: &mut String) {
        row.push(if self.0 { 't' } else { 'f' });
    }
}

impl Field for &str {
    fn append_to(&self, row: &mut String) {
        for letter in self.chars() {
            match letter {
                '\\' => row.push_str("\\\\"),
                '\n' => row.push_str("\\n"),
                '\r' => row.push_str("\\r"),
                '\t' => row.push_str("\\t"),
                other => row.push(other),
            }
        }
    }
}

impl Field for String {
    fn append_to(&self, row: &mut String) {
        self.as_str().append_to(row);
    }
}

impl<T: Field> Field for &T {
    fn append_to(&self, row: &mut String) {
        (*self).append_to(row);
    }
}

impl<T: Field> Field for Option<T> {
    fn append_to(&self, row: &mut String) {
        match self {
            Some(value) => value.append_to(row),
            None => row.push_str("\\N"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_escaped_as_copy_reads_them() {
        let text = |field: &dyn Field| {
            let mut row = String::new();
            field.append_to(&mut row);
            row
        };
        assert_eq!(text(&"a\tb\nc\rd\\Né"), "a\\tb\\nc\\rd\\\\Né");
        assert_eq!(
            [text(&NULL), text(&Some("")), text(&Flag(true))],
            ["\\N", "", "t"]
        );
    }
}
