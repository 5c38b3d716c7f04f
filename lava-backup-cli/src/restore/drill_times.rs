//! How long the steps of a plan took where they were tried.

use std::collections::BTreeMap;

use lava_backup_core::{Backup, Store};
use lava_restore_plan::run::Planned;

use crate::{drill, standing, text};

/// What the newest drill that ran a plan of this host says of this plan's steps. None of it is
/// needed to restore: what can't be read tells nothing.
#[derive(Clone, Default)]
pub(super) struct DrillTimes {
    /// Of each step of the plan, in their order, its id and its milliseconds.
    steps: Vec<(String, Option<u64>)>,
}

impl DrillTimes {
    pub(super) fn find(planned: Planned<'_>, store: &Store, source: &Backup) -> Self {
        let of_host = |backup: &Backup| backup.seal().host == source.seal().host;
        let ids = store.backups().unwrap_or_default().into_iter();
        let backups: Vec<_> = ids
            .filter_map(|id| store.backup(&id).ok())
            .filter(of_host)
            .collect();
        let evidence = standing::evidence_of(&backups);
        let drills = evidence.iter().filter(|e| e.check == "drill" && e.passed);
        let mut took = drills
            .rev()
            .map(|drill| drill::step_milliseconds(&drill.findings));
        let took = took.find(|took| !took.is_empty()).unwrap_or_default();
        Self::of(planned.steps().iter().map(|step| &*step.id), &took)
    }

    fn of<'s>(steps: impl Iterator<Item = &'s str>, took: &BTreeMap<String, u64>) -> Self {
        let steps = steps.map(|id| (id.to_owned(), took.get(id).copied()));
        Self {
            steps: steps.collect(),
        }
    }

    /// How long a step took then, and all from it on.
    pub(super) fn words(&self, step: &str) -> Option<String> {
        let at = self.steps.iter().position(|(id, _)| id == step)?;
        let rest = self.steps[at..].iter().filter_map(|(_, took)| *took);
        let rest = rest.reduce(u64::saturating_add)?;
        let alone = self.steps[at].1;
        let alone = alone.map(|took| format!("{}, and ", text::duration(took)));
        Some(format!(
            "in a drill: {}{} from here to the end",
            alone.unwrap_or_default(),
            text::duration(rest)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_says_how_long_it_took_and_how_long_it_is_to_the_end() {
        let took = [("one", 2000), ("three", u64::MAX), ("other", 7)];
        let took = took.map(|(id, ms)| (id.to_owned(), ms));
        let steps = ["one", "two", "three", "four"];
        let times = DrillTimes::of(steps.into_iter(), &took.into());
        let end = text::duration(u64::MAX);
        let words = |step| times.words(step);
        assert_eq!(
            words("one"),
            Some(format!("in a drill: 2.0 s, and {end} from here to the end"))
        );
        assert_eq!(
            words("two"),
            Some(format!("in a drill: {end} from here to the end"))
        );
        assert_eq!(words("four"), None, "nothing is known");
        assert_eq!(words("other"), None, "no step of the plan");
    }
}
