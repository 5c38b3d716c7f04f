//! The first pass: what would change, and what stands in the way.

use std::collections::{BTreeMap, BTreeSet};

use super::compare::{Compared, Comparer, Decision};
use super::links::Links;
use super::target::Target;
use super::{Change, Event, ExtractReport};
use crate::backup::Backup;
use crate::entry::{Entry, Kind};
use crate::error::Result;
use crate::path::MemberPath;

/// What the first pass found.
pub(super) struct Survey {
    pub(super) report: ExtractReport,
    /// What is to be done with each selected entry, in archive order.
    pub(super) decisions: Vec<Decision>,
    pub(super) links: Links,
    /// The first that is there and differs.
    pub(super) in_the_way: Option<MemberPath>,
}

impl Survey {
    pub(super) fn of(
        target: &Target<'_>,
        backup: &Backup,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self> {
        let mut survey = Self {
            report: ExtractReport::default(),
            decisions: Vec::new(),
            links: Links::default(),
            in_the_way: None,
        };
        let mut comparer = Comparer::new(target);
        let mut owners = BTreeSet::new();
        let mut expected = BTreeMap::new();
        for found in target.selected(backup)? {
            let (path, entry) = found?;
            observe(Event::Compare(&entry));
            survey.report.entries += 1;
            target.note_owners(&entry, &mut owners);
            if target
                .options
                .complete
                .iter()
                .any(|c| entry.path.is_within(c))
            {
                expected.insert(path.clone(), entry.kind == Kind::Dir);
            }
            let decision = match (&entry.target, entry.kind) {
                (Some(of), Kind::Hardlink) => {
                    survey.links.expect(of.clone());
                    Decision::Same
                }
                _ => {
                    let compared = comparer.compare(&path, &entry)?;
                    survey.decide(&path, compared, observe)
                }
            };
            survey.decisions.push(decision);
        }
        if !survey.links.is_empty() {
            survey.compare_links(target, backup, observe)?;
        }
        for path in target.extra(&expected)? {
            survey.report.extra += 1;
            observe(Event::Change(&Change {
                path,
                what: "extra",
                parts: Vec::new(),
            }));
        }
        survey.report.owners = owners.into_iter().collect();
        Ok(survey)
    }

    /// Hard links, and the files that they lead to, whose entries come before
    /// it is known that anything leads to them.
    fn compare_links(
        &mut self,
        target: &Target<'_>,
        backup: &Backup,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<()> {
        let mut links = std::mem::take(&mut self.links);
        let mut comparer = Comparer::new(target);
        let mut number = 0;
        for entry in backup.index()? {
            let entry = entry?;
            let path = target.selects(&entry.path);
            let selected = number;
            number += usize::from(path.is_some());
            if links.leads_to(&entry) {
                // Again, for what it is linked by: its number in the file system.
                let compared = path
                    .as_ref()
                    .filter(|_| self.decisions.get(selected) == Some(&Decision::Same))
                    .map(|path| comparer.compare(path, &entry))
                    .transpose()?;
                links.found(entry, path, compared);
            } else if let (Some(path), Kind::Hardlink) = (path, entry.kind) {
                let compared = links.compare(&mut comparer, &path, &entry)?;
                let decision = self.decide(&path, compared, observe);
                if let Some(was) = self.decisions.get_mut(selected) {
                    *was = decision;
                }
            }
        }
        self.links = links;
        Ok(())
    }

    fn decide(
        &mut self,
        path: &MemberPath,
        compared: Compared,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Decision {
        let Some(what) = compared.decision.word() else {
            self.report.same += 1;
            return compared.decision;
        };
        self.report.changes += 1;
        if compared.decision != Decision::New && self.in_the_way.is_none() {
            self.in_the_way = Some(path.clone());
        }
        observe(Event::Change(&Change {
            path: path.clone(),
            what,
            parts: compared.parts,
        }));
        compared.decision
    }
}

impl Target<'_> {
    /// The path of a member below the root, if it is to be brought back.
    pub(super) fn selects(&self, path: &MemberPath) -> Option<MemberPath> {
        let within = |of: &MemberPath| path.is_within(of);
        let wanted = self.options.select.iter().any(within);
        let unwanted = self.options.exclude.iter().any(within);
        (wanted && !unwanted).then(|| path.in_section()).flatten()
    }

    /// The selected entries with their paths below the root, in archive order.
    pub(super) fn selected(
        &self,
        backup: &Backup,
    ) -> Result<impl Iterator<Item = Result<(MemberPath, Entry)>>> {
        let index = backup.index()?;
        Ok(index.filter_map(|entry| match entry {
            Ok(entry) => self.selects(&entry.path).map(|path| Ok((path, entry))),
            Err(e) => Some(Err(e)),
        }))
    }
}
