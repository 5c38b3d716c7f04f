//! The steps from a backup to a restored host.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use lava_backup_core::FrameName;
use lava_restore_plan::facts::Role;
use lava_restore_plan::{
    ErrorKind, Facts, Host, Intent, Options, Plan, UnknownField, Verdict, render,
};

use crate::answer::Answer;
use crate::args::{PlanArgs, PlanCommand, PlanFormat, PlanIntent};
use crate::exit::{CouldNot, Exit, Failure};
use crate::named::{self, Named};
use crate::{backup_facts, collect, text};

mod diff;

pub(crate) fn plan(args: &PlanArgs) -> Result<Answer, Failure> {
    if let Some(PlanCommand::Diff(args)) = &args.command {
        return diff::diff(args);
    }
    let targets = targets(args)?;
    let mut hosts = Vec::with_capacity(targets.len());
    for (name, target) in args.backups.iter().zip(targets) {
        let backup = named::open(&args.store, name)?;
        let known = backup_facts::for_plan(&backup)?;
        let bound = Bound::to(&target);
        let mut host = Host::new(known, place(args, name)?, target);
        host.target_digest = Some(bound.digest);
        host.target_fields = bound.fields;
        hosts.push(host);
    }
    let intent = match args.intent {
        Some(PlanIntent::RestoreMaster) => Intent::RestoreMaster,
        Some(PlanIntent::RestoreWorker) => Intent::RestoreWorker,
        Some(PlanIntent::RestoreLab) => Intent::RestoreLab,
        Some(PlanIntent::Grow) => Intent::Grow,
        Some(PlanIntent::Drill) => Intent::Drill,
        None => match hosts.as_slice() {
            [host] if host.backup.facts.role == Role::Worker => Intent::RestoreWorker,
            [_] => Intent::RestoreMaster,
            _ => Intent::RestoreLab,
        },
    };
    let mut options = Options::default();
    options.replace_data = args.replace_data;
    options.next_job_id = args.next_job_id;
    let plan = lava_restore_plan::plan(hosts, intent, &options);
    let json = render::json(&plan).could_not("print the plan")?;
    let text = match args.format {
        PlanFormat::Markdown => render::markdown(&plan).could_not("print the plan")?,
        PlanFormat::Html => render::html(&plan).could_not("print the plan")?,
        PlanFormat::Sh => script(args, &plan)?,
        PlanFormat::Ansible => render::ansible(&plan).could_not("print the plan")?,
        PlanFormat::Json => json.clone(),
    };
    let exit = match plan.verdict {
        Verdict::Ok | Verdict::Note => Exit::Done,
        Verdict::Prepare => Exit::Prepare,
        Verdict::Refuse => Exit::Refused,
    };
    let document: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
    Ok(Answer::verbatim(exit, &document, text))
}

/// A script is for one host.
fn script(args: &PlanArgs, plan: &Plan) -> Result<String, Failure> {
    let host = match (&args.host, plan.hosts.as_slice()) {
        (Some(host), _) => host,
        (None, [host]) => &host.id,
        (None, hosts) => {
            let ids: Vec<&str> = hosts.iter().map(|host| host.id.as_str()).collect();
            let what = "could not print the plan as a script: a script is for one host";
            let hint = format!("name it with --host, one of: {}", ids.join(", "));
            return Err(Failure::new(Exit::Usage, what).hint(hint));
        }
    };
    render::shell(plan, host).map_err(|e| match e.kind() {
        ErrorKind::UnknownHost => Failure::new(Exit::Usage, format!("could not {e}")),
        _ => Failure::new(Exit::Failed, format!("could not print the plan: {e}")),
    })
}

/// Where the plan's commands find a backup, as they say after `--store`.
fn place(args: &PlanArgs, name: &str) -> Result<String, Failure> {
    let named = match (Named::of(name), &args.store.store) {
        (Named::Stdin, _) => {
            let what =
                "could not plan from standard input: the plan's commands read the backup again";
            return Err(Failure::new(Exit::Usage, what).hint("put it into a file, and name that"));
        }
        (Named::File(file), _) => file,
        (_, Some(store)) => store,
        (_, None) => return Err(named::no_store("plan")),
    };
    Ok(named.canonicalize()?.to_string_lossy().into_owned())
}

