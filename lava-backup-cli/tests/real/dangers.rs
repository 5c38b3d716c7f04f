//! What may be amiss with a host, with a backup, or while a restore waits, tried on real masters:
//! the restore copes with it, or stops before it matters and says what it found.

use std::fs;

use serde_json::Value;

use crate::common::Ran;
use crate::master::{self, ACTIVE, AWAKE, Master, SERVICES};
use crate::release::Release;

const JOBS: u32 = 60;
const STORE: &str = "/srv/store";
const QUEUE: &str = "master.maintenance.queue";
/// What `scripts/real-lava/package-debs` keeps, beside a pristine master.
const UNATTENDED: &str = "unattended-upgrades";
/// What is there where it is installed, and changes packages by itself.
const UPGRADE_UNITS: [&str; 4] = [
    "apt-daily-upgrade.service",
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "unattended-upgrades.service",
];
const MIGRATIONS: &str = "SELECT count(*) FROM django_migrations";

on_each_release!(a_lab_comes_back_on_a_host_that_is_unlike_its_own);

fn a_lab_comes_back_on_a_host_that_is_unlike_its_own(release: &Release) {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (new, backup) = release.master_to_become(dir.path(), STORE, |lab| {
        sh(
            lab,
            "systemctl stop SERVICES
             mv /var/lib/lava-server/default/media /srv/media
             cd /etc/lava-server/settings.d
             echo 'MEDIA_ROOT: /srv/media' >90-media.yaml
             chown lavaserver:lavaserver 90-media.yaml; chmod 640 90-media.yaml
             systemctl start SERVICES",
        );
        lab.populate(JOBS);
        lab.sql("CREATE ROLE reporting");
        lab.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reporting");
        logs_elsewhere_are_told(lab);
    });
    // Other ids, and nobody knows of the role that reads.
    sh(
        &new,
        "systemctl stop SERVICES
         uid=$(id -u lavaserver) gid=$(id -g lavaserver)
         groupmod -g 4243 lavaserver
         usermod -u 4242 -g 4243 lavaserver
         find / -xdev -uid $uid -exec chown -h 4242 {} +
         find / -xdev -gid $gid -exec chgrp -h 4243 {} +",
    );
    new_cluster(&new, "SQL_ASCII", "C");
    refused(&new, &backup, "pg.encoding");
    new_cluster(&new, "UTF8", "C.UTF-8");
    // The role that owns it is not there, either.
    sh(
        &new,
        "systemctl stop SERVICES; cd /
         runuser -u postgres -- dropdb lavaserver
         runuser -u postgres -- dropuser lavaserver",
    );
    // The server's superuser knows that there is no database, and so nothing to replace.
    new.plan(&["--store", STORE, &backup], &[]);
    let done = new.restore(&[], 0);
    assert_eq!(done["outcome"], "finished", "{done:#}");
    new.is_the_lab_of(STORE, &backup);
    let readers = "SELECT has_table_privilege('reporting', 'lava_scheduler_app_testjob', 'SELECT')";
    assert_eq!(new.sql(readers), "t");
    let owner = "SELECT rolname, rolcanlogin, rolsuper FROM pg_roles, pg_database \
                 WHERE pg_roles.oid = datdba AND datname = 'lavaserver'";
    assert_eq!(new.sql(owner), "lavaserver|t|f");
    let owners = "find /srv/media -name output.yaml -printf '%U:%G\\n' | sort -u";
    assert_eq!(sh(&new, owners).out, "4242:4243\n");
}

/// A cluster with the database that LAVA's package makes in it.
fn new_cluster(new: &Master, encoding: &str, locale: &str) {
    let script = "systemctl stop SERVICES
         major=$(ls /etc/postgresql)
         pg_dropcluster --stop $major main
         pg_createcluster --encoding ENCODING --locale LOCALE $major main --start >/dev/null
         cd /
         runuser -u postgres -- psql -qXc 'CREATE ROLE lavaserver LOGIN'
         runuser -u postgres -- createdb -O lavaserver lavaserver";
    let script = script.replace("ENCODING", encoding);
    sh(new, &script.replace("LOCALE", locale));
    new.take_other_credentials();
    let migrate = "lava-server manage migrate >/dev/null
         systemctl reset-failed 'lava-*'; systemctl restart SERVICES";
    sh(new, migrate);
    assert_eq!(new.sql("SHOW server_encoding"), encoding);
}

