//! The steps from a backup to a restored host.

use std::io::Read;

use lava_restore_plan::{Facts, Intent, Options, Verdict, render};

use crate::answer::Answer;
use crate::args::{PlanArgs, PlanFormat, PlanIntent};
use crate::exit::{CouldNot, Exit, Failure};

use crate::named::{self, Named};
use crate::{backup_facts, collect};

pub(crate) fn plan(args: &PlanArgs) -> Result<Answer, Failure> {
    if Named::of(&args.backup.backup) == Named::Stdin {
        let what = "could not plan from standard input: the plan's commands read the backup again";
        return Err(Failure::new(Exit::Usage, what).hint("put it into a file, and name that"));
    }
    let backup = backup_facts::open(&args.backup)?;
    let known = backup_facts::for_plan(&backup)?;
    let target = target(args)?;
    let mut options = Options::new(place(args)?);
    options.replace_data = args.replace_data;
    options.target_digest = Some(digest(&target));
    let intent = match args.intent {
        PlanIntent::RestoreMaster => Intent::RestoreMaster,
    };
    let plan = lava_restore_plan::plan(&known, &target, &intent, &options);
    let json = render::json(&plan).could_not("print the plan")?;
    let text = match args.format {
        PlanFormat::Markdown => render::markdown(&plan).could_not("print the plan")?,
        PlanFormat::Sh => render::shell(&plan).could_not("print the plan")?,
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

/// Where the plan's commands find the backup, as they say after `--store`.
fn place(args: &PlanArgs) -> Result<String, Failure> {
    let named = match (Named::of(&args.backup.backup), &args.backup.store.store) {
        (Named::File(file), _) => file,
        (_, Some(store)) => store,
        (_, None) => return Err(named::no_store("plan")),
    };
    Ok(named.canonicalize()?.to_string_lossy().into_owned())
}

/// The facts of the target: from a file, or of this host.
fn target(args: &PlanArgs) -> Result<Facts, Failure> {
    let Some(path) = &args.target else {
        let facts = collect::facts(&crate::args::FactsArgs {
            root: "/".into(),
            database: Default::default(),
        })?;
        return Facts::from_json(facts.json().to_string().as_bytes())
            .could_not("read this host's facts");
    };
    let mut text = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut f| f.read_to_end(&mut text))
    }
    .could_not(format!("read the target's facts from {}", path.display()))?;
    Facts::from_json(&text).could_not(format!("read the target's facts from {}", path.display()))
}

/// Binds a plan to the facts that it was made for.
fn digest(facts: &Facts) -> String {
    let mut facts = facts.clone();
    // When they were gathered is no part of what they are.
    facts.captured_at = None;
    facts.normalise();
    let text = serde_json::to_string(&facts).unwrap_or_default();
    lava_backup_core::FrameName::of(text.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_gathering_does_not_bind_a_plan() {
        let mut facts = Facts::unknown();
        let before = digest(&facts);
        facts.captured_at = Some("later".into());
        assert_eq!(digest(&facts), before);
        facts.hostname = Some("other".into());
        assert_ne!(digest(&facts), before);
    }
}
