//! What is written is read back, and nothing else passes.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;

use super::*;
use crate::attributes::tests::run;
use crate::attributes::{Attributes, Bytes, Extent};
use crate::capture::{Capture, Choice};
use crate::entry::{Class, LinkTarget, Time};
use crate::error::{ErrorKind, Result};
use crate::path::MemberPath;
use crate::root::Root;
use crate::store::Store;
use crate::writer::{Meta, SealInput};

/// A member with the bytes that follow its headers.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) entry: Entry,
    pub(super) content: Vec<u8>,
    /// Has it frames of its own?
    pub(super) streamed: bool,
}

pub(super) fn entry(path: &str, kind: Kind) -> Entry {
    Entry {
        path: path.parse().unwrap(),
        kind,
        size: 0,
        mode: 0o644,
        user: "root".into(),
        group: "root".into(),
        uid: 0,
        gid: 0,
        mtime: Time {
            seconds: 981_173_106,
            nanoseconds: 123_456_789,
        },
        class: Class::Plain,
        blake3: None,
        link: None,
        target: None,
        extents: Vec::new(),
        attributes: None,
        frame: 0,
        offset: 0,
    }
}

pub(super) fn file(path: &str, content: &[u8]) -> Member {
    let mut entry = entry(path, Kind::File);
    entry.size = content.len() as u64;
    let streamed = false;
    Member {
        entry,
        content: content.to_vec(),
        streamed,
    }
}

/// The frames of a stream as the writer cuts them, and the entries of its index.
pub(super) fn lay(members: Vec<Member>) -> (Vec<Vec<u8>>, Vec<Entry>) {
    let mut frames = Vec::new();
    let mut gathering = Vec::new();
    let mut entries = Vec::new();
    let cut = |frames: &mut Vec<Vec<u8>>, gathering: &mut Vec<u8>| {
        if !gathering.is_empty() {
            frames.push(std::mem::take(gathering));
        }
    };
    for Member {
        mut entry,
        content,
        streamed,
    } in members
    {
        if entry.kind == Kind::File {
            entry.blake3 = Some(blake3::hash(&content).to_hex().to_string());
        }
        let streamed = streamed && !content.is_empty();
        if streamed {
            cut(&mut frames, &mut gathering);
        }
        gathering.extend(header(&entry));
        if streamed {
            cut(&mut frames, &mut gathering);
        }
        entry.frame = frames.len() as u64;
        entry.offset = gathering.len() as u64;
        gathering.extend(&content);
        gathering.resize(gathering.len() + padding(content.len() as u64), 0);
        if streamed {
            let rest = gathering.split_off(gathering.len() / 2);
            cut(&mut frames, &mut gathering);
            gathering = rest;
        }
        if streamed || entry.mode & 1 == 1 {
            cut(&mut frames, &mut gathering);
        }
        entries.push(entry);
    }
    cut(&mut frames, &mut gathering);
    frames.push(END.to_vec());
    (frames, entries)
}

pub(super) fn scan(frames: &[Vec<u8>]) -> Result<Vec<Entry>> {
    let mut scan = Scan::new();
    let mut entries = Vec::new();
    for (number, bytes) in frames.iter().enumerate() {
        scan.frame(number as u64, bytes, &mut |entry| {
            entries.push(entry);
            Ok(())
        })?;
    }
    scan.finish()?;
    Ok(entries)
}