fn refused(new: &Master, backup: &str, code: &str) {
    let planned = new.run(&["lava-backup", "plan", "--store", STORE, backup]);
    assert_eq!(planned.code, 3, "{}", planned.out);
    let line = format!("**refuse** `{code}`");
    assert!(planned.out.contains(&line), "{code}: {}", planned.out);
}

/// A backup of such a lab lacks what people look for first, and says so.
fn logs_elsewhere_are_told(lab: &Master) {
    let elsewhere = "LAVA_LOG_BACKEND: lava_scheduler_app.logutils.LogsElasticsearch";
    let settings = "/etc/lava-server/settings.d/91-logs.yaml";
    sh(lab, &format!("echo '{elsewhere}' >{settings}"));
    let made = lab.run(&["lava-backup", "create", "--to", "/srv/elsewhere.tar.zst"]);
    assert_eq!(made.code, 5, "{}", made.err);
    for word in ["degraded", "LogsElasticsearch"] {
        assert!(made.out.contains(word) || made.err.contains(word), "{word}");
    }
    sh(lab, &format!("rm {settings} /srv/elsewhere.tar.zst"));
}

on_each_release!(what_happens_while_a_restore_waits_is_seen_before_it_matters);

fn what_happens_while_a_restore_waits_is_seen_before_it_matters(release: &Release) {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let new = release.master(dir.path().join("new"));
    let backup = {
        let lab = release.master(dir.path().join("lab"));
        lab.populate(JOBS);
        assert_ne!(lab.sql(ACTIVE), "0", "there is no job to end");
        let backup = lab.back_up_for(&new, STORE);
        upgrades_by_itself(&lab, release);
        what_is_not_held_is_brought_forward_by_itself(&lab);
        backup
    };
    new.take_other_credentials();
    upgrades_by_itself(&new, release);
    a_package_that_is_not_configured_makes_it_another_host(&new, &backup);
    an_upgrade_at_work_lets_no_restore_begin(&new, &backup);
    a_dump_that_was_cut_leaves_the_database_as_it_was(&new, &backup);

    // What that one stopped and changed is as it left it.
    refused(&new, &backup, "units.stopped");
    let mut plan = new.plan(&["--store", STORE, &backup, "--replace-data"], &[QUEUE]);
    master::be_patient(&mut plan, "server", 20);
    fs::write(new.dir.join("root/plan.json"), plan.to_string()).unwrap();
    let stopped = new.restore(&[], 7);
    assert_eq!(stopped["stopped"]["step"], QUEUE, "{stopped:#}");
    nothing_brings_lava_forward(&new);
    for unit in [&["lava-scheduler.service"], &UPGRADE_UNITS[..]].concat() {
        let started = new.run(&["systemctl", "start", unit]);
        assert_eq!(started.code, 1, "{unit} was started: {}", started.err);
        assert!(started.err.contains("masked"), "{}", started.err);
    }

    // Somebody puts a job and a device back as they were.
    let job = new.sql("SELECT max(id) FROM lava_scheduler_app_testjob");
    let set = |state: u8| {
        let sql = "UPDATE lava_scheduler_app_testjob SET state =";
        new.sql(&format!("{sql} {state} WHERE id = {job}"));
    };
    let was = new.sql(&format!(
        "SELECT state FROM lava_scheduler_app_testjob WHERE id = {job}"
    ));
    set(3);
    new.answer(&plan, &[]);
    stops_at(&new, "master.start.safe:jobs");
    set(was.parse().unwrap());
    new.sql("UPDATE lava_scheduler_app_device SET health = 0 WHERE hostname = (SELECT min(hostname) FROM lava_scheduler_app_device)");
    stops_at(&new, "master.start.safe:health");
    new.sql("UPDATE lava_scheduler_app_device SET health = 4 WHERE health = 0");
    sh(&new, UNPACK);
    stops_at(&new, "master.start.safe:audit");
    what_waits_brings_lava_forward_when_it_is_configured(&new);
    sh(&new, "dpkg --purge half");
    let done = new.restore(&["--resume"], 0);
    assert_eq!(done["outcome"], "finished", "{done:#}");
    new.is_the_lab_of(STORE, &backup);
    assert_eq!(new.sql(AWAKE), "0");
}

