//! `create --packages`, and what brings packages back: with small packages that
//! dpkg installed into a root, and a mirror that apt has them from.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "../../lava-backup-debian/tests/debs/mod.rs"]
#[allow(unreachable_pub, dead_code)]
mod debs;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Ran, lava_backup};
use debs::{Built, COMMON, LIBRARY, Lab, SERVER, run};
use serde_json::Value;

struct Host {
    lab: Lab,
}

impl Host {
    fn new() -> Self {
        let host = Self { lab: Lab::new() };
        fs::write(host.lab.at("root/etc/hostname"), "lab\n").unwrap();
        let media = "root/var/lib/lava-server/default/media/job-output";
        fs::create_dir_all(host.lab.at(media)).unwrap();
        lava_backup(&["init", "--store", &host.text("store")]).ends(0);
        host
    }

    fn text(&self, path: &str) -> String {
        self.lab.at(path).to_str().unwrap().to_owned()
    }

    fn create(&self, more: &[&str]) -> Ran {
        let (store, root) = (self.text("store"), self.text("root"));
        let all = [
            "create",
            "--store",
            &store,
            "--root",
            &root,
            "--no-database",
            "--json",
        ];
        lava_backup(&[&all[..], more].concat())
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        common::program()
            .args(arguments)
            .env("LAVA_BACKUP_STORE", self.text("store"))
            .output()
            .unwrap()
            .into()
    }
}

fn degrading(made: &Value) -> Vec<&str> {
    let problems = made["problems"].as_array().unwrap().iter();
    let lacks = problems.filter(|p| p["degrades"] == true && p["code"] != "database.left-out");
    lacks.map(|p| p["code"].as_str().unwrap()).collect()
}

fn name(built: &Built<'_>) -> String {
    let version = built
        .version
        .split_once(':')
        .map_or(built.version, |(_, rest)| rest);
    format!("{}_{version}_{}.deb", built.name, built.arch)
}

#[test]
fn the_closure_of_a_host_goes_into_its_backup_and_comes_out_as_a_repository() {
    let host = Host::new();
    let made = host.create(&["--packages", "closure"]).ends(0).json();
    assert_eq!(degrading(&made), [""; 0], "{made:#}");
    assert_eq!(made["debs"], 3);
    for built in [COMMON, LIBRARY, SERVER] {
        let member = format!("packages/debs/{}", name(&built));
        let listed = host
            .run(&["ls", "latest", &member, "--json"])
            .ends(0)
            .json();
        let bytes = fs::metadata(host.lab.on_mirror(&built)).unwrap().len();
        assert_eq!(listed["files"][0]["size"], bytes);
        assert_eq!(listed["files"][0]["mtime"], 1_700_000_000);
    }
    let shown = host.run(&["show", "--json"]).ends(0).json();
    assert_eq!(shown["debs"]["held"], 3);
    assert_eq!(shown["debs"]["closed"], true);
    let shown = host.run(&["show"]).ends(0).out;
    assert!(
        shown.contains("3 files (closure), ") && shown.contains("which need no other"),
        "{shown}"
    );
    let manifest = host
        .run(&["cat", "latest", "packages/debs.json"])
        .ends(0)
        .out;
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["debs"][1]["package"], "lava-server");
    assert_eq!(manifest["debs"][1]["origin"], "download");
    assert_eq!(manifest["debs"][1]["installed_build"], true);
    assert_eq!(manifest["debs"][1]["index"], "same");
    assert_eq!(manifest["debs"][1]["trust"], "by-option");

    let repo = |to: &str| {
        let to = host.text(to);
        host.run(&["packages", "repo", "latest", "--to", &to, "--json"])
    };
    let first = repo("one").ends(0).json();
    assert_eq!(first["debs"], 3);
    repo("two").ends(0);
    run(Command::new("diff")
        .arg("-r")
        .args([host.lab.at("one"), host.lab.at("two")]));
    run(Command::new("cmp")
        .arg(host.lab.at("one").join(name(&SERVER)))
        .arg(host.lab.on_mirror(&SERVER)));
    // What lies in the backup is the repository as it stands.
    for file in ["Packages", "Release"] {
        let stored = host
            .run(&["cat", "latest", &format!("packages/debs/{file}")])
            .ends(0)
            .out;
        assert_eq!(
            stored,
            fs::read_to_string(host.lab.at("one").join(file)).unwrap()
        );
    }
    repo("one").says(3, &["something is there"]);
    let leftover = fs::read_dir(host.lab.at(".")).unwrap();
    let leftover = leftover.filter(|e| {
        e.as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with(".lava")
    });
    assert_eq!(leftover.count(), 0);
}

