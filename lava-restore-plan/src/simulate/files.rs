//! The files of a backup on a host.

use super::host::{Host, SITES, Whose};
use super::shell::{Answer, Extent};
use crate::command::Call;
use crate::facts::DatabaseState;
use crate::rule::WORKER_TOKEN;
use crate::{Intent, draft, master};

const SITE_LINK: &str = "config/etc/apache2/sites-enabled/lava-server.conf";
const HOST_NAME: &str = "config/etc/hostname";
const WORKER_CONFIG: [&str; 2] = [
    "config/etc/lava-dispatcher/lava-slave",
    "config/etc/lava-dispatcher/lava-worker",
];
const CERTIFICATES: &str = "config/etc/lava-dispatcher/certificates.d";

impl Host {
    /// What of the backup these paths name: each path that it is known to hold, and each section
    /// for all else in it.
    pub(super) fn members(&self, paths: &[&str], exclude: &[&str]) -> Vec<String> {
        let backup = self.backup();
        let is_in = |member: &str, paths: &[&str]| {
            paths.iter().any(|path| draft::is_at_or_below(member, path))
        };
        let all = backup.sections.iter().chain(&backup.paths);
        let chosen = all.filter(|member| is_in(member, paths) && !is_in(member, exclude));
        chosen.cloned().collect()
    }

    pub(super) fn extract(&mut self, call: &Call<'_>, extent: Extent) -> Answer {
        let Call::Extract {
            paths,
            exclude,
            check,
            ..
        } = call
        else {
            return Answer::exit(2);
        };
        let members = self.members(paths, exclude);
        if *check {
            let differs = members.iter().any(|member| !self.files.contains(member));
            return Answer::exit(if differs { 3 } else { 0 });
        }
        let members = extent.of(&members).to_vec();
        for member in members {
            self.bring(&member);
            self.files.insert(member);
        }
        Answer::exit(0)
    }

    fn bring(&mut self, member: &str) {
        if member == SITE_LINK {
            self.facts.apache.lava_site_enabled = Some(true);
        }
        let site = member
            .strip_prefix("config")
            .and_then(|path| path.strip_prefix(SITES));
        if let Some(site) = site.and_then(|file| file.strip_suffix(".conf"))
            && member != SITE_LINK
        {
            let sites = self.facts.apache.sites.get_or_insert_default();
            sites.push(site.to_owned());
        }
        if member == HOST_NAME {
            self.next_name = self.backup().facts.hostname.clone();
        }
        if master::is_setting(member) {
            self.settings.whose = Whose::Backup;
            let of_facts = match &self.backup().facts.database {
                DatabaseState::Present(database) => Some(database.name.clone()),
                _ => None,
            };
            let dumped = self
                .backup()
                .database
                .as_ref()
                .map(|dump| dump.name.clone());
            if let Some(name) = dumped.or(of_facts) {
                self.settings.database = name;
            }
        }
        if WORKER_CONFIG.contains(&member) {
            self.take_worker_config();
        }
        if member == "config" && self.is_master() {
            self.take_enablement();
        }
        if self.is_worker_secret(member) {
            self.worker.secret_of = self.wanted_worker_name().map(str::to_owned);
        }
    }

    /// Whether a member is what the backup's worker proves with who it is.
    pub(super) fn is_worker_secret(&self, member: &str) -> bool {
        match self.release().gunicorn_serves_workers {
            true => member == WORKER_TOKEN,
            false => member.starts_with(CERTIFICATES) || WORKER_CONFIG.contains(&member),
        }
    }

    /// Which units start at boot is configuration of a master's: links below
    /// `/etc/systemd/system`.
    fn take_enablement(&mut self) {
        let then = self.backup().facts.units.clone();
        for unit in then.into_iter().flatten() {
            if let Some(there) = self.unit_mut(&unit.name) {
                there.enabled = unit.enabled.or(there.enabled);
            }
        }
    }

    /// The members that have to be in place when all is done.
    pub(super) fn wanted_members(&self) -> Vec<String> {
        let sections: &[&str] = match self.intent {
            Intent::Grow => &["config"],
            _ => &["config", "data", "logs"],
        };
        let mut members = self.members(sections, &[]);
        let is_another = self.was().hostname != self.backup().facts.hostname;
        let major = |facts: &crate::Facts| facts.postgresql.as_ref().map(|server| server.major);
        let other_major = major(&self.facts) != major(&self.backup().facts);
        members.retain(|member| {
            let own = member == SITE_LINK
                || is_another && draft::is_identity(member)
                || self.is_master() && other_major && member.starts_with(master::SERVER_FILES)
                || self.intent == Intent::Grow && self.belongs_to_one_host(member);
            !own
        });
        members
    }

    /// Whether a new host must not have this of another one's.
    pub(super) fn belongs_to_one_host(&self, member: &str) -> bool {
        let of_worker = member == WORKER_TOKEN
            || member.starts_with(CERTIFICATES)
            || WORKER_CONFIG.contains(&member);
        of_worker
            || self.is_master()
                && (master::is_own_setting(member) || member.starts_with(master::SERVER_FILES))
    }
}
