//! The gates of more than one step.

use super::*;

impl Master<'_> {
    pub(super) fn still(&self) -> Gate {
        inactive(
            &self.stopped,
            "A service that runs now sees a database in the making.",
        )
    }

    pub(super) fn no_active_jobs(&self) -> Gate {
        gate(
            "jobs",
            self.on.ask(ACTIVE_JOBS),
            0,
            Some("0".to_owned()),
            "Each of them can start on a device by itself.",
        )
    }

    pub(super) fn devices_gates(&self) -> [Gate; 2] {
        let total = self.dump.devices().unwrap_or(0).to_string();
        [
            gate(
                "health",
                self.on.ask(DEVICES_THAT_TAKE_JOBS),
                0,
                Some("0".to_owned()),
                "Such a device takes a job as soon as the scheduler runs.",
            ),
            gate(
                "total",
                self.on.ask(DEVICES),
                0,
                Some(total),
                "No devices at all would pass as well.",
            ),
        ]
    }

    pub(super) fn safety_gates(&self) -> Vec<Gate> {
        let mut gates = vec![self.no_active_jobs()];
        gates.extend(self.devices_gates());
        gates
    }
}

impl Step {
    pub(super) fn touch(&mut self, danger: Danger, touches: &[Touch]) {
        self.danger = danger;
        self.touches = touches.to_vec();
    }

    pub(super) fn post(&mut self, gate: Gate) {
        self.post.push(gate.named(&self.id));
    }
}

impl Gate {
    /// Gives it its whole id.
    pub(super) fn named(self, step: &str) -> Self {
        Self {
            id: format!("{step}:{}", self.id),
            ..self
        }
    }
}

pub(super) fn gate(
    name: &str,
    argv: Vec<String>,
    exit: u8,
    stdout: Option<String>,
    why: &str,
) -> Gate {
    Gate {
        id: name.to_owned(),
        argv,
        expect: Expect { exit, stdout },
        why: why.to_owned(),
    }
}

pub(super) fn closed() -> Gate {
    gate(
        "closed",
        words(&["test", "!", "-e", SITE_LINK]),
        0,
        None,
        "Users and their programs must stay out.",
    )
}

pub(super) fn check_deploy() -> Gate {
    let argv = words(&["lava-server", "manage", "check", "--deploy"]);
    gate(
        "deploy",
        argv,
        0,
        None,
        "It names what is wrong with services, settings and device \
         dictionaries.",
    )
}

/// systemd prints a line for each unit, and exits 3 only when none of them is active.
pub(super) fn inactive(units: &[String], why: &str) -> Gate {
    let expected = vec!["inactive"; units.len()].join("\n");
    gate(
        "still",
        with(&["systemctl", "is-active"], units),
        3,
        Some(expected),
        why,
    )
}

pub(super) fn active(units: &[String]) -> Gate {
    let expected = vec!["active"; units.len()].join("\n");
    gate(
        "active",
        with(&["systemctl", "is-active"], units),
        0,
        Some(expected),
        "A service that does not stay up is the first thing to look at.",
    )
}
