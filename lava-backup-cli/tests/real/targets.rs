//! What is wrong with a real target is read from it and told by its code, and a plan from facts
//! that were written by hand is the plan from those that were read.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::master::{Master, SERVICES};
use crate::release::Release;

const TEST: &str = "what_is_wrong_with_a_real_target_is_told_by_its_code";
/// Within a master.
const FILE: &str = "/srv/backup.tar.zst";

#[test]
fn what_is_wrong_with_a_real_target_is_told_by_its_code() {
    let Some(release) = Release::at_hand("bookworm", TEST) else {
        return;
    };
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let target = release.master(dir.path().join("target"));
    // Its own backup: whatever is told below comes of what is done below.
    let lab = release.master(dir.path().join("lab"));
    lab.populate(10);
    lab.lava_backup(&["create", "--to", FILE], 0);
    let file = |master: &Master| master.dir.join("srv/backup.tar.zst");
    fs::copy(file(&lab), file(&target)).unwrap();

    let (code, before) = codes(&target);
    assert!([0, 4].contains(&code), "{before:#?}");
    assert_eq!(before["target.empty"], "ok");
    assert_eq!(
        before["pkg.unattended"], "note",
        "its timers are active: {before:#?}"
    );
    assert_eq!(before["isolation.open"], "note", "users reach it");

    for (what, undo, severity, wanted) in [
        (
            "sed -i '/^Package: python3-django$/,/^$/s/^Version: .*/Version: 3:4.2.28-1/' STATUS",
            "cp STATUS.kept STATUS",
            "refuse",
            "django.feature",
        ),
        (
            "sed -i '/^Package: lava-server$/,/^$/s/^Version: .*/Version: 2023.03-1/' STATUS",
            "cp STATUS.kept STATUS",
            "refuse",
            "lava.newer",
        ),
        (
            "mkdir -p /root/deb/DEBIAN; cd /root; printf '%s\\n' 'Package: half' 'Version: 1' \
                'Architecture: all' 'Maintainer: nobody' 'Description: none' > deb/DEBIAN/control; \
                dpkg-deb -b deb half.deb; dpkg --unpack half.deb",
            "dpkg --purge half",
            "refuse",
            "pkg.unclean",
        ),
        (
            "rm /usr/lib/python3/dist-packages/lava_scheduler_app/migrations/0056*",
            "touch /usr/lib/python3/dist-packages/lava_scheduler_app/migrations/0056_testjob_queue_timeout.py",
            "refuse",
            "target.migrations_differ",
        ),
        (
            "systemctl stop postgresql@15-main",
            "systemctl start postgresql@15-main",
            "refuse",
            "target.data_unknown",
        ),
        // The superuser sees that there is a database, and tells nothing in its role's place.
        (
            "cd /; runuser -u postgres -- psql -qXc 'ALTER ROLE lavaserver NOLOGIN'",
            "cd /; runuser -u postgres -- psql -qXc 'ALTER ROLE lavaserver LOGIN'",
            "refuse",
            "target.data_unknown",
        ),
        (
            "lava-server manage workers add rack-z; lava-server manage device-types add qemu; \
                lava-server manage devices add q --device-type qemu --worker rack-z",
            "true",
            "refuse",
            "target.has_data",
        ),
    ] {
        let script = |text: &str| text.replace("STATUS", "/var/lib/dpkg/status");
        target
            .run(&[
                "sh",
                "-c",
                "cp /var/lib/dpkg/status /var/lib/dpkg/status.kept",
            ])
            .ends(0);
        let done = target.run(&["sh", "-c", &script(what)]);
        assert_eq!(done.code, 0, "{what}\n{}", done.err);
        let (code, found) = codes(&target);
        assert_eq!(
            found.get(wanted).map(String::as_str),
            Some(severity),
            "{wanted}: {found:#?}"
        );
        assert_eq!(code, 3, "{wanted}");
        target.run(&["sh", "-c", &script(undo)]).ends(0);
    }

    // As lava-server's scripts leave it where they are cut off before they make its role.
    let cut_off = "systemctl stop SERVICES; cd /; runuser -u postgres -- dropdb --force lavaserver
        runuser -u postgres -- dropuser lavaserver";
    let cut_off = cut_off.replace("SERVICES", &SERVICES.join(" "));
    target.run(&["sh", "-ec", &cut_off]).ends(0);
    let facts = target.run(&["lava-backup", "facts"]).ends(0).json();
    assert_eq!(facts["database"]["state"], "absent", "{facts:#}");
}

/// The exit status of a plan from the target's own facts, and the worst severity of each code.
fn codes(target: &Master) -> (i32, BTreeMap<String, String>) {
    let facts = target.run(&["lava-backup", "facts"]).ends(0).out;
    fs::write(target.dir.join("srv/facts.json"), &facts).unwrap();
    let plan =
        |facts: &str| target.run(&["lava-backup", "--json", "plan", FILE, "--target", facts]);
    let read = plan("/srv/facts.json");
    // The same facts as a person writes them: in another order, without what is not known.
    fs::write(target.dir.join("srv/hand.json"), by_hand(&facts)).unwrap();
    let written = plan("/srv/hand.json");
    assert_eq!(
        written.out, read.out,
        "the hand that wrote the facts shows in the plan"
    );

    let mut codes = BTreeMap::new();
    for finding in read.json()["findings"].as_array().unwrap() {
        let text = |name: &str| finding[name].as_str().unwrap().to_owned();
        // The worst comes first.
        codes
            .entry(text("code"))
            .or_insert_with(|| text("severity"));
    }
    (read.code, codes)
}

fn by_hand(facts: &str) -> String {
    fn turned(value: Value) -> Value {
        match value {
            Value::Array(items) => items.into_iter().rev().map(turned).collect(),
            Value::Object(fields) => {
                let fields = fields
                    .into_iter()
                    .rev()
                    .filter(|(_, value)| !value.is_null());
                Value::Object(fields.map(|(name, value)| (name, turned(value))).collect())
            }
            other => other,
        }
    }
    let facts: Value = serde_json::from_str(facts).unwrap();
    format!("{}\n", turned(facts))
}