#[test]
fn a_second_backup_shares_the_debs_and_needs_no_mirror() {
    let host = Host::new();
    // One that is larger than a frame, and does not compress.
    let noise = run(Command::new("sh").args(["-c", "head -c 3000000 /dev/urandom | base64 -w0"]));
    let noise = String::from_utf8(noise).unwrap();
    let large = Built {
        name: "large",
        version: "1",
        arch: "all",
        fields: "",
        files: &[("usr/share/large", &noise)],
    };
    let path = large.build(&host.lab.at("mirror"));
    host.lab.index();
    run(Command::new("dpkg")
        .arg(format!("--root={}", host.text("root")))
        .args(["--force-not-root", "--force-bad-path", "-i"])
        .arg(&path));
    let first = host.create(&["--packages", "closure"]).ends(0).json();
    assert!(
        first["new_bytes"].as_u64().unwrap() > 2_900_000,
        "{first:#}"
    );
    fs::remove_dir_all(host.lab.at("mirror")).unwrap();
    fs::remove_dir_all(host.lab.at("root/var/lib/apt/lists")).unwrap();
    let second = host.create(&["--packages", "closure"]).ends(0).json();
    assert_eq!(second["debs"], 4);
    // The facts, which name the instant, and the index.
    let bytes = second["new_bytes"].as_u64().unwrap();
    assert!(bytes < 12_000, "{second:#}");
    let manifest = host
        .run(&["cat", "latest", "packages/debs.json"])
        .ends(0)
        .out;
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(
        manifest["debs"][0]["index"], "same",
        "as was said when it came"
    );
    assert_eq!(manifest["debs"][0]["origin"], "download");
    host.run(&["verify"]).ends(0);
}

#[test]
fn each_deb_that_is_not_to_be_had_is_named_with_its_code() {
    let host = Host::new();
    let change = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let at = bytes.len() - 30;
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    // Another build of the same version; a changed byte; one that is gone.
    Built {
        files: &[("usr/share/lava-common/VERSION", "2023.02\n")],
        ..COMMON
    }
    .build(&host.lab.at("mirror"));
    host.lab.index();
    change(&host.lab.on_mirror(&LIBRARY));
    fs::remove_file(host.lab.on_mirror(&SERVER)).unwrap();
    let made = host.create(&["--packages", "closure"]).ends(5).json();
    assert_eq!(made["outcome"], "degraded");
    assert_eq!(
        degrading(&made),
        ["deb.other-build", "deb.gone", "deb.damaged"],
        "{made:#}"
    );
    for name in ["lava-common", "libx", "lava-server"] {
        let problems = made["problems"].as_array().unwrap();
        assert!(
            problems
                .iter()
                .any(|p| p["message"].as_str().unwrap().contains(name)),
            "{made:#}"
        );
    }
    let shown = host.run(&["show"]).ends(0).out;
    assert!(shown.contains("3 lacking"), "{shown}");

    // One that no index names any more; the others were put right.
    fs::remove_dir_all(host.lab.at("mirror")).unwrap();
    fs::create_dir(host.lab.at("mirror")).unwrap();
    SERVER.build(&host.lab.at("mirror"));
    COMMON.build(&host.lab.at("mirror"));
    Built {
        version: "1.6",
        ..LIBRARY
    }
    .build(&host.lab.at("mirror"));
    host.lab.index();
    let made = host.create(&["--packages", "closure"]).ends(5).json();
    assert_eq!(degrading(&made), ["deb.unlisted", "debs.open"], "{made:#}");
    let open = made["problems"].as_array().unwrap();
    let open = open.iter().find(|p| p["code"] == "debs.open").unwrap();
    assert!(
        open["message"]
            .as_str()
            .unwrap()
            .contains("lava-server : Depends: libx"),
        "{open}"
    );
    let repo = host.text("repo");
    let made = host
        .run(&["packages", "repo", "latest", "--to", &repo])
        .ends(5);
    assert!(made.out.contains("LACKS    libx 1.5+b1"), "{}", made.out);
    let plan = host
        .run(&["packages", "install-plan", "--json"])
        .ends(5)
        .json();
    assert_eq!(plan["alone"], false);
    assert_eq!(plan["lacking"][0]["code"], "deb.unlisted");
    // Nothing of it goes among the host's own, where it would stay if the plan is cut off.
    let files = plan["files"].as_array().unwrap().iter();
    let paths: Vec<&str> = files.map(|file| file["path"].as_str().unwrap()).collect();
    assert!(
        !paths.iter().any(|path| path.starts_with("/etc")),
        "{paths:?}"
    );

    // Of what is critical the library is none.
    let made = host.create(&["--packages", "critical"]).ends(0).json();
    assert_eq!(made["debs"], 2);
    host.create(&["--packages", "none", "--repack"])
        .says(2, &["none are asked for"]);
    let made = host
        .create(&["--packages", "closure", "--repack"])
        .ends(0)
        .json();
    assert_eq!(made["debs"], 3);
    let notes = made["problems"].as_array().unwrap();
    assert!(
        notes.iter().any(|p| p["code"] == "deb.repacked"),
        "{made:#}"
    );
}

