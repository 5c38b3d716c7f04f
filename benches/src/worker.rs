//! A worker's root on disk.

use std::path::Path;

use crate::error::Error;
use crate::host;
use crate::lab::Lab;
use crate::packages::{self, Role};
use crate::tree::Tree;

/// Lay out the worker `name` of a lab in `root`, which must be empty or
/// absent. Its token is the one in the lab's database, if the lab knows the
/// worker (see [`WORKERS`](crate::WORKERS)).
///
/// # Errors
/// As [`master::write`](crate::master::write), but for `xz`, which it does not
/// need.
pub fn write(lab: &Lab, name: &str, root: &Path) -> Result<(), Error> {
    let mut tree = Tree::new(root, lab.until)?;
    host::debian(&mut tree, name, Role::Worker)?;
    host::worker(&mut tree, lab, name, "https://master.lab.test/")?;
    packages::write(&mut tree, Role::Worker)?;
    tree.finish()
}
