//! What a command does on a host, and what it answers.

use super::HarmKind;
use super::database::Content;
use super::host::{APACHE, GUNICORN, Host, SITES, Whose};
use super::packages::USUAL_PORT;
use crate::Intent;
use crate::command::{Admitted, Call, Server, Verb};
use crate::master::SERVER_FILES;
use crate::release::{Command, Encoding};

/// A command's exit status and standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) exit: u8,
    pub(super) stdout: String,
}

/// How much of its work a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    All,
    Half,
}

impl Answer {
    pub(super) fn exit(exit: u8) -> Self {
        Self {
            exit,
            stdout: String::new(),
        }
    }

    pub(super) fn says(text: impl Into<String>) -> Self {
        Self {
            exit: 0,
            stdout: text.into(),
        }
    }

    fn holds(holds: bool) -> Self {
        Self::exit(u8::from(!holds))
    }
}

impl Extent {
    /// As many of these as are done.
    pub(super) fn of<T>(self, all: &[T]) -> &[T] {
        match self {
            Self::All => all,
            Self::Half => &all[..all.len() / 2],
        }
    }
}

impl Host {
    pub(super) fn run(&mut self, call: &Call<'_>, extent: Extent) -> Answer {
        let is_whole = extent == Extent::All;
        match call {
            Call::Extract { .. } => self.extract(call, extent),
            Call::InstallPackages { packages, .. } => self.install(packages, extent),
            Call::RestoreDatabase { replace_data, .. } => self.load(*replace_data, extent),
            Call::CompareDatabase { .. } => {
                let same = self.database().is_some_and(is_as_dumped);
                Answer::exit(if same { 0 } else { 3 })
            }
            Call::Exists(path) => Answer::holds(self.has(path)),
            Call::Lacks(path) => Answer::holds(!self.has(path)),
            Call::Suite(name) => {
                let base = self.facts.suite.base.as_ref();
                Answer::holds(base.is_some_and(|suite| suite.as_str() == *name))
            }
            Call::Package { format, name } => self.package(format, name),
            Call::Audit => {
                let unclean = self.facts.packages.iter().filter(|p| p.is_unclean());
                let names: Vec<&str> = unclean.map(|p| p.name.as_str()).collect();
                Answer {
                    exit: u8::from(!names.is_empty()),
                    stdout: names.join("\n"),
                }
            }
            Call::CheckDeploy => Answer::holds(self.check_deploy()),
            Call::Interfaces => Answer::says(if self.has_network { "eth0\nlo" } else { "lo" }),
            Call::RememberedJobs | Call::ForgetJobs if !self.is_installed("lava-dispatcher") => {
                Answer::exit(1)
            }
            Call::RememberedJobs => Answer::says(if self.worker.remembers_jobs {
                "/var/lib/lava/dispatcher/worker/db.sqlite3"
            } else {
                ""
            }),
            Call::ForgetJobs if is_whole => {
                // What runs holds it open, and writes it again.
                self.worker.remembers_jobs &= self.runs_worker();
                Answer::exit(0)
            }
            Call::Ask { server, query } => {
                let asked = self.reach(server).and_then(|content| content.ask(query));
                asked.map_or_else(|| Answer::exit(1), Answer::says)
            }
            Call::Change { server, statement } if is_whole => {
                if self.reach(server).is_none() {
                    return Answer::exit(1);
                }
                let content = self.databases.get_mut(server.database);
                Answer::holds(content.is_some_and(|content| content.change(*statement)))
            }
            Call::Units { verb, units } => self.systemctl(*verb, extent.of(units), units),
            Call::ReloadApache if !self.apache.is_running => Answer::exit(1),
            Call::ReloadApache if is_whole => {
                self.reload_apache();
                Answer::exit(0)
            }
            Call::RestartServer if is_whole => {
                self.start_server();
                Answer::exit(0)
            }
            Call::EnableSite | Call::DisableSite(_) | Call::EnableGuard(_) | Call::WriteGuard
                if self.facts.apache.lava_site_enabled.is_none() =>
            {
                Answer::exit(1)
            }
            Call::EnableSite if is_whole => {
                self.facts.apache.lava_site_enabled = Some(true);
                Answer::exit(0)
            }
            Call::DisableSite(site) if is_whole => {
                self.disable_site(site);
                Answer::exit(0)
            }
            Call::WriteGuard if is_whole => {
                self.apache.has_guard = true;
                Answer::exit(0)
            }
            Call::EnableGuard(true) if !self.apache.has_guard => Answer::exit(1),
            Call::EnableGuard(on) if is_whole => {
                self.apache.is_guarded = *on;
                Answer::exit(0)
            }
            Call::Reached(whom) => {
                const GATE: u8 = 7;
                let is_so = self.admits() == *whom;
                Answer::exit(if is_so { 0 } else { GATE })
            }
            Call::Hold { on, packages } => self.hold(*on, extent.of(packages)),
            Call::FailJob(_) | Call::MaintainAll | Call::Maintain(_) => self.manage(call, is_whole),
            Call::ForgetJobs
            | Call::Change { .. }
            | Call::ReloadApache
            | Call::RestartServer
            | Call::EnableSite
            | Call::DisableSite(_)
            | Call::WriteGuard
            | Call::EnableGuard(_)
            | Call::ReadUnits => Answer::exit(0),
        }
    }

