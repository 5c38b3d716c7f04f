//! What a restored lab is.

use super::Lab;
use super::host::{Host, Whose};
use crate::command::Admitted;
use crate::draft::names;
use crate::facts::{Facts, Package};
use crate::{Intent, LavaVersion, rule};

impl Lab {
    /// What lacks of the lab that its backups are of, each in a few words; nothing when the restore
    /// has reached its end.
    #[must_use]
    pub fn lacks(&self) -> Vec<String> {
        let mut lacking = self.lacks_before_users();
        for host in &self.hosts {
            let lacks = host.lacks_in_the_end();
            lacking.extend(
                lacks
                    .into_iter()
                    .map(|what| format!("{what} on {}", host.id())),
            );
        }
        lacking
    }

    /// What lacks before users may come in.
    pub(super) fn lacks_before_users(&self) -> Vec<String> {
        let mut lacking = Vec::new();
        for host in &self.hosts {
            let mut lacks = host.lacks_before_users();
            if host.is_master() {
                lacks.extend(host.lacks_of_master(self.next_job_id));
            }
            if host.is_master() && !self.has_decided_to_open(host) {
                lacks.push("the decision to open it".to_owned());
            }
            if self.must_be_online(host) && !self.takes(host) {
                lacks.push("its worker online".to_owned());
            }
            lacking.extend(
                lacks
                    .into_iter()
                    .map(|what| format!("{what} on {}", host.id())),
            );
        }
        lacking
    }

    /// Whether whoever looked at the restored lab lets users in; in a drill nobody does either.
    fn has_decided_to_open(&self, master: &Host) -> bool {
        let step = format!("{}.{}", master.id(), names::OPEN);
        self.intent == Intent::Drill || master.decided.contains(&step)
    }

    fn must_be_online(&self, host: &Host) -> bool {
        let name = host.wanted_worker_name();
        match self.intent {
            Intent::Drill if !host.is_master() || !host.can_be_online_alone() => false,
            _ if !host.is_master() => true,
            Intent::Grow => false,
            // A master may have a worker of its own, which its database then knows.
            _ => {
                let dump = host.backup().database.as_ref();
                let known = dump.and_then(|dump| dump.workers.as_ref());
                let is_known = known
                    .is_some_and(|names| names.iter().any(|known| Some(known.as_str()) == name));
                let unit = host.release().worker_unit;
                is_known && host.ran_before(unit)
            }
        }
    }
}

impl Host {
    /// Whether a worker is taken with nobody there to settle its name and its secret.
    fn can_be_online_alone(&self) -> bool {
        let mut held = self.backup().paths.iter();
        let has_name = self.worker_name() == self.wanted_worker_name();
        has_name && held.any(|member| self.is_worker_secret(member))
    }

    /// Whether a unit ran on the backup's host.
    fn ran_before(&self, unit: &str) -> bool {
        let mut units = self.backup().facts.units.iter().flatten();
        units.any(|known| {
            known.name == unit && (known.enabled == Some(true) || known.active == Some(true))
        })
    }

    fn lacks_before_users(&self) -> Vec<String> {
        let mut lacking = Vec::new();
        let (now, backup) = (&self.facts, self.backup());
        if now.suite.base != backup.facts.suite.base {
            lacking.push("the backup's suite".to_owned());
        }
        for wanted in rule::critical_packages(&backup.facts, self.planned.role) {
            let there = now.package(&wanted.name).filter(|p| p.is_installed());
            if !is_equal(wanted, there, now, &backup.facts) {
                lacking.push(format!("{} {}", wanted.name, wanted.version));
            }
        }
        for package in now.packages.iter().filter(|p| p.is_unclean()) {
            lacking.push(format!("the end of what was begun with {}", package.name));
        }
        let files = self.wanted_members();
        for member in files.iter().filter(|member| !self.files.contains(*member)) {
            lacking.push(member.clone());
        }
        if self.next_name != self.was().hostname {
            lacking.push("the target's own name".to_owned());
        }
        if self.intent == Intent::Grow {
            let mut files = self.files.iter();
            if let Some(other) = files.find(|member| self.belongs_to_one_host(member)) {
                lacking.push(format!("its own {other}"));
            }
        }
        let release = self.release();
        for unit in backup.facts.units.iter().flatten() {
            let is_there = self.units().any(|known| known.name == unit.name);
            if release.stops(&unit.name)
                && is_there
                && self.ran_before(&unit.name)
                && !self.is_active(&unit.name)
            {
                lacking.push(format!("{} running", unit.name));
            }
        }
        if self.is_installed("lava-dispatcher") && self.worker.remembers_jobs {
            lacking.push("a worker without jobs of another time".to_owned());
        }
        lacking
    }

    fn lacks_of_master(&self, next_job_id: Option<u64>) -> Vec<String> {
        let mut lacking = Vec::new();
        let grows = self.intent == Intent::Grow;
        let wanted = if grows { Whose::Target } else { Whose::Backup };
        let Some(content) = self.database().filter(|content| content.whose == wanted) else {
            return vec!["the database".to_owned()];
        };
        if !self.server_can_start() {
            lacking.push("a server that starts again".to_owned());
        }
        if !content.fits(self.facts.migrations_shipped.as_deref().unwrap_or_default()) {
            lacking.push("the code that the database belongs to".to_owned());
        }
        lacking.extend(
            content
                .awake()
                .map(|device| format!("{device} in maintenance")),
        );
        lacking.extend(content.active().map(|job| format!("an end of job {job}")));
        if grows && content.is_a_lab() {
            lacking.push("a database of its own".to_owned());
        }
        if !grows && next_job_id.is_some_and(|id| content.next_job_id < id) {
            lacking.push("the next job's id".to_owned());
        }
        if !self.can_log_in() {
            lacking.push("the password of the database".to_owned());
        }
        lacking
    }

    /// What may come after users do.
    fn lacks_in_the_end(&self) -> Vec<String> {
        let mut lacking = Vec::new();
        let is_open = self.apache.is_running && self.apache.serves == Admitted::All;
        if self.is_master() && !is_open {
            lacking.push("the way in for users".to_owned());
        }
        if self.apache.is_guarded {
            lacking.push("the way in for more than workers".to_owned());
        }
        for wanted in rule::critical_packages(&self.backup().facts, self.planned.role) {
            if self
                .facts
                .package(&wanted.name)
                .is_some_and(|there| there.hold != wanted.hold)
            {
                lacking.push(format!("the hold of {} as it was", wanted.name));
            }
        }
        for unit in self.was().timers.iter().flatten() {
            if unit.active.or(unit.enabled) == Some(true) && !self.is_active(&unit.name) {
                lacking.push(format!("{} running", unit.name));
            }
        }
        for unit in self.units().filter(|unit| self.masked.contains(&unit.name)) {
            lacking.push(format!("leave to start {}", unit.name));
        }
        lacking
    }
}

/// Whether a package is what the database and the host's code need it to be.
fn is_equal(wanted: &Package, there: Option<&Package>, now: &Facts, then: &Facts) -> bool {
    let Some(there) = there else {
        let major = |facts: &Facts| facts.postgresql.as_ref().map(|server| server.major);
        return wanted.name.starts_with("postgresql") && major(now) > major(then);
    };
    let release = |package: &Package| LavaVersion::of(&package.version).ok();
    match () {
        () if there.version == wanted.version => true,
        () if rule::is_lava(&wanted.name) => release(there) == release(wanted),
        () if wanted.name.starts_with("postgresql") => true,
        () => there.version.upstream() == wanted.version.upstream(),
    }
}
