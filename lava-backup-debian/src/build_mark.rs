//! What tells two builds of one version apart.

use crate::{PackageState, deb822::Paragraph};

/// The fields of a package that apt compares before it takes two packages of one version for one:
/// a package that was built again at home often keeps the version and differs here.
///
/// It is a sign and no proof: a build that differs in its files alone has the same mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BuildMark([Option<Vec<u8>>; 6]);

impl BuildMark {
    pub(crate) fn of_package(package: &PackageState) -> Self {
        let size = package.installed_size.map(|size| size.to_string());
        Self::of([
            size.as_deref(),
            package.depends.as_deref(),
            package.pre_depends.as_deref(),
            package.conflicts.as_deref(),
            package.breaks.as_deref(),
            package.replaces.as_deref(),
        ])
    }

    pub(crate) fn of_paragraph(paragraph: &Paragraph) -> Self {
        let text = |name| paragraph.text(name);
        let fields = [
            text("Installed-Size"),
            text("Depends"),
            text("Pre-Depends"),
            text("Conflicts"),
            text("Breaks"),
            text("Replaces"),
        ];
        Self::of(fields.each_ref().map(Option::as_deref))
    }

    fn of(fields: [Option<&str>; 6]) -> Self {
        let plain = |field: &str| plain(field.as_bytes());
        Self(fields.map(|field| field.map(plain).filter(|field| !field.is_empty())))
    }
}

/// A field without what dpkg spells its own way: blanks, the `=` that it adds to a lone `<` or `>`,
/// and an epoch of 0 in a relation.
pub(crate) fn plain(field: &[u8]) -> Vec<u8> {
    let mut plain: Vec<u8> = Vec::with_capacity(field.len());
    for byte in field {
        if !byte.is_ascii_whitespace() && *byte != b'=' {
            plain.push(*byte);
        }
        let relation = plain.len() > 2 && matches!(plain[plain.len() - 3], b'(' | b'<' | b'>');
        if relation && plain.ends_with(b"0:") {
            plain.truncate(plain.len() - 2);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dpkg_writes_anew_makes_no_other_build() {
        for (archive, dpkg) in [
            ("a (<1) , b", "a (<= 1), b"),
            ("a (>= 0:1.0)", "a (>= 1.0)"),
            ("a (= 0:1)", "a (= 1)"),
            ("a (>> 0:1)", "a (>> 1)"),
            ("a\n b", "a b"),
        ] {
            assert_eq!(plain(archive.as_bytes()), plain(dpkg.as_bytes()));
        }
        for (one, other) in [
            ("a (<< 1)", "a (<= 1)"),
            ("a (= 10:1)", "a (= 1)"),
            ("a (= 10:1)", "a (= 11)"),
            ("a (= 1:0:1)", "a (= 1:1)"),
        ] {
            assert_ne!(plain(one.as_bytes()), plain(other.as_bytes()));
        }
    }
}
