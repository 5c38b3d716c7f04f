//! A Debian root that boots in a container, with no network but its own loopback.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::exit::{CouldNot, Exit, Failure};

/// Until systemd has started what a bare system starts.
const BOOT: Duration = Duration::from_secs(120);
/// Until it has stopped it again; then it is ended.
const HALT: Duration = Duration::from_secs(90);
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A running machine, halted when dropped, and by the kernel when the thread that booted it ends.
pub(super) struct Machine {
    root: PathBuf,
    keeper: Child,
    /// The control groups that were made for it, if any were.
    group: Option<String>,
}

impl Machine {
    /// Boots a root under a host name; `shared` is seen in it at `at`, and can't be written there.
    ///
    /// # Errors
    /// If systemd-nspawn is missing, or systemd does not come up.
    pub(super) fn boot(
        root: &Path,
        name: &str,
        (shared, at): (&Path, &str),
        console: &Path,
    ) -> Result<Self, Failure> {
        let out = fs::File::create(console).could_not(format!("write {}", console.display()))?;
        let errors = out.try_clone().could_not("boot the system")?;
        // Where systemd runs here it gives the machine control groups; else it gets its own.
        let managed = Path::new("/run/systemd/system").is_dir();
        let mut words = vec![
            "systemd-nspawn".to_owned(),
            "--quiet".into(),
            "--boot".into(),
        ];
        words.extend(["--register=no", "--private-network", "--resolv-conf=off"].map(String::from));
        words.push("--timezone=off".into());
        if !managed {
            words.push("--keep-unit".into());
        }
        words.push(format!("--directory={}", root.display()));
        words.push(format!("--hostname={name}"));
        words.push(format!("--machine=drill-{}", std::process::id()));
        words.push(format!("--bind-ro={}:{at}", shared.display()));
        let group = format!("lava-backup-drill-{}", std::process::id());
        let keeper = keep(if managed { "" } else { &group }, &words)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .spawn()
            .could_not("run systemd-nspawn")?;
        let mut machine = Self {
            root: root.to_owned(),
            keeper,
            group: (!managed).then_some(group),
        };
        let end = Instant::now() + BOOT;
        loop {
            if machine.keeper.try_wait()?.is_some() || Instant::now() > end {
                let said = fs::read_to_string(console).unwrap_or_default();
                let last = said.lines().rfind(|line| !line.trim().is_empty());
                let what = format!(
                    "could not boot the restored system: {}",
                    last.unwrap_or("it said nothing")
                );
                return Err(Failure::new(Exit::Failed, what)
                    .hint("the package systemd-container is needed, and root"));
            }
            let state = machine.run(&["systemctl", "is-system-running"]);
            let state = state.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
            if state.is_ok_and(|state| ["running", "degraded"].contains(&state.as_str())) {
                return Ok(machine);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The process that is number 1 in it.
    fn leader(&self) -> io::Result<u32> {
        let keeper = self.keeper.id();
        let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children"))?;
        let systemd = |pid: &&str| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.trim() == "systemd"
        };
        let pid = children.split_whitespace().find(systemd);
        let pid = pid.and_then(|pid| pid.parse().ok());
        pid.ok_or_else(|| io::Error::other("the machine is not up"))
    }

    /// Runs a command in it, as root.
    pub(super) fn run(&self, command: &[&str]) -> io::Result<Output> {
        let leader = self.leader()?.to_string();
        Command::new("nsenter")
            .args(["--target", &leader])
            .args([
                "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd",
            ])
            .args([
                "--",
                "env",
                "-i",
                PATH,
                "HOME=/root",
                "LANG=C.UTF-8",
                "TERM=dumb",
            ])
            .args(command)
            .stdin(Stdio::null())
            .output()
    }

    /// Its files, from here.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }
}

impl Machine {
    fn halt(&mut self) {
        let Some(keeper) = i32::try_from(self.keeper.id()).ok().and_then(Pid::from_raw) else {
            return;
        };
        // To systemd-nspawn this says that the machine is to halt.
        let _ = kill_process(keeper, Signal::TERM);
        let end = Instant::now() + HALT;
        while Instant::now() < end {
            if !matches!(self.keeper.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.halt();
        if let Some(group) = &self.group {
            for tree in ["", "unified", "systemd"] {
                remove_groups(&Path::new("/sys/fs/cgroup").join(tree).join(group));
            }
        }
    }
}

/// What keeps a machine: the command, in a session of its own, which ends with us.
fn keep(group: &str, command: &[String]) -> Command {
    let mut keeper = Command::new("setsid");
    keeper
        .args(["sh", "-c", include_str!("machine.sh"), "machine", group])
        .args(command);
    keeper
}

/// A control group is removed when those in it are.
fn remove_groups(group: &Path) {
    for inner in fs::read_dir(group).into_iter().flatten().flatten() {
        if inner.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&inner.path());
        }
    }
    let _ = fs::remove_dir(group);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{BufRead, BufReader};
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_keeps_a_machine_ends_when_who_booted_it_is_killed() {
        let command = ["sh", "-c", "echo begun; exec sleep 120"].map(String::from);
        let keeper = keep("", &command);
        let mut booter = Command::new("sh")
            .args(["-c", "\"$@\" & wait", "booter"])
            .arg(keeper.get_program())
            .args(keeper.get_args())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(booter.stdout.take().unwrap());
        let mut begun = String::new();
        out.read_line(&mut begun).unwrap();
        assert_eq!(begun, "begun\n");
        booter.kill().unwrap();
        booter.wait().unwrap();
        // The other end of the pipe is the command's until it ends.
        let (ended, end) = mpsc::channel();
        thread::spawn(move || ended.send(io::read_to_string(out)));
        let rest = end.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
        assert_eq!(rest, "");
    }
}
