//! What a lab does by itself.

use super::host::{Host, Whose};
use super::{Event, Harm, HarmKind, Lab, Moment};
use crate::Intent;
use crate::command::Admitted;

impl Lab {
    /// Lets everything that runs do what it does, and keeps what may not happen.
    pub(super) fn live(&mut self) {
        let mut seen = Vec::new();
        for host in &mut self.hosts {
            let noted = std::mem::take(&mut host.noted);
            // Once it is open, an upgrade is its admins' decision again.
            let counts =
                |(kind, _): &(HarmKind, String)| !(self.is_open && *kind == HarmKind::Migrated);
            let noted = noted.into_iter().filter(counts);
            seen.extend(noted.map(|(kind, what)| (host.id().to_owned(), kind, what)));
        }
        let mut opened = false;
        for host in self.hosts.iter().filter(|host| host.is_master()) {
            let found = services(host);
            seen.extend(
                found
                    .into_iter()
                    .map(|(kind, what)| (host.id().to_owned(), kind, what)),
            );
            let begun = !host.files.is_empty()
                || host
                    .database()
                    .is_some_and(|content| content.whose == Whose::Backup);
            if begun && !self.is_open && host.admits() == Admitted::All {
                let lacking = self.lacks_before_users();
                if lacking.is_empty() {
                    opened = true;
                } else {
                    let what = format!("users came in; lacking is: {}", lacking.join("; "));
                    seen.push((host.id().to_owned(), HarmKind::OpenedEarly, what));
                }
            }
        }
        self.is_open |= opened;
        for (host, kind, what) in seen {
            let is_known = |harm: &Harm| {
                harm.kind == kind
                    && harm.host == host
                    && (harm.what == what || kind == HarmKind::OpenedEarly)
            };
            if !self.harms.iter().any(is_known) {
                let at: Moment = self.now.clone();
                self.harms.push(Harm {
                    host,
                    kind,
                    at,
                    what,
                });
            }
        }
    }

    pub(super) fn befall(&mut self, event: &Event) {
        let (Event::Reboot { host }
        | Event::Timer { host }
        | Event::Upgrade { host }
        | Event::Start { host, .. }
        | Event::Fall { host, .. }
        | Event::Suite { host, .. }
        | Event::Chroot { host }
        | Event::HalfDone { host, .. }
        | Event::OtherServer { host }
        | Event::OtherSecret { host }) = event
        else {
            return;
        };
        let Some(host) = self.host_mut(host) else {
            return;
        };
        match event {
            Event::Reboot { .. } => host.reboot(),
            Event::Timer { .. } => {
                let mut timers = host.facts.timers.iter().flatten();
                if timers.any(|timer| timer.active == Some(true)) {
                    host.upgrade();
                }
            }
            Event::Upgrade { .. } => host.upgrade(),
            Event::Start { unit, .. } => {
                host.start(unit);
            }
            Event::Fall { unit, .. } => host.fall(unit),
            Event::Suite { suite, .. } => host.facts.suite.base = Some(suite.clone()),
            Event::Chroot { .. } => host.asks_systemd = false,
            Event::HalfDone { package, .. } => {
                let mut packages = host.facts.packages.iter_mut();
                if let Some(package) = packages.find(|p| p.name == *package) {
                    package.state = "half-configured".to_owned();
                }
            }
            Event::OtherServer { .. } => host.server.suits = false,
            Event::OtherSecret { .. } => host.worker.secret_of = None,
            _ => {}
        }
    }

    /// Whether a master has taken a worker of this name.
    pub(super) fn is_online(&self, name: &str) -> bool {
        let mut workers = self
            .hosts
            .iter()
            .filter(|host| host.worker_name() == Some(name));
        let database = self.master().and_then(Host::database);
        workers.any(|worker| self.takes(worker))
            || database.is_some_and(|content| content.calls_online(name))
    }

    /// Whether a host's worker runs and its master, in this lab or elsewhere, takes it.
    pub(super) fn takes(&self, worker: &Host) -> bool {
        let Some(name) = worker.worker_name() else {
            return false;
        };
        let runs = worker.runs_worker();
        let has_secret = worker.worker.secret_of.as_deref() == Some(name);
        let release = |facts: &crate::Facts| facts.lava_version();
        let answered = match self.master() {
            // Elsewhere a master that runs the release of the worker's backup knows its name.
            None => {
                Some(name) == worker.wanted_worker_name()
                    && release(&worker.facts) == release(&worker.backup().facts)
            }
            Some(master) => {
                let reached = match master.release().gunicorn_serves_workers {
                    true => master.admits() >= Admitted::Workers,
                    false => master.is_active("lava-master.service"),
                };
                let knows = master.database().is_some_and(|content| {
                    let known = content.rows.worker_names.as_ref();
                    known.is_none_or(|names| names.iter().any(|known| known == name))
                });
                reached && knows && release(&worker.facts) == release(&master.facts)
            }
        };
        let is_connected =
            worker.has_network || self.master().is_some_and(|m| m.id() == worker.id());
        runs && has_secret && answered && is_connected
    }
}

/// What a master's services do with the backup's database.
fn services(host: &Host) -> Vec<(HarmKind, String)> {
    let Some(content) = host
        .database()
        .filter(|content| content.whose == Whose::Backup)
    else {
        return vec![];
    };
    let release = host.release();
    let shipped = host.facts.migrations_shipped.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    let active = host.units().filter(|unit| unit.active == Some(true));
    for unit in active.map(|unit| unit.name.as_str()) {
        if release.uses_database(unit) && !content.fits(shipped) {
            let what = format!("{unit} ran on the restored database with other migrations");
            found.push((HarmKind::OtherCode, what));
        }
        if release.schedules(unit)
            && let Some(device) = content.awake().next()
        {
            let what = format!("{unit} ran while the device {device} takes jobs");
            found.push((HarmKind::HardwareDriven, what));
        }
        if release.hands_out_jobs(unit)
            && let Some(job) = content.active().next()
        {
            let what = format!("{unit} ran while job {job} is on");
            found.push((HarmKind::HardwareDriven, what));
        }
        if host.intent == Intent::Drill && host.has_network && release.uses_database(unit) {
            let what = format!("{unit} ran in a drill that is connected");
            found.push((HarmKind::ReachedOut, what));
        }
    }
    found
}
