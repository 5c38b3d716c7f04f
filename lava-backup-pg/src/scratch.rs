use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, ErrorKind, Result};
use crate::server::{self, Address, OsUser, Programs};
use crate::superuser::Superuser;

/// A PostgreSQL cluster of our own, for a drill or a test.
///
/// It lives in a directory that nobody else can enter, listens on a socket in
/// there and on nothing else, takes no care of durability, and is gone when
/// dropped. Killed, its server ends with us (`setpriv --pdeathsig`), and the
/// next one removes the directory.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    _lock: File,
    server: Child,
    /// What the server's parent waits for.
    _parent: mpsc::Sender<()>,
    admin: Superuser,
}

const PREFIX: &str = "lava-backup-scratch-";
const PORT: u16 = 5432;

impl Scratch {
    /// Makes a cluster below `parent`, run as `user`; PostgreSQL does not run
    /// as root.
    ///
    /// # Errors
    /// [`ErrorKind::Failed`] with what `initdb` or the server said.
    pub fn start(programs: &Programs, parent: &Path, user: Option<OsUser>) -> Result<Self> {
        sweep(parent);
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(parent)
            .map_err(|e| Error::io("make a directory in", parent, e))?
            .keep();
        let lock = lock_dir(&dir)
            .ok_or_else(|| Error::io("lock", &dir, std::io::ErrorKind::WouldBlock))?;
        match Self::fill(programs, &dir, user) {
            Ok((server, parent, admin)) => Ok(Self {
                dir,
                _lock: lock,
                server,
                _parent: parent,
                admin,
            }),
            Err(e) => {
                let _ = fs::remove_dir_all(&dir);
                Err(e)
            }
        }
    }

    fn fill(
        programs: &Programs,
        dir: &Path,
        user: Option<OsUser>,
    ) -> Result<(Child, mpsc::Sender<()>, Superuser)> {
        let io = |e| Error::io("prepare", dir, e);
        // The user passes through; what lies inside is its own.
        if let Some(user) = user {
            chown(dir, None, Some(user.gid)).map_err(io)?;
            fs::set_permissions(dir, fs::Permissions::from_mode(0o710)).map_err(io)?;
        }
        let data = dir.join("data");
        let socket = dir.join("socket");
        for part in [&data, &socket] {
            fs::create_dir(part).map_err(io)?;
            fs::set_permissions(part, fs::Permissions::from_mode(0o700)).map_err(io)?;
            if let Some(user) = user {
                chown(part, Some(user.uid), Some(user.gid)).map_err(io)?;
            }
        }
        let out = server::command(&programs.path("initdb"), user)
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8"])
            .args(["--locale=C.UTF-8", "--no-sync"])
            .arg(format!("--pgdata={}", data.display()))
            .stdin(Stdio::null())
            .output()
            .map_err(|e| Error::with(ErrorKind::Program, "start initdb", e))?;
        server::succeeded("make a scratch cluster", &out)?;

        let log = dir.join("server.log");
        // A server logs rows that it could not take.
        let mut private = OpenOptions::new();
        private.write(true).create_new(true).mode(0o600);
        let log_file = private.open(&log).map_err(io)?;
        let mut command = server::command(Path::new("setpriv"), None);
        command.args(["--pdeathsig", "QUIT"]);
        if let Some(user) = user {
            command
                .arg(format!("--reuid={}", user.uid))
                .arg(format!("--regid={}", user.gid))
                .arg("--clear-groups");
        }
        command
            .arg(programs.path("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&socket)
            .args(["-p", &PORT.to_string(), "-c", "listen_addresses="])
            .args(["-c", "fsync=off", "-c", "full_page_writes=off"])
            .args(["-c", "synchronous_commit=off", "-c", "autovacuum=off"])
            .args(["-c", "max_wal_size=4GB", "-c", "shared_buffers=64MB"])
            .stdin(Stdio::null())
            .stdout(log_file.try_clone().map_err(io)?)
            .stderr(log_file);
        let (mut server, parent) = spawn_for_good(command)
            .map_err(|e| Error::with(ErrorKind::Program, "start a scratch server", e))?;
        let host = socket.to_string_lossy().into_owned();
        let admin = Superuser::new(programs.clone(), user, &host, PORT);
        for _ in 0..600 {
            if admin.query("postgres", "SELECT 1").is_ok() {
                return Ok((server, parent, admin));
            }
            if !matches!(server.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = server.kill();
        let _ = server.wait();
        let said = fs::read(&log).unwrap_or_default();
        Err(Error::new(
            ErrorKind::Failed,
            format!("start a scratch server: {}", server::complaint(&said)),
        ))
    }

    /// Whoever may do anything in it.
    pub fn superuser(&self) -> &Superuser {
        &self.admin
    }

    /// A database of it, as the superuser.
    pub fn address(&self, database: &str) -> Address {
        Address {
            host: self.dir.join("socket").to_string_lossy().into_owned(),
            port: PORT,
            database: database.to_owned(),
            user: "postgres".into(),
            password: None,
            os_user: None,
        }
    }
}

#[cfg(test)]
impl Scratch {
    /// For a test of this crate's own rooms; those of the whole are in `tests`.
    #[allow(clippy::unwrap_used)]
    pub(crate) fn for_test() -> Self {
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        let line = passwd.lines().find(|l| l.starts_with("postgres:"));
        let mut ids = line.unwrap().split(':').skip(2).map(|id| id.parse());
        let mut id = || ids.next().unwrap().unwrap();
        let user = OsUser {
            uid: id(),
            gid: id(),
        };
        let user = rustix::process::geteuid().is_root().then_some(user);
        let programs = Programs::at_least(13).unwrap();
        Self::start(&programs, Path::new("/tmp"), user).unwrap()
    }

    /// What its server has said so far.
    #[allow(clippy::unwrap_used)]
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.dir.join("server.log")).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Immediate: nothing in it is worth a checkpoint.
        if let Some(pid) = rustix::process::Pid::from_raw(self.server.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        }
        let _ = self.server.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Starts a child that the kernel is to end with its parent. A parent is a
/// thread, not a process: this one lives until the returned end is dropped.
fn spawn_for_good(mut command: Command) -> std::io::Result<(Child, mpsc::Sender<()>)> {
    let (give, take) = mpsc::channel();
    let (until, dropped) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = give.send(command.spawn());
        let _ = dropped.recv();
    });
    let child = take.recv().map_err(std::io::Error::other)??;
    Ok((child, until))
}

fn lock_dir(dir: &Path) -> Option<File> {
    let lock = File::open(dir).ok()?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(lock)
}

/// Removes what clusters that were killed have left.
fn sweep(parent: &Path) {
    let me = rustix::process::geteuid().as_raw();
    for found in fs::read_dir(parent).into_iter().flatten().flatten() {
        let ours = found.file_name().to_string_lossy().starts_with(PREFIX)
            && found.metadata().is_ok_and(|m| m.is_dir() && m.uid() == me);
        // A directory that is just being made is not locked yet, and empty.
        let used = || found.path().join("data").exists();
        if ours && used() && lock_dir(&found.path()).is_some() {
            let _ = fs::remove_dir_all(found.path());
        }
    }
}
