//! Any members that an index may have, and any bytes.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::tests::{Member, entry, examples, lay, scan};
use super::*;
use crate::attributes::{Attributes, Bytes, Extent};
use crate::entry::{Class, LinkTarget, Time};
use crate::path::MemberPath;

fn arb_name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => Just(b'a'), 4 => any::<u8>(), 1 => Just(b'\n')];
    prop_oneof![
        prop::collection::vec(byte.clone(), 1..12),
        prop::collection::vec(byte, 90..320),
    ]
}

fn arb_path() -> impl Strategy<Value = MemberPath> {
    let section = prop_oneof![Just("config"), Just("data")];
    let names = prop::collection::vec(arb_name(), 1..4);
    (section, names).prop_filter_map("no path", |(section, names)| {
        let mut path: MemberPath = MemberPath::new(section).ok()?;
        for name in names {
            path = path.join(&name).ok()?;
        }
        Some(path)
    })
}

fn arb_attributes() -> impl Strategy<Value = Option<Box<Attributes>>> {
    let list = "(user::rwx,user:[a-zé]{1,9}:r-x:[1-9]{1,9},user:77:---:77,\
                group::r-x,mask::rw-,other::---)?";
    let name = prop::collection::vec(prop_oneof![1..=255u8, Just(b'='), Just(b'%')], 1..40);
    let name = name.prop_map(|name| Bytes([b"user.", name.as_slice()].concat()));
    let value = prop::collection::vec(any::<u8>(), 0..600).prop_map(Bytes);
    (list, prop::collection::btree_map(name, value, 0..4)).prop_map(|(acl, xattrs)| {
        let attributes = Attributes {
            acl: (!acl.is_empty()).then_some(acl),
            default_acl: None,
            xattrs,
        };
        (!attributes.is_empty()).then(|| Box::new(attributes))
    })
}

/// The extents of a file, and its size.
fn arb_extents() -> impl Strategy<Value = (Vec<Extent>, u64)> {
    let runs = prop::collection::vec((1..1u64 << 40, 1..3u64), 0..12);
    (runs, any::<bool>(), 0..2u64).prop_filter_map("no holes", |(runs, first, last)| {
        let mut end = 0;
        let mut extents = Vec::new();
        for (at, (hole, length)) in runs.into_iter().enumerate() {
            let offset = if at == 0 && first { 0 } else { end + hole };
            let length = 512 * length;
            extents.push(Extent { offset, length });
            end = offset + length;
        }
        // The last is of any length.
        if let Some(extent) = extents.last_mut() {
            (extent.length, end) = (extent.length - 5, end - 5);
        }
        let size = end + last;
        if extents.is_empty() && size > 0 {
            let (offset, length) = (size, 0);
            extents.push(Extent { offset, length });
        }
        let stored: u64 = extents.iter().map(|e| e.length).sum();
        (stored < size).then_some((extents, size))
    })
}

fn arb_member() -> impl Strategy<Value = Member> {
    let owner = || ("[a-zé_]{0,40}", 0..u32::MAX);
    let mtime = (any::<i64>(), 0..1_000_000_000u32);
    let class = prop_oneof![
        Just(Class::Plain),
        Just(Class::Secret),
        Just(Class::InFlight)
    ];
    let common = (arb_path(), 0..=0o7777u32, owner(), owner(), mtime, class);
    let link = prop::collection::vec(1..=255u8, 1..300);
    let content = prop::collection::vec(any::<u8>(), 0..2000);
    let own = (
        0..6,
        arb_attributes(),
        arb_extents(),
        link,
        arb_name(),
        content,
        any::<bool>(),
    );
    (common, own).prop_map(|(common, own)| {
        let (path, mode, (user, uid), (group, gid), mtime, class) = common;
        let (kind, attributes, (extents, size), link, target, mut content, streamed) = own;
        let mut made = Entry {
            path,
            mode,
            user,
            uid,
            group,
            gid,
            mtime: Time::try_from(mtime).unwrap(),
            class,
            attributes,
            ..entry("a/b", Kind::File)
        };
        let below = MemberPath::new(made.path.section()).unwrap();
        match (kind, below.join(&target)) {
            (0, Ok(target)) if target < made.path => {
                made.kind = Kind::Hardlink;
                made.target = Some(target);
                made.attributes = None;
            }
            (1, _) => made.kind = Kind::Dir,
            (2, _) => made.kind = Kind::Fifo,
            (3, _) => {
                made.kind = Kind::Symlink;
                made.link = LinkTarget::new(link);
                if let Some(attributes) = &mut made.attributes {
                    attributes.acl = None;
                }
                made.attributes = made.attributes.filter(|a| !a.is_empty());
            }
            (4, _) => {
                let stored: u64 = extents.iter().map(|e| e.length).sum();
                content.resize(stored as usize, b's');
                (made.size, made.extents) = (size, extents);
            }
            _ => made.size = content.len() as u64,
        }
        if made.kind != Kind::File {
            content.clear();
        }
        let entry = made;
        Member {
            entry,
            content,
            streamed,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_stream_gives_its_index_back(
        mut members in prop::collection::vec(arb_member(), 0..8),
    ) {
        members.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
        members.dedup_by(|later, earlier| {
            let (later, earlier) = (&later.entry, &earlier.entry);
            let parent = earlier.kind == Kind::Dir && later.path != earlier.path;
            !parent && later.path.is_within(&earlier.path)
        });
        let (frames, entries) = lay(members);
        for entry in &entries {
            prop_assert_eq!(entry.contradiction(), None);
            prop_assert_eq!(agrees(&header(entry), entry), Ok(()));
        }
        prop_assert_eq!(scan(&frames).unwrap(), entries);
    }

    #[test]
    fn no_bytes_make_a_scan_panic(
        (at, bytes) in (0..9000usize, prop::collection::vec(any::<u8>(), 0..600)),
    ) {
        let (frames, _) = lay(examples());
        let mut all = frames.concat();
        let at = at.min(all.len());
        let end = (at + bytes.len()).min(all.len());
        all.splice(at..end, bytes);
        let _ = scan(&[all]);
    }
}