/// Whoever configures all that waits for it runs what LAVA's package does then.
const UNPACK: &str = "dpkg --unpack /srv/newer/half.deb >/dev/null";

fn a_package_that_is_not_configured_makes_it_another_host(new: &Master, backup: &str) {
    offer(new, "half", "1", MIGRATES);
    new.plan(&["--store", STORE, backup], &[]);
    sh(new, UNPACK);
    let other = new.run(&["lava-backup", "restore", "/root/plan.json"]);
    assert_eq!(other.code, 6, "{}", other.err);
    let said = "what it was made for, in its disorder, packages\n";
    assert!(other.err.contains(said), "{}", other.err);
    is_untouched(new);
    refused(new, backup, "pkg.unclean");
    sh(new, "dpkg --purge half");
}

/// What the gate was there for. The next one stops it, too, and it is undone.
fn what_waits_brings_lava_forward_when_it_is_configured(new: &Master) {
    let before = new.sql(MIGRATIONS).parse::<u32>().unwrap();
    assert!(!new.dir.join("root/configured").exists());
    sh(new, "dpkg --configure -a");
    assert!(new.dir.join("root/configured").exists());
    assert_eq!(new.sql(MIGRATIONS), (before + 1).to_string());
    stops_at(new, "master.config.server:server");
    new.sql("DELETE FROM django_migrations WHERE app = 'newer'");
    sh(new, "rm /root/configured");
}

fn a_dump_that_was_cut_leaves_the_database_as_it_was(new: &Master, backup: &str) {
    const CUT: &str = "/srv/cut";
    // The first frame, of the largest, that a check of the dump misses something of.
    sh(
        new,
        "cp -a /srv/store /srv/cut; cd /srv/cut
         for frame in $(find frames -type f -printf '%s %p\\n' | sort -rn | cut -d' ' -f2); do
             truncate -s -1000 $frame
             lava-backup verify --store . >/root/verify 2>&1 || true
             ! grep -q 'database/' /root/verify || exit 0
             cp /srv/store/$frame $frame
         done; cat /root/verify; exit 1",
    );
    let plan = new.plan(&["--store", CUT, backup], &[]);
    what_upgrades_by_itself_is_named(&plan);
    let databases = "SELECT count(*) FROM pg_database";
    let before = new.sql(databases);
    let failed = new.restore(&[], 1);
    assert_eq!(failed["stopped"]["step"], "master.database.load");
    let found = failed["stopped"]["found"].as_str().unwrap();
    assert!(found.contains("exit 5"), "{failed:#}");
    assert_eq!(new.sql(databases), before, "it left something");
    assert_eq!(
        new.sql("SELECT count(*) FROM lava_scheduler_app_testjob"),
        "0"
    );
}

/// By apt, with a newer one at hand, asked for by somebody or by nobody.
fn nothing_brings_lava_forward(new: &Master) {
    for unit in UPGRADE_UNITS {
        is_still(new, unit);
        let enabled = new.run(&["systemctl", "is-enabled", unit]);
        assert_eq!(enabled.out, "masked\n", "{unit}");
    }
    let before = lava_of(new);
    offer(new, "lava-server", "2099.01-1", MIGRATES);
    let asked = sh(
        new,
        "apt-get -y upgrade; apt-get -y dist-upgrade; ! apt-get -y install lava-server",
    );
    assert!(asked.out.contains("lava-server"), "{}", asked.out);
    // Whatever starts it, for its units are masked: as its timer would, and as a person may.
    for fire in [
        "/usr/lib/apt/apt.systemd.daily install",
        "unattended-upgrade -d",
    ] {
        let fired = upgrade(new, fire);
        let held = "lava-server is marked to be held back";
        assert!(fired.contains(held), "{fire}: {fired}");
        assert!(
            !fired.contains("Packages that will be upgraded: lava"),
            "{fire}: {fired}"
        );
    }
    assert_eq!(lava_of(new), before);
    assert!(!new.dir.join("root/configured").exists());
    sh(new, "cd /srv/newer; : >Packages; apt-get update >/dev/null");
}

