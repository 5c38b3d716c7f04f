//! How well the hosts of a store are backed up.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use jiff::Timestamp;
use lava_backup_core::{Outcome, Store};
use lava_restore_plan::Facts;
use lava_restore_plan::facts::{DatabaseState, Role};
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Answer;
use crate::args::StatusArgs;
use crate::exit::{CouldNot, Exit, Failure};
use crate::standing::{self, Standing};
use crate::{backup_facts, clock, collect, text};

/// A row of every database that LAVA's own migration makes, and no worker.
const EXAMPLE: &str = "example.com";

/// How a host stands; the worst of its reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Health {
    /// Its newest backup is good, young and of a kind that a drill has proved.
    Good,
    /// Whether its backups can be relied on was never looked at, or can't be told.
    Unknown,
    /// There is a good backup, and something is not as it should be.
    Degraded,
    /// There is no backup that can be relied on.
    Bad,
}

/// How the hosts of a store stand.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Status {
    /// The store.
    pub(crate) store: String,
    /// The worst of its hosts; `unknown` without any.
    pub(crate) health: Health,
    /// Every host, sorted by name.
    pub(crate) hosts: Vec<HostStatus>,
    /// Backups that can't be read, so that nobody knows whose they are.
    pub(crate) unreadable: Vec<String>,
}

/// How one host stands.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct HostStatus {
    /// Its name.
    pub(crate) host: String,
    /// `master`, `worker` or `unknown`.
    pub(crate) role: String,
    /// How it stands.
    pub(crate) health: Health,
    /// Why it is not good.
    pub(crate) reasons: Vec<Reason>,
    /// How many backups it has.
    pub(crate) backups: u64,
    /// Its newest backup that is complete and of which no check has failed.
    pub(crate) newest_good: Option<String>,
    /// When that was made: what happened since would be lost.
    pub(crate) newest_good_taken: Option<String>,
    /// Seconds since then.
    pub(crate) would_lose_seconds: Option<u64>,
    /// The last drill of any of its backups that says whether it comes back: one that failed, or
    /// passed at level `data` or `boot`.
    pub(crate) last_drill: Option<DrillStatus>,
}

/// A drill that was recorded.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DrillStatus {
    /// The backup.
    pub(crate) backup: String,
    /// How deep it went.
    pub(crate) level: String,
    /// Whether it passed.
    pub(crate) passed: bool,
    /// When it began.
    pub(crate) began: String,
    /// Seconds since then; `null` if that can't be told.
    pub(crate) age_seconds: Option<u64>,
    /// Milliseconds it took: a measured part of the time to restore.
    pub(crate) milliseconds: u64,
}

/// Why a host is not good.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Reason {
    /// A stable code.
    pub(crate) code: &'static str,
    /// How bad it is.
    pub(crate) health: Health,
    /// In words.
    pub(crate) words: String,
}

pub(crate) fn status(args: &StatusArgs) -> Result<Answer, Failure> {
    let store = Store::open(&args.store.store).could_not("open the store")?;
    let mut by_host: BTreeMap<String, Vec<Standing>> = BTreeMap::new();
    let mut unreadable = Vec::new();
    for standing in standing::of_all(&store)? {
        match standing.host().map(str::to_owned) {
            Some(host) => by_host.entry(host).or_default().push(standing),
            None => unreadable.push(standing.id().to_string()),
        }
    }
    let now = clock::now().for_files().seconds;
    let mut hosts = Vec::new();
    let mut wanted: BTreeMap<String, String> = BTreeMap::new();
    let mut have: Vec<String> = by_host.keys().cloned().collect();
    for (host, backups) in by_host {
        let facts = newest_facts(&backups);
        let worker = facts.worker.as_ref().and_then(|worker| worker.name.clone());
        have.extend(worker);
        if let DatabaseState::Present(database) = &facts.database {
            let names = database.worker_names.iter().flatten();
            let names = names.filter(|name| *name != EXAMPLE);
            wanted.extend(names.map(|name| (name.clone(), host.clone())));
        }
        hosts.push(of_host(host, facts.role, &backups, args, now));
    }
    wanted.retain(|worker, _| !have.contains(worker));
    hosts.extend(
        wanted
            .into_iter()
            .map(|(worker, master)| lost(worker, &master)),
    );
    hosts.sort_by(|a, b| a.host.cmp(&b.host));
    let worst = hosts.iter().map(|host| host.health).max();
    let status = Status {
        store: store.path().to_string_lossy().into_owned(),
        health: match (worst, unreadable.is_empty()) {
            (Some(worst), true) => worst,
            (worst, _) => worst.unwrap_or(Health::Unknown).max(Health::Unknown),
        },
        hosts,
        unreadable,
    };
    if let Some(path) = &args.prometheus {
        write_metrics(path, &metrics(&status))
            .could_not(format!("write the metrics to {}", path.display()))?;
    }
    let exit = match status.health {
        Health::Good => Exit::Done,
        Health::Unknown | Health::Degraded => Exit::Refused,
        Health::Bad => Exit::Damaged,
    };
    Ok(Answer::new(exit, &status, words(&status)))
}

