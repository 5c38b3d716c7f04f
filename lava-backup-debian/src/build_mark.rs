//! What tells two builds of one version apart.

use crate::{PackageState, deb822::Paragraph};

/// The fields of a package that apt compares before it takes two packages of one version for one:
/// a package that was built again at home often keeps the version and differs here.
///
/// It is a sign and no proof: a build that differs in its files alone has the same mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BuildMark([Option<String>; 6]);

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
        Self(fields.map(|field| field.map(plain).filter(|field| !field.is_empty())))
    }
}

/// A field as dpkg and an archive both have it: dpkg writes blanks, `<` and epochs of 0 anew.
fn plain(field: &str) -> String {
    let mut plain = String::with_capacity(field.len());
    let mut chars = field.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '0' && chars.peek() == Some(&':') {
            chars.next();
        } else if !(c.is_ascii_whitespace() || c == '=') {
            plain.push(c.to_ascii_lowercase());
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
            ("A\n b", "a b"),
        ] {
            assert_eq!(plain(archive), plain(dpkg));
        }
        assert_ne!(plain("a (<< 1)"), plain("a (<= 1)"));
        assert_ne!(
            plain("a (= 10:1)"),
            plain("a (= 1)"),
            "as apt, a part of an epoch of 10 alone"
        );
    }
}
