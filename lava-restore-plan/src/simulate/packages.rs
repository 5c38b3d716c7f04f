//! What dpkg and apt do on a host.

use super::HarmKind;
use super::database::Content;
use super::host::{Host, Whose};
use super::shell::{Answer, Extent};
use crate::facts::{Package, Role, ShippedMigration, Unit};
use crate::rule;

/// Newer than every release that there is.
const NEWER: &str = "2099.12-1";
/// Of the cluster that Debian makes with a server.
pub(super) const USUAL_PORT: u16 = 5432;

impl Host {
    /// `lava-backup packages install`.
    pub(super) fn install(&mut self, names: &[&str], extent: Extent) -> Answer {
        const REFUSED: u8 = 3;
        if self.database().is_some_and(Content::is_a_lab) {
            return Answer::exit(REFUSED);
        }
        let backup = self.backup();
        if names.is_empty() && backup.debs.is_none() {
            return Answer::exit(REFUSED);
        }
        let installed = backup.facts.packages.iter().filter(|p| p.is_installed());
        let asked = |p: &&Package| match names.is_empty() {
            true => rule::has_deb(self.backup(), self.planned.role, &p.name),
            false => names.contains(&p.name.as_str()),
        };
        let mut packages: Vec<Package> = installed.filter(asked).cloned().collect();
        if names
            .iter()
            .any(|name| !packages.iter().any(|p| p.name == *name))
        {
            return Answer::exit(REFUSED);
        }
        let is_closed = backup
            .debs
            .as_ref()
            .is_some_and(|debs| debs.closed == Some(true));
        let held = |p: &Package| rule::has_deb(self.backup(), self.planned.role, &p.name);
        let is_alone = is_closed && packages.iter().all(held);
        if !is_alone && !self.has_mirror {
            return Answer::exit(1);
        }
        let is_new = |p: &Package| {
            !self.facts.packages.iter().any(|there| {
                there.name == p.name && there.is_installed() && there.version == p.version
            })
        };
        let on_hold = |p: &Package| self.facts.package(&p.name).is_some_and(|there| there.hold);
        if packages.iter().any(|p| is_new(p) && on_hold(p)) {
            return Answer::exit(1);
        }
        // What it needs is configured before it.
        packages.sort_by_key(|package| package.name == "lava-server");
        packages.retain(is_new);
        let done = extent.of(&packages).len();
        let configures = packages[..done].iter().any(|p| p.name == "lava-server");
        for package in &packages[..done] {
            self.put(package, "installed");
        }
        if extent == Extent::Half
            && let Some(begun) = packages.get(done)
        {
            self.put(begun, "half-configured");
        }
        if configures {
            self.configure();
        }
        Answer::exit(0)
    }

    fn put(&mut self, package: &Package, state: &str) {
        let hold = self
            .facts
            .package(&package.name)
            .is_some_and(|there| there.hold);
        self.facts
            .packages
            .retain(|there| there.name != package.name);
        self.facts.packages.push(Package {
            state: state.to_owned(),
            hold,
            ..package.clone()
        });
        if state != "installed" {
            return;
        }
        if rule::is_lava(&package.name) {
            self.facts.lava = None;
        }
        self.ship_migrations(&package.name);
        match package.name.as_str() {
            "lava-server" => {
                if self.facts.apache.lava_site_enabled.is_none() {
                    // apache comes along, and with it a site of its own.
                    self.facts.apache.lava_site_enabled = Some(false);
                    self.facts.apache.sites = Some(vec!["000-default".to_owned()]);
                    self.apache.is_running = true;
                }
                if self.facts.postgresql.is_none() {
                    self.facts.postgresql = self.backup().facts.postgresql.clone();
                    let server = self.facts.postgresql.iter_mut();
                    for cluster in server.flat_map(|server| &mut server.clusters) {
                        cluster.port = Some(USUAL_PORT);
                    }
                }
            }
            "lava-dispatcher" => {
                self.add_unit(self.release().worker_unit, true);
                self.start(self.release().worker_unit);
            }
            _ => {}
        }
    }

