//! Every command that a plan may hold, told by its words.
//!
//! Plans make their commands from a closed enum; this is the way back. What is not one of these is
//! in no plan, and these are what a simulated host can run: a command that a plan learns has to be
//! taught here first, where it is both judged and simulated.

use crate::name;
use crate::sql::{Query, Statement};
use crate::step::{PUT_ASIDE, REMEMBERED_JOBS, RUNNING, SERVER, WORKERS_ONLY};

/// A command of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call<'a> {
    /// Files of a backup are written, or with `check` compared.
    Extract {
        from: Source<'a>,
        paths: Vec<&'a str>,
        exclude: Vec<&'a str>,
        check: bool,
    },
    RestoreDatabase {
        from: Source<'a>,
        replace_data: bool,
    },
    CompareDatabase {
        from: Source<'a>,
    },
    InstallPackages {
        from: Source<'a>,
        packages: Vec<&'a str>,
    },
    /// The file that closes apache to all but workers is made; it is not in service yet.
    WriteGuard,
    /// Do these reach LAVA, and nobody else?
    Reached(Admitted),
    /// Is there this path?
    Exists(&'a str),
    Lacks(&'a str),
    /// Is this the codename of the base system?
    Suite(&'a str),
    /// What does dpkg say of a package, in a format?
    Package {
        format: &'a str,
        name: &'a str,
    },
    Audit,
    CheckDeploy,
    Interfaces,
    /// What workers of this host remember.
    RememberedJobs,
    Ask {
        server: Server<'a>,
        query: Query,
    },
    Units {
        verb: Verb,
        units: Vec<&'a str>,
    },
    /// systemd reads its units again.
    ReadUnits,
    ReloadApache,
    RestartServer,
    EnableSite,
    DisableSite(&'a str),
    EnableGuard(bool),
    Hold {
        on: bool,
        packages: Vec<&'a str>,
    },
    Change {
        server: Server<'a>,
        statement: Statement,
    },
    ForgetJobs,
    FailJob(u64),
    MaintainAll,
    Maintain(&'a str),
}

/// What is asked of systemd for units, or done with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Which of them are not down.
    Running,
    IsActive,
    IsEnabled,
    /// What they logged as errors since the machine was booted.
    Errors,
    Mask,
    Unmask,
    Stop,
    Start,
}

/// Whom apache lets reach LAVA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Admitted {
    Nobody,
    Workers,
    All,
}

/// A backup, as a command names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source<'a> {
    pub(crate) store: &'a str,
    pub(crate) backup: &'a str,
}

/// A database, as psql is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server<'a> {
    pub(crate) port: Option<u16>,
    pub(crate) database: &'a str,
}

/// What a format of dpkg-query may ask for.
pub(crate) const FIELDS: [&str; 4] = [
    "${db:Status-Want}",
    "${db:Status-Eflag}",
    "${db:Status-Status}",
    "${Version}",
];

/// The beginning of the line that is looked for in [`OS_RELEASE`].
const CODENAME: &str = "VERSION_CODENAME=";
const OS_RELEASE: &str = "/etc/os-release";
const SITE: &str = "lava-server";

