//! Every code that a rule may answer with, and what all findings of one code have in common.

use std::fmt;

use crate::Verdict;

/// Declares the codes in groups that share why they matter and where that comes from.
macro_rules! codes {
    ($($why:literal, $ground:literal => {
        $($code:ident = $text:literal [$($severity:ident),+] $when:literal;)+
    })+) => {
        /// What a rule found, as a word that never changes; a [`Finding`](crate::Finding) has its
        /// text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $when] $code,)+)+
        }

        impl Code {
            /// Every code, in the order in which rules are asked.
            pub const ALL: &[Self] = &[$($(Self::$code,)+)+];

            /// The word, such as `lava.newer`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $($(Self::$code => $text,)+)+ }
            }

            /// What it says.
            #[must_use]
            pub fn when(self) -> &'static str {
                match self { $($(Self::$code => $when,)+)+ }
            }

            /// Why it matters.
            #[must_use]
            pub fn why(self) -> &'static str {
                match self { $($(Self::$code)|+ => $why,)+ }
            }

            /// Where it comes from: requirements of LAVA's manual (R1–R131) and contradictions in it
            /// that had to be decided (C1–C12), then a `;` and what was measured.
            #[must_use]
            pub fn ground(self) -> &'static str {
                match self { $($(Self::$code)|+ => $ground,)+ }
            }

            /// How bad it can be.
            #[must_use]
            pub fn severities(self) -> &'static [Verdict] {
                match self { $($(Self::$code => &[$(Verdict::$severity),+],)+)+ }
            }
        }
    };
}

