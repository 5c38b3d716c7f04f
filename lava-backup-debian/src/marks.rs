//! What apt installed by itself.

use std::{collections::BTreeSet, io::BufReader};

use serde::{Serialize, Serializer};

use crate::{
    PackageState, Result, Root,
    deb822::{Comments, Scanner},
    native_architecture,
};

/// The packages that apt installed only because others need them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoInstalled {
    marked: BTreeSet<(String, String)>,
    native: String,
}

impl Serialize for AutoInstalled {
    /// As a list of `name:architecture`, sorted.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            self.marked
                .iter()
                .map(|(name, arch)| format!("{name}:{arch}")),
        )
    }
}

impl AutoInstalled {
    /// Whether a package bears the mark. Without it a package is manually installed.
    pub fn contains(&self, package: &PackageState) -> bool {
        // apt notes an `Architecture: all` package under the native one.
        let architecture = match package.architecture.as_str() {
            "all" | "" => &self.native,
            other => other,
        };
        self.marked
            .contains(&(package.name.clone(), architecture.to_owned()))
    }
}

/// Reads apt's marks; none are there when apt never wrote any.
///
/// # Errors
/// As [`read_status`](crate::read_status) and [`native_architecture`].
pub fn auto_installed(root: &Root, packages: &[PackageState]) -> Result<AutoInstalled> {
    const INSIDE: &str = "var/lib/apt/extended_states";
    let mut auto = AutoInstalled {
        marked: BTreeSet::new(),
        native: native_architecture(root, packages)?,
    };
    let Some(file) = root.open_file(INSIDE, 64 << 20)? else {
        return Ok(auto);
    };
    let place = root.describe(INSIDE.as_ref());
    let mut scanner = Scanner::new(BufReader::new(file), place, Comments::Refused);
    while let Some(paragraph) = scanner.next_paragraph()? {
        if paragraph.get("Auto-Installed") == Some(b"1") {
            let name = paragraph.text("Package").unwrap_or_default();
            // An entry that names no architecture can only mean the native one.
            let architecture = match paragraph.text("Architecture") {
                Some(architecture) if architecture != "all" => architecture,
                _ => auto.native.clone(),
            };
            auto.marked.insert((name, architecture));
        }
    }
    Ok(auto)
}