impl<'a> Call<'a> {
    /// The command of these words; `None` when no plan may hold it.
    pub(crate) fn of(argv: &'a [String]) -> Option<Self> {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let (first, rest) = words.split_first()?;
        if is_own_program(first) {
            return own(rest);
        }
        let of_lava = |rest: &[&'a str]| lava(rest);
        Some(match (*first, rest) {
            ("test", ["-e", path]) if path.starts_with('/') => Self::Exists(path),
            ("test", ["!", "-e", path]) if path.starts_with('/') => Self::Lacks(path),
            ("grep", ["-qx", line, OS_RELEASE]) => Self::Suite(line.strip_prefix(CODENAME)?),
            ("dpkg-query", ["-W", format, name]) if name::is_package(name) => Self::Package {
                format: format
                    .strip_prefix("-f=")
                    .filter(|format| is_format(format))?,
                name,
            },
            ("dpkg", ["--audit"]) => Self::Audit,
            ("ls", ["/sys/class/net"]) => Self::Interfaces,
            ("find", _) => match words.strip_prefix(&REMEMBERED_JOBS)? {
                [] => Self::RememberedJobs,
                rest if rest == PUT_ASIDE => Self::ForgetJobs,
                _ => return None,
            },
            ("journalctl", ["-q", "--no-pager", "-b", "-p", "err", options @ ..]) => {
                let unit = |pair: &[&'a str]| matches!(pair, ["-u", _]).then(|| pair[1]);
                let units: Option<Vec<_>> = options.chunks(2).map(unit).collect();
                units_of(Verb::Errors, &units?)?
            }
            ("systemctl", ["list-units", ..]) => {
                units_of(Verb::Running, words.strip_prefix(&RUNNING)?)?
            }
            ("systemctl", ["daemon-reload"]) => Self::ReadUnits,
            ("systemctl", ["reload", "apache2.service"]) => Self::ReloadApache,
            ("systemctl", ["restart", SERVER]) => Self::RestartServer,
            ("systemctl", [verb, units @ ..]) => units_of(Verb::of(verb)?, units)?,
            ("a2ensite", ["-q", SITE]) => Self::EnableSite,
            ("a2dissite", ["-q", site]) if name::is_plain(site) => Self::DisableSite(site),
            ("a2enconf", ["-q", WORKERS_ONLY]) => Self::EnableGuard(true),
            ("a2disconf", ["-q", WORKERS_ONLY]) => Self::EnableGuard(false),
            ("apt-mark", [verb @ ("hold" | "unhold"), packages @ ..])
                if are(packages, name::is_package) =>
            {
                Self::Hold {
                    on: *verb == "hold",
                    packages: packages.to_vec(),
                }
            }
            ("runuser", ["-u", "postgres", "--", "psql", "-XAtq", rest @ ..]) => psql(rest)?,
            ("lava-server", ["manage", rest @ ..]) => of_lava(rest)?,
            _ => return None,
        })
    }

    /// The backup that it reads, if it reads one.
    pub(crate) fn source(&self) -> Option<Source<'a>> {
        match self {
            Self::Extract { from, .. }
            | Self::RestoreDatabase { from, .. }
            | Self::CompareDatabase { from }
            | Self::InstallPackages { from, .. } => Some(*from),
            _ => None,
        }
    }

    /// Whether it changes nothing, so that a gate may ask it.
    pub(crate) fn only_looks(&self) -> bool {
        match self {
            Self::Extract { check, .. } => *check,
            Self::Units { verb, .. } => {
                matches!(
                    verb,
                    Verb::Running | Verb::IsActive | Verb::IsEnabled | Verb::Errors
                )
            }
            Self::CompareDatabase { .. }
            | Self::Exists(_)
            | Self::Lacks(_)
            | Self::Suite(_)
            | Self::Package { .. }
            | Self::Audit
            | Self::CheckDeploy
            | Self::Interfaces
            | Self::Reached(_)
            | Self::RememberedJobs
            | Self::Ask { .. } => true,
            Self::RestoreDatabase { .. }
            | Self::InstallPackages { .. }
            | Self::WriteGuard
            | Self::ReadUnits
            | Self::ReloadApache
            | Self::RestartServer
            | Self::EnableSite
            | Self::DisableSite(_)
            | Self::EnableGuard(_)
            | Self::Hold { .. }
            | Self::Change { .. }
            | Self::ForgetJobs
            | Self::FailJob(_)
            | Self::MaintainAll
            | Self::Maintain(_) => false,
        }
    }
}

impl Verb {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "is-active" => Self::IsActive,
            "is-enabled" => Self::IsEnabled,
            "mask" => Self::Mask,
            "unmask" => Self::Unmask,
            "stop" => Self::Stop,
            "start" => Self::Start,
            _ => return None,
        })
    }
}

