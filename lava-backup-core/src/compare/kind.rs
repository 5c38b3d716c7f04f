//! What a path is one of: a path with what differs from one day, job or board
//! to the next taken out.

use crate::path::{MemberPath, escape};

const COMPRESSED: [&[u8]; 6] = [b".gz", b".xz", b".bz2", b".zst", b".lz4", b".lzma"];

/// The kind of a path, as text: in each component a UUID or a run of
/// hexadecimal digits becomes `*`, another run of digits `N`. A suffix that
/// names a compression is kept.
pub(super) fn kind(path: &MemberPath) -> String {
    let reduced: Vec<Vec<u8>> = path.components().map(component).collect();
    escape(&reduced.join(&b'/'))
}

/// The kind of a member of a collection, `depth` components below the top:
/// the component below the collection is `*`, and its extension if it is a
/// file's.
pub(super) fn kind_in_collection(path: &MemberPath, depth: usize, is_dir: bool) -> String {
    let parts: Vec<&[u8]> = path.components().collect();
    let last = parts.len() - 1;
    let reduce = |(at, part): (usize, &&[u8])| match at == depth {
        true if at == last && !is_dir => [b"*", extension(part)].concat(),
        true => b"*".to_vec(),
        false => component(part),
    };
    let reduced: Vec<Vec<u8>> = parts.iter().enumerate().map(reduce).collect();
    escape(&reduced.join(&b'/'))
}

/// What files of one content go by while they are rotated and compressed: the
/// kind without such suffixes.
pub(super) fn family(kind: &str) -> &str {
    let mut rest = kind;
    loop {
        let name = rest.rsplit('/').next().unwrap_or_default();
        let suffix = COMPRESSED
            .iter()
            .filter_map(|s| std::str::from_utf8(s).ok())
            .chain([".N", "-N", ".old"])
            .find(|s| name.len() > s.len() && name.ends_with(s));
        match suffix {
            Some(suffix) => rest = &rest[..rest.len() - suffix.len()],
            None => return rest,
        }
    }
}

fn component(part: &[u8]) -> Vec<u8> {
    let suffix = COMPRESSED.iter().find(|s| part.ends_with(s));
    let stem = &part[..part.len() - suffix.map_or(0, |s| s.len())];
    let mut out = Vec::with_capacity(part.len());
    let mut at = 0;
    while at < stem.len() {
        let rest = &stem[at..];
        let run = rest.iter().take_while(|b| b.is_ascii_alphanumeric());
        let run = run.count();
        at += if is_uuid(rest) {
            out.push(b'*');
            36
        } else if run == 0 {
            out.push(rest[0]);
            1
        } else if is_hexadecimal(&rest[..run]) {
            out.push(b'*');
            run
        } else {
            for digits in rest[..run].chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit()) {
                match digits[0].is_ascii_digit() {
                    true => out.push(b'N'),
                    false => out.extend_from_slice(digits),
                }
            }
            run
        };
    }
    out.extend_from_slice(suffix.copied().unwrap_or_default());
    out
}

/// Eight digits and more that are not all decimal: a date is no name by chance.
fn is_hexadecimal(run: &[u8]) -> bool {
    let decimal = run.iter().filter(|b| b.is_ascii_digit()).count();
    let all = run.iter().all(u8::is_ascii_hexdigit);
    all && ((run.len() >= 8 && decimal > 0 && decimal < run.len()) || run.len() >= 32)
}

fn is_uuid(text: &[u8]) -> bool {
    let Some((uuid, after)) = text.split_at_checked(36) else {
        return false;
    };
    let shape = |(at, b): (usize, &u8)| match at {
        8 | 13 | 18 | 23 => *b == b'-',
        _ => b.is_ascii_hexdigit(),
    };
    uuid.iter().enumerate().all(shape) && !after.first().is_some_and(u8::is_ascii_alphanumeric)
}

/// With its dot; empty if there is none that looks like one.
fn extension(name: &[u8]) -> &[u8] {
    let dot = name.iter().rposition(|b| *b == b'.').unwrap_or(0);
    let extension = &name[dot..];
    let plain = extension.iter().skip(1).all(u8::is_ascii_alphanumeric);
    match dot > 0 && extension.len() <= 10 && plain {
        true => extension,
        false => b"",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_differs_from_day_to_day_is_taken_out() {
        for (path, reduced) in [
            (
                "data/job-output/2026/11/07/4711/output.yaml.xz",
                "data/job-output/N/N/N/N/output.yaml.xz",
            ),
            ("data/job-4711/a", "data/job-N/a"),
            ("logs/lava-server.log.10.gz", "logs/lava-server.log.N.gz"),
            ("logs/lava.log-20261122.bz2", "logs/lava.log-N.bz2"),
            (
                "data/6f1ed002-ab5d-41d3-8e4f-0123456789ab.bin",
                "data/*.bin",
            ),
            ("data/9f86d081884c7d65", "data/*"),
            ("data/tmp_9f86d081/x", "data/tmp_*/x"),
            ("config/facade/defaced1", "config/facade/*"),
            ("config/beef", "config/beef"),
            ("config/é%FF1", "config/é%FFN"),
        ] {
            assert_eq!(kind(&path.parse().unwrap()), reduced);
        }
    }

    #[test]
    fn rotated_and_compressed_files_are_of_one_family() {
        for (kind, of) in [
            ("logs/a.log", "logs/a.log"),
            ("logs/a.log.N", "logs/a.log"),
            ("logs/a.log.N.gz", "logs/a.log"),
            ("logs/a.log-N.xz", "logs/a.log"),
            ("data/N/output.yaml.xz", "data/N/output.yaml"),
            ("data/N/output.yaml.size", "data/N/output.yaml.size"),
            ("data/.N", "data/.N"),
        ] {
            assert_eq!(family(kind), of);
        }
    }

    #[test]
    fn in_a_collection_names_are_one_kind() {
        let of = |path: &str, dir| kind_in_collection(&path.parse().unwrap(), 2, dir);
        assert_eq!(
            of("config/devices/bob.jinja2", false),
            "config/devices/*.jinja2"
        );
        assert_eq!(
            of("config/devices/bob.yaml", false),
            "config/devices/*.yaml"
        );
        assert_eq!(of("config/devices/bob.lab", true), "config/devices/*");
        assert_eq!(
            of("config/devices/bob.lab/env1.yaml", false),
            "config/devices/*/envN.yaml"
        );
    }
}