    /// The files of a package of the backup's take the place of those that were there.
    fn ship_migrations(&mut self, package: &str) {
        let of_package = |app: &str| rule::ships_migrations_of(package, app);
        let theirs = self.backup().facts.migrations_shipped.clone();
        let theirs = theirs.into_iter().flatten();
        let theirs: Vec<_> = theirs.filter(|file| of_package(&file.app)).collect();
        let shipped = self.facts.migrations_shipped.get_or_insert_default();
        shipped.retain(|file| !of_package(&file.app));
        shipped.extend(theirs);
    }

    pub(super) fn add_unit(&mut self, name: &str, enabled: bool) {
        let units = self.facts.units.get_or_insert_default();
        if !units.iter().any(|unit| unit.name == name) {
            units.push(Unit {
                name: name.to_owned(),
                active: Some(false),
                enabled: Some(enabled),
            });
        }
    }

    /// lava-server's maintainer script and what debhelper does after it.
    fn configure(&mut self) {
        let release = self.release();
        let shipped = self.facts.migrations_shipped.clone().unwrap_or_default();
        let dump = self.backup().database.as_ref();
        let like = dump
            .and_then(|dump| dump.migrations.clone())
            .unwrap_or_default();
        let name = self.settings.database.clone();
        if self
            .database()
            .is_some_and(|content| content.whose == Whose::Backup)
        {
            self.note(
                HarmKind::Migrated,
                "lava-server was configured with the restored database",
            );
        }
        match self.database_mut() {
            Some(content) => content.migrate(&shipped, release.encoding),
            None => {
                let content = Content::installed(&name, release.encoding, &shipped, &like);
                self.databases.insert(name, content);
            }
        }
        self.role.get_or_insert(self.settings.whose);
        for unit in release.master_units {
            self.add_unit(unit, true);
        }
        for unit in release.optional_units {
            self.add_unit(unit, false);
        }
        self.facts.apache.lava_site_enabled = Some(true);
        self.reload_apache();
        for unit in release.master_units {
            self.start(unit);
        }
    }

    /// LAVA's packages become newer, but for those on hold.
    pub(super) fn upgrade(&mut self) {
        let Ok(newer) = NEWER.parse::<crate::PackageVersion>() else {
            return;
        };
        let moves = |p: &Package| p.is_installed() && rule::is_lava(&p.name) && !p.hold;
        let names: Vec<String> = self
            .facts
            .packages
            .iter()
            .filter(|p| moves(p))
            .map(|p| p.name.clone())
            .collect();
        for package in &mut self.facts.packages {
            if names.contains(&package.name) {
                package.version = newer.clone();
                self.facts.lava = None;
            }
        }
        if names.iter().any(|name| name == "lava-server") {
            self.facts
                .migrations_shipped
                .get_or_insert_default()
                .push(ShippedMigration {
                    app: "lava_scheduler_app".to_owned(),
                    name: "9999_newer".to_owned(),
                    replaces: vec![],
                });
            self.configure();
        }
        if names.iter().any(|name| name == "lava-dispatcher") {
            self.start(self.release().worker_unit);
        }
    }

    /// The state of a package, in the words of a format.
    pub(super) fn package(&self, format: &str, name: &str) -> Answer {
        let Some(package) = self.facts.package(name) else {
            return Answer::exit(1);
        };
        let broken = package.state == "reinst-required";
        let values = [
            if package.hold { "hold" } else { "install" },
            if broken { "reinstreq" } else { "ok" },
            &package.state,
            package.version.as_str(),
        ];
        let fields = crate::command::FIELDS.iter().zip(values);
        Answer::says(fields.fold(format.to_owned(), |text, (field, value)| {
            text.replace(field, value)
        }))
    }

    /// What `lava-server manage check --deploy` looks at.
    pub(super) fn check_deploy(&self) -> bool {
        let ours = self
            .facts
            .packages
            .iter()
            .filter(|p| rule::is_lava(&p.name));
        let sound = ours.clone().all(|p| !p.is_unclean() && !p.hold);
        let release = self.release();
        let up = release.master_units.iter().all(|unit| self.is_active(unit));
        let has_files = !release
            .device_config
            .iter()
            .any(|path| path.ends_with("/devices"))
            || self.files.contains("config");
        let described = self.database().is_some_and(|content| {
            content.whose == Whose::Target || !content.has_devices_in_use() || has_files
        });
        self.is_installed(Role::Master.package())
            && sound
            && up
            && self.apache.is_running
            && self.can_log_in()
            && described
    }
}
