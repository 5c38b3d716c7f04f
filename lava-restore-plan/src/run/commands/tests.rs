#![allow(clippy::unwrap_used)]
use std::sync::mpsc;

use super::*;

const TERM: i32 = 15;

fn commands() -> Commands {
    Commands::new(|| "now".to_owned(), None)
}

/// What a line of the shell did: how it ended, and what it printed.
fn sh(script: &str) -> (Exited, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let argv = ["sh", "-c", script].map(String::from);
    let ended = commands().run(&argv, &mut |told| match told {
        Told::Printed(Stream::Out, bytes) => out.extend_from_slice(bytes),
        Told::Printed(Stream::Err, bytes) => err.extend_from_slice(bytes),
        Told::AtWork(_) => {}
    });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ended.unwrap(), text(out), text(err))
}

#[test]
fn it_is_told_how_a_command_ends_and_what_it_prints() {
    assert_eq!(
        sh("echo a; echo b >&2; exit 3"),
        (Exited::Exit(3), "a\n".into(), "b\n".into())
    );
    assert_eq!(sh("kill -TERM $$").0, Exited::Signal(TERM));
    let much = sh("head -c 300000 /dev/zero | tr '\\0' x");
    assert_eq!((much.0, much.1.len()), (Exited::Exit(0), 300_000));
}

#[test]
fn a_command_gets_nothing_that_could_change_its_meaning() {
    assert_eq!(sh("read x; echo $?").1, "1\n");
    assert_eq!(sh("pwd").1, "/\n");
    let (_, environment, _) = sh("env");
    for line in environment.lines() {
        let name = line.split('=').next().unwrap();
        let known = [
            "PATH", "HOME", "LC_ALL", "TMPDIR", "PWD", "OLDPWD", "SHLVL", "_",
        ];
        assert!(known.contains(&name), "{line}");
    }
}

#[test]
fn a_program_that_is_not_there_ends_as_in_a_shell() {
    let mut said = String::new();
    let argv = ["no-such-program".to_owned()];
    let ended = commands().run(&argv, &mut |told| {
        if let Told::Printed(Stream::Err, bytes) = told {
            said += std::str::from_utf8(bytes).unwrap();
        }
    });
    assert_eq!(ended.unwrap(), Exited::Exit(127));
    assert!(said.contains("no-such-program"), "{said}");
    let argv = ["/etc/passwd".to_owned()];
    assert_eq!(
        commands().run(&argv, &mut |_| {}).unwrap(),
        Exited::Exit(126)
    );
}

#[test]
fn lava_backup_alone_is_the_program_that_runs_the_plan() {
    let mut own = Commands::new(String::new, Some("/bin/echo".into()));
    let mut out = Vec::new();
    let argv = ["lava-backup", "extract"].map(String::from);
    own.run(&argv, &mut |told| {
        if let Told::Printed(Stream::Out, bytes) = told {
            out.extend_from_slice(bytes);
        }
    })
    .unwrap();
    assert_eq!(out, b"extract\n");
}

#[test]
fn a_signal_reaches_the_command_and_all_that_it_started_and_none_begins_after_it() {
    let mut commands = commands();
    let interrupt = commands.interrupt();
    let (ready, is_ready) = mpsc::channel();
    let signalling = thread::spawn(move || {
        is_ready.recv().unwrap();
        interrupt.send(TERM);
    });
    // The shell waits for its child, which ends only if it is signalled too.
    let script = "trap 'wait; echo parent; exit 9' TERM; \
                  sh -c 'trap \"echo child; exit\" TERM; echo ready; while :; do sleep 0.05; done' & \
                  wait; wait";
    let argv = ["sh", "-c", script].map(String::from);
    let mut out = Vec::new();
    let ended = commands
        .run(&argv, &mut |told| {
            if let Told::Printed(Stream::Out, bytes) = told {
                out.extend_from_slice(bytes);
                let _ = ready.send(());
            }
        })
        .unwrap();
    signalling.join().unwrap();
    assert_eq!(ended, Exited::Exit(9));
    assert_eq!(String::from_utf8(out).unwrap(), "ready\nchild\nparent\n");
    assert_eq!(commands.stop(), Some(TERM));
    let refused = commands.run(&argv, &mut |_| {}).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::Interrupted);
}

#[test]
fn a_command_is_waited_for_with_all_that_still_holds_its_output() {
    let began = Instant::now();
    let (ended, out, _) = sh("(sleep 0.4; echo late) & exit 5");
    assert_eq!((ended, out.as_str()), (Exited::Exit(5), "late\n"));
    assert!(began.elapsed() >= Duration::from_millis(300));
}