/// One of each kind, with what makes headers long.
pub(super) fn examples() -> Vec<Member> {
    let mut dir = entry("config/dir", Kind::Dir);
    dir.mode = 0o755;
    dir.attributes = Some(Box::new(Attributes {
        default_acl: Some("user::rwx,group::r-x,other::---".into()),
        ..Attributes::default()
    }));
    let mut small = file("config/dir/small", b"small");
    small.entry.class = Class::Secret;
    small.entry.attributes = Some(Box::new(Attributes {
        acl: Some("user::rw-,user:a:r--:1,group::---,mask::r--,other::---".into()),
        default_acl: None,
        xattrs: BTreeMap::from([(Bytes(b"user.=%".to_vec()), Bytes(b"\0\n=".to_vec()))]),
    }));
    let mut hard = entry("config/dir/small-too", Kind::Hardlink);
    hard.target = Some("config/dir/small".parse().unwrap());
    let mut link = entry("config/link", Kind::Symlink);
    link.link = LinkTarget::new("../small");
    let pipe = entry("config/pipe", Kind::Fifo);
    let mut sparse = file("config/sparse", &[b's'; 515]);
    sparse.entry.size = 3 << 20;
    let extent = |offset, length| Extent { offset, length };
    sparse.entry.extents = vec![extent(0, 512), extent(1 << 20, 3)];
    sparse.streamed = true;
    let mut hole = file("config/sparse-all", b"");
    hole.entry.size = 3 << 20;
    hole.entry.extents = vec![extent(3 << 20, 0)];
    hole.streamed = true;
    let mut stream = file("data/stream", &[7; 1300]);
    stream.entry.class = Class::InFlight;
    stream.streamed = true;
    let other = |entry| Member {
        entry,
        content: Vec::new(),
        streamed: false,
    };
    let empty = file("data/x-empty", b"");
    vec![
        other(dir),
        small,
        other(hard),
        other(link),
        other(pipe),
        sparse,
        hole,
        stream,
        empty,
    ]
}

#[test]
fn a_stream_gives_the_index_back() {
    let (frames, entries) = lay(examples());
    assert_eq!(scan(&frames).unwrap(), entries);
    for entry in &entries {
        agrees(&header(entry), entry).unwrap();
        assert_eq!(entry.contradiction(), None, "{}", entry.path);
    }
}

/// What the writer and the capture of a tree really make, not what is laid here.
#[test]
fn the_frames_of_a_backup_give_its_index() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("etc/dir")).unwrap();
    fs::write(tree.join("etc/empty"), "").unwrap();
    fs::write(tree.join("etc/file"), "file").unwrap();
    fs::hard_link(tree.join("etc/file"), tree.join("etc/file-too")).unwrap();
    fs::write(tree.join("etc/large"), vec![7; 5 << 20]).unwrap();
    for (name, content) in [("holes", &b"middle"[..]), ("holes-all", b"")] {
        let file = fs::File::create(tree.join("etc").join(name)).unwrap();
        file.set_len(9 << 20).unwrap();
        file.write_all_at(content, 4 << 20).unwrap();
    }
    run("setfacl", &["-m", "u:1:r", "file"], &tree.join("etc"));
    run("setfacl", &["-d", "-m", "u:1:rx", "dir"], &tree.join("etc"));

    let store = Store::init(&dir.path().join("store")).unwrap();
    let mut writer = store.create("a".parse().unwrap()).unwrap();
    let root = Root::open(&tree).unwrap();
    let secret = |_: &MemberPath| Choice::Take(Class::Secret);
    Capture::new(&root, &secret, &mut |_| ())
        .section(&mut writer, "config", &["etc".parse().unwrap()])
        .unwrap();
    let meta = Meta::private(Class::Plain, Time::default());
    for (name, length) in [("empty", 0), ("exact", 1 << 20), ("short", 5)] {
        let path = format!("data/{name}").parse().unwrap();
        let mut member = writer.stream(path, meta.clone()).unwrap();
        member.write_all(&vec![1; length]).unwrap();
        member.finish().unwrap();
    }
    let id = writer.seal(SealInput::default()).unwrap().seal.id;

    let backup = store.backup(&id).unwrap();
    let names = backup.frames().unwrap();
    let frames: Vec<_> = names
        .iter()
        .map(|n| store.read_frame(*n).unwrap())
        .collect();
    let entries: Vec<_> = backup.index().unwrap().map(Result::unwrap).collect();
    let found = scan(&frames).unwrap();
    for (found, entry) in found.iter().zip(&entries) {
        assert_eq!(found, entry);
    }
    assert_eq!(found.len(), entries.len());
    let has = |test: &dyn Fn(&Entry) -> bool| entries.iter().any(test);
    assert!(has(&|e| e.kind == Kind::Hardlink), "no hard link");
    assert!(has(&|e| e.extents.len() == 1), "no holes");
    assert!(has(&|e| e.attributes.is_some()), "no list");
}