/// The facts of each backup's target.
fn targets(args: &PlanArgs) -> Result<Vec<Facts>, Failure> {
    let stdin = args
        .backups
        .iter()
        .any(|name| Named::of(name) == Named::Stdin);
    if stdin {
        place(args, "-")?;
    }
    match (args.backups.len(), args.targets.as_slice()) {
        (1, []) => Ok(vec![this_host()?]),
        (backups, targets) if backups == targets.len() => {
            let is_stdin = |path: &&PathBuf| path.as_os_str() == "-";
            if targets.iter().filter(is_stdin).count() > 1 {
                named::stdin_once("-", "-")?;
            }
            targets.iter().map(|path| facts(path)).collect()
        }
        (backups, targets) => {
            let what = format!(
                "could not plan: {} for {}",
                text::count(targets.len() as u64, "target"),
                text::count(backups as u64, "backup")
            );
            let hint = "give a --target for each backup, in the same order";
            Err(Failure::new(Exit::Usage, what).hint(hint))
        }
    }
}

/// The facts of this host.
pub(crate) fn this_host() -> Result<Facts, Failure> {
    let facts = collect::facts(&crate::args::FactsArgs {
        root: "/".into(),
        database: Default::default(),
    })?;
    Facts::from_json(facts.json().to_string().as_bytes()).could_not("read this host's facts")
}

fn facts(path: &Path) -> Result<Facts, Failure> {
    let what = format!("read the target's facts from {}", path.display());
    let text = read(path).could_not(&what)?;
    let facts = Facts::from_json(&text).could_not(&what)?;
    for unknown in Facts::unknown_fields(&text).could_not(&what)? {
        note(path, &unknown);
    }
    Ok(facts)
}

/// What a slip in facts that are written by hand leaves unknown.
#[allow(clippy::print_stderr, reason = "the program's edge")]
fn note(path: &Path, unknown: &UnknownField) {
    let meant = unknown.nearest.as_ref();
    let meant = meant.map_or(String::new(), |name| format!("; is `{name}` meant?"));
    let text = format!(
        "{}: facts have no field `{:.200}`, so nobody reads it{meant}",
        path.display(),
        unknown.path
    );
    eprintln!("note: {}", text::printable(&text));
}

/// A document from a file, or with `-` from standard input; no more of it than any document has.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let most = lava_restore_plan::MOST_BYTES as u64 + 1;
    let mut text = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().take(most).read_to_end(&mut text)?;
    } else {
        std::fs::File::open(path)?
            .take(most)
            .read_to_end(&mut text)?;
    }
    Ok(text)
}

/// What binds a plan to the facts that it was made for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// Of all that lasts.
    pub(crate) digest: String,
    /// Of each field of it.
    pub(crate) fields: BTreeMap<String, String>,
}

impl Bound {
    pub(crate) fn to(facts: &Facts) -> Self {
        let lasting = facts.lasting();
        let digest = |text: String| FrameName::of(text.as_bytes()).to_string();
        let fields = serde_json::to_value(&lasting).unwrap_or_default();
        let fields = fields.as_object().into_iter().flatten();
        Self {
            digest: digest(serde_json::to_string(&lasting).unwrap_or_default()),
            fields: fields
                .map(|(name, value)| (name.clone(), digest(value.to_string())))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use lava_restore_plan::facts::DatabaseState;

    use super::*;

    #[test]
    fn neither_the_time_of_gathering_nor_the_size_of_the_database_binds_a_plan() {
        let mut facts = Facts::unknown();
        facts.database = DatabaseState::Present(Box::default());
        let before = Bound::to(&facts);
        facts.captured_at = Some("later".into());
        if let DatabaseState::Present(database) = &mut facts.database {
            database.size_bytes = Some(1 << 20);
        }
        assert_eq!(Bound::to(&facts), before);
        facts.hostname = Some("other".into());
        let after = Bound::to(&facts);
        assert_ne!(after.digest, before.digest);
        let fields = after.fields.iter();
        let others = fields.filter(|&(name, digest)| before.fields[name] != *digest);
        assert_eq!(
            others.map(|(name, _)| name).collect::<Vec<_>>(),
            ["hostname"]
        );
    }
}