/// What the newest backup that can be read says of its host.
fn newest_facts(backups: &[Standing]) -> Facts {
    let mut newest: Vec<_> = backups
        .iter()
        .filter_map(|b| b.backup.as_ref().ok())
        .collect();
    newest.sort_by_key(|backup| backup.seal().taken.clone());
    let facts = newest
        .last()
        .and_then(|backup| backup_facts::facts(backup).ok());
    facts.unwrap_or_else(Facts::unknown)
}

fn of_host(
    host: String,
    role: Role,
    backups: &[Standing],
    args: &StatusArgs,
    now: i64,
) -> HostStatus {
    let mut known: Vec<_> = backups
        .iter()
        .filter_map(|b| Some((b, b.backup.as_ref().ok()?, b.candidate.known.as_ref()?)))
        .collect();
    known.sort_by(|a, b| (&a.2.taken, a.0.id()).cmp(&(&b.2.taken, b.0.id())));
    let good = known.iter().rfind(|(_, _, known)| known.good);
    let evidence = standing::evidence_of(known.iter().map(|(_, backup, _)| *backup));
    let drill = standing::last_drill(&evidence);
    let mut reasons = Vec::new();
    let mut because = |code, health, words: String| {
        reasons.push(Reason {
            code,
            health,
            words,
        })
    };

    match good {
        None => because(
            "no-good-backup",
            Health::Bad,
            "it has no complete backup of which no check has failed".to_owned(),
        ),
        Some((_, _, known)) => match seconds_between(&known.taken, now) {
            None => because(
                "age-unknown",
                Health::Unknown,
                format!("when it was made can't be told: {}", known.taken),
            ),
            Some(age) if age < 0 => because(
                "clock",
                Health::Unknown,
                "its newest good backup is of a time to come; is this clock right?".to_owned(),
            ),
            Some(age) if age.unsigned_abs() > args.max_age.as_secs() => because(
                "old",
                Health::Degraded,
                format!(
                    "its newest good backup is {} old, and more than {} is too old",
                    text::age(age.unsigned_abs()),
                    text::age(args.max_age.as_secs())
                ),
            ),
            Some(_) => {}
        },
    }
    if let Some((newest, backup, known)) = known.last()
        && !known.good
        && good.is_some()
    {
        let (code, what) = match backup.seal().outcome {
            Outcome::Degraded => ("degraded", "is degraded"),
            Outcome::Complete => ("failed-check", "did not pass a check"),
        };
        because(
            code,
            Health::Degraded,
            format!("its newest backup {} {what}", newest.id()),
        );
    }
    match drill.map(|drill| (drill, seconds_between(&drill.began, now))) {
        None => because(
            "never-drilled",
            Health::Unknown,
            "none of its backups was ever restored in a drill".to_owned(),
        ),
        Some((drill, _)) if !drill.passed => because(
            "drill-failed",
            Health::Degraded,
            format!("the last drill, of {}, failed", drill.backup),
        ),
        Some((_, Some(age))) if age.unsigned_abs() > args.max_drill_age.as_secs() => because(
            "drill-old",
            Health::Degraded,
            format!(
                "its last drill was {} ago, and more than {} is too long",
                text::age(age.unsigned_abs()),
                text::age(args.max_drill_age.as_secs())
            ),
        ),
        Some(_) => {}
    }
    let health = reasons.iter().map(|reason| reason.health).max();
    let taken = good.map(|(_, _, known)| known.taken.clone());
    HostStatus {
        host,
        role: collect::role_name(role).to_owned(),
        health: health.unwrap_or(Health::Good),
        reasons,
        backups: backups.len() as u64,
        newest_good: good.map(|(standing, _, _)| standing.id().to_string()),
        would_lose_seconds: taken
            .as_deref()
            .and_then(|taken| u64::try_from(seconds_between(taken, now)?).ok()),
        newest_good_taken: taken,
        last_drill: drill.map(|drill| DrillStatus {
            backup: drill.backup.to_string(),
            level: drill.depth.clone(),
            passed: drill.passed,
            began: drill.began.clone(),
            age_seconds: seconds_between(&drill.began, now).and_then(|age| u64::try_from(age).ok()),
            milliseconds: drill.milliseconds,
        }),
    }
}

