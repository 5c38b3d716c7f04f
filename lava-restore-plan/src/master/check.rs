//! The gates of more than one step.

use super::*;

impl Master<'_> {
    pub(super) fn no_active_jobs(&self) -> Gate {
        gate(
            "jobs",
            self.on.ask(&Query::ActiveJobs(self.on.encoding)),
            0,
            Some("0".to_owned()),
            "Each of them can start on a device by itself.",
        )
    }

    pub(super) fn migrations(&self) -> Gate {
        let applied = self.dump.and_then(|dump| dump.migrations.as_ref());
        gate(
            "migrations",
            self.on.ask(&Query::Migrations),
            0,
            Some(applied.map_or(0, Vec::len).to_string()),
            "Nothing has migrated it.",
        )
    }

    pub(super) fn devices_gates(&self) -> [Gate; 2] {
        let total = self.dump.and_then(Dump::devices).unwrap_or(0).to_string();
        [
            gate(
                "health",
                self.on.ask(&Query::DevicesThatTakeJobs(self.on.encoding)),
                0,
                Some("0".to_owned()),
                "Such a device takes a job as soon as the scheduler runs.",
            ),
            gate(
                "total",
                self.on.ask(&Query::Devices),
                0,
                Some(total),
                "No devices at all would pass as well.",
            ),
        ]
    }

    /// What must hold before anything of LAVA's runs; a master without its data has no devices.
    pub(super) fn safety_gates(&self) -> Vec<Gate> {
        let mut gates = vec![self.no_active_jobs()];
        gates.extend(self.devices_gates());
        gates
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

/// It looks at the services too, and some take their time.
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

/// Who reaches LAVA, asked of apache itself: a link or a file does not say what is served.
pub(super) fn admitted(program: &str, whom: &str, why: &str) -> Gate {
    Gate {
        patience: 60,
        ..gate(
            "reached",
            words(&[program, "admit", whom, "--check"]),
            0,
            None,
            why,
        )
    }
}
