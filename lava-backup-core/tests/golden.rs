//! What earlier versions wrote is read for ever: one store and two files for
//! each version of the format, made once and never changed.
//!
//! `UPDATE_GOLDEN=1 cargo test --test golden` makes those of the version that
//! is written today, while it is not released.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use common::{path, sh};
use lava_backup_core::{
    Attributes, Backup, BackupWriter, Bytes, Class, Depth, Kind, LinkTarget, Meta, SealInput,
    Store, Time, export, verify, verify_store, verify_stream,
};

/// Every version that was ever written.
const VERSIONS: [&str; 1] = ["1"];

fn golden(version: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    tests.join(version)
}

fn fill(writer: &mut BackupWriter) {
    let time = Time {
        seconds: 1_795_348_800,
        nanoseconds: 123_456_789,
    };
    let meta = |class| Meta::private(class, time);
    let mut listed = meta(Class::Secret);
    listed.attributes = Some(Box::new(Attributes {
        acl: Some("user::rw-,user:lavaserver:r--:996,group::---,mask::r--,other::---".into()),
        default_acl: None,
        xattrs: [(Bytes(b"user.note".to_vec()), Bytes(b"kept".to_vec()))].into(),
    }));
    writer
        .add_file(path("config/etc/key"), listed, b"key\n")
        .unwrap();
    let link = LinkTarget::new("key").unwrap();
    writer
        .add_other(
            path("config/etc/link"),
            Kind::Symlink,
            meta(Class::Plain),
            Some(link),
        )
        .unwrap();
    let odd = "config/etc/odd %25 é%0A%FF".parse().unwrap();
    writer.add_file(odd, meta(Class::InFlight), b"odd").unwrap();
    writer
        .add_other(
            path("config/etc/pipe"),
            Kind::Fifo,
            meta(Class::Plain),
            None,
        )
        .unwrap();
    let mut dump = writer
        .stream(path("database/dump"), meta(Class::Secret))
        .unwrap();
    for row in 0..2_000 {
        writeln!(dump, "{row}\tjob").unwrap();
    }
    dump.finish().unwrap();
}

fn input() -> SealInput {
    SealInput {
        tool: "golden".into(),
        host: "lab.example".into(),
        taken: "2026-11-22T12:00:00Z".into(),
        sealed: "2026-11-22T12:00:07Z".into(),
        documents: [("facts".to_owned(), serde_json::json!({"suite": "bookworm"}))].into(),
    }
}

fn make(dir: &Path) {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).unwrap();
    let store = Store::init(&dir.join("store")).unwrap();
    let id = || "20261122T120000Z-lab".parse().unwrap();
    let mut writer = store.create(id()).unwrap();
    fill(&mut writer);
    writer.seal(input()).unwrap();
    let backup = store.backup(&id()).unwrap();
    let mut file = fs::File::create(dir.join("exported.tar.zst")).unwrap();
    export(&backup, &mut file).unwrap();
    let place = dir.join("straight.tar.zst");
    let out = Box::new(fs::File::create(&place).unwrap());
    let mut writer = BackupWriter::into_file(id(), &place, out).unwrap();
    fill(&mut writer);
    writer.seal(input()).unwrap();
    fs::write(dir.join("entries"), entries(&backup)).unwrap();
}

/// What the backup holds, as it was when it was made.
fn entries(backup: &Backup) -> String {
    let lines = backup.index().unwrap().map(|entry| {
        let mut entry = serde_json::to_value(entry.unwrap()).unwrap();
        // A backup in one file may be cut otherwise.
        let entry_members = entry.as_object_mut().unwrap();
        entry_members.remove("frame");
        entry_members.remove("offset");
        format!("{entry}\n")
    });
    lines.collect()
}

#[test]
fn every_version_that_was_ever_written_is_read() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        make(&golden(VERSIONS[VERSIONS.len() - 1]));
    }
    for version in VERSIONS {
        let kept = golden(version);
        let dir = tempfile::tempdir().unwrap();
        // Git keeps no empty directories.
        sh(
            &format!("cp -r {}/. . && mkdir -p store/tmp", kept.display()),
            dir.path(),
        );
        let expected = fs::read_to_string(dir.path().join("entries")).unwrap();
        let stores = [
            Store::open(&dir.path().join("store")).unwrap(),
            Store::open_file(&dir.path().join("exported.tar.zst")).unwrap(),
            Store::open_file(&dir.path().join("straight.tar.zst")).unwrap(),
        ];
        for store in stores {
            assert!(verify_store(&store).unwrap().is_empty());
            let id = store.find("latest").unwrap();
            let backup = store.backup(&id).unwrap();
            let report = verify(&backup, Depth::Full).unwrap();
            assert!(report.damage.is_empty(), "{version}: {:?}", report.damage);
            assert_eq!(entries(&backup), expected, "{version}");
        }
        for file in ["exported.tar.zst", "straight.tar.zst"] {
            let input = fs::File::open(dir.path().join(file)).unwrap();
            verify_stream(Path::new(file), input).unwrap();
        }
        sh(
            "mkdir out && zstd -dc exported.tar.zst | tar -C out -x\n\
             test \"$(cat out/config/etc/key)\" = key\n\
             test $(wc -l <out/database/dump) = 2000",
            dir.path(),
        );
    }
}

/// A version that nobody tests is a version that nobody can read one day.
#[test]
fn the_list_of_versions_is_complete() {
    let mut found: Vec<String> = fs::read_dir(golden("").parent().unwrap().join("golden"))
        .unwrap()
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, VERSIONS);
}
