//! `restore` interrupted: by another run, a kill, a signal, a closed terminal, a full disk.
#![allow(clippy::unwrap_used)]

#[path = "common/bench.rs"]
mod bench;
mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use bench::{Bench, PROGRAM, ended, signal, wait};
use common::{Ran, skip};

#[test]
fn two_at_once_are_refused_and_it_is_said_who_is_at_work() {
    let bench = Bench::new();
    let plan = bench.steps(&["slow"]);
    let first = bench.at_slow(&plan, &[]);
    let other = bench.host.text("other");
    for more in [vec![], vec!["--resume"], vec!["--state", &other]] {
        let more: Vec<&str> = more;
        let mut command = Command::new(PROGRAM);
        command.args(["restore", &plan, "--lock", &bench.host.text("run/lock")]);
        if !more.contains(&"--state") {
            command.args(["--state", &bench.host.text("state")]);
        }
        let second: Ran = command.args(&more).output().unwrap().into();
        second.says(
            1,
            &["another run is at work", &first.id().to_string(), "restore"],
        );
    }
    bench.touch("go");
    ended(first).ends(0);
}

#[test]
fn a_command_that_a_killed_run_left_at_work_is_waited_for() {
    let bench = Bench::new();
    let plan = bench.steps(&["one", "slow", "two"]);
    let mut first = bench.at_slow(&plan, &[]);
    first.kill().unwrap();
    first.wait().unwrap();
    let refused = bench.restore(&plan, &[]);
    refused.says(
        1,
        &[
            "a command of a run that was killed is still at work",
            "config/slow",
            "--resume",
        ],
    );
    let mut second = bench.command(&plan, &["--resume"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    assert!(second.try_wait().unwrap().is_none(), "it does not wait");
    assert_eq!(bench.ran().last().unwrap(), "begin slow");
    bench.touch("go");
    let second = ended(second).ends(0);
    assert!(
        second
            .err
            .contains("waiting for what a run that was killed left"),
        "{}",
        second.err
    );
    let ran = bench.ran();
    let slow: Vec<&String> = ran.iter().filter(|w| w.ends_with("slow")).collect();
    assert_eq!(slow, ["begin slow", "end slow", "begin slow", "end slow"]);
    assert_eq!(ran.iter().filter(|w| *w == "begin one").count(), 1);
}

#[test]
fn a_signal_reaches_the_command_and_the_run_ends_when_it_has() {
    for name in ["TERM", "INT"] {
        let bench = Bench::new();
        let plan = bench.steps(&["slow", "two"]);
        let run = bench.at_slow(&plan, &["--json"]);
        signal(&run, name);
        let stopped = ended(run).ends(1).json();
        assert_eq!(stopped["outcome"], "told");
        assert!(
            bench.ran().contains(&"told slow".to_owned()),
            "{:?}",
            bench.ran()
        );
        assert!(
            bench.journal().contains("command-ended"),
            "{}",
            bench.journal()
        );
        bench.touch("go");
        bench.restore(&plan, &["--resume"]).ends(0);
    }
}

#[test]
fn a_terminal_that_is_closed_stops_nothing() {
    let bench = Bench::new();
    let plan = bench.steps(&["slow", "two"]);
    let run = bench.at_slow(&plan, &[]);
    signal(&run, "HUP");
    std::thread::sleep(Duration::from_millis(200));
    bench.touch("go");
    ended(run).ends(0);

    // And one that is really gone.
    let bench = Bench::new();
    let plan = bench.steps(&["slow", "two"]);
    let (state, lock) = (bench.host.text("state"), bench.host.text("run/lock"));
    let line = format!("exec {PROGRAM} restore {plan} --state {state} --lock {lock}");
    let mut terminal = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    bench.wait_for("slow");
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    bench.touch("go");
    wait(|| bench.journal().contains("\"finished\""));
}

/// Only here is the disk to be seen: it goes with the shell that mounts it.
const FULL: &str = r#"
mount -t tmpfs -o size=64k,mode=700 none "$1" || exit 77
run() {
    name=$1
    shift
    "$program" restore "$plan" --state "$dir/state" --lock "$dir/../run/lock" "$@" >"$out/$name.out" 2>"$out/$name.err"
    echo $? >"$out/$name.code"
}
dir=$1
# Less and less room, so that it ends at other places.
room=0
resume=
while [ $room -lt 16 ]; do
    head -c $((room * 4096)) /dev/zero >"$dir/room"
    cat /dev/zero >"$dir/other" 2>/dev/null
    rm "$dir/room"
    run "full$room" $resume
    rm "$dir/other"
    tail -c1 "$dir/state/journal" >"$out/full$room.last"
    [ ! -s "$dir/state/journal" ] || resume=--resume
    room=$((room + 1))
done
run again --resume
cp "$dir/state/journal" "$out/journal"
"#;

#[test]
fn a_full_disk_stops_it_and_it_goes_on_when_there_is_room() {
    let bench = Bench::new();
    let names = [
        "one", "two", "says", "four", "five", "six", "seven", "eight",
    ];
    let plan = bench.steps(&names);
    let (disk, out) = (bench.host.at("disk"), bench.host.at("out"));
    fs::create_dir(&disk).unwrap();
    fs::create_dir(&out).unwrap();
    let shell = Command::new("unshare")
        .args(["--mount", "setsid", "-w", "sh", "-uc", FULL, "sh"])
        .arg(&disk)
        .env("program", PROGRAM)
        .env("plan", &plan)
        .env("out", &out)
        .stdin(Stdio::null())
        .status();
    if !shell.is_ok_and(|s| s.success()) {
        assert!(!out.join("full0.code").exists());
        return skip("a full disk below a run", "can't mount a small disk here");
    }
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    let mut stopped = 0;
    for room in 0..16 {
        let code = read(&format!("full{room}.code"));
        let err = read(&format!("full{room}.err"));
        if code.trim() != "0" {
            assert_eq!(code.trim(), "1", "{room}: {err}");
            assert!(
                err.contains("No space left") && err.contains("disk/state"),
                "{room}: {err}"
            );
            // What of a record had room was taken away again.
            let last = read(&format!("full{room}.last"));
            assert!(last.is_empty() || last == "\n", "{room}: {last:?}");
            stopped += 1;
        }
    }
    assert!(stopped > 3, "it was full only {stopped} times");
    assert_eq!(read("again.code").trim(), "0", "{}", read("again.err"));
    let journal = read("journal");
    // What is recorded done is done once.
    for name in names {
        let done = format!("\"what\":\"step-done\",\"step\":\"master.config.{name}\"");
        assert_eq!(journal.matches(&done).count(), 1, "{name}");
    }
}

#[test]
fn a_torn_record_is_cut_off_with_a_word_and_a_changed_one_is_refused() {
    let bench = Bench::new();
    let plan = bench.steps(&["one", "fails"]);
    bench.restore(&plan, &[]).ends(1);
    let journal = bench.host.at("state/journal");
    let whole = bench.journal();
    fs::write(&journal, &whole[..whole.len() - 40]).unwrap();
    bench.touch("go");
    let rest = bench.restore(&plan, &["--resume"]).ends(0);
    assert!(rest.err.contains("cut off in the middle"), "{}", rest.err);

    fs::write(&journal, whole.replacen("step-done", "step-begins", 1)).unwrap();
    bench
        .restore(&plan, &["--resume"])
        .says(3, &["line ", "not as it was written"]);
    assert!(journal.exists());
}
