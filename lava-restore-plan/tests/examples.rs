//! The examples do what they say.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
mod lab;

use std::path::{Path, PathBuf};
use std::process::Command;

/// An example, built beside this test.
fn example(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let profile = here.parent().and_then(Path::parent).unwrap();
    profile.join("examples").join(name)
}

#[test]
fn a_plan_is_printed_and_tried_from_documents() {
    let directory = std::env::temp_dir().join(format!("lava-restore-plan-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let mut arguments = vec!["/srv/store".to_owned()];
    for (number, host) in [lab::master_of(&["rack-a"]), lab::worker("rack-a")]
        .iter()
        .enumerate()
    {
        for (kind, json) in [
            ("backup", serde_json::to_vec(&host.backup).unwrap()),
            ("target", serde_json::to_vec(&host.target).unwrap()),
        ] {
            let path = directory.join(format!("{kind}-{number}.json"));
            std::fs::write(&path, json).unwrap();
            arguments.push(path.display().to_string());
        }
    }
    let run = |name: &str| {
        let output = Command::new(example(name))
            .args(&arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let plan = lava_restore_plan::Plan::from_json(run("plan").as_bytes()).unwrap();
    let said = run("simulate");
    let steps = plan.steps.len();
    let moments = lava_restore_plan::simulate::Moment::all(&plan).count();
    let expected =
        format!("{steps} steps, 0 lack\ncut off at each moment: {moments} times the goal\n");
    assert_eq!(said, expected);
    std::fs::remove_dir_all(&directory).unwrap();
}
