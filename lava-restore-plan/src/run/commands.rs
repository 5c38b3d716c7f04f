//! The commands of a plan as processes of this host.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::host::{Exited, Host, Stream, Told};

/// Where root finds programs, whatever shell it came from.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How often it is told that a command is still at work.
const TICK: Duration = Duration::from_secs(1);

/// Runs commands as processes of this host, one at a time.
///
/// Each has the root directory for its own, the C locale, an environment of nothing else that
/// could change what it means, no input, and a process group, which is sent what
/// [`Interrupt::send`] is given. Files that this process left open for its children are theirs, too:
/// so a [`Lock`](super::Lock) is held until the last of them has ended.
#[derive(Debug)]
pub struct Commands {
    clock: fn() -> String,
    own_program: Option<PathBuf>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    /// The leader of the group that runs, not reaped yet: its number can be no other's.
    group: Option<Pid>,
    stop: Option<i32>,
}

/// Sends signals to the commands of a [`Commands`], from another thread.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<Shared>);

impl Interrupt {
    /// Lets no further command begin, and gives the signal to the one that runs.
    pub fn send(&self, signal: i32) {
        let mut now = lock(&self.0.now);
        now.stop = Some(signal);
        if let (Some(group), Some(signal)) = (now.group, Signal::from_named_raw(signal)) {
            // It may have ended just now.
            let _ = kill_process_group(group, signal);
        }
    }

    /// The last signal that was sent.
    #[must_use]
    pub fn sent(&self) -> Option<i32> {
        lock(&self.0.now).stop
    }
}

impl Commands {
    /// With the clock whose words the journal is to have, and the program that a plan means by
    /// `lava-backup` alone; the one in root's path if `None`.
    #[must_use]
    pub fn new(clock: fn() -> String, own_program: Option<PathBuf>) -> Self {
        Self {
            clock,
            own_program,
            shared: Arc::default(),
        }
    }

    /// What stops it.
    #[must_use]
    pub fn interrupt(&self) -> Interrupt {
        Interrupt(self.shared.clone())
    }

    fn command(&self, argv: &[String]) -> Command {
        let word = argv.first().map_or("", String::as_str);
        let program = match &self.own_program {
            Some(own) if word == "lava-backup" => own.clone().into_os_string(),
            _ => OsString::from(word),
        };
        let mut command = Command::new(program);
        command
            .args(argv.iter().skip(1))
            .current_dir("/")
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", "/root")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // The terminal's own signals reach us alone: what is passed on is ours to decide.
            .process_group(0);
        if let Some(room) = std::env::var_os("TMPDIR") {
            command.env("TMPDIR", room);
        }
        command
    }

    /// Starts a command, unless the run was asked to stop.
    fn start(&self, argv: &[String]) -> io::Result<Child> {
        let mut now = lock(&self.shared.now);
        if now.stop.is_some() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let child = self.command(argv).spawn()?;
        now.group = group(&child);
        Ok(child)
    }
}

impl Host for Commands {
    fn run(&mut self, argv: &[String], tell: &mut dyn FnMut(Told<'_>)) -> io::Result<Exited> {
        let mut child = match self.start(argv) {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                let word = argv.first().map_or("", String::as_str);
                let why = format!("could not run {word}: {error}\n");
                tell(Told::Printed(Stream::Err, why.as_bytes()));
                let missing = error.kind() == io::ErrorKind::NotFound;
                return Ok(Exited::Exit(if missing { 127 } else { 126 }));
            }
        };
        let began = Instant::now();
        let (sender, printed) = sync_channel(16);
        if let Some(out) = child.stdout.take() {
            follow(out, Stream::Out, sender.clone());
        }
        if let Some(err) = child.stderr.take() {
            follow(err, Stream::Err, sender.clone());
        }
        drop(sender);
        pass_on(&printed, began, tell);
        let ended = self.wait(&mut child, began, tell)?;
        Ok(match (ended.code(), ended.signal()) {
            (Some(code), _) => Exited::Exit(u8::try_from(code).unwrap_or(u8::MAX)),
            (None, signal) => Exited::Signal(signal.unwrap_or_default()),
        })
    }

    fn pause(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while self.stop().is_none() && Instant::now() < end {
            thread::sleep(Duration::from_millis(100).min(time));
        }
    }

    fn stop(&self) -> Option<i32> {
        lock(&self.shared.now).stop
    }

    fn now(&self) -> String {
        (self.clock)()
    }
}

impl Commands {
    fn wait(
        &self,
        child: &mut Child,
        began: Instant,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> io::Result<ExitStatus> {
        let mut pause = Duration::from_millis(1);
        let mut told = began.elapsed();
        if let Some(pid) = group(child) {
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            while retry_on_intr(|| waitid(WaitId::Pid(pid), look))?.is_none() {
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(50));
                if began.elapsed() >= told + TICK {
                    told = began.elapsed();
                    tell(Told::AtWork(told));
                }
            }
        }
        // It has ended and keeps its number until it is reaped, when nobody may signal it any more.
        let mut now = lock(&self.shared.now);
        now.group = None;
        child.wait()
    }
}

/// Tells what a command prints until nobody is left who could print.
fn pass_on(printed: &Receiver<(Stream, Vec<u8>)>, began: Instant, tell: &mut dyn FnMut(Told<'_>)) {
    let mut told = Duration::ZERO;
    loop {
        match printed.recv_timeout(TICK) {
            Ok((stream, bytes)) => tell(Told::Printed(stream, &bytes)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if began.elapsed() >= told + TICK {
            told = began.elapsed();
            tell(Told::AtWork(told));
        }
    }
}

fn follow(mut from: impl Read + Send + 'static, stream: Stream, to: SyncSender<(Stream, Vec<u8>)>) {
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match from.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
                Ok(read) => {
                    if to.send((stream, buffer[..read].to_vec())).is_err() {
                        return;
                    }
                }
            }
        }
    });
}

fn group(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

fn lock(now: &Mutex<Now>) -> MutexGuard<'_, Now> {
    // Nothing that holds it can panic half-way.
    now.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
