//! GNU tar, bsdtar and Python read what we write.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};

use super::tests::{Member, entry, file, lay};
use super::*;
use crate::attributes::tests::{needs_root, run};
use crate::attributes::{self, Attributes, Bytes, Extent};
use crate::entry::{Class, LinkTarget, Time};
use crate::owner::Owners;
use crate::path::MemberPath;

/// Names that every Debian has, with its numbers.
const USERS: &str = "root:x:0:\ndaemon:x:1:\n";
const GROUPS: &str = "root:x:0:\nadm:x:4:\n";
/// `cap_net_raw=ep`, as the kernel keeps it.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn other(entry: Entry) -> Member {
    Member {
        entry,
        content: Vec::new(),
        streamed: false,
    }
}

fn with(mut member: Member, change: impl FnOnce(&mut Attributes)) -> Member {
    let mut attributes = Attributes::default();
    change(&mut attributes);
    member.entry.attributes = Some(Box::new(attributes));
    member
}

fn xattrs(pairs: &[(&[u8], &[u8])]) -> BTreeMap<Bytes, Bytes> {
    let pair = |(name, value): &(&[u8], &[u8])| (Bytes(name.to_vec()), Bytes(value.to_vec()));
    pairs.iter().map(pair).collect()
}

fn sparse(path: &str, size: u64, extents: &[(u64, u64)]) -> Member {
    let stored: u64 = extents.iter().map(|e| e.1).sum();
    let content: Vec<u8> = (0..stored).map(|n| b'a' + (n % 26) as u8).collect();
    let mut member = file(path, &content);
    member.entry.size = size;
    member.entry.extents = extents.iter().map(|e| Extent::from(*e)).collect();
    member.streamed = true;
    member
}

/// What the readers are tried on: all in the section `config`.
fn members() -> Vec<Member> {
    let mut dir = other(entry("config/dir", Kind::Dir));
    dir.entry.mode = 0o750;
    let dir = with(dir, |a| {
        a.default_acl = Some("user::rwx,user:daemon:r-x:1,group::r-x,mask::r-x,other::---".into());
        a.xattrs = xattrs(&[(b"trusted.t", b"t")]);
    });
    let mut listed = file("config/dir/acl", b"acl");
    listed.entry.mode = 0o670;
    let list = "user::rw-,user:daemon:r--:1,user:4321:rw-:4321,group::---,group:adm:r--:4,mask::rwx,other::---";
    let listed = with(listed, |a| a.acl = Some(list.into()));
    let capable = with(file("config/dir/capable", b"elf"), |a| {
        a.xattrs = xattrs(&[(b"security.capability", CAPABILITY)]);
    });
    let attributed = with(file("config/dir/file", b"content"), |a| {
        a.xattrs = xattrs(&[
            (b"user.binary", b"\0\n=\xff"),
            (b"user.longer", &[b'v'; 3000]),
            (b"user.plain", b"value"),
        ]);
    });
    let mut hard = other(entry("config/dir/hard", Kind::Hardlink));
    hard.entry.target = Some("config/dir/file".parse().unwrap());
    let mut symbolic = other(entry("config/dir/link", Kind::Symlink));
    symbolic.entry.link = LinkTarget::new("n\u{e9}".repeat(100));

    let mut odd = file("config/odd", b"odd");
    odd.entry.path = MemberPath::new(b"config/odd\n %41 \xff\xc3\xa9".to_vec()).unwrap();
    odd.entry.class = Class::Secret;
    odd.entry.mtime = Time {
        seconds: -1,
        nanoseconds: 250_000_000,
    };
    let mut sparse_holes = sparse(
        "config/sparse",
        5 << 20,
        &[(1 << 20, 4096), (3 << 20, 5000)],
    );
    sparse_holes.entry.class = Class::InFlight;
    let long = ["config", &"l".repeat(200), &"m".repeat(255)].join("/");
    vec![
        dir,
        listed,
        capable,
        attributed,
        other(hard.entry),
        symbolic,
        file(&long, b"long"),
        // A long name of a file with holes.
        sparse(
            &format!("config/{}", "s".repeat(180)),
            3 << 20,
            &[(0, 512), (2 << 20, 1 << 20)],
        ),
        sparse("config/sparse-all", 4 << 20, &[(4 << 20, 0)]),
    ]
    .into_iter()
    .chain([odd, sparse_holes])
    .collect()
}

/// The members in a file `a.tar`, and as an index has them.
fn write(dir: &Path) -> Vec<(Entry, Vec<u8>)> {
    let mut members = members();
    members.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
    let contents: Vec<_> = members.iter().map(|m| m.content.clone()).collect();
    let (frames, entries) = lay(members);
    for entry in &entries {
        assert_eq!(entry.contradiction(), None, "{}", entry.path);
    }
    fs::write(dir.join("a.tar"), frames.concat()).unwrap();
    fs::create_dir(dir.join("out")).unwrap();
    entries.into_iter().zip(contents).collect()
}