/// These packages make no system: that is what the drill has found, and others must hear of it.
#[test]
fn a_drill_that_can_not_come_to_its_end_is_recorded_as_failed() {
    const TEST: &str = "a_drill_that_can_not_come_to_its_end_is_recorded_as_failed";
    let host = Host::new();
    host.create(&["--packages", "closure"]).ends(0);
    let scratch = host.text("");
    let drill = [
        "drill",
        "--level",
        "packages",
        "--scratch",
        &scratch,
        "--json",
    ];
    if !rustix::process::geteuid().is_root() {
        host.run(&drill).says(1, &["only root"]);
        return common::skip(TEST, "installing packages needs root");
    }
    let drilled = host.run(&drill).ends(5).json();
    assert_eq!(drilled["passed"], false);
    let check = &drilled["checks"][0];
    assert_eq!(
        (&check["what"], &check["held"]),
        (&"the end of the drill".into(), &false.into())
    );
    let found = check["found"].as_str().unwrap();
    assert!(
        found.contains("could not build a system of the backup's .debs"),
        "{found}"
    );
    let listed = host.run(&["list", "--json"]).ends(0).json();
    let told = &listed["backups"][0]["checks"][0];
    assert_eq!(
        (&told["check"], &told["passed"]),
        (&"drill".into(), &false.into())
    );
}

#[test]
fn a_backup_without_debs_has_no_repository_and_no_plan() {
    let host = Host::new();
    host.create(&[]).ends(0);
    let to = host.text("repo");
    for command in [
        &["packages", "repo", "latest", "--to", &to][..],
        &["packages", "install-plan"],
    ] {
        host.run(command)
            .says(1, &["was made without", "--packages closure"]);
    }
    assert!(!Path::new(&to).exists());
}

#[test]
fn the_plan_names_every_package_exactly_and_is_a_script() {
    let host = Host::new();
    let status = host.lab.at("root/var/lib/dpkg/status");
    let text = fs::read_to_string(&status).unwrap();
    let held = text.replacen(
        "Package: lava-server\nStatus: install",
        "Package: lava-server\nStatus: hold",
        1,
    );
    assert_ne!(text, held);
    fs::write(&status, held).unwrap();
    let marks = "Package: libx\nArchitecture: amd64\nAuto-Installed: 1\n\n";
    fs::write(host.lab.at("root/var/lib/apt/extended_states"), marks).unwrap();
    host.create(&["--packages", "closure"]).ends(0);
    let plan = host
        .run(&[
            "packages",
            "install-plan",
            "--repository",
            "/srv/debs",
            "--json",
        ])
        .ends(0)
        .json();
    let argv = |id: &str| -> Vec<String> {
        let steps = plan["steps"].as_array().unwrap();
        let step = steps.iter().find(|s| s["id"] == id).unwrap();
        serde_json::from_value(step["argv"].clone()).unwrap()
    };
    let install = argv("install");
    let ends = [
        "install",
        "lava-common=1:2023.01-2",
        "lava-server=1:2023.01-2",
        "libx=1.5+b1",
    ];
    assert_eq!(install[install.len() - 4..], ends);
    for word in [
        "--no-remove",
        "--allow-downgrades",
        "Dpkg::Options::=--force-confold",
        "Dir::Etc::SourceList=/srv/debs/apt/sources.list",
        "Dir::Etc::SourceParts=/dev/null",
    ] {
        assert!(install.iter().any(|w| w == word), "{word}: {install:?}");
    }
    assert_eq!(argv("mark-auto"), ["apt-mark", "auto", "libx"]);
    assert_eq!(
        argv("mark-manual"),
        ["apt-mark", "manual", "lava-common", "lava-server"]
    );
    assert_eq!(argv("hold"), ["apt-mark", "hold", "lava-server"]);
    assert_eq!(
        plan["files"][0]["text"],
        "deb [trusted=yes] file:/srv/debs ./\n"
    );
    assert!(
        plan["files"][1]["text"]
            .as_str()
            .unwrap()
            .contains("Pin-Priority: 1001")
    );
    assert_eq!(plan["sources"][0], "config/etc/apt/sources.list");
    assert_eq!(
        argv("sources")[..4],
        ["lava-backup", "extract", "--root", "/"]
    );

    let script = host.run(&["packages", "install-plan", "--repository", "/srv/a b"]);
    script.says(1, &["source lists can't hold"]);
    let script = host.run(&["packages", "install-plan"]).ends(0).out;
    let path = host.lab.at("plan.sh");
    fs::write(&path, &script).unwrap();
    run(Command::new("sh").arg("-n").arg(&path));
    assert!(script.contains("\n# install: "), "{script}");
}

