//! What no plan may hold.
//!
//! A plan's commands come from a closed enum; this module does not trust that and looks at each
//! command and each rendered text again. Commands are held against a list of what is allowed, so
//! an operation nobody thought of is refused too; the list of what is forbidden is for rendered
//! text, where a program's name alone proves nothing.

use crate::command::Call;
use crate::step::{Gate, Step};
use crate::{Error, ErrorKind};

/// Words that run or make a migration, or configure a package and so run one: lava-server's
/// maintainer script migrates whatever database it finds, at every configuration.
const FORBIDDEN: &[&str] = &[
    "apt",
    "apt-get",
    "aptitude",
    "autoremove",
    "dist-upgrade",
    "--configure",
    "dpkg-reconfigure",
    "flush",
    "full-upgrade",
    "loaddata",
    "makemigrations",
    "migrate",
    "postinst.py",
    "squashmigrations",
    "unattended-upgrade",
];

/// Marks where a rendered page names the operations above in order to warn of them.
pub(crate) const WARNING_BEGINS: &str = "<!-- never run: begin -->";
/// Where that warning ends.
pub(crate) const WARNING_ENDS: &str = "<!-- never run: end -->";
/// Marks where a rendered page quotes findings, which may be about a package named `apt`.
pub(crate) const FINDINGS_BEGIN: &str = "<!-- findings: begin -->";
/// Where they end.
pub(crate) const FINDINGS_END: &str = "<!-- findings: end -->";

/// Checks a step's commands and gates.
pub(crate) fn step(step: &Step) -> Result<(), Error> {
    if step.argv != step.action.argv() {
        return Err(Error::new(ErrorKind::Altered, format!("step {}", step.id)));
    }
    let forbidden = |argv: &[String]| {
        Error::new(
            ErrorKind::Forbidden,
            format!("step {}: {:.200}", step.id, argv.join(" ")),
        )
    };
    for argv in &step.argv {
        let reads = step.action.is_read_only();
        if !(allowed(argv, false) && (!reads || allowed(argv, true))) {
            return Err(forbidden(argv));
        }
    }
    for Gate { argv, .. } in step.pre.iter().chain(&step.post) {
        if !allowed(argv, true) {
            return Err(forbidden(argv));
        }
    }
    Ok(())
}

/// Checks a rendered text, word by word.
pub(crate) fn text(name: &str, text: &str) -> Result<(), Error> {
    let mut tells = false;
    for (number, line) in text.lines().enumerate() {
        match line {
            WARNING_BEGINS | FINDINGS_BEGIN => tells = true,
            WARNING_ENDS | FINDINGS_END => tells = false,
            // A comment of the script runs nothing, and quotes findings in a backup's own words.
            _ if tells || line.starts_with("# ") => {}
            _ if has_forbidden_word(line) => {
                let at = format!("line {} of the {name}", number + 1);
                return Err(Error::new(ErrorKind::Forbidden, at));
            }
            _ => {}
        }
    }
    Ok(())
}

fn has_forbidden_word(line: &str) -> bool {
    let breaks = |c: char| c.is_whitespace() || "'\"`;&|()<>".contains(c);
    line.split(breaks).any(is_forbidden)
}

fn is_forbidden(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or(word);
    FORBIDDEN.contains(&name)
}

/// Whether a command is one that a plan may hold; with `reading`, one that changes nothing.
fn allowed(argv: &[String], reading: bool) -> bool {
    // A store or a database may be called anything; only what a program takes as its verb counts,
    // but no plan has a reason for a whole argument that is one of the forbidden words.
    let word = |word: &String| !word.contains('\0') && !FORBIDDEN.contains(&word.as_str());
    argv.iter().all(word) && Call::of(argv).is_some_and(|call| !reading || call.only_looks())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::step::{RUNNING, words};

    fn acts(line: &str) -> bool {
        allowed(&words(&line.split(' ').collect::<Vec<_>>()), false)
    }

    #[test]
    fn nothing_that_migrates_or_configures_is_allowed() {
        for line in [
            "lava-server manage migrate",
            "lava-server manage makemigrations",
            "lava-server manage shell",
            "lava-server manage maintenance --force",
            "dpkg-reconfigure lava-server",
            "dpkg --configure -a",
            "apt-get -f install",
            "apt-get dist-upgrade",
            "apt-get install lava-server",
            "/usr/share/lava-server/postinst.py",
            "runuser -u postgres -- psql -XAtq -d lavaserver -c DELETE",
            "runuser -u postgres -- dropdb lavaserver",
            "sh -c true",
            "lava-backup prune",
        ] {
            assert!(!acts(line), "{line}");
        }
        for line in [
            "lava-server manage jobs fail 53",
            "systemctl stop lava-worker.service",
        ] {
            assert!(acts(line), "{line}");
        }
    }

    #[test]
    fn no_word_of_a_command_is_a_forbidden_one_even_as_a_name() {
        assert!(acts("apt-mark hold bash") && acts("test -e /etc"));
        assert!(!acts("apt-mark hold apt"));
        assert!(!acts("test -e /etc\0"));
    }

    #[test]
    fn a_gate_may_only_look() {
        let gate = |line: &str| allowed(&words(&line.split(' ').collect::<Vec<_>>()), true);
        assert!(gate("systemctl is-active lava-worker.service"));
        let running = [&RUNNING[..], &["lava-worker.service"]].concat();
        assert!(gate(&running.join(" ")));
        assert!(gate(
            "lava-backup extract --store s b config --root / --check"
        ));
        assert!(!gate("lava-backup extract --store s b config --root /"));
        assert!(!gate("systemctl stop lava-worker.service"));
        assert!(!gate("lava-backup database restore --store s b --root /"));
    }

    #[test]
    fn rendered_text_may_name_it_only_in_a_warning() {
        let line = "lava-server manage 'migrate' --noinput";
        assert_eq!(text("page", line).unwrap_err().kind(), ErrorKind::Forbidden);
        assert!(
            text(
                "page",
                &format!("{WARNING_BEGINS}\n{line}\n{WARNING_ENDS}\n")
            )
            .is_ok()
        );
        assert!(text("page", &format!("{WARNING_BEGINS}\n{WARNING_ENDS}\n{line}")).is_err());
        assert!(text("page", "SELECT count(*) FROM django_migrations").is_ok());
    }
}
