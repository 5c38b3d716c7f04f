//! One job: what the database and the disk both say of it.

use std::fmt::Write;

use crate::calendar::{Moment, SECOND};
use crate::dice::Dice;
use crate::lab::USERS;

/// LAVA's state of a job, by the number in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waits for a board.
    Submitted = 0,
    /// Runs now.
    Running = 3,
    /// Over, however it went.
    Finished = 5,
}

/// A job. It has a folder if, and only if, it is finished.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its number, the primary key.
    pub id: u32,
    /// Where it stands.
    pub state: State,
    /// When it was submitted: its folder is named after that day.
    pub submit: Moment,
    /// When it started, if it did.
    pub start: Moment,
    /// How long it ran, if it is finished.
    pub seconds: u64,
    /// The number of its board.
    pub device: u32,
    /// The kind of its board.
    pub kind: &'static str,
    /// Who submitted it: an index of [`USERS`].
    pub user: u32,
    /// Whether everybody may see it.
    pub public: bool,
    /// Whether LAVA submitted it to see if the board is well.
    pub health_check: bool,
    /// Whether it did not complete.
    pub failed: bool,
    /// What its files should add up to, in bytes.
    pub bytes: u64,
    /// Whether its log is packed.
    pub packed: bool,
    pub(crate) dice: Dice,
}

/// One result of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// `lava` for the steps of LAVA itself, else the test's own suite.
    pub suite: &'static str,
    /// What was tried.
    pub name: String,
    /// LAVA's number: 0 pass, 1 fail, 2 skip, 3 unknown.
    pub result: u8,
    /// What was measured, with its unit.
    pub measurement: Option<(f64, &'static str)>,
}

impl Case {
    /// The result as logs write it.
    pub fn outcome(&self) -> &'static str {
        ["pass", "fail", "skip", "unknown"][usize::from(self.result)]
    }
}

/// The two suites that every job has.
pub const SUITES: [&str; 2] = ["lava", "0_smoke"];

impl Job {
    /// When it ended, if it is finished.
    pub fn end(&self) -> Moment {
        self.start.after(self.seconds * SECOND)
    }

    /// Its folder below `job-output`: `YYYY/MM/DD/ID`.
    pub fn folder(&self) -> String {
        format!("{}/{}", self.day(), self.id)
    }

    /// The folder of its day below `job-output`.
    pub fn day(&self) -> String {
        let (year, month, day) = self.submit.date();
        format!("{year}/{month:02}/{day:02}")
    }

    /// One of its own streams of chance.
    pub(crate) fn dice(&self, purpose: u64) -> Dice {
        let mut dice = self.dice.clone();
        Dice::new(dice.bits(), purpose)
    }

    /// What the list of jobs shows.
    pub fn description(&self) -> String {
        match self.id % 50 {
            7 => format!(
                "nightly-{} · \"{}\" \\ µ-boot\twith a tab",
                self.id, self.kind
            ),
            _ if self.health_check => format!("health-{}", self.kind),
            _ => format!("build-{} · {}", self.id, self.kind),
        }
    }

