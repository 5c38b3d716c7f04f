//! The order of members: sections stand together, paths rise within one.

use std::collections::BTreeSet;

use crate::path::MemberPath;

/// The order of a stream of members, checked one after another.
#[derive(Default)]
pub(crate) struct Order {
    last: Option<MemberPath>,
    ended_sections: BTreeSet<Vec<u8>>,
}

impl Order {
    /// Takes the next path; `Err` says what is wrong with its place.
    pub(crate) fn next(&mut self, path: &MemberPath) -> Result<(), String> {
        if let Some(last) = &self.last {
            if last.section() != path.section() {
                self.ended_sections.insert(last.section().to_vec());
            } else if last >= path {
                return Err(format!("comes after {last}"));
            }
        }
        if self.ended_sections.contains(path.section()) {
            return Err("belongs to a section that has ended".into());
        }
        self.last = Some(path.clone());
        Ok(())
    }
}
