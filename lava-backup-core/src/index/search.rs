//! Which blocks hold a member, found by decoding few of them.
//!
//! Within a section entries stand in the order of their paths; sections, of
//! which there are few, stand in any order. So a search goes from section to
//! section by doubling steps until it meets the one it wants, and does the same
//! within it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Order;
use super::blocks::Blocks;
use crate::entry::Entry;
use crate::error::Result;
use crate::path::MemberPath;

pub(super) struct Search<'b> {
    blocks: &'b Blocks,
    /// Paths of the first entries of blocks that were looked at.
    firsts: BTreeMap<usize, Option<MemberPath>>,
}

impl<'b> Search<'b> {
    pub(super) fn new(blocks: &'b Blocks) -> Self {
        Self {
            blocks,
            firsts: BTreeMap::new(),
        }
    }

    /// The entry of a member, if there is one.
    pub(super) fn entry(&mut self, path: &MemberPath) -> Result<Option<Entry>> {
        let Some((begin, entries)) = self.section(path.section())? else {
            return Ok(None);
        };
        let goes_on = |last: &Entry| last.path.section() == path.section() && last.path < *path;
        let entries = if entries.last().is_some_and(goes_on) {
            let before = |first: &MemberPath| first.section() == path.section() && first <= path;
            let at = self.last_while(begin, before)?;
            self.ordered(at)?
        } else {
            entries
        };
        Ok(entries.into_iter().find(|e| e.path == *path))
    }

    /// The blocks in which a member and what is below it can lie.
    pub(super) fn range(&mut self, within: &MemberPath) -> Result<Range<usize>> {
        let Some((begin, _)) = self.section(within.section())? else {
            return Ok(0..0);
        };
        let section = within.section();
        let begins = |first: &MemberPath| first <= within;
        // All below a path counts as equal to it.
        let not_after = |first: &MemberPath| begins(first) || first.is_within(within);
        let from = self.last_while(begin, |f| f.section() == section && begins(f))?;
        let last = self.last_while(from, |f| f.section() == section && not_after(f))?;
        Ok(from..last + 1)
    }

    /// The first block that holds an entry of a section, if one does, and its
    /// entries.
    fn section(&mut self, section: &[u8]) -> Result<Option<(usize, Vec<Entry>)>> {
        let mut at = 0;
        while at < self.blocks.len() {
            let entries = self.ordered(at)?;
            if entries.iter().any(|e| e.path.section() == section) {
                return Ok(Some((at, entries)));
            }
            // The section with which the block ends goes on as long as blocks
            // begin with it; what follows it begins in the last of these.
            let end = match entries.last() {
                Some(last) => self.last_while(at, |f| f.section() == last.path.section())?,
                None => at,
            };
            at = end.max(at + 1);
        }
        Ok(None)
    }

    /// The last block up to which, from the one after `from` on, all begin with
    /// what `holds` of; for that, it must hold of no block after one that it
    /// does not hold of.
    fn last_while(&mut self, from: usize, holds: impl Fn(&MemberPath) -> bool) -> Result<usize> {
        let (mut low, mut step) = (from, 1);
        let mut high = loop {
            let probe = low.saturating_add(step).min(self.blocks.len());
            if probe == self.blocks.len() || !self.first(probe)?.is_some_and(&holds) {
                break probe;
            }
            (low, step) = (probe, step * 2);
        };
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.first(middle)?.is_some_and(&holds) {
                true => low = middle,
                false => high = middle,
            }
        }
        Ok(low)
    }

    fn first(&mut self, number: usize) -> Result<Option<&MemberPath>> {
        if !self.firsts.contains_key(&number) {
            let first = self.blocks.first(number)?.map(|entry| entry.path);
            self.firsts.insert(number, first);
        }
        Ok(self.firsts.get(&number).and_then(Option::as_ref))
    }

    /// The entries of a block, which must be in order.
    fn ordered(&self, number: usize) -> Result<Vec<Entry>> {
        let mut order = Order::default();
        let entries = self.blocks.block(number)?.into_iter().map(|entry| {
            let entry = entry?;
            order
                .follow(&entry)
                .map_err(|what| self.blocks.disorder(&entry, &what))?;
            Ok(entry)
        });
        entries.collect()
    }
}
