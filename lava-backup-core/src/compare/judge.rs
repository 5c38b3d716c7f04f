//! What of two surveys is a difference.

use std::collections::{BTreeMap, BTreeSet};

use super::{Amount, Change, Finding, Group, Sort, Survey, Tolerance, kind::family};

/// Compares a backup with its reference. The findings are sorted by what they
/// are of and by name; the backup is equivalent if none of them
/// [fails](Finding::fails).
pub fn compare(reference: &Survey, found: &Survey, tolerance: &Tolerance) -> Vec<Finding> {
    let mut judge = Judge {
        tolerance,
        reference_families: families(reference),
        found_families: families(found),
        findings: Vec::new(),
    };
    let names: BTreeSet<&String> = reference.groups.keys().chain(found.groups.keys()).collect();
    for name in names {
        match (reference.groups.get(name), found.groups.get(name)) {
            (Some(was), is) => judge.group(name, was, is),
            (None, Some(is)) => judge.fresh(name, is),
            (None, None) => {}
        }
    }
    let none = BTreeMap::new();
    let names = reference.inventories.keys().chain(found.inventories.keys());
    for name in names.collect::<BTreeSet<_>>() {
        let was = reference.inventories.get(name).unwrap_or(&none);
        let is = found.inventories.get(name).unwrap_or(&none);
        judge.inventory(name, was, is);
    }
    let key = |f: &Finding| (f.of.clone(), f.name.clone(), f.change);
    judge.findings.sort_by_cached_key(key);
    judge.findings
}

/// Files that are rotated or compressed, all kinds of them together.
#[derive(Default)]
struct Family<'s> {
    kinds: BTreeSet<&'s str>,
    files: Amount,
}

fn families(survey: &Survey) -> BTreeMap<&str, Family<'_>> {
    let mut families: BTreeMap<&str, Family<'_>> = BTreeMap::new();
    for (name, group) in &survey.groups {
        if let Some(files) = group.types.get("file") {
            let of = families.entry(family_of(name, group.sort)).or_default();
            of.kinds.insert(name);
            of.files.entries += files.entries;
            of.files.empty += files.empty;
        }
    }
    families
}

fn family_of(name: &str, sort: Sort) -> &str {
    match sort {
        Sort::Named | Sort::Whole => name,
        Sort::Plain | Sort::Collection | Sort::Living => family(name),
    }
}

struct Judge<'s> {
    tolerance: &'s Tolerance,
    reference_families: BTreeMap<&'s str, Family<'s>>,
    found_families: BTreeMap<&'s str, Family<'s>>,
    findings: Vec<Finding>,
}

