//! Signals that come to a run.

use std::thread;

use lava_restore_plan::run::Interrupt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Shown;
use crate::exit::{CouldNot, Failure};

/// Gives TERM and INT to the command that runs, which is the last one then.
///
/// HUP, which comes when a terminal is closed, is taken and changes nothing: a restore that stops
/// because a connection broke leaves its lab down with nobody there, and one that goes on comes
/// either to its end or to the next question, where it stops for want of somebody to ask. Everything
/// it prints is in its directory.
pub(super) fn pass_on(interrupt: &Interrupt, shown: &Shown) -> Result<(), Failure> {
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP]);
    let mut signals = signals.could_not("listen for signals")?;
    let (interrupt, shown) = (interrupt.clone(), shown.clone());
    thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                shown.say("the terminal was closed; going on");
                continue;
            }
            shown.say("stopping as soon as the command that runs has ended");
            interrupt.send(signal);
        }
    });
    Ok(())
}
