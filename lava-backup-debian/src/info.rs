//! The files that dpkg keeps of every package.

use crate::{PackageState, Result, Root};

const DIR: &str = "var/lib/dpkg/info";
/// The longest list seen, of google-cloud-cli, has 4 MB.
const MOST: u64 = 128 << 20;

/// One file that dpkg keeps of a package: `list`, or a control member.
pub(crate) fn read(root: &Root, package: &PackageState, member: &str) -> Result<Option<Vec<u8>>> {
    for path in paths(package, member) {
        if let Some(bytes) = root.read(path, MOST)? {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Whether dpkg keeps this file of a package.
pub(crate) fn has(root: &Root, package: &PackageState, member: &str) -> Result<bool> {
    for path in paths(package, member) {
        if root.find(path)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where it may lie: with the architecture in its name where several can be installed, and in
/// databases of old without.
fn paths(package: &PackageState, member: &str) -> [String; 2] {
    let (name, architecture) = (&package.name, &package.architecture);
    let plain = format!("{DIR}/{name}.{member}");
    let qualified = format!("{DIR}/{name}:{architecture}.{member}");
    match package.is_coinstallable() {
        true => [qualified, plain],
        false => [plain, qualified],
    }
}