impl Judge<'_> {
    fn group(&mut self, name: &str, was: &Group, is: Option<&Group>) {
        let empty = BTreeMap::new();
        let types = is.map_or(&empty, |group| &group.types);
        let of = was.sort.word();
        for (what, was_amount) in &was.types {
            let is_amount = types.get(what);
            let other = types.values().find(|a| !was.types.contains_key(a.what));
            let (change, fails) = match (is_amount, other) {
                (None, Some(other)) => {
                    let (was, is) = (Some(*was_amount), Some(*other));
                    self.find(of, name, Change::ChangedKind, was, is, true);
                    continue;
                }
                (None, None) => (Change::Missing, self.misses(name, was.sort, was_amount)),
                (Some(is), _) if was_amount.secret && !is.secret => (Change::ChangedKind, true),
                (Some(is), _) if self.shrank(name, was.sort, was_amount, is) => {
                    (Change::Shrunk, true)
                }
                _ => continue,
            };
            let (was, is) = (Some(*was_amount), is_amount.copied());
            self.find(of, name, change, was, is, fails);
        }
        for (what, amount) in types {
            if !was.types.contains_key(what) && types.len() > 1 {
                self.find(of, name, Change::New, None, Some(*amount), false);
            }
        }
    }

    fn fresh(&mut self, name: &str, is: &Group) {
        for amount in is.types.values() {
            self.find(
                is.sort.word(),
                name,
                Change::New,
                None,
                Some(*amount),
                false,
            );
        }
    }

    /// Does it matter that nothing of a kind is left?
    fn misses(&self, name: &str, sort: Sort, was: &Amount) -> bool {
        if sort == Sort::Living && (was.what == "dir" || was.entries <= self.tolerance.entries) {
            return false;
        }
        // It may have been rotated or compressed.
        was.what != "file" || self.family_shrank(name, sort)
    }

    fn shrank(&self, name: &str, sort: Sort, was: &Amount, is: &Amount) -> bool {
        match (was.what, sort) {
            // Directories go with what was in them.
            ("dir", Sort::Living) => false,
            ("file", Sort::Whole) => self.family_shrank(name, sort),
            ("file", _) => {
                let fewer = is.entries < was.entries || is.filled() < was.filled();
                (fewer && self.family_shrank(name, sort)) || self.bytes_shrank(name, sort, was, is)
            }
            _ => self.fell(sort, was.entries, is.entries),
        }
    }

    fn family_shrank(&self, name: &str, sort: Sort) -> bool {
        let of = family_of(name, sort);
        let files = |families: &BTreeMap<&str, Family<'_>>| {
            let family = families.get(of);
            family.map(|f| f.files).unwrap_or_default()
        };
        let was = files(&self.reference_families);
        let is = files(&self.found_families);
        self.fell(sort, was.entries, is.entries) || self.fell(sort, was.filled(), is.filled())
    }

    /// Fewer files have fewer bytes, so only what is beyond that counts. Where
    /// files are rotated or compressed, bytes say nothing.
    fn bytes_shrank(&self, name: &str, sort: Sort, was: &Amount, is: &Amount) -> bool {
        let of = family_of(name, sort);
        let alone = [&self.reference_families, &self.found_families]
            .iter()
            .filter_map(|families| families.get(of))
            .all(|family| family.kinds.iter().all(|kind| *kind == name));
        let share = u128::from(is.entries.min(was.entries));
        let expected = u128::from(was.bytes) * share / u128::from(was.entries.max(1));
        let expected = u64::try_from(expected).unwrap_or(u64::MAX);
        let lost = expected.saturating_sub(is.bytes);
        alone && lost > self.tolerance.bytes && self.beyond(expected, lost)
    }

    fn fell(&self, sort: Sort, was: u64, is: u64) -> bool {
        let lost = was.saturating_sub(is);
        let few = match sort {
            Sort::Named | Sort::Plain => false,
            Sort::Living => lost <= self.tolerance.entries,
            Sort::Collection | Sort::Whole => is > 0 && lost <= self.tolerance.entries,
        };
        lost > 0 && !few && self.beyond(was, lost)
    }

    fn beyond(&self, was: u64, lost: u64) -> bool {
        u128::from(lost) * 100 > u128::from(was) * u128::from(self.tolerance.percent)
    }

    fn inventory(
        &mut self,
        of: &str,
        was: &BTreeMap<String, Option<u64>>,
        is: &BTreeMap<String, Option<u64>>,
    ) {
        let amount = |count: &Option<u64>| Amount {
            what: "item",
            entries: count.unwrap_or(1),
            ..Amount::default()
        };
        for (name, before) in was {
            let after = is.get(name);
            let (change, fails) = match (before, after) {
                (_, None) => (Change::Missing, true),
                (Some(before), Some(Some(after))) if self.fell(Sort::Whole, *before, *after) => {
                    (Change::Shrunk, true)
                }
                _ => continue,
            };
            let (was, is) = (Some(amount(before)), after.map(amount));
            self.find(of, name, change, was, is, fails);
        }
        for (name, count) in is.iter().filter(|(name, _)| !was.contains_key(*name)) {
            self.find(of, name, Change::New, None, Some(amount(count)), false);
        }
    }

    fn find(
        &mut self,
        of: &str,
        name: &str,
        change: Change,
        reference: Option<Amount>,
        found: Option<Amount>,
        fails: bool,
    ) {
        self.findings.push(Finding {
            of: of.to_owned(),
            name: name.to_owned(),
            change,
            reference,
            found,
            fails,
        });
    }
}

impl Sort {
    fn word(self) -> &'static str {
        match self {
            Self::Named => "file",
            Self::Whole => "tree",
            Self::Plain | Self::Collection | Self::Living => "kind",
        }
    }
}

impl Amount {
    fn filled(&self) -> u64 {
        self.entries - self.empty
    }
}