/// Whether a word is the name of `lava-backup`, or where it is.
pub(crate) fn is_own_program(word: &str) -> bool {
    word == "lava-backup" || (word.starts_with('/') && word.ends_with("/lava-backup"))
}

fn own<'a>(words: &[&'a str]) -> Option<Call<'a>> {
    let (verb, rest) = match words {
        ["admit", "workers"] => return Some(Call::WriteGuard),
        ["admit", whom, "--check"] => {
            return Some(Call::Reached(match *whom {
                "nobody" => Admitted::Nobody,
                "workers" => Admitted::Workers,
                "all" => Admitted::All,
                _ => return None,
            }));
        }
        ["extract", rest @ ..] => ("extract", rest),
        ["database", "restore", rest @ ..] => ("restore", rest),
        ["database", "compare", rest @ ..] => ("compare", rest),
        ["packages", "install", rest @ ..] => ("install", rest),
        _ => return None,
    };
    let ["--store", store, backup, rest @ ..] = rest else {
        return None;
    };
    if !name::is_argument(store) || !name::is_plain(backup) {
        return None;
    }
    let from = Source { store, backup };
    match (verb, rest) {
        ("extract", [select @ .., "--root", "/", mode @ ("--check" | "--replace")]) => {
            let check = *mode == "--check";
            let at = select.iter().position(|word| *word == "--exclude");
            let (paths, options) = select.split_at(at.unwrap_or(select.len()));
            let path = |pair: &[&'a str]| matches!(pair, ["--exclude", _]).then(|| pair[1]);
            let exclude: Vec<_> = options.chunks(2).map(path).collect::<Option<_>>()?;
            let named = are(paths, name::is_member) && exclude.iter().all(|p| name::is_member(p));
            named.then(|| Call::Extract {
                from,
                paths: paths.to_vec(),
                exclude,
                check,
            })
        }
        ("restore", ["--root", "/"]) => Some(Call::RestoreDatabase {
            from,
            replace_data: false,
        }),
        ("restore", ["--root", "/", "--replace-data"]) => Some(Call::RestoreDatabase {
            from,
            replace_data: true,
        }),
        ("compare", ["--root", "/"]) => Some(Call::CompareDatabase { from }),
        ("install", packages) if packages.iter().all(|p| name::is_package(p)) => {
            Some(Call::InstallPackages {
                from,
                packages: packages.to_vec(),
            })
        }
        _ => None,
    }
}

fn lava<'a>(words: &[&'a str]) -> Option<Call<'a>> {
    Some(match words {
        ["check", "--deploy"] => Call::CheckDeploy,
        ["maintenance"] => Call::MaintainAll,
        ["jobs", "fail", id] if id.bytes().all(|b| b.is_ascii_digit()) => {
            Call::FailJob(id.parse().ok()?)
        }
        ["devices", "update", device, "--health", "MAINTENANCE"] if name::is_plain(device) => {
            Call::Maintain(device)
        }
        _ => return None,
    })
}

/// psql, as `postgres`, with one line of SQL.
fn psql<'a>(words: &[&'a str]) -> Option<Call<'a>> {
    let (port, rest) = match words {
        ["-p", port, rest @ ..] => (Some(port.parse().ok()?), rest),
        rest => (None, rest),
    };
    let ["-d", database, "-c", sql] = rest else {
        return None;
    };
    if !name::is_database(database) {
        return None;
    }
    let server = Server { port, database };
    let asked = Query::parse(sql).map(|query| Call::Ask { server, query });
    asked.or_else(|| {
        let statement = Statement::parse(sql)?;
        Some(Call::Change { server, statement })
    })
}

fn units_of<'a>(verb: Verb, units: &[&'a str]) -> Option<Call<'a>> {
    are(units, name::is_unit).then(|| Call::Units {
        verb,
        units: units.to_vec(),
    })
}