impl Code {
    /// The requirements that it stands on, such as `R44`.
    pub fn requirements(self) -> impl Iterator<Item = String> {
        let (listed, _) = self.ground().split_once(';').unwrap_or((self.ground(), ""));
        listed.split(", ").flat_map(|part| {
            let number = |text: &str| text.get(1..)?.parse::<u8>().ok();
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let letter = part.get(..1).unwrap_or_default().to_owned();
            let range = number(first).zip(number(last)).map(|(a, b)| a..=b);
            range
                .into_iter()
                .flatten()
                .map(move |n| format!("{letter}{n}"))
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

codes! {
    // Of the plan as a whole.
    "a plan is for the hosts of its intent, and a lab has one master", "R85, R88" => {
        PlanHosts = "plan.hosts" [Refuse] "the backups are not those of the intent's hosts, or too many";
    }
    "no plan is better than one with a command that nobody allowed", "R33" => {
        PlanForbidden = "plan.forbidden" [Refuse] "a step holds a command that no plan may hold";
    }

    // Of the backup by itself.
    "commands are made of these names, and a backup or facts may have been tampered with",
    "measured: psql -d takes a whole address where a name is meant" => {
        NameUnsafe = "name.unsafe" [Refuse] "a name is none that may stand on a command line";
    }
    "a backup is self-contained: what it lacks can't be taken from another date",
    "R16, R17, R61, R64-R66" => {
        SelfPart = "self.part" [Ok] "the backup holds this part";
        SelfMissingPart = "self.missing_part" [Note, Prepare, Refuse] "the backup lacks a part";
    }
    "what could not be read when the backup was made can't come back", "R8, R10" => {
        BackupDegraded = "backup.degraded" [Ok, Note, Prepare] "the backup was sealed as degraded, or not";
    }
    "a backup that was never restored is a hope", "R8, R9" => {
        SelfDrilled = "self.drilled" [Ok] "the last drill of the backup passed";
        SelfUntested = "self.untested" [Note] "no drill of the backup is known";
        SelfDrillFailed = "self.drill_failed" [Note, Prepare] "the last drill of the backup failed";
    }
    "what is not known of a release can't be planned for", "R73" => {
        Release = "release" [Ok] "the backup's LAVA is of a release that was restored here";
        ReleaseUnknown = "release.unknown" [Refuse] "LAVA's release is not known, or to nobody here";
    }
    "its units, settings and commands are known from its sources, and no host of it was ever \
     restored here", "R73, R97-R99" => {
        ReleaseNotMeasured = "release.not_measured" [Note] "the release is known from its sources alone";
    }
    "a package that was half-way through its configuration may have left the database half-way \
     through a migration", "R34, R64" => {
        SelfDpkg = "self.dpkg" [Ok, Note, Refuse] "whether dpkg had left something undone on the backup's host";
    }
    "where packages came from is told by an archive's lists, and these are as good as their \
     signatures", "R24, R51" => {
        SelfLists = "self.lists" [Ok, Note] "whether the lists of packages on the backup's host were signed and fresh";
    }
    "a suite's alias moves to the next release with time, and takes the packages along", "R51" => {
        SourceAlias = "source.alias" [Note] "a source names its suite by an alias";
    }
    "packages that a mirror no longer has can't be installed from it", "R21, R22, R26" => {
        SelfDebs = "self.debs" [Ok] "the backup holds the .debs that were asked for";
        SelfNoDebs = "self.no_debs" [Note, Refuse] "the backup holds no .debs";
        SelfDebMissing = "self.deb_missing" [Note, Refuse] "a .deb could not be archived";
        SelfDebRepacked = "self.deb_repacked" [Note] "a .deb was packed anew from installed files";
    }
    "what the backup holds can't be installed from it alone", "R21, R22, R26" => {
        SelfClosureOpen = "self.closure_open" [Note, Refuse] "the backup's .debs need others";
    }
    "a package that no archive has can come from the backup alone", "R16, R22, R23, R26" => {
        SelfLocalPackage = "self.local_package" [Ok, Note, Prepare, Refuse] "whether a critical package that no mirror has is in the backup with its .deb";
    }
    "the password of the database's role and the secret key come from these files", "C7" => {
        SelfSettings = "self.settings" [Ok] "the backup holds LAVA's settings";
        SelfNoSettings = "self.no_settings" [Note, Prepare] "the backup lacks LAVA's settings";
    }
    "the gates after the load compare the database with it", "R102, R107, R119" => {
        SelfUnknown = "self.unknown" [Refuse] "what the dump holds is not known";
    }
    "a job that is not known can't be ended before LAVA starts", "R119" => {
        SelfContradiction = "self.contradiction" [Refuse] "the dump lists other jobs than it counts";
    }
    "a database that does not match its code loses data later, and no check of LAVA's or Django's \
     sees it", "R18, R19, R30; measured on three releases: every check exits 0" => {
        SelfDbPkgMatch = "self.db_pkg_match" [Ok] "the dump has the migrations of its own packages";
        SelfDbPkgMismatch = "self.db_pkg_mismatch" [Refuse] "one of the two sets of migrations is not known";
        SelfDbNewer = "self.db_newer_than_code" [Refuse] "the dump has migrations that its packages lack";
        SelfDbPending = "self.db_pending" [Refuse] "the packages have migrations that the dump lacks";
    }
    "with another backend the text of the jobs' logs is in that service, and not in this backup",
    "R65; measured: LAVA shows a job without its log and reports no error" => {
        LogBackend = "log_backend" [Ok, Note, Prepare] "where the text of job logs is kept";
    }
    "job output comes back where the restored settings look for it, so that is where there must be \
     room, and where a disk of its own must be mounted first",
    "R65, R112; measured: test cases hold absolute paths below it" => {
        MediaRoot = "settings.media_root" [Ok, Note] "where job output goes on the target";
    }
    "jobs that the lab ran after the backup had these ids, and whoever keeps results by id mixes \
     the new ones up with them", "R27" => {
        JobsNextId = "jobs.next_id" [Ok, Note, Refuse] "which id the restored lab's next job has";
    }
    "before the lab starts it must be known what would run in it", "R78, R83, R119, C5" => {
        EnvJobs = "env.jobs" [Ok, Note] "jobs in the dump are between queue and end, or wait";
    }
    "a device in service takes a job as soon as the scheduler runs", "R78, R84, R104, C3" => {
        EnvDevices = "env.devices" [Ok, Note] "devices in the dump are neither in maintenance nor retired";
    }
    "each is filled again while the dump is loaded, and that can take long or fail",
    "measured: it pins columns of the tables it reads" => {
        EnvQueries = "env.queries" [Ok, Note] "the dump holds saved queries";
    }

    // Of the target's base system.
    "the backup's packages and its database's order of text belong to its base suite",
    "R44-R46, R86" => {
        SuiteSame = "suite.same" [Ok, Note] "backup and target have one base suite";
        SuiteOther = "suite.other" [Refuse] "the target has another base suite";
        SuiteUnknown = "suite.unknown" [Refuse] "a base suite is unknown or its signs disagree";
        SuiteMixed = "suite.mixed" [Note, Refuse] "packages without which no system works are from two releases";
        SuitePoint = "suite.point" [Ok, Note] "which point release of the suite it is";
        SuiteDistribution = "suite.distribution" [Ok, Note, Refuse] "whether it is Debian, and no other that has its codenames";
    }
    "the backup's packages are of its architecture", "R21, R52" => {
        Arch = "arch" [Ok, Refuse] "backup and target have one architecture";
        ArchUnknown = "arch.unknown" [Refuse] "an architecture is unknown";
        ArchForeign = "arch.foreign" [Ok, Note, Prepare] "dpkg takes the backup's other architectures too";
    }
    "a base system that is behind gets its updates before LAVA's packages are laid on it, not in \
     the middle of a restore", "R50, R52, R86, C11" => {
        BaseOutdated = "base.outdated" [Ok, Note] "updates wait for the target's packages";
    }
    "signatures of archives and tokens of users seem to be from the future", "R52" => {
        Clock = "clock" [Ok, Note] "the target's clock is not before the backup's date";
    }
    "a master is restored to a master, a worker to a worker", "R85, R88" => {
        TargetRole = "target.role" [Ok, Prepare, Refuse] "what the target is in its lab";
    }
    "every service of LAVA must be still while the database is replaced: a worker runs again each \
     job that it does not know and the database calls running",
    "R93-R100, C6, C12; measured on 2023.01" => {
        Units = "units" [Ok] "the target has this service";
        UnitsMissing = "units.missing" [Refuse] "the target lacks a service of the release";
        UnitsUnknown = "units.unknown" [Prepare, Refuse] "the target's services are unknown";
    }
    "a fault of the target's is found by the smoke test, which wants its services up; started on a \
     restored database, they drive what is in it",
    "R92-R94; measured: with a service down `check --deploy` exits 1" => {
        UnitsStopped = "units.stopped" [Note, Prepare, Refuse] "a service of the master's is down";
    }
    "what is wrong with the target is found before the load, when it can't be the backup's", "R92, C8" => {
        SmokeNone = "smoke.none" [Note, Refuse] "LAVA has no database on the target, so it is not tried before the load";
    }
    "an upgrade of lava-server in the middle of a restore migrates the database", "R34" => {
        PkgUnattended = "pkg.unattended" [Note] "something changes packages by itself";
        PkgUnattendedUnknown = "pkg.unattended_unknown" [Refuse] "whether something does is unknown";
    }
    "users and their programs must be kept out by taking LAVA's site out of apache, which itself \
     stays up because the smoke test calls it an error when it is down",
    "R75, R76, R79; measured on 2023.01" => {
        Isolation = "isolation" [Ok] "apache does not serve LAVA on the target";
        IsolationOpen = "isolation.open" [Note] "apache serves LAVA on the target, so users reach it";
        IsolationUnknown = "isolation.unknown" [Refuse] "whether apache serves LAVA is unknown";
    }
    "the database is built beside the one that is there, and a full disk ends the server; job \
     output that does not fit leaves jobs without logs", "R3, R63, R102, R112" => {
        Space = "space" [Ok, Note, Refuse] "the target has room for what the backup brings";
    }
    "links in mail, bookmarks and workers' settings name the old host", "R79, R127" => {
        Hostname = "hostname" [Ok, Note] "the target has the name of the backup's host";
    }

    // Of the target's packages.
    "whoever finishes it after the load configures LAVA, and that migrates the database",
    "R34; measured: dpkg configures it with the next package" => {
        PkgClean = "pkg.clean" [Ok] "dpkg has left nothing undone on the target";
        PkgUnclean = "pkg.unclean" [Refuse] "dpkg has left a package undone";
        PkgInterrupted = "pkg.interrupted" [Refuse] "dpkg was interrupted, or runs";
    }
    "database and packages must match precisely", "R30, R36, R64" => {
        PkgUnknown = "pkg.unknown" [Refuse] "one host's packages are unknown";
    }
    "a backup is restored to its very release, so that must be known on both sides",
    "R89, R90, R129" => {
        LavaUnknown = "lava.unknown" [Refuse] "which LAVA release it is can't be told";
    }
    "the backup's database belongs to exactly this release", "R39, R88, R89" => {
        LavaEqual = "lava.equal" [Ok] "the target has the backup's LAVA";
        LavaAbsent = "lava.absent" [Prepare] "the target has no LAVA";
    }
    "brought forward later, the package migrates the restored database; brought forward now, it \
     meets an empty one", "R89, C4" => {
        LavaOlder = "lava.older" [Prepare] "the target's LAVA is older";
    }
    "packages differ, and to configure lava-server migrates the database that is there now, which is \
     to be kept", "R34" => {
        PkgChangeWithData = "pkg.change_with_data" [Refuse] "packages have to change on a target that holds a lab";
    }
    "another build of the same release; the sets of migrations decide", "C4" => {
        LavaOtherBuild = "lava.other_build" [Note] "the target has another build of the release";
        PkgOtherBuild = "pkg.other_build" [Note] "another build of one of LAVA's packages";
    }
    "a newer LAVA migrates the backup's database, silently and for good",
    "R33, R90; measured: 2020.12 into 2023.01 and 2026.10" => {
        LavaNewer = "lava.newer" [Refuse] "the target's LAVA is newer";
    }
    "LAVA's packages are made from one source and call each other's code", "R39, R40" => {
        LavaPartial = "lava.partial" [Note, Prepare, Refuse] "the target's packages of LAVA are of several releases";
    }
    "a master puts a worker of another version offline", "R40, R129" => {
        WorkerPackage = "worker.package" [Prepare] "a worker's package is of another version";
    }
    "Django makes tables of its own: with another feature release the same LAVA has another schema",
    "R19, R36, R41; measured: auth has 11 migrations in Django 2.2, 12 in 3.2" => {
        DjangoSame = "django.same" [Ok] "Django is the same";
        DjangoRevision = "django.revision" [Note] "Django has another Debian revision";
        DjangoPatch = "django.patch" [Prepare] "Django is of another patch release";
        DjangoFeature = "django.feature" [Prepare, Refuse] "Django is of another feature release";
        DjangoAbsent = "django.absent" [Prepare] "the target has no Django";
    }
    "LAVA's code, its tables and the server that takes the dump stand on it", "R36-R41" => {
        PkgSame = "pkg.same" [Ok] "a critical package is the same";
        PkgOtherRevision = "pkg.other_revision" [Note] "it differs in no more than its Debian revision";
        PkgOtherMajor = "pkg.other_major" [Note] "the package of the server's old major is not there";
        PkgCriticalDiffers = "pkg.critical_differs" [Prepare] "a critical package differs or is not there";
        PkgDowngrade = "pkg.downgrade" [Prepare] "a critical package has to go back to an older version";
    }
    "a backport is another version than the suite's, even where the number looks alike",
    "R24, R45, R46, R50" => {
        BpoMissing = "bpo.missing" [Note, Prepare] "the backup had a backport where the target has none";
        BpoExtra = "bpo.extra" [Note, Refuse] "the target has a backport where the backup had none";
    }
    "what comes from another archive than Debian's own can't be installed without it", "R24, R51, R87" => {
        SourceMissing = "source.missing" [Ok, Note, Prepare] "an archive that packages must come from is not among the target's sources";
    }
    "lists that are missing or too old stop an installation, or bring something else", "R52, R87" => {
        TargetLists = "target.lists" [Ok, Note] "whether the target has lists of packages to install from";
    }
    "what LAVA calls may fail at run time with another version", "R37" => {
        DepDiffers = "dep.differs" [Ok, Note, Prepare] "a direct dependency of LAVA's differs";
    }
    "no package is changed while it is on hold, and the installation stops there", "R52, C11" => {
        PkgHoldBlocks = "pkg.hold_blocks" [Prepare] "a package that must change is on hold on the target";
    }
    "a lab needs more than LAVA: consoles, boot services, containers", "R37, R47, R54, R69" => {
        PkgOthers = "pkg.others" [Ok, Note] "packages that an admin installed on the backup's host are not on the target";
    }
    "LAVA runs in the suite's Python and is not installed for another", "R37, R44" => {
        Python = "python" [Ok, Note, Refuse] "Python is of the same minor release";
    }
    "LAVA's developers warned of this combination", "R42; lava-announce, Debian bug 858835" => {
        PkgErratum = "pkg.erratum" [Note, Prepare] "a package is of a version that breaks LAVA";
    }
    "the package migrates a database that lacks one, and breaks on one that has more; LAVA's checks \
     see neither", "R30, C4; measured on three releases" => {
        TargetMigrations = "target.migrations" [Ok, Prepare] "the target's packages ship the dump's migrations";
        TargetMigrationsUnknown = "target.migrations_unknown" [Refuse] "which ones they ship is unknown";
        TargetMigrationsDiffer = "target.migrations_differ" [Prepare, Refuse] "they ship others";
    }

    // Of the target's server.
    "an older server does not take a newer dump",
    "R38, R103; measured: 17 into 15 fails, 13 into 15 and 15 into 17 go" => {
        PgSame = "pg.same" [Ok, Note] "both servers have one major version";
        PgNewer = "pg.newer" [Note] "the target's server is newer";
        PgOlder = "pg.older" [Refuse] "the target's server is older";
        PgAbsent = "pg.absent" [Prepare] "the target has no server yet";
        PgUnknown = "pg.unknown" [Refuse] "one server's version is unknown";
        PgClientOld = "pg.client_old" [Refuse] "pg_restore on the target is older than the dump";
    }
    "the plan restores to a server on the target itself", "R81" => {
        PgRemote = "pg.remote" [Refuse] "the settings name a server on another host";
    }
    "the restored settings look for the database at their own port", "R103, C7" => {
        PgCluster = "pg.cluster" [Ok, Note, Refuse] "a cluster of the target has the port of the restored settings";
    }
    "text of one encoding is loaded into another without an error",
    "R102; measured: a load into SQL_ASCII exits 0" => {
        PgEncoding = "pg.encoding" [Ok, Note, Refuse] "the target's cluster has the dump's encoding";
    }
    "a database can't be made with a locale that its host does not have", "R102" => {
        PgLocale = "pg.locale" [Ok, Note, Prepare] "the target has the locale of the backup's database";
    }
    "another C library may order text otherwise: indexes are built anew by the load, which stops \
     where a unique one clashes", "R102" => {
        PgCollation = "pg.collation" [Ok, Note] "the order of text may differ";
    }
    "a dump names the roles that own things and does not hold them", "R102, C7" => {
        PgRole = "pg.role" [Ok, Note] "the role that owns the database is on the target's server";
    }
    "an extension that the server does not have can't be made, and the load stops", "R102" => {
        PgExtension = "pg.extension" [Ok, Note, Refuse] "the target's server has the dump's extensions";
    }
    "the restored database takes this one's place", "R91, C10" => {
        TargetEmpty = "target.empty" [Ok] "the target holds no lab";
        TargetHasData = "target.has_data" [Note, Prepare, Refuse] "the target holds a lab";
        TargetDataUnknown = "target.data_unknown" [Refuse] "whether the target holds a lab is unknown";
    }

    // Of a worker, and of a lab's hosts among each other.
    "a master hands jobs to workers that prove who they are",
    "R57, R67, R68, R127; measured: error 400 for another token" => {
        WorkerSecret = "worker.secret" [Ok, Note, Prepare] "the backup holds what the worker proves itself with";
    }
    "a host of another name is another worker to the master, with none of its devices",
    "R127; measured: error 404" => {
        WorkerName = "worker.name" [Ok, Note, Prepare] "the worker keeps the name that its master knows";
    }
    "a worker asks where its restored settings say", "R67, R131" => {
        WorkerMaster = "worker.master_address" [Ok, Note] "a worker's settings name the master that is restored";
    }
    "a master puts a worker of another version offline; before and after 2020.09 they do not even \
     speak the same language", "R129; measured" => {
        WorkerVersion = "worker.version" [Ok, Refuse] "master and worker have one release";
        WorkerProtocol = "worker.protocol" [Refuse] "one is of before 2020.09, the other is not";
    }
    "a lab that lets workers of other versions in sees later, and on its devices, that they differ",
    "R129" => {
        WorkerMismatch = "worker.mismatch_allowed" [Note] "the settings let workers of other versions in";
    }
    "a master answers a worker that it does not know with an error",
    "R126, R131; measured: error 404" => {
        WorkerKnown = "worker.known" [Ok, Note, Refuse] "the master's database knows the worker";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_a_word_of_its_own() {
        let words: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        let plain = |b: u8| b.is_ascii_lowercase() || b"._".contains(&b);
        assert!(words.iter().all(|word| word.bytes().all(plain)));
    }

    #[test]
    fn a_ground_names_each_requirement_of_a_range() {
        let of = |code: Code| code.requirements().collect::<Vec<_>>();
        assert_eq!(of(Code::SuiteSame), ["R44", "R45", "R46", "R86"]);
        assert_eq!(of(Code::LavaNewer), ["R33", "R90"]);
        assert!(of(Code::NameUnsafe).is_empty());
    }
}
