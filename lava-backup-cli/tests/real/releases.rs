//! Real masters of three LAVA releases on three PostgreSQL majors, backed up,
//! drilled on their own server and on later ones, and held against each other's
//! code.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::master::Master;
use crate::release::Release;

const TEST: &str = "masters_of_three_releases_are_drilled_on_every_server_that_takes_them_and_kept_from_other_code";
const JOBS: u32 = 50;
/// Within a master.
const FILE: &str = "/srv/backup.tar.zst";
const FACTS: &str = "/srv/facts.json";

/// A suite and its PostgreSQL.
const RELEASES: [(&str, u64); 3] = [("bullseye", 13), ("bookworm", 15), ("trixie", 17)];

#[test]
fn masters_of_three_releases_are_drilled_on_every_server_that_takes_them_and_kept_from_other_code()
{
    let releases = RELEASES.iter();
    let releases = releases.map(|(suite, _)| Release::at_hand(suite, TEST));
    let Some(releases) = releases.collect::<Option<Vec<_>>>() else {
        return;
    };
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let masters = releases.iter();
    let masters = masters.map(|release| release.master(dir.path().join(release.suite)));
    let masters: Vec<Master> = masters.collect();
    for (master, (suite, major)) in masters.iter().zip(RELEASES) {
        back_up(master, suite, major);
    }
    for (from, (suite, older)) in masters.iter().zip(RELEASES) {
        for (to, (_, newer)) in masters.iter().zip(RELEASES) {
            let copy = format!("/srv/of-{suite}.tar.zst");
            fs::copy(inside(from, FILE), inside(to, &copy)).unwrap();
            if newer >= older {
                drilled(to, &copy, newer);
            } else {
                let refused = to.run(&["lava-backup", "drill", &copy]).ends(1);
                let wants = format!("PostgreSQL server of version {older} or later");
                assert!(refused.err.contains(&wants), "{}", refused.err);
            }
        }
    }
    own_code_and_no_other(&masters);
    rows_that_no_code_made(&masters[1]);
}

fn inside(master: &Master, path: &str) -> PathBuf {
    master.dir.join(path.trim_start_matches('/'))
}

fn back_up(master: &Master, suite: &str, major: u64) {
    let facts = master.run(&["lava-backup", "facts"]).ends(0).out;
    fs::write(inside(master, FACTS), facts).unwrap();
    master.populate(JOBS);
    let made = master.lava_backup(&["create", "--to", FILE], 0);
    assert_eq!(made["outcome"], "complete", "{suite}: {made:#}");
    let shown = master.lava_backup(&["show", FILE], 0);
    let version = ["dpkg-query", "-W", "-f", "${Version}", "lava-server"];
    let version = master.run(&version).ends(0).out;
    let lava = shown["lava"].as_str().unwrap();
    assert!(
        version.starts_with(&format!("{lava}-")),
        "{suite}: {shown:#}"
    );
    let server = shown["database"]["server"].as_str().unwrap();
    assert!(
        server.starts_with(&format!("{major}.")),
        "{suite}: {server}"
    );
    assert_eq!(
        master.lava_backup(&["verify", FILE], 0)["backups"][0]["sound"],
        true
    );
}

fn drilled(master: &Master, file: &str, major: u64) {
    let drilled = master.lava_backup(&["drill", file], 0);
    assert_eq!(drilled["passed"], true, "{file}: {drilled:#}");
    assert_eq!(drilled["postgresql"], major, "{file}");
    let shown = master.lava_backup(&["show", file], 0);
    assert_eq!(
        drilled["tables_equal"], shown["database"]["tables"],
        "{file}"
    );
}

/// A plan goes only to a master whose code made the database.
fn own_code_and_no_other(masters: &[Master]) {
    for (at, (from, ..)) in RELEASES.iter().enumerate() {
        for (to, (master, _)) in masters.iter().zip(RELEASES).enumerate() {
            let file = format!("/srv/of-{from}.tar.zst");
            let plan = ["lava-backup", "--json", "plan", &file, "--target", FACTS];
            let ran = master.run(&plan);
            let codes = codes(&ran.json());
            if at == to {
                assert!([0, 4].contains(&ran.code), "{from}: {codes:?}");
                assert!(codes.iter().any(|c| c == "self.db_pkg_match"), "{codes:?}");
                continue;
            }
            assert_eq!(ran.code, 3, "{from} to {to}: {codes:?}");
            for code in [
                if to > at { "lava.newer" } else { "lava.older" },
                "suite.other",
            ] {
                assert!(codes.iter().any(|c| c == code), "{from} to {to}: {codes:?}");
            }
        }
    }
}

fn codes(plan: &Value) -> Vec<String> {
    let findings = plan["findings"].as_array().unwrap().iter();
    let code = findings.map(|f| f["code"].as_str().unwrap().to_owned());
    code.collect()
}

/// LAVA's own checks see neither.
fn rows_that_no_code_made(master: &Master) {
    let plan = |file: &str| {
        let made = master.lava_backup(&["create", "--to", file], 5);
        let ran = master.run(&["lava-backup", "--json", "plan", file, "--target", FACTS]);
        assert_eq!(ran.code, 3, "{}", ran.err);
        let problems = made["problems"].as_array().unwrap().iter();
        let problems = problems.map(|p| p["code"].as_str().unwrap().to_owned());
        (problems.collect::<Vec<_>>(), codes(&ran.json()))
    };
    master.sql(
        "INSERT INTO django_migrations (app, name, applied) \
                VALUES ('lava_results_app', '0019_auto_later', now())",
    );
    let (problems, findings) = plan("/srv/phantom.tar.zst");
    assert!(
        problems.iter().any(|c| c == "migrations.unknown"),
        "{problems:?}"
    );
    assert!(
        findings.iter().any(|c| c == "self.db_newer_than_code"),
        "{findings:?}"
    );

    master.sql("DELETE FROM django_migrations WHERE name IN ('0019_auto_later', '0056_testjob_queue_timeout')");
    let (problems, findings) = plan("/srv/pending.tar.zst");
    assert!(
        problems.iter().any(|c| c == "migrations.missing"),
        "{problems:?}"
    );
    assert!(
        findings.iter().any(|c| c == "self.db_pending"),
        "{findings:?}"
    );
}