/// Whether there are words and all of them are names of a kind.
fn are(words: &[&str], is: fn(&str) -> bool) -> bool {
    !words.is_empty() && words.iter().all(|word| is(word))
}

fn is_format(format: &str) -> bool {
    let rest = FIELDS
        .iter()
        .fold(format.to_owned(), |rest, field| rest.replace(field, ""));
    !rest.contains(['$', '{', '}', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::words;

    #[test]
    fn what_is_nearly_a_command_of_a_plan_is_none() {
        let of = |line: &str| {
            let argv = words(&line.split(' ').collect::<Vec<_>>());
            Call::of(&argv).is_some()
        };
        let remembered = REMEMBERED_JOBS.join(" ");
        let forget = [REMEMBERED_JOBS, PUT_ASIDE].concat().join(" ");
        let listed = |pattern: &str| format!("{} {pattern}", RUNNING.join(" "));
        for (one, other) in [
            ("test -e /etc", "test -e etc"),
            ("test ! -e /etc", "test ! -e etc"),
            (
                "dpkg-query -W -f=${Version} bash",
                "dpkg-query -W -f=${Version} --no-pager",
            ),
            (
                "dpkg-query -W -f=${Version} bash",
                "dpkg-query -W -f=${Conffiles} bash",
            ),
            (&remembered, "find / -delete"),
            (&forget, "find / -delete"),
            (&forget, &format!("{remembered} -delete")),
            (&listed("a.service"), &listed("a*")),
            (&listed("a.service"), &listed("--all")),
            (&listed("a.service"), &listed("")),
            (&listed("a.service"), &RUNNING.join(" ")),
            (&listed("a.service"), "systemctl list-units a.service"),
            ("systemctl stop a.service", "systemctl stop --force"),
            ("systemctl stop a.service", "systemctl stop"),
            (
                "journalctl -q --no-pager -b -p err -u a.service",
                "journalctl -q --no-pager -b -p err -u --rotate",
            ),
            (
                "journalctl -q --no-pager -b -p err -u a.service",
                "journalctl -q --no-pager -b -p err -D a.service",
            ),
            ("a2dissite -q default", "a2dissite -q -p"),
            ("apt-mark hold bash", "apt-mark hold --file=x"),
            ("apt-mark hold bash", "apt-mark auto bash"),
            (
                "lava-server manage jobs fail 53",
                "lava-server manage jobs fail +53",
            ),
            (
                "lava-server manage devices update a --health MAINTENANCE",
                "lava-server manage devices update --all --health MAINTENANCE",
            ),
            (
                "lava-backup admit all --check",
                "lava-backup admit everybody --check",
            ),
            (
                "/opt/lava-backup admit workers",
                "opt/lava-backup admit workers",
            ),
            (
                "/opt/lava-backup admit workers",
                "/opt/my-backup admit workers",
            ),
            (
                "lava-backup database compare --store s b --root /",
                "lava-backup database compare --store -s b --root /",
            ),
            (
                "lava-backup database compare --store s b --root /",
                "lava-backup database compare --store s -b --root /",
            ),
            (
                "lava-backup database restore --store s b --root /",
                "lava-backup database restore --store s b --root /srv",
            ),
            (
                "lava-backup packages install --store s b bash",
                "lava-backup packages install --store s b --root",
            ),
            (
                "lava-backup extract --store s b a --root / --check",
                "lava-backup extract --store s b ../a --root / --check",
            ),
            (
                "lava-backup extract --store s b a --exclude c --root / --check",
                "lava-backup extract --store s b a --exclude /c --root / --check",
            ),
            (
                "lava-backup extract --store s b a --exclude c --root / --check",
                "lava-backup extract --store s b a --exclude c --include d --root / --check",
            ),
        ] {
            assert!(of(one), "{one}");
            assert!(!of(other), "{other}");
        }
    }
}