    /// Whether a path that gates ask for is there.
    fn has(&self, path: &str) -> bool {
        const GUARD: &str = "/etc/apache2/conf-enabled/lava-backup-workers-only.conf";
        let site = path
            .strip_prefix(SITES)
            .and_then(|file| file.strip_suffix(".conf"));
        match site {
            Some("lava-server") => self.facts.apache.lava_site_enabled == Some(true),
            Some(site) => {
                let sites = self.facts.apache.sites.iter().flatten();
                sites.into_iter().any(|there| there == site)
            }
            None if path == GUARD => self.apache.is_guarded,
            None => self.files.contains(&format!("config{path}")),
        }
    }

    /// The database that psql comes to.
    fn reach(&self, server: &Server<'_>) -> Option<&Content> {
        let clusters = self
            .facts
            .postgresql
            .iter()
            .flat_map(|server| &server.clusters);
        let mut ports = clusters.filter_map(|cluster| cluster.port).peekable();
        let port = server.port.unwrap_or(USUAL_PORT);
        let is_there = ports.peek().is_none() || ports.any(|known| known == port);
        let is_there = is_there && self.server.is_running;
        self.databases.get(server.database).filter(|_| is_there)
    }

    /// `lava-backup database restore`.
    fn load(&mut self, replace_data: bool, extent: Extent) -> Answer {
        const REFUSED: u8 = 3;
        let name = self.settings.database.clone();
        let encoding = self.backup_encoding();
        let Some(loaded) = Content::dumped(self.backup(), &name, encoding) else {
            return Answer::exit(REFUSED);
        };
        if !self.server.is_running {
            return Answer::exit(1);
        }
        if self.database().is_some_and(is_as_dumped) {
            return Answer::exit(0);
        }
        let of = |facts: &crate::Facts| facts.postgresql.as_ref().map(|server| server.major);
        if of(&self.facts) < of(&self.backup().facts) {
            return Answer::exit(REFUSED);
        }
        // That it refuses a database somebody is in is not counted on: who is not in it when it
        // looks may be a moment later.
        let release = self.release();
        let users = self
            .units()
            .filter(|unit| unit.active == Some(true) && release.uses_database(&unit.name));
        let users: Vec<String> = users.map(|unit| unit.name.clone()).collect();
        for unit in users {
            let what = format!("{unit} ran while the database was loaded");
            self.note(HarmKind::WrittenWhileLoaded, what);
        }
        if self.database().is_some_and(Content::is_a_lab) && !replace_data {
            return Answer::exit(REFUSED);
        }
        if extent == Extent::All {
            if let Some(old) = self.databases.insert(name.clone(), loaded) {
                self.databases.insert(format!("{name}_before"), old);
            }
            self.role = Some(self.settings.whose);
        }
        Answer::exit(0)
    }

