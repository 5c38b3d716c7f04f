use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};
use crate::path::{MemberPath, escape, unescape};

/// A pattern of member paths.
///
/// `*` stands for any bytes of one component, `?` for one, `[a-z]` for one of a
/// range and `[!a-z]` for one that is not, and a component `**` for any number
/// of components, none too. Everything else stands for itself, a backslash too:
/// `[*]` is an asterisk. The pattern is matched with whole paths, byte by byte;
/// what is below a directory that matches does not match by that.
///
/// As text it is escaped as paths are.
///
/// ```
/// use lava_backup_core::Glob;
///
/// let logs: Glob = "data/**/output.yaml*".parse()?;
/// assert!(logs.matches(&"data/2026/7/output.yaml.xz".parse()?));
/// assert!(!logs.matches(&"data/2026/7/output.idx".parse()?));
/// # Ok::<(), lava_backup_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    path: MemberPath,
    components: Vec<Component>,
    literal: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Component {
    /// Any number of components.
    Any,
    One(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `?`
    One,
    /// `*`
    Run,
    /// Ranges, ends included, and whether a byte is to be outside of them.
    Class(Vec<(u8, u8)>, bool),
}

impl Glob {
    /// Does the whole path fit? Takes time in proportion to the lengths of the
    /// pattern and the path multiplied, at worst.
    pub fn matches(&self, path: &MemberPath) -> bool {
        let path: Vec<&[u8]> = path.components().collect();
        wild(
            &self.components,
            &path,
            |c| *c == Component::Any,
            |component, name| match component {
                Component::One(tokens) => wild(tokens, name, |t| *t == Token::Run, Token::fits),
                Component::Any => false,
            },
        )
    }

    /// Does a person who names this mean the path? If it matches; or if the
    /// pattern, read as a plain path, is that path or a directory above it.
    pub fn selects(&self, path: &MemberPath) -> bool {
        path.is_within(&self.path) || self.matches(path)
    }

    /// The member in or below which every path lies that it
    /// [selects](Self::selects); `None` if they may lie anywhere.
    pub fn within(&self) -> Option<MemberPath> {
        if self.literal == self.path.as_bytes() {
            return Some(self.path.clone());
        }
        let cut = self.literal.iter().rposition(|b| *b == b'/')?;
        MemberPath::new(&self.literal[..cut]).ok()
    }

    /// The bytes with which every path that matches begins.
    pub fn literal_prefix(&self) -> &[u8] {
        &self.literal
    }
}

impl Token {
    fn fits(&self, byte: &u8) -> bool {
        match self {
            Self::Byte(own) => own == byte,
            Self::One | Self::Run => true,
            Self::Class(ranges, outside) => {
                ranges
                    .iter()
                    .any(|(low, high)| (low..=high).contains(&byte))
                    != *outside
            }
        }
    }
}

/// Do the parts of a pattern fit the items, where some parts take any number
/// of items?
///
/// When an item does not fit, only the last such part need take one more: had
/// an earlier one to, the last could take what lies between as well. So there
/// is no tree of choices.
fn wild<P, I>(
    pattern: &[P],
    items: &[I],
    takes_any: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &I) -> bool,
) -> bool {
    let (mut p, mut i) = (0, 0);
    let mut last = None;
    while i < items.len() {
        match pattern.get(p) {
            Some(part) if takes_any(part) => {
                last = Some((p, i));
                p += 1;
            }
            Some(part) if fits(part, &items[i]) => {
                p += 1;
                i += 1;
            }
            _ => match &mut last {
                Some((at, taken)) => {
                    *taken += 1;
                    (p, i) = (*at + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(takes_any)
}

impl FromStr for Glob {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::BadName`] if no path could match: a component that is empty,
    /// `.` or `..`, or a `[` without its end.
    fn from_str(text: &str) -> Result<Self> {
        let bytes = unescape(text)?;
        // What no path can be, no pattern is.
        let path = MemberPath::new(bytes.as_slice())?;
        let components = bytes
            .split(|b| *b == b'/')
            .map(|part| match part {
                b"**" => Ok(Component::Any),
                _ => tokens(part).map(Component::One),
            })
            .collect::<Result<Vec<_>>>()?;
        let literal = literal(&components);
        Ok(Self {
            path,
            components,
            literal,
        })
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

fn tokens(part: &[u8]) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = part;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            // Two are as one.
            b'*' if tokens.last() == Some(&Token::Run) => {}
            b'*' => tokens.push(Token::Run),
            b'?' => tokens.push(Token::One),
            b'[' => {
                let (class, after) = class(tail).ok_or_else(|| {
                    let what = "has a [ without its ]; a [ that is meant is written [[]";
                    Error::new(ErrorKind::BadName, escape(part), what)
                })?;
                tokens.push(class);
                rest = after;
            }
            byte => tokens.push(Token::Byte(byte)),
        }
    }
    Ok(tokens)
}

/// What stands between `[` and `]`, and what follows; a `]` that comes first
/// is one of the bytes.
fn class(text: &[u8]) -> Option<(Token, &[u8])> {
    let (outside, mut rest) = match text {
        [b'!' | b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut ranges = Vec::new();
    loop {
        rest = match rest {
            [b']', after @ ..] if !ranges.is_empty() => {
                return Some((Token::Class(ranges, outside), after));
            }
            [low, b'-', high, after @ ..] if *high != b']' => {
                ranges.push((*low, *high));
                after
            }
            [byte, after @ ..] => {
                ranges.push((*byte, *byte));
                after
            }
            [] => return None,
        };
    }
}

fn literal(components: &[Component]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, component) in components.iter().enumerate() {
        let Component::One(tokens) = component else {
            // If nothing else follows it may stand for no component, and its
            // slash for nothing.
            if at > 0 && components[at..].iter().all(|c| *c == Component::Any) {
                bytes.pop();
            }
            return bytes;
        };
        for token in tokens {
            let Token::Byte(byte) = token else {
                return bytes;
            };
            bytes.push(*byte);
        }
        if at + 1 < components.len() {
            bytes.push(b'/');
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn matches(glob: &str, path: &str) -> bool {
        let glob: Glob = glob.parse().unwrap();
        glob.matches(&path.parse().unwrap())
    }

    #[test]
    fn patterns_match_as_a_shell_with_globstar() {
        for (glob, path, fits) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/*", "a/b", true),
            ("a/*", "a/b/c", false),
            ("a/*", "a", false),
            ("a/**", "a/b/c", true),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/x/y/c", true),
            ("a/**/c", "a/x/c/y", false),
            ("**/c", "c", true),
            ("**/b/**/d", "a/b/c/b/d", true),
            (
                "data/**/output.yaml*",
                "data/2026/11/7/output.yaml.xz",
                true,
            ),
            ("data/**/output.yaml*", "data/2026/11/7/output.idx", false),
            ("a/x**y", "a/x-y", true),
            ("a/x**y", "a/x/y", false),
            ("a/?", "a/b", true),
            ("a/??", "a/b", false),
            ("a/[a-c]x", "a/bx", true),
            ("a/[!a-c]x", "a/bx", false),
            ("a/[^a-c]x", "a/dx", true),
            ("a/[]]", "a/]", true),
            ("a/[a-]", "a/-", true),
            ("a/[*]", "a/*", true),
            ("a/[*]", "a/b", false),
            ("a/b\\x2d*", "a/b\\x2dc", true),
            ("a/*%0A*", "a/b%0Ac", true),
            ("a/[!x]", "a/%FF", true),
        ] {
            assert_eq!(matches(glob, path), fits, "{glob} {path}");
        }
    }

    #[test]
    fn a_plain_path_selects_what_is_below_it_and_a_pattern_does_not() {
        let selects = |glob: &str, path: &str| {
            let glob: Glob = glob.parse().unwrap();
            glob.selects(&path.parse().unwrap())
        };
        assert!(selects("a/b", "a/b/c"));
        assert!(!selects("a/*", "a/b/c"));
        assert!(selects("a/[x]", "a/[x]/y"));
    }

    #[test]
    fn what_no_path_can_match_is_refused() {
        for bad in [
            "", "/a", "a//b", "a/", "a/../b", "a/[", "a/[]", "a/[!]", "a/[b", "%41",
        ] {
            let refused = bad.parse::<Glob>().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::BadName, "{bad:?}");
        }
    }

    /// With a tree of choices this would take longer than anybody waits.
    #[test]
    fn a_pattern_of_many_stars_is_no_trap() {
        let name = "a".repeat(3000);
        let stars = "*a".repeat(1000);
        assert!(!matches(&format!("{stars}b"), &name));
        let path = "a/".repeat(1500) + "a";
        let deep = "**/a/".repeat(700);
        assert!(!matches(&format!("{deep}b"), &path));
    }

    #[test]
    fn the_literal_prefix_ends_where_choice_begins() {
        for (glob, prefix) in [
            ("a/b", "a/b"),
            ("a/b*", "a/b"),
            ("a/**/c", "a/"),
            ("a/**", "a"),
            ("a/**/**", "a"),
            ("a/?", "a/"),
            ("a/x[yz]", "a/x"),
            ("**/a", ""),
        ] {
            let glob: Glob = glob.parse().unwrap();
            assert_eq!(glob.literal_prefix(), prefix.as_bytes(), "{glob}");
        }
    }

    #[test]
    fn what_is_selected_lies_within_one_member_if_the_pattern_says_so() {
        for (glob, within) in [
            ("a/b", Some("a/b")),
            ("a/b/c*", Some("a/b")),
            ("a/b/**/c", Some("a/b")),
            ("a/b/**", Some("a")),
            ("a/[x]", Some("a")),
            ("a*/b", None),
            ("**/b", None),
        ] {
            let glob: Glob = glob.parse().unwrap();
            assert_eq!(glob.within().map(|p| p.to_string()).as_deref(), within);
        }
    }

    /// The same question, answered by trying everything.
    fn slow(pattern: &[u8], path: &[u8]) -> bool {
        let begins =
            |text: &[u8]| text.starts_with(b"**") && matches!(text.get(2), None | Some(b'/'));
        match (pattern, path) {
            ([], []) => true,
            (p, _) if begins(p) => {
                let rest = p.get(3..).unwrap_or_default();
                if p.len() == 2 {
                    return true;
                }
                let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/');
                slow(rest, path) || ends.into_iter().any(|(at, _)| slow(rest, &path[at + 1..]))
            }
            ([b'/', p @ ..], [b'/', t @ ..]) => slow(p, t),
            // `a/**` is `a` as well.
            ([b'/', p @ ..], []) => p == b"**" || (begins(p) && slow(&p[2..], path)),
            ([b'*', p @ ..], _) => {
                slow_in(p, path) || matches!(path, [b, t @ ..] if *b != b'/' && slow_in(pattern, t))
            }
            ([p, ps @ ..], [t, ts @ ..]) if p == t => slow_in(ps, ts),
            _ => false,
        }
    }

    /// Within a component `**` is two stars.
    fn slow_in(pattern: &[u8], path: &[u8]) -> bool {
        match (pattern, path) {
            ([b'*', p @ ..], _) => {
                slow_in(p, path) || matches!(path, [b, t @ ..] if *b != b'/' && slow_in(pattern, t))
            }
            _ => slow(pattern, path),
        }
    }

    proptest! {
        #[test]
        fn the_fast_answer_is_the_slow_one(
            glob in "(\\*\\*|[ab*]{1,3})(/(\\*\\*|[ab*]{1,3})){0,4}", path in "[ab]{1,3}(/[ab]{1,3}){0,5}"
        ) {
            prop_assert_eq!(matches(&glob, &path), slow(glob.as_bytes(), path.as_bytes()));
            let parsed: Glob = glob.parse().unwrap();
            let path: MemberPath = path.parse().unwrap();
            if parsed.selects(&path) {
                prop_assert!(parsed.within().is_none_or(|within| path.is_within(&within)));
            }
            if parsed.matches(&path) {
                prop_assert!(path.as_bytes().starts_with(parsed.literal_prefix()));
            }
        }
    }
}
