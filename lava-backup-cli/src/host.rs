//! The host at hand: a running one, or the root of one that is not.

use std::path::Path;
use std::process::{Command, Stdio};

use lava_backup_core::{Owners, Root};
use lava_backup_debian as debian;
use lava_backup_pg::{Address, OsUser};
use lava_restore_plan::facts::{Cluster, Role, Unit, WorkerFacts};
use lava_restore_plan::release::Release;

use crate::exit::{CouldNot, Exit, Failure};
use crate::settings::LavaSettings;

/// A host, and what its files say of it.
pub(crate) struct Host {
    /// Its files.
    pub(crate) root: Root,
    /// Its packages' database.
    pub(crate) debian: debian::Root,
    /// Its packages, of any state.
    pub(crate) packages: Vec<debian::PackageState>,
    /// LAVA's settings.
    pub(crate) settings: LavaSettings,
}

fn full_name_in(hosts: &str, name: &str) -> Option<String> {
    let lines = hosts
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let mut names = lines.map(|line| line.split_whitespace().skip(1));
    let names: Vec<&str> = names
        .find(|names| names.clone().any(|known| known == name))?
        .collect();
    let full = names.iter().find(|known| known.contains('.'));
    full.or(names.first()).map(|full| (*full).to_owned())
}

/// What a worker's options say, before and since 2020.09.
fn worker_of(text: &str) -> WorkerFacts {
    let option = |names: [&str; 2]| {
        let lines = text.lines().filter_map(|line| line.trim().split_once('='));
        let mut ours = lines.filter(|(name, _)| names.contains(&name.trim_end()));
        let (_, value) = ours.next_back()?;
        let value = value.trim().trim_matches(['"', '\'']);
        // Some hold the option's name too, as `--name`.
        let value = value.rsplit([' ', '=']).next().unwrap_or_default();
        (!value.is_empty()).then(|| value.to_owned())
    };
    let server = option(["URL", "MASTER_URL"]);
    WorkerFacts {
        name: option(["WORKER_NAME", "HOSTNAME"]),
        // Nobody's password is a fact.
        configured: false,
        server: server.map(|url| match (url.split_once("://"), url.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
            _ => url,
        }),
    }
}