    fn backup_encoding(&self) -> Encoding {
        let version = self.backup().facts.lava_version();
        let release = version.and_then(|version| crate::release::Release::of(&version));
        release.unwrap_or_else(|| self.release()).encoding
    }

    fn hold(&mut self, on: bool, packages: &[&str]) -> Answer {
        let mut unknown = false;
        for name in packages {
            let mut there = self.facts.packages.iter_mut();
            match there.find(|p| p.name == *name) {
                Some(package) => package.hold = on,
                None => unknown = true,
            }
        }
        Answer::holds(!unknown)
    }

    /// The commands of `lava-server manage` that change something.
    fn manage(&mut self, call: &Call<'_>, is_whole: bool) -> Answer {
        let release = self.release();
        let works = match call {
            Call::FailJob(_) => release.jobs_fail == Command::Works,
            Call::MaintainAll => release.maintenance == Command::Works,
            _ => release.encoding == Encoding::StateAndHealth,
        };
        if !works || !self.is_installed("lava-server") || !self.can_log_in() {
            return Answer::exit(1);
        }
        if !is_whole {
            return Answer::exit(0);
        }
        let reaches_out = self.intent == Intent::Drill && self.has_network;
        let Some(content) = self.database_mut() else {
            return Answer::exit(1);
        };
        let done = match call {
            Call::FailJob(id) => content.end_job(*id),
            Call::Maintain(name) => {
                let known = content.has_device(name);
                content.maintain(|device| device == *name);
                known
            }
            _ => {
                content.maintain(|_| true);
                true
            }
        };
        if reaches_out && matches!(call, Call::FailJob(_)) {
            self.note(HarmKind::ReachedOut, "a drill told people of a job's end");
        }
        Answer::holds(done)
    }