#[test]
fn where_frames_end_is_nothing_to_the_scan() {
    let (frames, mut entries) = lay(examples());
    let bytes = frames.concat();
    for length in [1, 511, 512, 513, 4096, bytes.len()] {
        let frames: Vec<_> = bytes.chunks(length).map(<[u8]>::to_vec).collect();
        let mut found = scan(&frames).unwrap();
        for entry in found.iter_mut().chain(&mut entries) {
            (entry.frame, entry.offset) = (0, 0);
        }
        assert_eq!(found, entries, "frames of {length}");
    }
}

#[test]
fn every_changed_byte_of_a_stream_is_found() {
    let (frames, entries) = lay(examples());
    for (number, frame) in frames.iter().enumerate() {
        for at in 0..frame.len() {
            let mut frames = frames.clone();
            frames[number][at] ^= 0x01;
            match scan(&frames) {
                Err(e) => assert_eq!(e.kind(), ErrorKind::Damaged),
                Ok(found) => assert_ne!(found, entries, "frame {number}, byte {at}"),
            }
        }
    }
}

#[test]
fn a_stream_ends_where_it_ends_and_nowhere_else() {
    let (frames, _) = lay(examples());
    let bytes = frames.concat();
    for at in 0..bytes.len() {
        let cut = scan(&[bytes[..at].to_vec()]);
        assert_eq!(cut.unwrap_err().kind(), ErrorKind::Damaged, "cut at {at}");
    }
    for more in [&[0][..], b"x", &[0; 512]] {
        let long = [bytes.as_slice(), more].concat();
        let said = scan(&[long]).unwrap_err().to_string();
        assert!(said.contains("follow the end of the stream"), "{said}");
    }
}

/// What somebody did to frames.
type Change<'c> = &'c dyn Fn(&mut Vec<Vec<u8>>);

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let said = |members: Vec<Member>, change: Change<'_>| {
        let (mut frames, _) = lay(members);
        change(&mut frames);
        scan(&frames).unwrap_err().to_string()
    };
    let two = || vec![file("config/a", b"a"), file("config/b", b"b")];
    let each = 2048;
    let cases: [(&str, Vec<Member>, Change<'_>); 8] = [
        (
            "frame 0: at byte 1537, 0x07 stands where only zeros belong",
            two(),
            &|f| f[0][1537] = 7,
        ),
        (
            "frame 0: at byte 2048, a tar header has a checksum that does not fit",
            two(),
            &|f| f[0][each] ^= 1,
        ),
        (
            "frame 0: at byte 0, a tar header has the type \"0\" where x belongs",
            two(),
            &|f| drop(f[0].drain(..1024)),
        ),
        (
            "frame 0: at byte 2048, the member config/a comes after config/b",
            {
                let mut two = two();
                two.reverse();
                two
            },
            &|_| (),
        ),
        (
            "frame 0: at byte 4096, the member config/c belongs to a section that has ended",
            vec![
                file("config/a", b"a"),
                file("data/b", b"b"),
                file("config/c", b""),
            ],
            &|_| (),
        ),
        (
            "frame 1: at byte 0, the frames end, without the end of the stream",
            two(),
            &|f| f[1].clear(),
        ),
        (
            "frame 0: at byte 4096, the frames end, without the end of the stream",
            two(),
            &|f| drop(f.drain(1..)),
        ),
        (
            "frame 0: at byte 4095, the frames end, without 1 bytes of padding",
            two(),
            &|f| {
                f[0].pop();
                f.drain(1..);
            },
        ),
    ];
    let mut wrong = String::new();
    for (expected, members, change) in cases {
        let found = said(members, change);
        if found != expected {
            wrong.push_str(&format!("{expected}\n{found}\n\n"));
        }
    }
    assert_eq!(wrong, "");
}

