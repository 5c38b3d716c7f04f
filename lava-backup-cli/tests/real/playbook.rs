//! The playbook of a plan on a real master; Ansible comes from outside, as it would through ssh.
#![allow(unreachable_pub)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::Ran;
use crate::master::{Master, TOOL};

/// A root with another Ansible becomes that of a command, which finds it read-only but for what the
/// command is given. All mounts are gone with it.
const WITHIN: &str = "root=$1 given=$2; shift 2\n\
    mount --bind \"$root\" \"$root\"; mount -o remount,bind,ro \"$root\"\n\
    mount -t proc proc \"$root/proc\"; mount --rbind /dev \"$root/dev\"\n\
    mount -t tmpfs tmpfs \"$root/tmp\"\n\
    mkdir \"$root$given\"; mount --bind \"$given\" \"$root$given\"\n\
    exec chroot \"$root\" \"$@\"";

/// Runs the last of its arguments on the master, wherever it is called itself.
const SSH: &str = "#!/bin/sh\nfor command; do :; done\n\
    exec nsenter --target PID --mount --root --wd -- 'TOOL' run 'DIR' sh -c \"$command\"\n";

/// What `ansible-playbook` is given, in a directory of its own.
pub struct Playbook<'a> {
    master: &'a Master,
    control: Option<&'a Path>,
    dir: tempfile::TempDir,
}

impl<'a> Playbook<'a> {
    /// With this text, for that master, by the Ansible of this machine or that in another root.
    pub fn new(master: &'a Master, control: Option<&'a Path>, text: &str) -> Self {
        // In every root there is a /tmp.
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let at = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
            path.to_str().unwrap().to_owned()
        };
        at("plan.yml", text);
        at("ansible.cfg", "");
        let ssh = SSH
            .replace("PID", &std::process::id().to_string())
            .replace("TOOL", TOOL)
            .replace("DIR", master.dir.to_str().unwrap());
        let ssh = at("ssh", &ssh);
        let host = format!(
            "[lava_master]\nnew ansible_ssh_executable={ssh} ansible_ssh_transfer_method=piped \
             ansible_python_interpreter=/usr/bin/python3\n"
        );
        at("inventory", &host);
        Self {
            master,
            control,
            dir,
        }
    }

    /// With the answers that a person would give; nobody is at a terminal.
    pub fn run(&self, arguments: &[&str], answers: &str) -> Ran {
        let program = "ansible-playbook";
        let mut command = match self.control {
            None => Command::new(program),
            Some(root) => {
                let mut unshare = Command::new("unshare");
                unshare
                    .args(["--mount", "--propagation", "private", "sh", "-euc", WITHIN])
                    .args([Path::new("sh"), root, self.dir.path(), Path::new(program)]);
                unshare
            }
        };
        let at = |name: &str| self.dir.path().join(name);
        command
            .arg("-i")
            .args([at("inventory"), at("plan.yml")])
            .args(arguments)
            .env("ANSIBLE_CONFIG", at("ansible.cfg"))
            .env("ANSIBLE_HOME", self.dir.path())
            // Whatever else Ansible keeps is below ~.
            .env("HOME", self.dir.path())
            .env("ANSIBLE_PIPELINING", "1")
            .env("LC_ALL", "C.UTF-8")
            .env("LAVA_RESTORE_CONFIRM", answers)
            .stdin(Stdio::null());
        command.output().unwrap().into()
    }

    /// Of a master to which nothing was done yet, `--check` tells which gates hold and which do
    /// not yet, and changes nothing.
    pub fn check(&self) {
        let checked = self.run(&["--check"], "").ends(0).out;
        let fails = |gate: &str| checked.contains(&format!("gate {gate} does not hold"));
        for gate in [
            "base.suite:suite",
            "install.exact:lava-server",
            "smoke.deploy:deploy",
        ] {
            let gate = format!("master.{gate}");
            assert!(
                checked.contains(&format!("[{gate}]")) && !fails(&gate),
                "{checked}"
            );
        }
        for gate in [
            "isolate.closed:closed",
            "quiesce.stop:still",
            "database.load:equal",
        ] {
            assert!(fails(&format!("master.{gate}")), "{checked}");
        }
        self.master.services_are("active");
        let state = self.master.dir.join("var/lib/lava-backup/restore");
        assert!(!state.exists());
    }
}