#[test]
fn a_repository_that_is_signed_is_taken_by_its_key_alone() {
    let host = Host::new();
    host.create(&["--packages", "closure"]).ends(0);
    let home = tempfile::tempdir().unwrap();
    let gpg = |arguments: &[&str]| {
        run(Command::new("gpg")
            .args(arguments)
            .env("GNUPGHOME", home.path()))
    };
    let new = [
        "--batch",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "",
        "--quick-generate-key",
    ];
    for user in ["one@example.org", "two@example.org"] {
        gpg(&[&new[..], &[user, "ed25519", "sign", "never"]].concat());
        let key = gpg(&["--export", user]);
        fs::write(host.lab.at(&format!("{user}.gpg")), key).unwrap();
    }
    let repo = host.text("repo");
    let sign = |key: &str| -> Ran {
        common::program()
            .args([
                "packages",
                "repo",
                "latest",
                "--to",
                &repo,
                "--sign-key",
                key,
            ])
            .env("LAVA_BACKUP_STORE", host.text("store"))
            .env("GNUPGHOME", home.path())
            .output()
            .unwrap()
            .into()
    };
    sign("nobody@example.org").says(1, &["sign", "nobody@example.org"]);
    assert!(!Path::new(&repo).exists(), "whole or not at all");
    sign("one@example.org").ends(0);
    let update = |key: &str| {
        let apt = tempfile::tempdir().unwrap();
        fs::create_dir_all(apt.path().join("lists/partial")).unwrap();
        let list = apt.path().join("sources.list");
        let key = host.text(&format!("{key}.gpg"));
        fs::write(&list, format!("deb [signed-by={key}] copy:{repo} ./\n")).unwrap();
        let at = |name: &str| apt.path().join(name).display().to_string();
        Command::new("apt-get")
            .args(["-o", &format!("Dir::Etc::SourceList={}", list.display())])
            .args(["-o", "Dir::Etc::SourceParts=/dev/null"])
            .args(["-o", &format!("Dir::State::Lists={}", at("lists"))])
            .args(["-o", &format!("Dir::Cache={}", at("cache"))])
            .args([
                "-o",
                "APT::Sandbox::User=",
                "-o",
                "APT::Update::Error-Mode=any",
                "update",
            ])
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(update("one@example.org"));
    assert!(!update("two@example.org"));
    // A byte of the index, and the signature holds no more.
    let index = Path::new(&repo).join("Packages");
    fs::write(
        &index,
        fs::read_to_string(&index)
            .unwrap()
            .replace("Maintainer: n", "Maintainer: m"),
    )
    .unwrap();
    assert!(!update("one@example.org"));
}

#[test]
fn the_recovery_page_has_apt_install_the_debs_without_our_programs() {
    let host = Host::new();
    let made = host.create(&["--packages", "closure"]).ends(0).json();
    let blocks = common::recovery_blocks();
    let of_debs: Vec<&String> = blocks
        .iter()
        .filter(|b| b.contains("packages/debs"))
        .collect();
    assert_eq!(of_debs.len(), 1);
    let script = format!("set -eu\n{}{}", blocks[0], of_debs[0]);
    assert!(
        script.contains("STORE") && !script.contains("lava-backup"),
        "{script}"
    );
    fs::create_dir(host.lab.at("target")).unwrap();
    let ran: Ran = Command::new("sh")
        .args(["-c", &script])
        .env("STORE", host.text("store"))
        .env("ID", made["backup"].as_str().unwrap())
        .env("TARGET", host.text("target"))
        .output()
        .unwrap()
        .into();
    let ran = ran.ends(0);
    for line in [
        "Inst lava-common (1:2023.01-2 ",
        "Inst lava-server (1:2023.01-2 ",
        "Inst libx (1.5+b1 ",
    ] {
        assert!(ran.out.contains(line), "{line} is not in {}", ran.out);
    }
}

#[test]
fn a_damaged_backup_makes_no_repository() {
    let host = Host::new();
    host.create(&["--packages", "closure"]).ends(0);
    let frames = Command::new("find")
        .arg(host.lab.at("store/frames"))
        .args(["-type", "f"])
        .output()
        .unwrap();
    for frame in String::from_utf8(frames.stdout).unwrap().lines() {
        let mut bytes = fs::read(frame).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        let _ = fs::remove_file(frame);
        fs::write(frame, bytes).unwrap();
    }
    let to = host.text("repo");
    let ran = host.run(&["packages", "repo", "latest", "--to", &to]);
    assert_eq!(ran.code, 5, "{}", ran.err);
    assert!(!Path::new(&to).exists());
}

#[test]
fn a_hostile_seal_puts_no_file_elsewhere_and_steers_no_terminal() {
    use lava_backup_core::{Class, Meta, SealInput, Store, Time};
    let host = Host::new();
    let bytes = fs::read(host.lab.on_mirror(&COMMON)).unwrap();
    let digest = run(Command::new("sha256sum").arg(host.lab.on_mirror(&COMMON)));
    let digest = String::from_utf8(digest[..64].to_vec()).unwrap();
    let store = Store::open(&host.lab.at("store")).unwrap();
    let to = host.text("repo/one");
    for (number, file, package) in [
        (1, "../../evil.deb", "lava-common"),
        (2, "a/evil.deb", "lava-common"),
        (3, "..", "lava-common"),
        (4, "lava-common_2023.01-2_all.deb", "\u{1b}[2Jlava-server"),
        (
            5,
            "lava-common_2023.01-2_all.deb",
            "--allow-remove-essential",
        ),
        (6, "other_1_all.deb", "other"),
        (7, "/tmp/evil.deb", "lava-common"),
    ] {
        let id = format!("20260101T00000{number}Z-evil").parse().unwrap();
        let mut writer = store.create(id).unwrap();
        let time = Time {
            seconds: 0,
            nanoseconds: 0,
        };
        let stored = if file.contains('/') || file == ".." {
            "plain.deb"
        } else {
            file
        };
        let path = format!("packages/debs/{stored}").parse().unwrap();
        writer
            .add_file(path, Meta::private(Class::Plain, time), &bytes)
            .unwrap();
        let document = serde_json::json!({
            "scope": "closure", "architectures": ["amd64"], "closed": true, "open_ends": [],
            "lacking": [{ "package": "gone", "version": "1", "architecture": "all", "code": "deb.gone", "why": "\u{1b}[2J\ntouch /tmp/evil.deb" }],
            "debs": [{
                "package": package, "version": "1:2023.01-2", "architecture": "all", "file": file,
                "bytes": bytes.len(), "sha256": digest, "origin": "cache",
                "installed_build": true, "index": "same", "uri": null,
            }],
        });
        let sealed = SealInput {
            tool: "test".into(),
            host: "evil".into(),
            taken: "2026-01-01T00:00:00Z".into(),
            sealed: "2026-01-01T00:00:00Z".into(),
            documents: [("debs".to_owned(), document)].into(),
        };
        writer.seal(sealed).unwrap();
        let ran = host.run(&["packages", "repo", "latest", "--to", &to]);
        assert_eq!(ran.code, 5, "{number}: {}", ran.err);
        assert!(
            !ran.err.contains('\x1b') && !ran.out.contains('\x1b'),
            "{}",
            ran.err
        );
        assert!(!Path::new(&to).exists());
        let evil = run(Command::new("find")
            .arg(host.lab.dir.path())
            .args(["-name", "evil.deb"]));
        assert!(evil.is_empty() && !Path::new("/tmp/evil.deb").exists());
        let plan = host.run(&["packages", "install-plan"]);
        assert!(
            !plan.err.contains('\x1b') && !plan.out.contains('\x1b'),
            "{}",
            plan.out
        );
        assert!(!plan.out.contains("\ntouch"), "{}", plan.out);
        assert!(!plan.out.contains("--allow-remove"), "{}", plan.out);
    }
}