    /// Why it did not complete.
    pub fn failure(&self) -> Option<&'static str> {
        const REASONS: [&str; 4] = [
            "Connexion perdue",
            "auto-login-action timed out after 120 seconds",
            "bootloader-interrupt: prompt '=>' not found:\n\tlast line: C:\\boot\\loader « µ » \\N \\.\n",
            "deploy: 电源 failed\r\n☠ try again",
        ];
        self.failed.then(|| *self.dice(1).pick(&REASONS))
    }

    /// The job's definition, as submitted.
    pub fn definition(&self) -> String {
        let (id, kind) = (self.id, self.kind);
        let mut dice = self.dice(2);
        let (build, commit) = (dice.between(1000, 99_999), dice.bits());
        let visibility = if self.public { "public" } else { "personal" };
        let comment = match id % 10 {
            3 => {
                "  comment: \"Prüfstand Nº 3 – « öäü » \\t C:\\\\lab\\\\日本\"\n  raw: |\n    one\ttab\n\n    two \\n\n"
            }
            _ => "",
        };
        format!(
            "job_name: {name}\ndevice_type: {kind}\nvisibility: {visibility}\npriority: medium\n\
             timeouts:\n  job: {{minutes: 30}}\n  action: {{minutes: 10}}\n  connection: {{minutes: 2}}\n\
             metadata:\n  build-url: https://builds.lab.test/{build}\n  git-commit: {commit:016x}\n{comment}\
             context:\n  extra_kernel_args: console_msg_format=syslog earlycon deferred_probe_timeout=60\n\
             actions:\n- deploy:\n    to: tftp\n    kernel:\n      url: https://images.lab.test/{build}/{kind}/Image.gz\n      type: image\n\
             \x20   dtb:\n      url: https://images.lab.test/{build}/{kind}/board.dtb\n\
             \x20   nfsrootfs:\n      url: https://images.lab.test/debian/bookworm/20230512.0/arm64/full.rootfs.tar.xz\n      compression: xz\n\
             - boot:\n    method: u-boot\n    commands: nfs\n    prompts: ['/ #', 'root@']\n\
             - test:\n    definitions:\n    - repository: https://git.lab.test/tests.git\n      from: git\n      path: smoke.yaml\n      name: smoke\n",
            name = self.description().escape_default(),
        )
    }

    /// Its results, in the order in which they came.
    pub fn cases(&self) -> Vec<Case> {
        let mut dice = self.dice(3);
        let mut cases = Vec::with_capacity(32);
        for name in [
            "validate",
            "http-download",
            "git-repo-action",
            "auto-login-action",
            "job",
        ] {
            let failed = self.failed && name == "job";
            let seconds = (dice.unit() * 90_000.0).round() / 1000.0;
            cases.push(Case {
                suite: SUITES[0],
                name: name.into(),
                result: u8::from(failed),
                measurement: Some((seconds, "seconds")),
            });
        }
        for number in 0..dice.between(5, 25) {
            let result = match dice.below(100) {
                0..90 => 0,
                90..96 => 1,
                96..99 => 2,
                _ => 3,
            };
            // Small, large and negative ones: all that a float can do to text.
            let measurement = match number % 5 {
                1 => Some((dice.unit() * 1e-7, "seconds")),
                2 => Some((-40.0 + dice.unit(), "°C")),
                3 => Some((dice.below(1 << 40) as f64, "bytes")),
                _ => None,
            };
            cases.push(Case {
                suite: SUITES[1],
                name: format!("case-{number}"),
                result,
                measurement,
            });
        }
        cases
    }

    /// The board as the dispatcher was told of it.
    pub(crate) fn device_yaml(&self) -> String {
        let (kind, number) = (self.kind, self.device);
        let mut text = format!(
            "available_architectures: [arm64]\nconstants:\n  kernel-start-message: Linux version [0-9]\n  posix: {{lava_test_shell_file: /tmp/lava}}\n\
             character_delays: {{boot: 5, test: 0}}\n\
             commands:\n  connect: telnet console{rack:02}.lab.test {port}\n  hard_reset: pdu-control --port {number} --hostname pdu{rack:02} --command reboot\n\
             \x20 power_off: pdu-control --port {number} --hostname pdu{rack:02} --command off\n\
             \x20 power_on: pdu-control --port {number} --hostname pdu{rack:02} --command on\n\
             device_type: {kind}\nparameters:\n  interfaces:\n    target: {{ip: 192.0.2.{ip}, mac: '52:54:00:12:34:{ip:02x}'}}\ntimeouts:\n  actions:\n",
            rack = number % 4,
            port = 7000 + number,
            ip = number % 250 + 1,
        );
        for (place, action) in [
            "bootloader-commands",
            "download-action",
            "fastboot-deploy",
            "lava-test-shell",
            "u-boot-interrupt",
        ]
        .iter()
        .enumerate()
        {
            // Writing to a String can't fail.
            let _ = writeln!(text, "    {action}: {{seconds: {}}}", 30 * (place + 1));
        }
        text
    }

    /// The pipeline that the dispatcher made of the job.
    pub(crate) fn description_yaml(&self) -> String {
        let mut dice = self.dice(4);
        let mut text = format!(
            "job:\n  id: '{}'\n  submitter: {}\n  device: {}-{:02}\npipeline:\n",
            self.id, USERS[self.user as usize], self.kind, self.device
        );
        for (level, action) in [
            "tftp-deploy",
            "download-retry",
            "http-download",
            "prepare-tftp-overlay",
            "uboot-action",
            "bootloader-overlay",
            "lava-test-retry",
            "finalize",
        ]
        .iter()
        .enumerate()
        {
            let _ = writeln!(
                text,
                "- class: {action}\n  description: step {action} of the job\n  level: '{level}'\n  max_retries: {}\n  name: {action}\n  section: deploy\n  summary: {action}\n  timeout: {}\n  url: https://images.lab.test/{:x}",
                dice.between(1, 3),
                dice.between(60, 600),
                dice.below(1 << 32)
            );
        }
        text
    }

    /// Name and text of the one file of results below `metadata`.
    pub(crate) fn metadata(&self) -> (String, String) {
        let mut dice = self.dice(5);
        let text = format!(
            "boot: {{time: {:.6}}}\nname: validate\nurl: https://builds.lab.test/{}\nsha256sum: {:016x}{:016x}{:016x}{:016x}\n",
            dice.unit() * 60.0,
            self.id,
            dice.bits(),
            dice.bits(),
            dice.bits(),
            dice.bits()
        );
        (format!("lava-validate-{}.yaml", dice.between(1, 3)), text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::Lab;

    #[test]
    fn every_document_of_a_job_is_yaml() {
        let lab = Lab {
            jobs: 120,
            ..Lab::default()
        };
        for job in lab.all_jobs() {
            for text in [
                job.definition(),
                job.device_yaml(),
                job.description_yaml(),
                job.metadata().1,
            ] {
                let parsed: serde_norway::Value =
                    serde_norway::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}"));
                assert!(parsed.is_mapping());
            }
        }
    }

    #[test]
    fn text_that_is_hard_to_carry_is_there() {
        let lab = Lab {
            jobs: 200,
            ..Lab::default()
        };
        let all: String = lab
            .all_jobs()
            .map(|job| job.definition() + &job.description() + job.failure().unwrap_or_default())
            .collect();
        for hard in [
            "\t", "\n\n", "\r\n", "\\", "\\N", "\\.\n", "\"", "µ", "日本", "☠",
        ] {
            assert!(all.contains(hard), "{hard:?}");
        }
    }

    #[test]
    fn folders_carry_the_day_of_submission() {
        let lab = Lab {
            jobs: 10,
            until: "2023-06-01".parse().unwrap(),
            ..Lab::default()
        };
        assert!(lab.job(1).folder().starts_with("2023/03/"));
        assert_eq!(
            lab.job(10).folder(),
            "2023/05/31/10".replace("31", &format!("{:02}", lab.job(10).submit.date().2))
        );
    }
}