impl Host {
    /// Reads the host below a root; no program of it is run.
    ///
    /// # Errors
    /// If there is no Debian, or its state can't be read.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let root = Root::open(path).could_not(format!("open the root {shown}"))?;
        let debian = debian::Root::open(path).could_not(format!("read the packages of {shown}"))?;
        let packages =
            debian::read_status(&debian).could_not(format!("read the packages of {shown}"))?;
        let settings = LavaSettings::read(&root)?;
        Ok(Self {
            root,
            debian,
            packages,
            settings,
        })
    }

    /// Is it the one that we run on?
    pub(crate) fn is_live(&self) -> bool {
        self.debian.is_live()
    }

    /// What it does in its lab, by the packages that are installed.
    pub(crate) fn role(&self) -> Role {
        if self.has("lava-server") {
            Role::Master
        } else if self.has("lava-dispatcher") {
            Role::Worker
        } else {
            Role::Unknown
        }
    }

    /// Is a package of that name installed?
    pub(crate) fn has(&self, package: &str) -> bool {
        self.packages
            .iter()
            .any(|p| p.name == package && p.is_installed())
    }

    /// LAVA's own version, from the file that LAVA compares, or the package.
    pub(crate) fn lava_version(&self) -> Option<String> {
        let path = "/usr/lib/python3/dist-packages/lava_common/VERSION";
        if let Ok(text) = self.root.read(Path::new(path), 4096) {
            return Some(String::from_utf8_lossy(&text).trim().to_owned());
        }
        let version = self.lava_package()?.version.as_ref()?;
        debian::LavaVersion::of(version).ok().map(|v| v.to_string())
    }

    /// The package that brings LAVA: the server's, or the dispatcher's.
    pub(crate) fn lava_package(&self) -> Option<&debian::PackageState> {
        let installed = |name: &str| {
            self.packages
                .iter()
                .find(|p| p.name == name && p.is_installed())
        };
        installed("lava-server").or_else(|| installed("lava-dispatcher"))
    }

    /// The row of its LAVA release.
    pub(crate) fn release(&self) -> Option<&'static Release> {
        let version = self.lava_version()?.parse().ok()?;
        Release::of(&version)
    }

    /// Its name.
    pub(crate) fn name(&self) -> String {
        if self.is_live() {
            return rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned();
        }
        let text = self.root.read(Path::new("/etc/hostname"), 4096);
        let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
        match text.trim() {
            "" => "unnamed".to_owned(),
            name => name.to_owned(),
        }
    }

    /// How its worker is set up to reach a master.
    pub(crate) fn worker(&self) -> Option<WorkerFacts> {
        self.has("lava-dispatcher").then(|| {
            let read = |path: &str| {
                let text = self.root.read(Path::new(path), 1 << 20).unwrap_or_default();
                String::from_utf8_lossy(&text).into_owned()
            };
            // systemd reads them in this order; the last word counts.
            let unit = self
                .release()
                .map_or("lava-worker.service", |r| r.worker_unit);
            let unit = unit.trim_end_matches(".service");
            let text = ["/etc/default/", "/etc/lava-dispatcher/"]
                .map(|directory| read(&format!("{directory}{unit}")))
                .concat();
            let mut worker = worker_of(&text);
            worker.configured = worker.name.is_some();
            worker.name = worker.name.or_else(|| Some(self.full_name()));
            worker
        })
    }

    /// Its full name, as LAVA asks for it: of the names that `/etc/hosts` gives it the first with a
    /// dot, or the first; where that file does not know it and the host runs, what it says itself.
    fn full_name(&self) -> String {
        let name = self.name();
        let hosts = self.root.read(Path::new("/etc/hosts"), 1 << 20);
        let hosts = String::from_utf8_lossy(&hosts.unwrap_or_default()).into_owned();
        if let Some(full) = full_name_in(&hosts, &name) {
            return full;
        }
        let asked = self
            .is_live()
            .then(|| Command::new("hostname").arg("--fqdn").output().ok())
            .flatten();
        let full = asked.filter(|asked| asked.status.success());
        let full = full.map(|asked| String::from_utf8_lossy(&asked.stdout).trim().to_owned());
        full.filter(|full| !full.is_empty()).unwrap_or(name)
    }

    /// PostgreSQL's clusters, as Debian keeps them.
    pub(crate) fn clusters(&self) -> Vec<Cluster> {
        let etc = self.root.path().join("etc/postgresql");
        let mut clusters = Vec::new();
        for major in names(&etc) {
            let Ok(number) = major.parse() else { continue };
            for name in names(&etc.join(&major)) {
                let config = format!("/etc/postgresql/{major}/{name}/postgresql.conf");
                let Ok(text) = self.root.read(Path::new(&config), 1 << 20) else {
                    continue;
                };
                clusters.push(Cluster {
                    major: number,
                    name,
                    port: port(&String::from_utf8_lossy(&text)),
                });
            }
        }
        clusters.sort();
        clusters
    }

    /// Units of those names that the host has, with what they do now.
    pub(crate) fn units(&self, names: &[&str]) -> Vec<Unit> {
        if self.is_live()
            && let Some(units) = ask_systemd(names)
        {
            return units;
        }
        let has = |path: String| self.root.path().join(path).symlink_metadata().is_ok();
        let dirs = ["usr/lib", "lib", "etc"];
        names
            .iter()
            .filter(|name| {
                dirs.iter()
                    .any(|dir| has(format!("{dir}/systemd/system/{name}")))
            })
            .map(|name| Unit {
                name: (*name).to_owned(),
                active: None,
                enabled: Some(
                    ["multi-user", "timers", "sockets"].iter().any(|target| {
                        has(format!("etc/systemd/system/{target}.target.wants/{name}"))
                    }),
                ),
            })
            .collect()
    }

    /// Does apache serve LAVA?
    pub(crate) fn lava_site_enabled(&self) -> Option<bool> {
        let apache = self.root.path().join("etc/apache2");
        let site = apache.join("sites-enabled/lava-server.conf");
        apache.is_dir().then(|| site.symlink_metadata().is_ok())
    }

    /// The sites that apache serves, if there is an apache.
    pub(crate) fn sites(&self) -> Option<Vec<String>> {
        let enabled = self.root.path().join("etc/apache2/sites-enabled");
        let site = |file: String| file.strip_suffix(".conf").map(str::to_owned);
        let sites = || names(&enabled).into_iter().filter_map(site).collect();
        enabled.is_dir().then(sites)
    }
}

/// The user that PostgreSQL runs as; `None` if we are not root and can be no
/// other anyway.
///
/// # Errors
/// If we are root and there is no such user.
pub(crate) fn postgres_user() -> Result<Option<OsUser>, Failure> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let user = os_user("postgres").ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            "could not find the user postgres on this host",
        )
        .hint("install postgresql: its programs do not run as root")
    })?;
    Ok(Some(user))
}

/// The user to be at a server's socket if it does not take root for the role: LAVA's,
/// unless the role has a user of its own. `None` over TCP or with a password, and if
/// we are not root and can be nobody else.
pub(crate) fn user_at_socket(address: &Address) -> Option<OsUser> {
    // A password is for whoever we are, and for no other user to see.
    let socket = address.host.starts_with('/') && address.password.is_none();
    (socket && rustix::process::geteuid().is_root())
        .then(|| os_user(&address.user).or_else(|| os_user("lavaserver")))
        .flatten()
}