/// A worker that its master knows, and of which there is no backup.
fn lost(worker: String, master: &str) -> HostStatus {
    HostStatus {
        reasons: vec![Reason {
            code: "no-backup",
            health: Health::Bad,
            words: format!("{master} knows it as a worker, and it has no backup here"),
        }],
        host: worker,
        role: collect::role_name(Role::Worker).to_owned(),
        health: Health::Bad,
        backups: 0,
        newest_good: None,
        newest_good_taken: None,
        would_lose_seconds: None,
        last_drill: None,
    }
}

/// Seconds from then to now; negative for a time to come.
fn seconds_between(then: &str, now: i64) -> Option<i64> {
    let then: Timestamp = then.parse().ok()?;
    Some(now - then.as_second())
}

fn name(health: Health) -> &'static str {
    match health {
        Health::Good => "good",
        Health::Unknown => "unknown",
        Health::Degraded => "degraded",
        Health::Bad => "bad",
    }
}

fn words(status: &Status) -> String {
    let mut out = String::new();
    for host in &status.hosts {
        out += &format!("{:<8} {} ({})\n", name(host.health), host.host, host.role);
        if let (Some(backup), Some(age)) = (&host.newest_good, host.would_lose_seconds) {
            out += &format!(
                "         {backup} is good; the {} since would be lost\n",
                text::age(age)
            );
        }
        if let Some(drill) = &host.last_drill {
            let passed = if drill.passed { "passed" } else { "FAILED" };
            let age = drill.age_seconds.map(text::age);
            let age = age.map(|age| format!(", {age} ago")).unwrap_or_default();
            out += &format!(
                "         drill {passed} at level {} of {} on {}{age}, in {}\n",
                drill.level,
                drill.backup,
                drill.began,
                text::duration(drill.milliseconds)
            );
        }
        for reason in &host.reasons {
            out += &format!("         {}: {}\n", reason.code, reason.words);
        }
    }
    for id in &status.unreadable {
        out += &format!("unknown  {id} can't be read\n");
    }
    if status.hosts.is_empty() && status.unreadable.is_empty() {
        out += &format!("unknown  the store {} holds no backup\n", status.store);
    }
    out
}

/// For Prometheus: times, not ages, so that a store that nobody looks at any more is seen too.
fn metrics(status: &Status) -> String {
    let label = |text: &str| {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        quoted.replace('\n', "\\n")
    };
    let mut out = String::new();
    let mut metric = |name: &str, help: &str, value: &dyn Fn(&HostStatus) -> Option<i64>| {
        out += &format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
        for host in &status.hosts {
            if let Some(value) = value(host) {
                let (host, role) = (label(&host.host), label(&host.role));
                out += &format!("{name}{{host=\"{host}\",role=\"{role}\"}} {value}\n");
            }
        }
    };
    let time = |text: &str| text.parse::<Timestamp>().ok().map(Timestamp::as_second);
    metric(
        "lava_backup_health",
        "How a host stands: 0 good, 1 unknown, 2 degraded, 3 bad.",
        &|host| Some(host.health as i64),
    );
    metric(
        "lava_backup_newest_good_timestamp_seconds",
        "When the newest good backup was made.",
        &|host| time(host.newest_good_taken.as_deref()?),
    );
    metric(
        "lava_backup_last_drill_timestamp_seconds",
        "When the last drill began.",
        &|host| time(&host.last_drill.as_ref()?.began),
    );
    metric(
        "lava_backup_last_drill_passed",
        "Whether the last drill passed.",
        &|host| Some(host.last_drill.as_ref()?.passed.into()),
    );
    out
}

fn write_metrics(path: &Path, text: &str) -> std::io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .prefix(".lava-backup-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(parent.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(std::io::Error::other("what has that name is no file"));
    }
    file.persist(path)?;
    Ok(())
}
