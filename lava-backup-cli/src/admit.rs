//! Who reaches LAVA while it is restored.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use lava_restore_plan::release::{NO_WORKER_PAGE, VERSION_PAGE, WORKERS_SITE};
use lava_restore_plan::step::WORKERS_ONLY;
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Answer;
use crate::args::{AdmitArgs, Admitted};
use crate::exit::{CouldNot, Exit, Failure};

/// gunicorn may have to start a worker of its own first.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a page is asked for, at most.
const ASKS: u8 = 3;
/// Of an answer of a few words.
const LONGEST: u64 = 64 << 10;

const CONFIGURATIONS: &str = "/etc/apache2/conf-available";

/// A configuration of apache's that was written, and is not in service yet.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Admission {
    /// Its name, as `a2enconf` takes it.
    pub(crate) name: &'static str,
    /// Its file.
    pub(crate) path: String,
}

/// Who reaches LAVA.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Reached {
    /// Whether LAVA answers users.
    pub(crate) users: bool,
    /// Whether LAVA answers workers.
    pub(crate) workers: bool,
}

pub(crate) fn admit(args: &AdmitArgs) -> Result<Answer, Failure> {
    match args.check {
        true => check(args.whom),
        false => admit_workers(),
    }
}

fn check(whom: Admitted) -> Result<Answer, Failure> {
    let reached = Reached {
        users: answers(VERSION_PAGE, "\"version\"")?,
        workers: answers(NO_WORKER_PAGE, "Unknown worker")?,
    };
    let wanted = match whom {
        Admitted::Nobody => (false, false),
        Admitted::Workers => (false, true),
        Admitted::All => (true, true),
    };
    let word = |reached| {
        if reached {
            "reach LAVA"
        } else {
            "do not reach LAVA"
        }
    };
    let text = format!(
        "users    {}\nworkers  {}\n",
        word(reached.users),
        word(reached.workers)
    );
    let exit = match (reached.users, reached.workers) == wanted {
        true => Exit::Done,
        false => Exit::Gate,
    };
    Ok(Answer::new(exit, &reached, text))
}

/// Whether LAVA answers here, and not apache for it or nobody: a page of apache's own holds no JSON
/// of LAVA's. A site that sends everybody to HTTPS answers, for what is behind it is another's to
/// say.
fn answers(page: &str, word: &str) -> Result<bool, Failure> {
    let asked = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, 80))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET {page} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"
        )?;
        let mut answer = Vec::new();
        stream.take(LONGEST).read_to_end(&mut answer)?;
        Ok(answer)
    };
    let mut asks = 0;
    let answer = loop {
        let answer = match asked() {
            Ok(answer) => String::from_utf8_lossy(&answer).into_owned(),
            Err(e) if e.kind() == ErrorKind::ConnectionRefused => return Ok(false),
            Err(e) => return Err(e).could_not("ask apache on this host"),
        };
        asks += 1;
        if asks == ASKS || !is_bad_gateway(&answer) {
            break answer;
        }
    };
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let head = head.to_ascii_lowercase();
    let json = head.contains("\ncontent-type: application/json");
    let secure = head.contains("\nlocation: https://");
    Ok(json && body.contains(word) || secure)
}

/// Apache says so where gunicorn ends a kept connection, two seconds old, just as it is used again:
/// who asks again reaches it, so a site that is open must not pass for a closed one.
fn is_bad_gateway(answer: &str) -> bool {
    answer.split(' ').nth(1) == Some("502")
}

fn admit_workers() -> Result<Answer, Failure> {
    let directory = Path::new(CONFIGURATIONS);
    let path = directory.join(format!("{WORKERS_ONLY}.conf"));
    let shown = path.display();
    let text = workers_only();
    match fs::read_to_string(&path) {
        Ok(there) if there == text => {}
        Ok(_) => {
            let what = format!("could not write {shown}: another file has that name");
            return Err(Failure::new(Exit::Refused, what).hint("look at it, and move it away"));
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            write(directory, &path, &text).could_not(format!("write {shown}"))?;
        }
        Err(e) => return Err(e).could_not(format!("read {shown}")),
    }
    let admission = Admission {
        name: WORKERS_ONLY,
        path: path.to_string_lossy().into_owned(),
    };
    let text = format!(
        "written  {}\nnext     a2enconf {WORKERS_ONLY}, then reload apache2\n",
        admission.path
    );
    Ok(Answer::new(Exit::Done, &admission, text))
}

/// Whole or not at all.
fn write(directory: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(".lava-backup-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    fs::File::open(directory)?.sync_all()
}

/// A site's own `Location` comes after one that stands outside of it, and lets users in all the same
/// (measured); an `If` comes after them all, whatever the site, its port and its protocol.
fn workers_only() -> String {
    let of_workers = |path: &&str| format!("%{{REQUEST_URI}} -strmatch '{path}*'");
    let of_workers: Vec<String> = WORKERS_SITE.iter().map(of_workers).collect();
    format!(
        "# Written by lava-backup: while a lab is restored its workers reach LAVA, and users do not.\n\
         # `a2disconf {WORKERS_ONLY}` lets users in.\n\
         <If \"!({})\">\n    Require all denied\n</If>\n",
        of_workers.join(" || ")
    )
}

#[cfg(test)]
mod tests {
    use super::is_bad_gateway;

    #[test]
    fn only_a_bad_gateway_is_asked_again() {
        assert!(is_bad_gateway("HTTP/1.1 502 Proxy Error\r\n\r\n"));
        for other in [
            "HTTP/1.1 200 OK\r\n\r\n502",
            "HTTP/1.1 503 502\r\n",
            "",
            "502",
        ] {
            assert!(!is_bad_gateway(other), "{other}");
        }
    }
}
