//! What may be amiss with a host, with a backup, or while a restore waits, tried on real masters:
//! the restore copes with it, or stops before it matters and says what it found.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/real.rs"]
mod real;

use std::path::Path;

use common::Ran;
use real::{ACTIVE, AWAKE, Master};

const JOBS: u32 = 60;
const STORE: &str = "/srv/store";
const PROGRAM: &str = env!("CARGO_BIN_EXE_lava-backup");
const SERVICES: [&str; 3] = ["lava-server-gunicorn", "lava-scheduler", "lava-publisher"];
const QUEUE: &str = "master.maintenance.queue";

#[test]
fn a_lab_comes_back_on_a_host_that_is_unlike_its_own() {
    let Some(pristine) = real::pristine("a_lab_comes_back_on_a_host_that_is_unlike_its_own") else {
        return;
    };
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let new = Master::clone_of(&pristine, dir.path().join("new"), Path::new(PROGRAM));
    let backup = {
        let lab = Master::clone_of(&pristine, dir.path().join("lab"), Path::new(PROGRAM));
        sh(
            &lab,
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
        logs_elsewhere_are_told(&lab);
        lab.back_up_for(&new, STORE)
    };
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
    new.plan(&["--store", STORE, &backup], &[]);
    let done = new.restore(&[], 0);
    assert_eq!(done["outcome"], "finished", "{done:#}");
    new.is_the_lab_of(STORE, &backup);
    let readers = "SELECT has_table_privilege('reporting', 'lava_scheduler_app_testjob', 'SELECT')";
    assert_eq!(new.sql(readers), "t");
    let owners = "find /srv/media -name output.yaml -printf '%U:%G\\n' | sort -u";
    assert_eq!(sh(&new, owners).out, "4242:4243\n");
}

/// A cluster with the database that LAVA's package makes in it.
fn new_cluster(new: &Master, encoding: &str, locale: &str) {
    let script = "systemctl stop SERVICES
         pg_dropcluster --stop 15 main
         pg_createcluster --encoding ENCODING --locale LOCALE 15 main --start >/dev/null
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

#[test]
fn what_happens_while_a_restore_waits_is_seen_before_it_matters() {
    let Some(pristine) =
        real::pristine("what_happens_while_a_restore_waits_is_seen_before_it_matters")
    else {
        return;
    };
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let new = Master::clone_of(&pristine, dir.path().join("new"), Path::new(PROGRAM));
    let backup = {
        let lab = Master::clone_of(&pristine, dir.path().join("lab"), Path::new(PROGRAM));
        lab.populate(JOBS);
        assert_ne!(lab.sql(ACTIVE), "0", "there is no job to end");
        lab.back_up_for(&new, STORE)
    };
    new.take_other_credentials();
    a_package_that_is_not_configured_makes_it_another_host(&new, &backup);
    a_dump_that_was_cut_leaves_the_database_as_it_was(&new, &backup);

    // What that one stopped and changed is as it left it.
    refused(&new, &backup, "units.stopped");
    let plan = new.plan(&["--store", STORE, &backup, "--replace-data"], &[QUEUE]);
    let stopped = new.restore(&[], 7);
    assert_eq!(stopped["stopped"]["step"], QUEUE, "{stopped:#}");
    nothing_brings_lava_forward(&new);
    for unit in ["lava-scheduler.service", "apt-daily-upgrade.service"] {
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
    sh(&new, HALF);
    stops_at(&new, "master.start.safe:audit");
    sh(&new, "dpkg --purge half");
    let done = new.restore(&["--resume"], 0);
    assert_eq!(done["outcome"], "finished", "{done:#}");
    new.is_the_lab_of(STORE, &backup);
    assert_eq!(new.sql(AWAKE), "0");
}

/// A package that is unpacked: whoever configures all that waits for it runs what LAVA's package
/// does then.
const HALF: &str = "mkdir -p /root/half/DEBIAN; cd /root
    printf '%s\\n' 'Package: half' 'Version: 1' 'Architecture: all' 'Maintainer: nobody' \
        'Description: none' >half/DEBIAN/control
    dpkg-deb -b half half.deb >/dev/null; dpkg --unpack half.deb >/dev/null";

fn a_package_that_is_not_configured_makes_it_another_host(new: &Master, backup: &str) {
    new.plan(&["--store", STORE, backup], &[]);
    sh(new, HALF);
    let other = new.run(&["lava-backup", "restore", "/root/plan.json"]);
    assert_eq!(other.code, 6, "{}", other.err);
    is_untouched(new);
    refused(new, backup, "pkg.unclean");
    sh(new, "dpkg --purge half");
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
    new.plan(&["--store", CUT, backup], &[]);
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

/// By apt, with a newer one at hand.
fn nothing_brings_lava_forward(new: &Master) {
    let newer = sh(
        new,
        "mkdir -p /srv/newer/deb/DEBIAN; cd /srv/newer
         printf '%s\\n' 'Package: lava-server' 'Version: 2099.01-1' 'Architecture: all' \
             'Maintainer: nobody' 'Description: none' >deb/DEBIAN/control
         printf '#!/bin/sh\\ntouch /root/configured\\n' >deb/DEBIAN/postinst
         chmod 755 deb/DEBIAN/postinst
         dpkg-deb -b deb lava-server.deb >/dev/null
         size=$(stat -c %s lava-server.deb) sum=$(sha256sum lava-server.deb | cut -d' ' -f1)
         { cat deb/DEBIAN/control; echo \"Filename: ./lava-server.deb\"; echo \"Size: $size\"
           echo \"SHA256: $sum\"; } >Packages
         echo 'deb [trusted=yes] file:/srv/newer ./' >/srv/newer.list
         apt='apt-get -y -o Dir::Etc::SourceList=/srv/newer.list -o Dir::Etc::SourceParts=-'
         $apt update >/dev/null
         $apt upgrade; $apt dist-upgrade; ! $apt install lava-server",
    );
    assert!(newer.out.contains("lava-server"), "{}", newer.out);
    assert!(!new.dir.join("root/configured").exists(), "{}", newer.out);
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
