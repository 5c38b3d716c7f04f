//! What differs between two plans.

use std::path::Path;

use lava_restore_plan::Plan;

use super::read;
use crate::answer::Answer;
use crate::args::PlanDiffArgs;
use crate::exit::{CouldNot, Exit, Failure};

/// Two backups are never the same, so `diff` has nothing to say by its exit code. Two plans of the
/// same input are, byte for byte, and whoever compares them asks whether they still are.
pub(super) fn diff(args: &PlanDiffArgs) -> Result<Answer, Failure> {
    if args.old.as_os_str() == "-" && args.new.as_os_str() == "-" {
        let what = "could not read both plans from standard input";
        return Err(Failure::new(Exit::Usage, what).hint("put one of them into a file"));
    }
    let (old, new) = (document(&args.old)?, document(&args.new)?);
    let diff = lava_restore_plan::diff(&old, &new);
    Ok(match diff.is_empty() {
        true => Answer::new(Exit::Done, &diff, "the same plan\n"),
        false => Answer::new(Exit::Refused, &diff, diff.to_string()),
    })
}

fn document(path: &Path) -> Result<Plan, Failure> {
    let act = format!("read a plan from {}", path.display());
    let text = read(path).could_not(&act)?;
    Plan::from_json_unchecked(&text).could_not(&act)
}
