//! The log of a job: `output.yaml`, one line an event, and `output.idx`.

use crate::calendar::{Moment, digits};
use crate::dice::Dice;
use crate::job::Job;
use crate::transcript::{KERNEL, PREAMBLE, SYSTEMD, TAIL, TESTS, U_BOOT, WORDS};

/// A job's log and where each of its lines begins. Kept by the one who writes
/// many jobs, so that there is one buffer for all.
#[derive(Debug, Default)]
pub struct Log {
    /// `output.yaml`: lines of `- {"dt": …, "lvl": …, "msg": …}`.
    pub text: Vec<u8>,
    /// `output.idx`: the offset of each line, as native 64-bit numbers.
    pub index: Vec<u8>,
}

impl Log {
    /// Replace what is here by the log of a job, so long that text and index
    /// reach `bytes`. What every job has to say is said even if it is longer.
    pub fn write(&mut self, job: &Job, bytes: u64) {
        self.text.clear();
        self.index.clear();
        let cases = job.cases();
        // Results come after the bulk; a line of theirs takes about 160 bytes.
        let room = (bytes as usize).saturating_sub(160 * (2 * cases.len() + TAIL.len()));
        let mut pen = Pen {
            log: self,
            dice: job.dice(6),
            clock: job.start,
            uptime: 0,
            id: u64::from(job.id),
            board: u64::from(job.device) + 1,
            subject: String::new(),
        };
        pen.block("info", PREAMBLE, usize::MAX);
        pen.block("target", U_BOOT, room);
        while pen.written() < room {
            pen.uptime = 0;
            pen.block("target", KERNEL, room);
            pen.block("target", SYSTEMD, room);
            pen.block(
                "feedback",
                &["<LAVA_SIGNAL_STARTRUN 0_smoke %i_1.4.2.4.%n>"],
                room,
            );
            for _ in 0..pen.dice.between(8, 30) {
                let suite = *pen.dice.pick(TESTS);
                for _ in 0..pen.dice.between(4, 25) {
                    pen.subject = format!("{}{:02}", pen.dice.pick(WORDS), pen.dice.between(1, 9));
                    pen.block("target", suite, room);
                }
            }
        }
        for case in &cases {
            let (name, outcome) = (&case.name, case.outcome());
            if case.suite != "lava" {
                let signal = format!("<LAVA_SIGNAL_TESTCASE TEST_CASE_ID={name} RESULT={outcome}>");
                pen.line("target", &signal);
            }
            pen.result(&format!(
                "{{\"case\": \"{name}\", \"definition\": \"{}\", \"result\": \"{outcome}\"}}",
                case.suite
            ));
        }
        pen.block("info", TAIL, usize::MAX);
    }
}

struct Pen<'a> {
    log: &'a mut Log,
    dice: Dice,
    clock: Moment,
    /// Of the board, in microseconds: what the kernel prints.
    uptime: u64,
    id: u64,
    /// A boot looks like the last one on the same board.
    board: u64,
    /// The test that runs.
    subject: String,
}

