//! Promise 3, nothing false is sealed: killed at any moment, a run leaves the
//! store as it was.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Host, cluster, database, program, url};

/// Moments spread over the whole run, and a little past its end.
const MOMENTS: u32 = 24;

#[test]
fn a_run_that_is_killed_at_any_moment_leaves_whole_backups_or_none() {
    let host = Host::new(150);
    let cluster = cluster();
    database(&cluster, Some(&host.lab));
    let (root, address) = (host.text("root"), url(&cluster, "lavaserver"));
    let store = host.store();
    let create = || {
        let mut command = program();
        command
            .args([
                "create",
                "--store",
                &store,
                "--root",
                &root,
                "--database",
                &address,
            ])
            .args(["--rate", "unlimited"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    let began = Instant::now();
    assert!(create().status().unwrap().success());
    let whole = began.elapsed();
    let count = || fs::read_dir(host.at("store/backups")).unwrap().count();

    let mut killed = 0;
    for moment in 0..MOMENTS {
        // New content, so that each run has frames to write.
        let job = host.at("root/var/lib/lava-server/default/media/job-output/extra");
        fs::create_dir_all(&job).unwrap();
        let text: String = (0..20_000)
            .map(|n| format!("{}\n", n * (moment + 1)))
            .collect();
        fs::write(job.join(format!("{moment:02}")), text).unwrap();
        // One that found its name taken would wait, and be killed at no moment of its work.
        std::thread::sleep(Duration::from_millis(1001));
        let before = count();
        let mut run = create().spawn().unwrap();
        std::thread::sleep(whole.mul_f64(1.1 * f64::from(moment) / f64::from(MOMENTS)));
        let _ = run.kill();
        let ended = run.wait().unwrap();
        assert!(ended.success() || ended.signal() == Some(9), "{ended}");
        if !ended.success() {
            killed += 1;
            // Killed between the rename that publishes and its own end, it is
            // there and whole; at any other moment it is not there.
            assert!(count() <= before + 1);
        }
        for found in fs::read_dir(host.at("store/backups")).unwrap() {
            let found = found.unwrap().path();
            assert!(
                found.join("backup.json").exists(),
                "{} has no seal",
                found.display()
            );
        }
    }
    assert!(
        killed > MOMENTS / 3,
        "only {killed} runs were killed in time"
    );
    host.run("verify", &[]).ends(0);
    host.run("create", &["--root", &root, "--database", &address])
        .ends(0);
    assert_eq!(
        fs::read_dir(host.at("store/tmp")).unwrap().count(),
        0,
        "nothing is left"
    );
    host.run("verify", &[]).ends(0);
    host.run("drill", &[]).ends(0);
}