/// One that was ended at work may call itself failed.
#[track_caller]
fn is_still(new: &Master, unit: &str) {
    let active = new.run(&["systemctl", "is-active", unit]).out;
    assert!(
        ["inactive\n", "failed\n"].contains(&active.as_str()),
        "{unit}: {active}"
    );
}

/// What the package's own script does, as far as it matters here.
const MIGRATES: &str = "touch /root/configured; cd /
    runuser -u postgres -- psql -qXd lavaserver -c \
        \"INSERT INTO django_migrations (app, name, applied) VALUES ('newer', '0001', now())\"";

/// The try that fails while the packages are on hold, where nothing is.
fn what_is_not_held_is_brought_forward_by_itself(lab: &Master) {
    let before = lab.sql(MIGRATIONS).parse::<u32>().unwrap();
    offer(lab, "lava-server", "2099.01-1", MIGRATES);
    let fired = upgrade(lab, "systemctl start apt-daily-upgrade.service");
    let upgraded = "Packages that will be upgraded: lava-server";
    assert!(fired.contains(upgraded), "{fired}");
    assert!(lab.dir.join("root/configured").exists(), "{fired}");
    let (packages, migrations) = lava_of(lab);
    assert!(
        packages.contains("lava-server 2099.01-1 installed"),
        "{packages}"
    );
    assert_eq!(migrations, (before + 1).to_string(), "{fired}");
}

/// What its unit has started is not ended with the unit (`KillMode=process`), and nobody waits for
/// it where `unattended-upgrades.service` is down. It looks at holds as it begins, and has dpkg's
/// lock from before that to its end: whoever would put packages on hold meanwhile finds it locked.
fn an_upgrade_at_work_lets_no_restore_begin(new: &Master, backup: &str) {
    offer(new, "other", "1", ":");
    sh(
        new,
        "dpkg -i /srv/newer/other.deb; systemctl stop unattended-upgrades.service",
    );
    offer(new, "other", "2", ":");
    let waits =
        "DPkg::Pre-Invoke { \"touch /root/began; until [ -e /root/go ]; do sleep 0.1; done\"; };";
    let hook = new.dir.join("etc/apt/apt.conf.d/53waits");
    fs::write(&hook, waits).unwrap();
    // Made while it was not at work yet: its timer starts it when it likes.
    let plan = new.plan(&["--store", STORE, backup], &[]);
    what_upgrades_by_itself_is_named(&plan);
    sh(
        new,
        "rm -rf /var/lib/apt/periodic/*
         systemctl start --no-block apt-daily-upgrade.service
         timeout 60 sh -c 'until [ -e /root/began ]; do sleep 0.1; done'",
    );
    let before = lava_of(new);
    let failed = new.restore(&[], 1);
    assert_eq!(
        failed["stopped"]["step"], "master.quiesce.hold",
        "{failed:#}"
    );
    let said = failed["stopped"]["said"].to_string();
    assert!(said.contains("lock was locked"), "{said}");
    for unit in UPGRADE_UNITS {
        is_still(new, unit);
    }
    assert_eq!(lava_of(new), before);

    fs::remove_file(&hook).unwrap();
    let script = "touch /root/go
         timeout 60 sh -c 'while pgrep -x unattended-upgr >/dev/null; do sleep 0.1; done'
         dpkg-query -W -f '${Version}' other
         systemctl unmask UNITS 2>/dev/null
         systemctl start apt-daily.timer apt-daily-upgrade.timer unattended-upgrades.service";
    let after = sh(new, &script.replace("UNITS", &UPGRADE_UNITS.join(" ")));
    assert_eq!(after.out, "2", "it was not at work");
}

/// Each of its units, as what is there and as what is stopped: timers before what they start.
fn what_upgrades_by_itself_is_named(plan: &Value) {
    let findings = plan["findings"].as_array().unwrap().iter();
    let found = findings.filter(|finding| finding["code"] == "pkg.unattended");
    let found: Vec<_> = found.map(|finding| &finding["subject"]).collect();
    assert_eq!(found, UPGRADE_UNITS);
    let mut steps = plan["steps"].as_array().unwrap().iter();
    let step = steps.find(|step| step["id"] == "master.base.timers");
    let is_timer = |unit: &&str| unit.ends_with(".timer");
    let (timers, services): (Vec<_>, Vec<_>) = UPGRADE_UNITS.into_iter().partition(is_timer);
    let lines = [
        ("stop", &timers[..]),
        ("stop", &services),
        ("mask", &UPGRADE_UNITS),
    ];
    let argv = lines.map(|(verb, units)| [&["systemctl", verb], units].concat());
    assert_eq!(step.unwrap()["argv"], serde_json::json!(argv));
}

