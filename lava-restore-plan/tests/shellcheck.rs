//! What those say of scripts who know shells.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
mod lab;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use lava_restore_plan::render;

fn fed(program: &str, arguments: &[&str], text: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

#[test]
fn the_script_of_every_host_satisfies_shellcheck_and_sh() {
    let [longest, other] = lab::longest_plans();
    let plans = [
        lab::plan(),
        longest,
        other,
        lab::lab_plan(),
        lab::refused_plan(),
    ];
    for plan in plans {
        for host in &plan.hosts {
            let script = render::shell(&plan, &host.id).unwrap();
            let output = fed("shellcheck", &["-s", "sh", "-"], &script);
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{}: {said}", host.id);
            let read = fed("sh", &["-n"], &script).status;
            assert!(read.success(), "{}", host.id);
        }
    }
}