#[test]
fn headers_that_are_not_ours_do_not_pass() {
    // Rewritten by whoever can make checksums fit.
    let mend = |block: &mut [u8]| {
        let mut header = tar::Header::from_byte_slice(block).clone();
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
    };
    let (frames, _) = lay(vec![file("config/a", b"")]);
    for (at, value) in [
        (1024 + 345, b'p'),
        (1024 + 329, b'1'),
        (5, b'x'),
        (1024 + 107, b' '),
    ] {
        let mut frames = frames.clone();
        frames[0][at] = value;
        let begin = at / 512 * 512;
        mend(&mut frames[0][begin..begin + 512]);
        let said = scan(&frames).unwrap_err().to_string();
        assert!(said.contains("where we write"), "byte {at}: {said}");
    }
    // Records of more than can be.
    let mut frames = frames.clone();
    frames[0][124..135].copy_from_slice(b"77777777777");
    mend(&mut frames[0][..512]);
    let said = scan(&frames).unwrap_err().to_string();
    assert!(said.contains("8589934591 bytes of records"), "{said}");
}

#[test]
fn a_map_of_more_extents_than_can_be_is_not_read() {
    let (frames, _) = lay(examples().into_iter().skip(5).take(1).collect());
    for count in ["4098\n", "99999999\n", "x\n", "\n", "-1\n"] {
        let mut frames = frames.clone();
        let map = frames[0].len() - 512;
        frames[0][map..map + count.len()].copy_from_slice(count.as_bytes());
        let said = scan(&frames).unwrap_err().to_string();
        assert!(said.contains("extents"), "{count:?}: {said}");
    }
}

#[test]
fn a_file_of_the_most_extents_comes_back() {
    let mut most = file("data/most", &[1; 4096 * 512]);
    most.entry.size = u64::MAX >> 1;
    let first = most.entry.size - 1024 * 4096;
    let extent = |at: u64| Extent {
        offset: first + 1024 * at,
        length: 512,
    };
    most.entry.extents = (0..4096).map(extent).collect();
    let (frames, entries) = lay(vec![most.clone()]);
    assert_eq!(entries[0].contradiction(), None);
    assert_eq!(scan(&frames).unwrap(), entries);

    most.entry.extents.insert(
        0,
        Extent {
            offset: 0,
            length: 512,
        },
    );
    most.content.resize(4097 * 512, 1);
    let (frames, entries) = lay(vec![most]);
    assert!(entries[0].contradiction().is_some());
    assert!(scan(&frames).is_err());
}

#[test]
fn a_file_of_any_size_has_its_size_in_its_header() {
    for size in [(8 << 30) - 1, 8 << 30, u64::MAX] {
        let mut large = file("data/large", b"").entry;
        large.size = size;
        agrees(&header(&large), &large).unwrap();
    }
}

#[test]
fn an_index_that_says_other_than_the_headers_is_told_what() {
    let says = |what: &str, change: &dyn Fn(&mut Entry)| {
        for Member { entry, .. } in examples() {
            let mut other = entry.clone();
            change(&mut other);
            if other != entry {
                let said = agrees(&header(&entry), &other).unwrap_err();
                assert!(said.ends_with(what), "{}: {said}", entry.path);
            }
        }
    };
    says("differ in the class", &|e| e.class = Class::InFlight);
    says("differ in the attributes", &|e| e.attributes = None);
    says("differ in the owner", &|e| e.uid = 1);
    says("differ in the owner", &|e| e.group = "adm".into());
    says("differ in the time", &|e| e.mtime.nanoseconds = 1);
    says("differ in the mode", &|e| e.mode = 0o600);
    says("differ in the target", &|e| {
        e.target = e.target.as_ref().map(|_| "config/a".parse().unwrap());
    });
    says("differ in the extents", &|e| {
        e.extents.iter_mut().for_each(|x| x.length = 1);
    });
}