/// Where the superuser comes to the server of an address; `None` if that is on another host.
pub(crate) fn socket(address: &Address) -> Option<String> {
    let host = &address.host;
    let ip: Option<std::net::IpAddr> = host.parse().ok();
    if host.starts_with('/') {
        return Some(host.clone());
    }
    let is_here = host.eq_ignore_ascii_case("localhost") || ip.is_some_and(|ip| ip.is_loopback());
    is_here.then(|| lava_backup_pg::DEBIAN_SOCKETS.to_owned())
}

const NOGROUP: u32 = 65534;

/// A user of this host, other than root.
fn os_user(name: &str) -> Option<OsUser> {
    let root = Root::open(Path::new("/")).ok()?;
    let owners = Owners::of(&root);
    let user = owners.uid(name, 0);
    (user.known && user.id != 0).then(|| OsUser {
        uid: user.id,
        // A group of its own, or nobody's: what counts is the user.
        gid: owners.gid(name, NOGROUP).id,
    })
}

fn ask_systemd(names: &[&str]) -> Option<Vec<Unit>> {
    let out = Command::new("systemctl")
        .args(["show", "--property=Id,LoadState,ActiveState,UnitFileState"])
        .args(names)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    if !out.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&out.stdout);
    let mut units: Vec<Unit> = text
        .split("\n\n")
        .filter_map(|block| {
            let value = |key: &str| {
                let found = block.lines().find_map(|l| l.strip_prefix(key));
                found.and_then(|v| v.strip_prefix('='))
            };
            if matches!(value("LoadState"), None | Some("not-found")) {
                return None;
            }
            Some(Unit {
                name: value("Id")?.to_owned(),
                active: Some(matches!(
                    value("ActiveState")?,
                    "active" | "activating" | "reloading"
                )),
                enabled: Some(value("UnitFileState")?.starts_with("enabled")),
            })
        })
        .collect();
    units.sort();
    units.dedup();
    Some(units)
}

fn names(dir: &Path) -> Vec<String> {
    let found = std::fs::read_dir(dir).into_iter().flatten().flatten();
    found
        .filter_map(|f| f.file_name().into_string().ok())
        .collect()
}

fn port(config: &str) -> Option<u16> {
    config.lines().rev().find_map(|line| {
        let value = line.trim().strip_prefix("port")?.trim_start();
        let value = value.strip_prefix('=').unwrap_or(value);
        value.split('#').next()?.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_elsewhere_is_not_mistaken_for_the_one_on_this_host() {
        let socket = |host: &str| {
            socket(&Address {
                host: host.into(),
                port: 5432,
                database: "l".into(),
                user: "l".into(),
                password: None,
                os_user: None,
            })
        };
        for here in ["localhost", "127.0.0.1", "::1"] {
            assert_eq!(
                socket(here).as_deref(),
                Some(lava_backup_pg::DEBIAN_SOCKETS)
            );
        }
        assert_eq!(socket("/srv/pg").as_deref(), Some("/srv/pg"));
        for elsewhere in ["db.example.com", "10.0.0.1", "localhost.example.com"] {
            assert_eq!(socket(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn a_clusters_port_is_read_where_it_is_set_last() {
        let config =
            "# port = 1\nport = 5432\t\t# (change requires restart)\nports = 3\nport = 5433";
        assert_eq!(port(config), Some(5433));
        assert_eq!(port("#port = 5432"), None);
    }

    #[test]
    fn a_hosts_full_name_is_the_first_with_a_dot_or_the_first() {
        let full = |hosts| full_name_in(hosts, "rack-a");
        let debian = "127.0.0.1 localhost\n127.0.1.1\track-a.example.org rack-a # me\n";
        assert_eq!(full(debian).as_deref(), Some("rack-a.example.org"));
        assert_eq!(
            full("127.0.0.1 localhost rack-a\n").as_deref(),
            Some("localhost")
        );
        assert_eq!(full("127.0.0.1 localhost\n"), None);
    }

    #[test]
    fn the_last_word_of_a_workers_options_counts_and_no_password_is_kept() {
        let text = "# WORKER_NAME=\"--name <hostname.fqdn>\"\nURL=\"http://localhost/\"\n\
                    URL=\"https://me:word@lava.example.org/\"\nWORKER_NAME=\"--name rack-a\"\n";
        let worker = worker_of(text);
        assert_eq!(worker.name.as_deref(), Some("rack-a"));
        assert_eq!(worker.server.as_deref(), Some("https://lava.example.org/"));
        let old = worker_of("MASTER_URL=\"tcp://lava:5556\"\nHOSTNAME=\"--hostname rack-b\"\n");
        assert_eq!(old.name.as_deref(), Some("rack-b"));
        assert_eq!(old.server.as_deref(), Some("tcp://lava:5556"));
        assert_eq!(worker_of(""), WorkerFacts::default());
    }
}