/// The content with its holes.
fn whole(entry: &Entry, stored: &[u8]) -> Vec<u8> {
    if entry.extents.is_empty() {
        return stored.to_vec();
    }
    let mut whole = vec![0; entry.size as usize];
    let mut rest = stored;
    for extent in &entry.extents {
        let (now, later) = rest.split_at(extent.length as usize);
        whole[extent.offset as usize..][..now.len()].copy_from_slice(now);
        rest = later;
    }
    whole
}

/// Is all below `out` as the members say?
fn compare(out: &Path, members: &[(Entry, Vec<u8>)], before_1970: bool) {
    let owners = Owners::for_tests(USERS, GROUPS);
    for (entry, stored) in members {
        let place = out.join(entry.path.as_path());
        let stat = fs::symlink_metadata(&place).unwrap_or_else(|e| panic!("{}: {e}", entry.path));
        if let Some(target) = &entry.target {
            let first = fs::metadata(out.join(target.as_path())).unwrap();
            assert_eq!(stat.ino(), first.ino(), "{}", entry.path);
            continue;
        }
        let time = (stat.mtime(), stat.mtime_nsec() as u32);
        if before_1970 || entry.mtime.seconds >= 0 {
            assert_eq!(time, entry.mtime.into(), "{}", entry.path);
        }
        if let Some(link) = &entry.link {
            let found = fs::read_link(&place).unwrap();
            assert_eq!(found.as_os_str().as_bytes(), link.as_bytes());
            continue;
        }
        assert_eq!(stat.mode() & 0o7777, entry.mode, "{}", entry.path);
        let fd = rustix::fs::open(&place, OFlags::RDONLY, Mode::empty()).unwrap();
        let found = attributes::read(&fd, entry.kind, &owners).unwrap();
        assert_eq!(found, entry.attributes, "{}", entry.path);
        if entry.kind == Kind::File {
            let found = fs::read(&place).unwrap();
            assert!(found == whole(entry, stored), "{} differs", entry.path);
        }
        if !entry.extents.is_empty() {
            let room = stored.len() as u64 + (64 << 10);
            assert!(stat.blocks() * 512 <= room, "{} has no holes", entry.path);
        }
    }
}

#[test]
fn gnu_tar_brings_back_all_of_it() {
    if !needs_root("gnu_tar_brings_back_all_of_it") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let members = write(dir.path());
    let every = [
        "--xattrs",
        "--xattrs-include=*",
        "--acls",
        "-p",
        "-C",
        "out",
        "-xf",
        "a.tar",
    ];
    run("tar", &every, dir.path());
    compare(&dir.path().join("out"), &members, true);
    let capable = ["out/config/dir/capable"];
    assert!(run("getcap", &capable, dir.path()).contains("cap_net_raw=ep"));
    // What it would do beside: it finds no difference.
    run("tar", &["-C", "out", "-df", "a.tar"], dir.path());
}

#[test]
fn bsdtar_brings_back_all_of_it() {
    if !needs_root("bsdtar_brings_back_all_of_it") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let members = write(dir.path());
    let done = Command::new("bsdtar")
        .args(["--xattrs", "--acls", "-p", "-C", "out", "-xf", "a.tar"])
        .current_dir(dir.path())
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    // A name that is no UTF-8 comes back as it is, and is complained about.
    let said = String::from_utf8(done.stderr).unwrap();
    let odd = "bsdtar: Pathname can't be converted from UTF-8 to current locale.\n";
    let only = format!("{odd}bsdtar: Error exit delayed from previous errors.\n");
    assert_eq!(said, only);
    // It takes the fraction of a time before 1970 for one after its second.
    compare(&dir.path().join("out"), &members, false);
}