/// Gives a host the package that upgrades with nobody asking, told to take all that it finds.
fn upgrades_by_itself(host: &Master, release: &Release) {
    let debs = release.debs(UNATTENDED);
    assert!(debs.exists(), "scripts/test makes {}", debs.display());
    let to = host.dir.join("srv/debs");
    fs::create_dir_all(&to).unwrap();
    for deb in fs::read_dir(debs).unwrap() {
        let deb = deb.unwrap();
        fs::copy(deb.path(), to.join(deb.file_name())).unwrap();
    }
    sh(
        host,
        "DEBIAN_FRONTEND=noninteractive dpkg -i /srv/debs/*.deb",
    );
    let settings = "APT::Periodic::Unattended-Upgrade \"1\";
        Unattended-Upgrade::Origins-Pattern { \"origin=*\"; };";
    fs::write(host.dir.join("etc/apt/apt.conf.d/52lab"), settings).unwrap();
    // There is no network to the others.
    let source = "rm /etc/apt/sources.list.d/*
         echo 'deb [trusted=yes] file:/srv/newer ./' >/etc/apt/sources.list.d/newer.list";
    sh(host, source);
}

/// A package that a host's apt finds, and no other.
fn offer(host: &Master, name: &str, version: &str, postinst: &str) {
    let control = host.dir.join("srv/newer/deb/DEBIAN");
    fs::create_dir_all(&control).unwrap();
    let fields = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody\nDescription: none\n"
    );
    fs::write(control.join("control"), fields).unwrap();
    fs::write(
        control.join("postinst"),
        format!("#!/bin/sh -e\n{postinst}\n"),
    )
    .unwrap();
    let script = "cd /srv/newer; chmod 755 deb/DEBIAN/postinst
         dpkg-deb -b deb NAME.deb >/dev/null
         size=$(stat -c %s NAME.deb) sum=$(sha256sum NAME.deb | cut -d' ' -f1)
         { cat deb/DEBIAN/control; echo \"Filename: ./NAME.deb\"; echo \"Size: $size\"
           echo \"SHA256: $sum\"; } >Packages
         apt-get update >/dev/null";
    sh(host, &script.replace("NAME", name));
}

/// Runs what upgrades with nobody asking, and tells what that logged.
fn upgrade(host: &Master, fire: &str) -> String {
    // By these times it is kept to once a day.
    let script = "rm -rf /var/lib/apt/periodic/*
         cd /var/log/unattended-upgrades; : >unattended-upgrades.log
         FIRE >/dev/null 2>&1; cat unattended-upgrades.log";
    sh(host, &script.replace("FIRE", fire)).out
}

/// Every package of LAVA's and Django's with its version and state, and how many migrations its
/// database has.
fn lava_of(host: &Master) -> (String, String) {
    let query = "dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\\n' 'lava-*' 'python3-django*'";
    (sh(host, query).out, host.sql(MIGRATIONS))
}

/// Goes on, and is stopped by a gate before anything starts.
fn stops_at(new: &Master, gate: &str) {
    let stopped = new.restore(&["--resume"], 7);
    assert_eq!(stopped["outcome"], "gate", "{stopped:#}");
    assert_eq!(stopped["stopped"]["gate"], gate, "{stopped:#}");
    for service in SERVICES {
        let active = new.run(&["systemctl", "is-active", service]);
        assert_eq!(active.out.trim(), "inactive", "{service}");
    }
}

fn is_untouched(new: &Master) {
    assert!(!new.dir.join("var/lib/lava-backup/restore").exists());
    let (open, _) = new.page("/");
    assert_eq!(open, 200);
}

/// Runs a script on a master; `SERVICES` stands for LAVA's.
fn sh(master: &Master, script: &str) -> Ran {
    let script = script.replace("SERVICES", &SERVICES.join(" "));
    let ran = master.run(&["sh", "-ec", &script]);
    assert_eq!(ran.code, 0, "{script}\n{}{}", ran.out, ran.err);
    ran
}
