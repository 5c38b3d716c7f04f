//! The order of members: sections stand together, paths rise within one, and
//! nothing lies below what is no directory.

use std::collections::BTreeSet;

use crate::entry::Kind;
use crate::path::MemberPath;

/// The order of a stream of members, checked one after another.
#[derive(Default)]
pub(crate) struct Order {
    last: Option<(MemberPath, Kind)>,
    ended_sections: BTreeSet<Vec<u8>>,
}

impl Order {
    /// Takes the next member; `Err` says what is wrong with its place.
    pub(crate) fn next(&mut self, path: &MemberPath, kind: Kind) -> Result<(), String> {
        if let Some((last, last_kind)) = &self.last {
            if last.section() != path.section() {
                self.ended_sections.insert(last.section().to_vec());
            } else if last >= path {
                return Err(format!("comes after {last}"));
            } else if *last_kind != Kind::Dir && path.is_within(last) {
                // Some tars would follow a link that they have just made.
                return Err(format!("lies below {last}, which is no directory"));
            }
        }
        if self.ended_sections.contains(path.section()) {
            return Err("belongs to a section that has ended".into());
        }
        self.last = Some((path.clone(), kind));
        Ok(())
    }
}