#[test]
fn python_reads_names_links_holes_and_records() {
    let dir = tempfile::tempdir().unwrap();
    let members = write(dir.path());
    let script = r#"
import hashlib, json, sys, tarfile
out = []
with tarfile.open("a.tar") as tar:
    for m in tar:
        content = tar.extractfile(m).read() if m.isreg() else b""
        raw = lambda s: s.encode("utf-8", "surrogateescape").hex()
        out.append([raw(m.name), m.type.decode(), m.size, m.mode, raw(m.linkname),
            len(content), hashlib.sha256(content).hexdigest(), m.pax_headers.get("comment"),
            {raw(k): raw(v) for k, v in m.pax_headers.items() if k.startswith("SCHILY.")}])
print(json.dumps(out))
"#;
    fs::write(dir.path().join("read.py"), script).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let said = run("python3", &["read.py"], dir.path());
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    for (found, (entry, stored)) in said.as_array().unwrap().iter().zip(&members) {
        assert_eq!(found[0], hex(entry.path.as_bytes()));
        let link = entry.link.as_ref().map(LinkTarget::as_bytes);
        let target = entry.target.as_ref().map(MemberPath::as_bytes);
        assert_eq!(found[4], hex(link.or(target).unwrap_or_default()));
        assert_eq!(found[3], entry.mode);
        let content = whole(entry, stored);
        if entry.kind == Kind::File {
            assert_eq!(found[2], entry.size, "{}", entry.path);
            assert_eq!(found[5], content.len(), "{}", entry.path);
            fs::write(dir.path().join("content"), &content).unwrap();
            let sum = run("sha256sum", &["content"], dir.path());
            assert_eq!(found[6].as_str(), sum.split(' ').next(), "{}", entry.path);
        }
        let comment = match entry.class {
            Class::Plain => None,
            Class::Secret => Some("lava-backup:secret"),
            Class::InFlight => Some("lava-backup:in-flight"),
        };
        assert_eq!(found[7].as_str(), comment, "{}", entry.path);
        let mut records = serde_json::Map::new();
        let mut record = |key: &[u8], value: &[u8]| {
            let key = [b"SCHILY.", key].concat();
            records.insert(hex(&key), hex(value).into());
        };
        if let Some(attributes) = &entry.attributes {
            for (name, value) in &attributes.xattrs {
                record(&[b"xattr.", name.0.as_slice()].concat(), &value.0);
            }
            for (key, list) in [
                ("acl.access", &attributes.acl),
                ("acl.default", &attributes.default_acl),
            ] {
                if let Some(list) = list {
                    record(key.as_bytes(), list.as_bytes());
                }
            }
        }
        assert_eq!(
            found[8],
            serde_json::Value::Object(records),
            "{}",
            entry.path
        );
    }
    assert_eq!(said.as_array().unwrap().len(), members.len());
}

#[test]
fn gnu_tar_takes_odd_names_of_attributes() {
    let dir = tempfile::tempdir().unwrap();
    let member = with(file("config/a", b"a"), |a| {
        a.xattrs = xattrs(&[
            (b"user.%3D", b"not decoded twice"),
            (b"user.=", b"equals"),
            (b"user.\xff\n ", b"any bytes"),
            (b"user.empty", b""),
        ]);
    });
    let (frames, entries) = lay(vec![member]);
    fs::write(dir.path().join("a.tar"), frames.concat()).unwrap();
    let every = ["--xattrs", "--xattrs-include=*", "-xf", "a.tar"];
    run("tar", &every, dir.path());
    let file = File::open(dir.path().join("config/a")).unwrap();
    let found = attributes::read(&file, Kind::File, &Owners::default()).unwrap();
    assert_eq!(found, entries[0].attributes);
}

/// Through a pipe, and as a list: nobody waits for 9 GiB to be written.
#[test]
fn a_file_of_more_than_8_gib_is_listed_with_its_size() {
    let large = Entry {
        size: 9 << 30,
        ..file("config/large", b"").entry
    };
    for (program, arguments) in [("tar", ["-tv"]), ("bsdtar", ["-tv"])] {
        let mut child = Command::new(program)
            .args(arguments)
            .args(["-f", "-"])
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &header(&large)).unwrap();
        let said = child.wait_with_output().unwrap().stdout;
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains(" 9663676416 "), "{program}: {said}");
        assert!(said.contains(" config/large\n"), "{program}: {said}");
    }
}

/// The script is written from docs/FORMAT.md and nothing else.
#[test]
fn a_script_written_from_the_page_alone_reads_the_same_headers() {
    let dir = tempfile::tempdir().unwrap();
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let members = members();
    let mut lines = String::new();
    for Member { entry, .. } in &members {
        let blocks: String = header(entry).iter().map(|b| format!("{b:02x}")).collect();
        let mut other = entry.clone();
        match (&mut other.attributes, other.extents.last_mut()) {
            (Some(attributes), _) => attributes.acl = Some("other".into()),
            (_, Some(extent)) => extent.length += 1,
            _ => other.mtime.nanoseconds = 1,
        }
        for entry in [entry, &other] {
            lines += &serde_json::to_string(&(&blocks, entry)).unwrap();
            lines.push('\n');
        }
    }
    fs::write(dir.path().join("lines"), lines).unwrap();
    let script = format!(
        "import json, sys; sys.path.insert(0, {vectors:?}); sys.dont_write_bytecode = True\n\
         from read_store import header_differs\n\
         for blocks, entry in map(json.loads, open('lines')):\n    \
             print(header_differs(bytes.fromhex(blocks), entry) or 'same')\n"
    );
    let said = run("python3", &["-c", &script], dir.path());
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said.len(), 2 * members.len());
    for (pair, Member { entry, .. }) in said.chunks(2).zip(&members) {
        assert_eq!(pair[0], "same", "{}", entry.path);
        assert_ne!(pair[1], "same", "{}", entry.path);
    }
}
