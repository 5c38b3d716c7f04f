//! Backups that are one file: through pipes, out of stores and back into them.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use common::{Host, Ran, cluster, database, lava_backup, program, url};

/// Runs a script in the host's directory, where `$LB` is the program.
fn script(host: &Host, script: &str) -> Ran {
    printing(host, script, Stdio::piped())
}

fn printing(host: &Host, script: &str, to: impl Into<Stdio>) -> Ran {
    let child = Command::new("bash")
        .args(["-c", &format!("set -eu -o pipefail\n{script}")])
        .current_dir(host.dir.path())
        .env("LB", env!("CARGO_BIN_EXE_lava-backup"))
        .env_remove("LAVA_BACKUP_STORE")
        .stdin(Stdio::null())
        .stdout(to)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.wait_with_output().unwrap().into()
}

const CREATE: &str = "$LB create --root root --no-database";

fn names(dir: &Path) -> Vec<String> {
    let found = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = found
        .map(|f| f.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_backup_goes_through_a_pipe_into_a_store_a_check_and_a_root() {
    let host = Host::new(8);
    let digest = |text: &str| {
        let seal = text.lines().find(|l| l.starts_with("seal")).unwrap();
        seal.split_whitespace().last().unwrap().to_owned()
    };
    let ran = script(
        &host,
        &format!("{CREATE} --to - | $LB import - --store store"),
    );
    let ran = ran.ends(0);
    assert_eq!(
        digest(&ran.out),
        digest(&ran.err),
        "{}\n{}",
        ran.out,
        ran.err
    );
    assert!(ran.err.contains("degraded"), "{}", ran.err);
    host.run("verify", &[]).ends(0);
    let shown = host.run("show", &["--json"]).ends(0).json();
    assert_eq!(shown["digest"], digest(&ran.err));

    let ran = script(&host, &format!("{CREATE} --to - | $LB verify - --json")).ends(0);
    let verified = ran.json();
    assert_eq!(verified["backups"][0]["sound"], true);
    assert!(verified["backups"][0]["unrecorded"].is_string());

    let there = "mkdir there && $LB extract - --root there && \
                 diff -r --no-dereference root/var/lib/lava-server there/var/lib/lava-server";
    script(&host, &format!("{CREATE} --to - | ({there})")).ends(0);
}

#[test]
fn a_file_appears_whole_and_is_never_replaced() {
    let host = Host::new(4);
    let made = script(&host, &format!("{CREATE} --to b.tar.zst --json"));
    let made = made.ends(0).json();
    assert_eq!(made["file"], "b.tar.zst");
    let bytes = fs::read(host.at("b.tar.zst")).unwrap();
    script(&host, &format!("{CREATE} --to b.tar.zst")).says(3, &["b.tar.zst", "exists already"]);
    let export = script(&host, "$LB export b.tar.zst --to b.tar.zst");
    export.says(3, &["b.tar.zst", "exists already"]);
    assert_eq!(fs::read(host.at("b.tar.zst")).unwrap(), bytes);

    let nowhere = script(&host, &format!("{CREATE} --to nowhere/b"));
    nowhere.says(1, &["nowhere"]);
    script(&host, &format!("{CREATE} --to - --json")).says(2, &["--json", "--to FILE"]);
    script(&host, &format!("{CREATE} --store store --to b2.tar.zst")).ends(2);
    // A store that the environment names is no contradiction.
    let ran = script(
        &host,
        &format!("LAVA_BACKUP_STORE=store {CREATE} --to b3.tar.zst"),
    );
    ran.ends(0);
    assert_eq!(names(&host.at("store/backups")), [""; 0]);
    script(&host, &format!("LAVA_BACKUP_STORE=store {CREATE}")).ends(0);
    assert_eq!(names(&host.at("store/backups")).len(), 1);
}

#[test]
fn every_command_that_names_a_backup_takes_a_file() {
    let host = Host::new(4);
    let id = host.create();
    let exported = script(
        &host,
        &format!("$LB export --store store {id} --to b --json"),
    );
    let exported = exported.ends(0).json();
    assert_eq!(exported["backup"], id.as_str());
    assert_eq!(exported["bytes"], fs::metadata(host.at("b")).unwrap().len());
    let run = |line: &str| script(&host, &format!("$LB {line}"));
    let facts = lava_backup(&["facts", "--root", &host.text("root")]).ends(0);
    fs::write(host.at("facts.json"), facts.out).unwrap();

    for (line, of_store) in [
        ("show BACKUP --json", "show BACKUP --store store --json"),
        ("ls BACKUP config", "ls BACKUP config --store store"),
        (
            "cat BACKUP facts/facts.json",
            "cat BACKUP facts/facts.json --store store",
        ),
    ] {
        let from_file = run(&line.replace("BACKUP", "./b")).ends(0);
        let from_pipe = run(&line.replace("BACKUP", "- <b")).ends(0);
        let from_store = run(&of_store.replace("BACKUP", &id)).ends(0);
        assert_eq!(from_file.out, from_store.out);
        assert_eq!(from_pipe.out, from_store.out);
    }
    let verified = run("verify ./b").ends(0);
    assert!(verified.out.contains("never changed"), "{}", verified.out);
    let verified = run("verify ./b --quick --json").ends(0).json();
    assert!(verified["backups"][0]["unrecorded"].is_string());
    run("verify - --quick <b").says(2, &["--quick"]);
    fs::create_dir(host.at("there")).unwrap();
    run("extract ./b --root there").ends(0);
    run("extract ./b --root there --check").ends(0);
    run("diff ./b - <b").ends(0);
    run("diff - - <b").says(2, &["standard input twice"]);
    run("database show ./b").says(1, &["made without"]);
    run("compare ./b").says(3, &["drilled"]);
    run(&format!("compare ./b --reference {id} --store store")).ends(0);
    run("drill ./b").ends(0);
    run("export ./b --to - >c && cmp b c").ends(0);

    run("plan - --target facts.json <b").says(2, &["standard input"]);

    // A file is a store of one backup.
    run(&format!("extract --store b {id} --root there --check")).ends(0);

    // Without a file a store is needed.
    for line in [
        "show",
        "verify",
        "compare --all",
        "cat latest facts/facts.json",
    ] {
        run(line).says(2, &["--store", "LAVA_BACKUP_STORE"]);
    }
    run(CREATE.trim_start_matches("$LB ")).says(2, &["--store", "--to"]);
    run("show ./none").says(1, &["./none"]);
    run("show ./facts.json").says(5, &["facts.json", "piece"]);
}

#[test]
fn a_database_goes_into_one_file_and_is_proved_and_planned_from_there() {
    let host = Host::new(6);
    let from = cluster();
    database(&from, Some(&host.lab));
    let (root, file) = (host.text("root"), host.text("b.tar.zst"));
    let address = url(&from, "lavaserver");
    let made = lava_backup(&[
        "create",
        "--root",
        &root,
        "--database",
        &address,
        "--to",
        &file,
        "--json",
    ]);
    let made = made.ends(0).json();
    assert_eq!(made["outcome"], "complete");
    let drilled = lava_backup(&["drill", &file, "--json"]).ends(0).json();
    assert_eq!(drilled["tables_equal"], made["tables"]);
    assert!(drilled["unrecorded"].is_string());
    let shown = lava_backup(&["database", "show", &file, "--json"]).ends(0);
    let tables = shown.json()["tables"].as_array().unwrap().len();
    assert_eq!(made["tables"], tables);

    // The plan's own commands read the file again.
    let facts = lava_backup(&["facts", "--root", &root]).ends(0);
    fs::write(host.at("facts.json"), facts.out).unwrap();
    let target = host.text("facts.json");
    let plan = [
        "plan",
        &file,
        "--target",
        &target,
        "--replace-data",
        "--json",
    ];
    let plan = lava_backup(&plan).json();
    let (file, id) = (serde_json::json!(file), &made["backup"]);
    let steps = plan["steps"].as_array().unwrap();
    let reads = |line: &serde_json::Value| {
        let line = line.as_array().unwrap();
        line.contains(&"--store".into()) && line.contains(&file) && line.contains(id)
    };
    let reads = |step: &&serde_json::Value| step["argv"].as_array().unwrap().iter().any(reads);
    assert!(steps.iter().filter(reads).count() > 1, "{plan:#}");
}

#[test]
fn an_exported_file_is_restored_by_zstd_and_tar_alone() {
    let host = Host::new(6);
    host.create();
    host.run("verify", &[]).ends(0);
    host.run("export", &["latest", "--to", &host.text("b.tar.zst")])
        .ends(0);
    script(
        &host,
        "mkdir there && zstd -dc b.tar.zst | tar -xp -C there\n\
         diff -r --no-dereference root/var/lib/lava-server there/data/var/lib/lava-server\n\
         diff -r --no-dereference root/etc/lava-server there/config/etc/lava-server\n\
         cmp there/lava-backup/backup.json store/backups/*/backup.json\n\
         test $(ls there/lava-backup/evidence | wc -l) = 1",
    )
    .ends(0);
}

#[test]
fn a_run_that_is_killed_leaves_no_file() {
    let host = Host::new(150);
    let dir = host.at("out");
    let scratch = host.at("scratch");
    fs::create_dir(&dir).unwrap();
    fs::create_dir(&scratch).unwrap();
    let root = host.text("root");
    let to = dir.join("b.tar.zst");
    let create = || {
        let mut command = program();
        command
            .args(["create", "--root", &root, "--no-database", "--to"])
            .arg(&to)
            .env("TMPDIR", &scratch)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    let began = Instant::now();
    assert!(create().status().unwrap().success());
    let whole = began.elapsed();
    fs::remove_file(&to).unwrap();
    let mut killed = 0;
    for moment in 0..12 {
        let mut run = create().spawn().unwrap();
        std::thread::sleep(whole.mul_f64(f64::from(moment) / 12.0));
        let _ = run.kill();
        let ended = run.wait().unwrap();
        // It may have got its name just before.
        if to.exists() {
            lava_backup(&["verify", to.to_str().unwrap()]).ends(0);
            fs::remove_file(&to).unwrap();
        } else {
            killed += 1;
            assert!(!ended.success());
        }
        assert_eq!(names(&dir), [""; 0]);
        assert_eq!(names(&scratch), [""; 0]);
    }
    assert!(killed > 3, "only {killed} runs were killed in time");
}

#[test]
fn a_file_that_is_cut_off_is_not_imported() {
    let host = Host::new(4);
    host.create();
    let file = host.text("b.tar.zst");
    host.run("export", &["latest", "--to", &file]).ends(0);
    lava_backup(&["init", "--store", &host.text("other")]).ends(0);
    let whole = fs::read(&file).unwrap();
    for cut in [0, 10, 48, whole.len() / 2, whole.len() - 1] {
        fs::write(host.at("cut"), &whole[..cut]).unwrap();
        let import = script(&host, "$LB import cut --store other");
        import.says(5, &["could not import the backup", "cut"]);
        script(&host, "$LB import - --store other <cut").says(5, &["standard input"]);
        script(&host, "$LB verify - <cut").says(5, &["standard input"]);
        script(&host, "$LB verify ./cut").says(5, &["cut"]);
        assert_eq!(names(&host.at("other/backups")), [""; 0]);
        assert_eq!(names(&host.at("other/tmp")), [""; 0]);
        script(&host, "$LB verify --store other").ends(0);
    }
    script(&host, "$LB import none --store other").says(1, &["none"]);
    let import = script(&host, "$LB import b.tar.zst --store other --json");
    assert_eq!(import.ends(0).json()["known"], false);
    let again = script(&host, "$LB import b.tar.zst --store other --json").ends(0);
    let again = again.json();
    assert_eq!(
        (&again["known"], &again["new_frames"]),
        (&true.into(), &0.into())
    );
}

#[test]
fn a_full_disk_and_a_reader_that_goes_are_told() {
    assert!(
        fs::metadata("/dev/full")
            .unwrap()
            .file_type()
            .is_char_device()
    );
    let host = Host::new(4);
    host.create();
    for line in [
        &format!("{CREATE} --to -"),
        "$LB export --store store latest --to -",
    ] {
        let full = script(&host, &format!("{line} >/dev/full"));
        full.says(1, &["standard output", "No space left on device"]);
        // The reader is gone for sure: a pipe holds more than this backup has.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let gone = printing(&host, line, writer);
        gone.says(1, &["standard output", "Broken pipe"]);
    }
}

#[test]
fn a_lost_index_is_made_anew_and_a_lost_frame_is_told() {
    let host = Host::new(4);
    let id = host.create();
    host.run("export", &["latest", "--to", &host.text("b.tar.zst")])
        .ends(0);
    let ran = host.run("repair", &[]).ends(0);
    assert!(ran.out.contains("nothing to repair"), "{}", ran.out);
    let index = host.at(&format!("store/backups/{id}/index.zst"));
    let sealed = fs::read(&index).unwrap();
    fs::write(&index, "rot").unwrap();
    host.run("verify", &["--quick"]).ends(5);
    let repaired = host.run("repair", &["--json"]).ends(0).json();
    assert_eq!(repaired["repaired"].as_array().unwrap().len(), 1);
    assert_eq!(fs::read(&index).unwrap(), sealed);
    host.run("verify", &[]).ends(0);

    // What can't be made anew comes back with an exported file.
    let frames = fs::read_to_string(host.at(&format!("store/backups/{id}/frames"))).unwrap();
    let frame = format!("store/frames/{}", frames.lines().next().unwrap());
    fs::remove_file(host.at(&frame)).unwrap();
    fs::remove_file(&index).unwrap();
    let lost = host.run("repair", &[]).ends(5);
    assert!(lost.out.contains("LOST"), "{}", lost.out);
    let ran = host.run("import", &[&host.text("b.tar.zst")]).ends(0);
    assert!(ran.out.contains("lacked frames"), "{}", ran.out);
    host.run("repair", &[]).ends(0);
    host.run("verify", &[]).ends(0);
}