impl Pen<'_> {
    fn written(&self) -> usize {
        self.log.text.len() + self.log.index.len()
    }

    /// Write lines of one level until there are `room` bytes in all.
    fn block(&mut self, level: &str, lines: &[&str], room: usize) {
        for line in lines {
            if self.written() >= room {
                return;
            }
            self.line(level, line);
        }
    }

    fn begin(&mut self, level: &str) {
        // Serial consoles deliver in bursts.
        self.clock = self.clock.after(if self.dice.chance(20) {
            self.dice.between(300, 90_000)
        } else {
            self.dice.between(40, 140)
        });
        let offset = self.log.text.len() as u64;
        self.log.index.extend_from_slice(&offset.to_ne_bytes());
        let text = &mut self.log.text;
        text.extend_from_slice(b"- {\"dt\": \"");
        self.clock.append_to(text);
        text.extend_from_slice(b"\", \"lvl\": \"");
        text.extend_from_slice(level.as_bytes());
        text.extend_from_slice(b"\", \"msg\": ");
    }

    fn result(&mut self, message: &str) {
        self.begin("results");
        self.log.text.extend_from_slice(message.as_bytes());
        self.log.text.extend_from_slice(b"}\n");
    }

    fn line(&mut self, level: &str, template: &str) {
        self.begin(level);
        self.log.text.push(b'"');
        self.fill(template);
        self.log.text.extend_from_slice(b"\"}\n");
    }

    /// A template is JSON text in which `%` and a letter stand for something
    /// that differs: by job, by board (`b`, `c`, `C`) or by test (`v`).
    fn fill(&mut self, template: &str) {
        let mut parts = template.split('%');
        let text = &mut self.log.text;
        text.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
        for part in parts {
            let (what, rest) = part.split_at(part.len().min(1));
            match what {
                "n" => number(text, self.dice.between(1, 999)),
                "N" => number(text, self.dice.below(100_000)),
                "i" => number(text, self.id),
                "f" => {
                    number(text, self.dice.below(200));
                    text.push(b'.');
                    digits(text, self.dice.below(100), 2);
                }
                "x" => hex(text, self.dice.bits(), 8),
                "p" => {
                    text.extend_from_slice(b"ffff8000");
                    hex(text, self.dice.bits() << 4, 8);
                }
                "b" => hex(text, same(self.board, template, rest.len() as u64 % 16), 8),
                "c" => number(text, same(self.board, template, 0) % 1000),
                "C" => number(text, same(self.board, template, 1) % 100_000),
                "v" => text.extend_from_slice(self.subject.as_bytes()),
                "w" => text.extend_from_slice(self.dice.pick(WORDS).as_bytes()),
                "k" => {
                    self.uptime += if self.dice.chance(40) {
                        0
                    } else {
                        self.dice.below(30_000)
                    };
                    let width = text.len() + 5;
                    let start = text.len();
                    number(text, self.uptime / 1_000_000);
                    // The kernel sets seconds flush right.
                    while text.len() < width {
                        text.insert(start, b' ');
                    }
                    text.push(b'.');
                    digits(text, self.uptime, 6);
                }
                // Two in a row, or the last of the line.
                "" => text.push(b'%'),
                other => text.extend_from_slice(other.as_bytes()),
            }
            text.extend_from_slice(rest.as_bytes());
        }
    }
}

/// A number that a board always has at the same place.
fn same(board: u64, template: &str, place: u64) -> u64 {
    Dice::new(board, template.len() as u64 * 16 + place).bits()
}

fn number(text: &mut Vec<u8>, number: u64) {
    digits(
        text,
        number,
        number.checked_ilog10().unwrap_or(0) as usize + 1,
    );
}

fn hex(text: &mut Vec<u8>, bits: u64, width: u32) {
    for place in (0..width).rev() {
        text.push(b"0123456789abcdef"[(bits >> (4 * place) & 15) as usize]);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Lab;

    fn log(lab: &Lab, id: u32, bytes: u64) -> Log {
        let mut log = Log::default();
        log.write(&lab.job(id), bytes);
        log
    }

    #[test]
    fn every_line_is_an_event_and_the_index_finds_it() {
        let lab = Lab {
            jobs: 20,
            ..Lab::default()
        };
        let log = log(&lab, 3, 200_000);
        let text = std::str::from_utf8(&log.text).unwrap();
        let mut offset = 0;
        let mut last = String::new();
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let at = u64::from_ne_bytes(log.index[8 * number..8 * number + 8].try_into().unwrap());
            assert_eq!(at, offset, "line {number}");
            offset += line.len() as u64;
            let event: serde_json::Value =
                serde_json::from_str(line.trim_end().strip_prefix("- ").unwrap()).unwrap();
            let when = event["dt"].as_str().unwrap();
            assert!(
                event["lvl"].is_string() && !event["msg"].is_null() && last.as_str() < when,
                "{line}"
            );
            last = when.into();
        }
        assert_eq!(offset, log.text.len() as u64);
        assert!(text.contains("µs ✓") && text.contains("[    0.") && !text.contains("%n"));
    }

    #[test]
    fn a_log_is_as_long_as_it_should_be() {
        let lab = Lab {
            jobs: 20,
            ..Lab::default()
        };
        for bytes in [20_000, 100_000, 1_000_000] {
            let log = log(&lab, 5, bytes);
            let got = (log.text.len() + log.index.len()) as u64;
            assert!(got.abs_diff(bytes) < 4000, "{bytes}: {got}");
        }
    }

    #[test]
    fn a_log_names_every_case_of_its_job() {
        let lab = Lab {
            jobs: 20,
            ..Lab::default()
        };
        let text = String::from_utf8(log(&lab, 7, 0).text).unwrap();
        for case in lab.job(7).cases() {
            assert!(text.contains(&format!(
                "{{\"case\": \"{}\", \"definition\": \"{}\"",
                case.name, case.suite
            )));
        }
    }
}