    /// `asked` are the units that were named, `units` those that are seen to.
    fn systemctl(&mut self, verb: Verb, units: &[&str], asked: &[&str]) -> Answer {
        let lines = |say: &dyn Fn(&str) -> &'static str| {
            let lines: Vec<&str> = asked.iter().map(|unit| say(unit)).collect();
            lines.join("\n")
        };
        let enabled = |unit: &str| {
            self.units()
                .any(|u| u.name == unit && u.enabled == Some(true))
        };
        match verb {
            Verb::Running | Verb::IsActive | Verb::Stop | Verb::Start if !self.asks_systemd => {
                Answer::exit(0)
            }
            Verb::Running => {
                let running = asked.iter().filter(|unit| self.is_active(unit));
                Answer::says(running.copied().collect::<Vec<_>>().join("\n"))
            }
            Verb::IsActive => Answer {
                exit: if asked.iter().any(|unit| self.is_active(unit)) {
                    0
                } else {
                    3
                },
                stdout: lines(&|unit| match self.is_active(unit) {
                    true => "active",
                    false => "inactive",
                }),
            },
            Verb::IsEnabled => Answer {
                exit: u8::from(
                    !asked
                        .iter()
                        .any(|u| enabled(u) && !self.masked.contains(*u)),
                ),
                stdout: lines(&|unit| match () {
                    () if self.masked.contains(unit) => "masked",
                    () if enabled(unit) => "enabled",
                    () => "disabled",
                }),
            },
            Verb::Errors => Answer::exit(0),
            Verb::Stop => {
                let mut all_known = true;
                for name in units {
                    match self.unit_mut(name) {
                        Some(unit) => unit.active = Some(false),
                        None => all_known &= is_instance(name),
                    }
                }
                Answer::exit(if all_known { 0 } else { 5 })
            }
            Verb::Mask => {
                self.masked
                    .extend(units.iter().map(|unit| (*unit).to_owned()));
                Answer::exit(0)
            }
            Verb::Unmask => {
                for unit in units {
                    self.masked.remove(*unit);
                }
                Answer::exit(0)
            }
            Verb::Start => {
                let started = units.iter().filter(|unit| self.start(unit)).count();
                Answer::holds(started == units.len())
            }
        }
    }

    /// Whether systemd could start it; it may fall right after.
    pub(super) fn start(&mut self, name: &str) -> bool {
        if self.masked.contains(name) {
            return false;
        }
        let falls =
            self.broken.contains(name) || self.release().uses_database(name) && !self.can_log_in();
        if name == APACHE {
            let was_down = !std::mem::replace(&mut self.apache.is_running, !falls);
            if was_down {
                self.reload_apache();
            }
            return !falls;
        }
        if is_instance(name) {
            self.add_unit(name, false);
        }
        let Some(unit) = self.unit_mut(name) else {
            return false;
        };
        unit.active = Some(!falls);
        true
    }

    pub(super) fn fall(&mut self, name: &str) {
        self.broken.insert(name.to_owned());
        if name == APACHE {
            self.apache.is_running = false;
        } else if let Some(unit) = self.unit_mut(name)
            && unit.active == Some(true)
        {
            unit.active = Some(false);
        }
    }

    pub(super) fn reboot(&mut self) {
        self.facts.hostname.clone_from(&self.next_name);
        self.apache.is_running =
            self.facts.apache.lava_site_enabled.is_some() && !self.broken.contains(APACHE);
        self.reload_apache();
        self.start_server();
        let all: Vec<(String, bool)> = self
            .units()
            .map(|unit| (unit.name.clone(), unit.enabled == Some(true)))
            .collect();
        for (name, enabled) in all {
            if let Some(unit) = self.unit_mut(&name) {
                unit.active = Some(false);
            }
            if enabled {
                self.start(&name);
            }
        }
    }

    fn disable_site(&mut self, site: &str) {
        if site == "lava-server" {
            self.facts.apache.lava_site_enabled = Some(false);
        } else if let Some(sites) = &mut self.facts.apache.sites {
            sites.retain(|there| there != site);
        }
    }

    /// PostgreSQL starts, if it can with the configuration that it finds.
    fn start_server(&mut self) {
        self.server.is_running = self.server_can_start();
    }

    pub(super) fn server_can_start(&self) -> bool {
        let mut files = self.files.iter();
        self.server.suits || !files.any(|member| member.starts_with(SERVER_FILES))
    }

    /// What apache serves is what it read last. A site that is not the backup's stands in front of
    /// LAVA; one that is may serve LAVA too.
    pub(super) fn reload_apache(&mut self) {
        let sites = self.facts.apache.sites.iter().flatten();
        let (theirs, others): (Vec<_>, Vec<_>) =
            sites.partition(|site| self.files.contains(&format!("config{SITES}{site}.conf")));
        let usual = self.facts.apache.lava_site_enabled == Some(true) && others.is_empty();
        self.apache.serves = match () {
            () if !usual && theirs.is_empty() => Admitted::Nobody,
            () if self.apache.is_guarded => Admitted::Workers,
            () => Admitted::All,
        };
    }

    /// Who reaches LAVA now.
    pub(super) fn admits(&self) -> Admitted {
        let is_up = self.apache.is_running && self.is_active(GUNICORN);
        if is_up {
            self.apache.serves
        } else {
            Admitted::Nobody
        }
    }
}

/// systemd makes such a unit of its template.
fn is_instance(unit: &str) -> bool {
    unit.contains('@')
}

fn is_as_dumped(content: &Content) -> bool {
    content.whose == Whose::Backup && content.as_dumped
}
