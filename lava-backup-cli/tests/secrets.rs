//! The passwords that apt and debconf of a host have: a backup keeps them in files of the class
//! `secret`, and nothing that is said or written beside these has one.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "../../lava-backup-debian/tests/debs/mod.rs"]
#[allow(unreachable_pub, dead_code)]
mod debs;

use std::collections::BTreeSet;
use std::fs;

use common::lava_backup;
use debs::Lab;

/// What every password here holds.
const MARK: &str = "hunter2";

/// Files of a host, each with a password.
const SECRET: [(&str, &str); 9] = [
    (
        "etc/apt/apt.conf.d/90proxy",
        "Acquire::http::Proxy \"http://u:MARK@proxy:3128\";\n",
    ),
    (
        "etc/apt/auth.conf",
        "machine mirror login u password MARK\n",
    ),
    (
        "etc/apt/auth.conf.d/lab.conf",
        "machine mirror login u password MARK\n",
    ),
    (
        "etc/apt/auth.conf~",
        "machine mirror login u password MARK\n",
    ),
    (
        "etc/apt/sources.list.d/lab.list",
        "deb http://u:MARK@127.0.0.1:9/debian bookworm main\n",
    ),
    (
        "etc/apt/sources.list.d/lab.sources",
        "Types: deb\nURIs: https://MARK@127.0.0.1:9/debian\nSuites: bookworm\nComponents: main\n",
    ),
    (
        "etc/apt/sources.list.d/lab.list.save",
        "# deb http://u:MARK@mirror/debian x main\n",
    ),
    (
        "var/cache/debconf/config.dat",
        "Name: a/password\nTemplate: a/password\nValue: MARK\n",
    ),
    (
        "var/cache/debconf/passwords.dat",
        "Name: a/password\nTemplate: a/password\nValue: MARK\n",
    ),
];

#[test]
fn passwords_of_apt_and_debconf_are_in_secret_files_and_nowhere_else() {
    let lab = Lab::new();
    fs::write(lab.at("root/etc/hostname"), "lab\n").unwrap();
    fs::create_dir_all(lab.at("root/var/lib/lava-server/default/media/job-output")).unwrap();
    for (file, text) in SECRET {
        let path = lab.at("root").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("MARK", MARK)).unwrap();
    }
    let text = |path: &str| lab.at(path).to_str().unwrap().to_owned();
    let (store, root) = (text("store"), text("root"));
    lava_backup(&["init", "--store", &store]).ends(0);
    let mut said = String::new();
    let mut run = |arguments: &[&str]| {
        let ran = common::program()
            .args(arguments)
            .env("LAVA_BACKUP_STORE", &store)
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&ran.stdout).into_owned();
        said += &format!(
            "{arguments:?}: {out}{}\n",
            String::from_utf8_lossy(&ran.stderr)
        );
        out
    };
    let create = [
        "create",
        "--root",
        &root,
        "--no-database",
        "--packages",
        "closure",
        "--json",
    ];
    let made: serde_json::Value = serde_json::from_str(&run(&create)).unwrap();
    assert_eq!(made["debs"], 3, "{made:#}");
    run(&["facts", "--root", &root]);
    run(&["show", "--json"]);
    run(&["status", "--json"]);
    run(&[
        "packages",
        "install-plan",
        "latest",
        "--repository",
        "/srv/debs",
    ]);
    run(&["plan", "--target", "/nowhere"]);
    let listed: serde_json::Value =
        serde_json::from_str(&run(&["ls", "latest", "--json"])).unwrap();
    assert!(!said.contains(MARK), "{said}");

    let (mut secret, mut files) = (BTreeSet::new(), 0);
    for file in listed["files"].as_array().unwrap() {
        let path = file["path"].as_str().unwrap();
        if file["type"] != "file" || path.ends_with(".deb") {
            continue;
        }
        files += 1;
        let content = lava_backup(&["cat", "--store", &store, "latest", path])
            .ends(0)
            .out;
        if content.contains(MARK) {
            assert_eq!(file["class"], "secret", "{path}");
            secret.insert(path.split_once('/').unwrap().1.to_owned());
        }
    }
    assert!(files > 10);
    let all: BTreeSet<String> = SECRET.iter().map(|(file, _)| (*file).to_owned()).collect();
    assert_eq!(secret, all);

    // The seal, and all else that is written beside the frames.
    let mut waiting = vec![lab.at("store")];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(
                fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else {
            let bytes = fs::read(&path).unwrap();
            let has = bytes
                .windows(MARK.len())
                .any(|window| window == MARK.as_bytes());
            assert!(!has, "{}", path.display());
        }
    }
}
