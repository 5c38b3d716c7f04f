//! What LAVA's manual asks of whoever backs up and restores a lab, and by what each is met.
//!
//! [`REQUIREMENTS`] holds every requirement in our own words: R1 to R131 are those of the manual, in
//! its order; C1 to C12 are places where it contradicts itself or the code, and what was decided.
//! `docs/requirements.md` is made from it. The rules of a requirement are not written down here: a
//! [`Code`] names the requirements that it stands on.

use crate::Code;

/// One requirement and what meets it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Requirement {
    /// `R1` to `R131`, `C1` to `C12`.
    pub id: &'static str,
    /// What it asks.
    pub says: &'static str,
    /// What meets it beside [rules](Self::rules).
    pub means: &'static [Means],
}

/// Something that meets a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// A step of plans: its phase and name, such as `database.load`.
    Step(&'static str),
    /// A gate: its step's phase and name, and its own, such as `database.load:equal`.
    Gate(&'static str),
    /// A command of `lava-backup`.
    Command(&'static str),
    /// A section of a document: the file and, behind a `#`, the heading.
    Document(&'static str),
}

impl Requirement {
    /// The codes of the rules that ask for it.
    pub fn rules(&self) -> impl Iterator<Item = Code> + use<> {
        let id = self.id;
        let codes = Code::ALL.iter().copied();
        codes.filter(move |code| code.requirements().any(|required| required == id))
    }
}

/// Declares the requirements, one a line.
macro_rules! requirements {
    ($($id:ident: $says:literal => $($kind:ident $name:literal),*;)+) => {
        /// Every requirement, in order.
        pub const REQUIREMENTS: &[Requirement] = &[$(Requirement {
            id: stringify!($id),
            says: $says,
            means: &[$(requirements!(@ $kind $name)),*],
        },)+];
    };
    (@ step $name:literal) => { Means::Step($name) };
    (@ gate $name:literal) => { Means::Gate($name) };
    (@ command $name:literal) => { Means::Command($name) };
    (@ document $name:literal) => { Means::Document($name) };
}

requirements! {
    // To be prepared.
    R1: "be ready before something breaks" => command "create", document "docs/PRACTICE.md#Before anything breaks";
    R2: "what a backup holds also sets up a new master or worker" => command "plan", document "docs/PRACTICE.md#A new host like an old one";
    R3: "a backup may be large and slow to make" => command "create";
    R4: "making one must not weigh on the running lab" => command "create", document "docs/SHORTCOMINGS.md#Backups";
    R5: "it goes to storage elsewhere without slowing the master down" => command "create", command "export";
    R6: "it holds passwords, certificates and keys" => command "create", document "docs/FORMAT.md#Class";
    R7: "none but admins may read it" => command "init", command "create", document "docs/SHORTCOMINGS.md#Backups";
    R8: "a backup that was never restored proves nothing" => command "drill", command "list";
    R9: "restore one whole from time to time" => command "drill", step "isolate.network";
    R10: "every other backup holds the same kinds of content as the one that was tried" => command "compare";
    R11: "an image of the whole disk is no good backup" => document "docs/PRACTICE.md#No image of the disk";
    R12: "an image needs the database and all services stopped, and no job running" => document "docs/PRACTICE.md#No image of the disk";
    R13: "each image costs the lab a maintenance window" => document "docs/PRACTICE.md#No image of the disk";
    R14: "a restore is neither simple nor quick" => command "plan", document "docs/PRACTICE.md#How long it takes";
    R15: "configuration management is a part of coming back" => command "create", document "docs/PRACTICE.md#What your lab has beside LAVA";

    // What a backup is.
    R16: "a backup is enough by itself" => command "create", command "verify", step "isolate.accept";
    R17: "files of different dates do not go together" => command "create", command "verify";
    R18: "least of all a database and a lava-server of different dates" => command "create", command "drill";
    R19: "nor device configuration, Django or other dependencies" => command "create", step "install.exact";
    R20: "no scheme of increments parts the database from its code or its devices' files" => command "create", document "docs/FORMAT.md#Directory";
    R21: "keep the packages themselves with the backup" => command "create", command "packages repo";
    R22: "get each in exactly its version" => command "create", command "packages install-plan";
    R23: "read the versions while the backup is made" => command "create";
    R24: "a version from backports needs its suite named" => command "packages install-plan", command "facts";
    R25: "Debian's tracker tells more of a package" => document "docs/PRACTICE.md#What was announced";
    R26: "what mirrors have no more may be on snapshot.debian.org" => document "docs/SHORTCOMINGS.md#Backups";
    R27: "what happened after the backup is lost" => step "isolate.window", step "maintenance.next_job_id", gate "maintenance.next_job_id:next", document "docs/PRACTICE.md#What is lost";
    R28: "back up when a maintenance window begins" => command "create", step "reopen.release_holds", document "docs/PRACTICE.md#Before anything breaks";
    R29: "the older the backup, the more there is to mend" => command "list", document "docs/PRACTICE.md#What is lost";

    // The database and its code.
    R30: "database and lava-server match precisely, or all may be lost" => gate "database.load:migrations", step "install.exact", command "drill";
    R31: "a failed restore begins again, maybe from an older backup" => command "database restore", command "plan", document "docs/RECOVERY.md#If a byte is wrong";
    R32: "stop at the first trouble with a migration" => gate "database.load:migrations", document "docs/PRACTICE.md#When a migration is in the way";
    R33: "run nothing that applies or makes migrations" => command "plan", document "docs/PRACTICE.md#When a migration is in the way";
    R34: "installing the package again repairs nothing and migrates more" => step "quiesce.hold", step "verify.hold", step "base.timers", gate "install.exact:audit", gate "base.timers:still", gate "start.safe:migrations";
    R35: "follow LAVA's developers, not others' advice" => document "docs/PRACTICE.md#When a migration is in the way";
    R36: "Django's version decides too" => step "install.exact";
    R37: "other dependencies decide whether the service runs" => command "facts", command "create";
    R38: "critical: PostgreSQL's server, client and common files" => step "install.exact";
    R39: "critical: lava-server and its documentation" => step "install.exact";
    R40: "critical: lava-dispatcher" => step "install.exact";
    R41: "critical: Django and django-tables2 under whatever name" => step "install.exact";
    R42: "look for announcements on packages beside LAVA" => document "docs/PRACTICE.md#What was announced";
    R43: "keep that month's announcements with the backup, if you like" => command "create", document "docs/PRACTICE.md#What was announced";

    // The base system.
    R44: "the target's base suite is the backup's" => step "base.suite", gate "base.suite:suite";
    R45: "packages that came from jessie's backports are there before the restore" => step "install.packages", step "install.exact";
    R46: "and so those of every later suite" => step "install.packages", step "install.exact";
    R47: "no list of what to take is complete" => command "create", document "docs/PRACTICE.md#What your lab has beside LAVA";
    R48: "labs change files outside the list" => command "create", document "docs/PRACTICE.md#What your lab has beside LAVA";
    R49: "what configuration management does is done before data comes back" => step "base.by_hand", step "isolate.window";
    R50: "all updates are in, backports and other archives included" => step "base.by_hand";
    R51: "keep apt's sources, and use those of the backup" => command "create", command "packages install-plan";
    R52: "every package is as those sources have it" => step "install.exact", step "install.let_go", gate "install.exact:audit";

    // What to take.
    R53: "device types' templates" => command "create", step "config.files";
    R54: "ser2net's configuration, or what stands for it" => command "create", step "config.files";
    R55: "all else below /etc/lava-server, settings first" => command "create", step "config.files", step "database.settings";
    R56: "the defaults of LAVA's services and of those it uses" => command "create", step "config.files";
    R57: "a worker's options and certificates" => command "create", step "config.files", step "config.identity";
    R58: "apache's site of the master" => command "create", step "config.files", gate "config.files:closed";
    R59: "apache's configuration on a worker" => command "create", step "config.files";
    R60: "the master's list is not complete either" => command "create", document "docs/PRACTICE.md#What your lab has beside LAVA";
    R61: "without configuration management all of that is in every backup" => command "create", command "compare";
    R62: "the database by PostgreSQL's own tools" => command "create";
    R63: "a dump takes load, time and room" => command "create";
    R64: "versions, and packages" => command "create", command "facts";
    R65: "job logs and other job data" => command "create", step "config.files", step "config.logs_elsewhere";
    R66: "the services' logs and their configuration" => command "create", step "config.files";
    R67: "a worker needs only how it reaches its master" => command "create", step "config.files";
    R68: "its options, and since 2020.09 its token" => command "create", step "config.files", step "config.identity";
    R69: "its ser2net" => command "create", step "config.files";
    R70: "its own scripts for power" => command "create", document "docs/PRACTICE.md#What your lab has beside LAVA";
    R71: "its udev rules" => command "create", step "config.files";

    // Keeping everybody out.
    R72: "every step in its order, or data is lost" => command "plan";
    R73: "labs differ, and so do restores" => command "plan", document "docs/PRACTICE.md#How long it takes";
    R74: "declare a maintenance window and hold it to the end" => step "isolate.window", step "reopen.confirm";
    R75: "none but admins reach LAVA's pages" => step "isolate.site", step "config.guard", gate "config.guard:closed", gate "isolate.closed:closed", gate "start.gunicorn:closed";
    R76: "nor do programs that submit jobs" => step "isolate.window", gate "isolate.closed:closed", gate "isolate.network:loopback";
    R77: "no new job comes in" => gate "isolate.closed:closed", gate "start.gunicorn:closed";
    R78: "think of what the queue and the devices will do when all runs again" => step "maintenance.queue", step "maintenance.devices";
    R79: "turn visitors away meanwhile" => step "isolate.site";
    R80: "a page elsewhere tells them" => step "isolate.window";
    R81: "nobody is in the database but by the admins' hand" => step "quiesce.stop", step "config.guard", gate "database.load:still";
    R82: "another way in for admins is fine" => step "workers.admit", gate "workers.admit:reached";
    R83: "the aim: no job running, the queue decided, every device in maintenance" => step "maintenance.jobs", step "maintenance.queue", step "maintenance.devices", gate "start.safe:jobs";
    R84: "devices are in maintenance before pages are back" => gate "start.gunicorn:health", gate "start.safe:health";
    R85: "the master first, unseen; workers after it" => step "isolate.master", step "workers.admit";

    // Packages on the target.
    R86: "the base system is ready and up to date" => step "base.suite", step "base.by_hand";
    R87: "its sources name backports where these are needed" => step "base.by_hand", command "packages install-plan";
    R88: "install lava-server as the manual says" => step "install.packages";
    R89: "in the same version, or an earlier one" => step "install.packages", step "install.exact";
    R90: "never in a newer one" => step "install.exact";
    R91: "its database is empty then" => step "isolate.replace", command "database restore";
    R92: "check --deploy finds nothing" => step "smoke.deploy", gate "smoke.deploy:deploy";

    // Stopping LAVA.
    R93: "stop every service that was started by itself" => step "quiesce.stop", gate "quiesce.stop:still";
    R94: "nothing is reserved or queued before the database is safe" => step "quiesce.stop", gate "start.safe:jobs";
    R95: "stop gunicorn" => step "quiesce.stop";
    R96: "it may stay up where only admins see it" => step "quiesce.stop";
    R97: "stop lava-master" => step "quiesce.stop";
    R98: "stop lava-logs" => step "quiesce.stop";
    R99: "stop lava-slave" => step "quiesce.stop";
    R100: "stop lava-publisher" => step "quiesce.stop";

    // The database.
    R101: "keep the empty database" => step "database.load", command "database restore";
    R102: "restore the dump" => step "database.load", gate "database.load:equal";
    R103: "a whole cluster is another matter" => document "docs/PRACTICE.md#Another major of PostgreSQL";
    R104: "every device that is not retired goes to maintenance" => step "maintenance.devices", gate "maintenance.devices:health";
    R105: "one by one, by a command" => step "maintenance.devices";
    R106: "or all at once, by a helper" => step "maintenance.devices";
    R107: "look at every device's state" => gate "maintenance.devices:health", gate "maintenance.devices:total";
    R108: "none is good, looping or unknown" => gate "maintenance.devices:health";

    // Configuration and files.
    R109: "bring templates back" => step "config.files";
    R110: "bring device dictionaries back" => step "config.files", gate "verify.deploy:deploy";
    R111: "bring each dispatcher's own configuration back" => step "config.files";
    R112: "bring job logs back" => step "config.files", gate "config.files:equal";
    R113: "and all else that was kept" => step "config.files", command "extract";

    // Starting LAVA, and looking at it.
    R114: "start what was stopped" => step "start.release", step "start.services", gate "start.services:active";
    R115: "gunicorn last" => step "start.gunicorn";
    R116: "which shows the pages again, if nothing else hides them" => gate "start.gunicorn:closed";
    R117: "before that: the other services run well" => gate "start.services:active", step "verify.deploy";
    R118: "and every device is in maintenance or retired" => step "start.safe", gate "start.safe:health", gate "start.safe:total";
    R119: "and running jobs are ended" => step "maintenance.jobs", gate "start.safe:jobs", step "config.forget_jobs";
    R120: "look for errors in the logs" => step "verify.logs";
    R121: "try devices on the master by health checks" => step "workers.health_checks";
    R122: "or look as far as can be, and go on to workers" => step "workers.admit", step "workers.health_checks";
    R123: "it is done when workers are back, devices are in service and health checks pass" => step "workers.own", step "workers.health_checks", step "reopen.confirm";
    R124: "take the page down and let users in" => step "reopen.site", gate "reopen.site:open", gate "reopen.site:reached";

    // Workers.
    R125: "a worker is simpler to bring back" => command "plan";
    R126: "after its master, with devices still in maintenance" => step "isolate.master";
    R127: "what counts is how it reaches and proves itself to its master" => step "config.files", step "config.identity";
    R128: "other files are the lab's own affair" => step "config.files", document "docs/PRACTICE.md#What your lab has beside LAVA";
    R129: "its lava-dispatcher has the version that it had" => step "install.exact";
    R130: "put its configuration back and start it again" => step "config.files", step "start.services";
    R131: "then it answers its master" => step "maintenance.workers", step "workers.own", gate "workers.own:online", step "verify.online";

    // What had to be decided.
    C1: "the helper is said to work from 2018.12, which never was, and does not until 2023.10: jobs are ended one by one" => step "maintenance.jobs", gate "maintenance.jobs:jobs";
    C2: "a device is named by an option that the command does not have: its name is positional" => step "maintenance.devices";
    C3: "bad devices are forgotten, and no devices at all would pass: none may take jobs, and their number is the dump's" => gate "maintenance.devices:health", gate "maintenance.devices:total";
    C4: "an earlier version is allowed, and a precise match is asked for: sets of migrations decide" => step "install.exact", gate "database.load:migrations";
    C5: "queued jobs are to be cancelled, and then only running ones are: active ones are ended, and somebody decides on the queue" => step "maintenance.jobs", step "maintenance.queue", gate "start.safe:jobs";
    C6: "gunicorn may stay up, and hands jobs to workers since 2020.09: it is stopped, and started last" => step "quiesce.stop", step "start.gunicorn";
    C7: "settings come back after the database that needs their password: they come before it" => step "database.settings", gate "database.settings:equal";
    C8: "check --deploy is asked once, and needs services that are stopped: it is asked before they stop and when they run again" => gate "smoke.deploy:deploy", gate "verify.deploy:deploy";
    C9: "the list of configuration lacks health checks, tokens, PostgreSQL's files, drop-ins and environments: all are taken" => command "create", command "compare", step "config.server";
    C10: "the dump goes into the installer's database, where it fails unseen: it goes beside it, and they are swapped" => step "database.load", command "database restore";
    C11: "packages are to be up to date, and to be those of the backup: they are the backup's" => step "install.exact", step "quiesce.hold";
    C12: "lava-slave is stopped on the master alone, and others go on asking: nobody gets in while it is closed" => gate "isolate.closed:closed", step "quiesce.stop";
}

/// What else decides whether a backup fits a target, and why no rule asks for it: what can't be
/// known from facts is asked where it is known, and what can't be so is not asked at all.
pub const ELSEWHERE: &[(&str, &str)] = &[
    (
        "parts of a backup are of different runs",
        "one seal names all of them, and `verify` holds them against it",
    ),
    (
        "packages or settings changed while the backup was made",
        "`create` compares them before and after, and seals nothing",
    ),
    (
        "an archived .deb is not the build that was installed",
        "`create --packages` holds it against what dpkg keeps, and leaves it out",
    ),
    (
        "`pg_dump` was older than its server",
        "`create` takes the one of the server's own major, and stops without it",
    ),
    (
        "a cluster was copied as files, or to another architecture",
        "only dumps are made",
    ),
    (
        "LAVA was not built for the target's architecture",
        "it must be the backup's own, and there LAVA ran",
    ),
    (
        "the packages on the target do not go together",
        "`packages install` lets apt say so before anything is changed",
    ),
    (
        "an installation would remove PostgreSQL as no longer needed",
        "no plan holds such a command",
    ),
    (
        "a dump holds what LAVA's role may not restore",
        "it is loaded by PostgreSQL's superuser",
    ),
    (
        "a worker comes before its master is verified",
        "steps `isolate.master` and `workers.admit`",
    ),
    (
        "a worker has another suite than its master",
        "each host is held against its own backup",
    ),
    (
        "users are on LAVA's pages right now",
        "facts that change by the minute bind no plan; the site is closed by a step and looked at by gates",
    ),
    (
        "a device is in service, or a job active, when LAVA starts",
        "gates `start.safe:health`, `start.safe:total` and `start.safe:jobs` ask the database itself",
    ),
    (
        "the role's password is not that of the restored settings",
        "`database restore` sets it from these when the databases are swapped",
    ),
];
