//! Real .debs, made by `dpkg-deb`.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

use super::*;

/// Builds a .deb of these files; those below `DEBIAN` are control members.
pub(crate) fn build(to: &Path, control: &str, files: &[(&str, &str)], compression: &str) {
    let dir = tempfile::tempdir().unwrap();
    let all = files.iter().copied().chain([("DEBIAN/control", control)]);
    for (name, text) in all {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let out = Command::new("dpkg-deb")
        .args(["--root-owner-group", "--nocheck"])
        .arg(format!("-Z{compression}"))
        .arg("-b")
        .args([dir.path(), to])
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
}

const CONTROL: &str = "Package: lava-x\nVersion: 2:1.0-1\nArchitecture: all\n\
    Maintainer: nobody <n@example>\nDescription: x\n more\n .\n  indented\n";
const MIGRATION: &str = "usr/lib/python3/dist-packages/app/migrations/0002_two.py";

fn example(compression: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.deb");
    let files = [
        ("usr/share/doc/lava-x/readme", "hello"),
        ("DEBIAN/conffiles", "/etc/x.conf\n"),
        ("etc/x.conf", "a=b\n"),
        (MIGRATION, "replaces = [('app', '0001_one')]\n"),
    ];
    build(&path, CONTROL, &files, compression);
    (dir, path)
}

#[test]
fn a_hard_link_has_the_sum_of_the_file_that_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join("tree").join(name);
    fs::create_dir_all(at("DEBIAN")).unwrap();
    fs::create_dir_all(at("usr")).unwrap();
    fs::write(at("DEBIAN/control"), CONTROL).unwrap();
    fs::write(at("usr/a"), "x").unwrap();
    fs::hard_link(at("usr/a"), at("usr/b")).unwrap();
    std::os::unix::fs::symlink("a", at("usr/c")).unwrap();
    let path = dir.path().join("x.deb");
    let out = Command::new("dpkg-deb")
        .arg("-b")
        .args([&at(""), &path])
        .output();
    assert!(out.unwrap().status.success());
    let contents = Deb::open(&path).unwrap().contents().unwrap();
    let sums: Vec<(&[u8], &str)> = contents
        .sums
        .iter()
        .map(|(path, sum)| (path.as_slice(), sum.as_str()))
        .collect();
    let of_x = "9dd4e461268c8034f5c8564e155c67a6";
    assert_eq!(sums, [(&b"/usr/a"[..], of_x), (b"/usr/b", of_x)]);
    assert!(contents.paths.contains(&b"/usr/c"[..]));
}

#[test]
fn a_deb_of_any_compression_reads_the_same() {
    for compression in ["none", "gzip", "xz", "zstd"] {
        let (_dir, path) = example(compression);
        let deb = Deb::open(&path).unwrap();
        assert_eq!(deb.name(), "lava-x");
        assert_eq!(deb.version().as_str(), "2:1.0-1");
        assert_eq!(deb.architecture(), "all");
        assert_eq!(deb.file_name(), "lava-x_1.0-1_all.deb");
        assert_eq!(deb.built(), 1_700_000_000);
        assert_eq!(deb.size(), fs::metadata(&path).unwrap().len());
        assert_eq!(
            deb.control().get("description"),
            Some(&b"x\nmore\n.\n indented"[..])
        );
        assert_eq!(deb.members()["conffiles"], b"/etc/x.conf\n");
        assert_eq!(deb.members().len(), 2);
        let paths: Vec<String> = deb
            .paths()
            .unwrap()
            .into_iter()
            .map(|path| String::from_utf8(path).unwrap())
            .collect();
        assert_eq!(paths[..3], ["/.", "/etc", "/etc/x.conf"]);
        assert!(paths.contains(&format!("/{MIGRATION}")));
        let shipped = deb.migrations().unwrap();
        let found: Vec<_> = shipped.iter().collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].migration, Migration::new("app", "0002_two"));
        assert_eq!(found[0].package, "lava-x");
        assert_eq!(
            found[0].replaces,
            [Migration::new("app", "0001_one")].into()
        );
        assert_eq!(found[0].path, Path::new("/").join(MIGRATION));
    }
}

#[test]
fn the_files_of_a_deb_have_the_sums_that_md5sum_gives() {
    let (dir, path) = example("xz");
    let contents = Deb::open(&path).unwrap().contents().unwrap();
    let unpacked = dir.path().join("unpacked");
    let out = Command::new("dpkg-deb")
        .arg("-x")
        .args([&path, &unpacked])
        .status();
    assert!(out.unwrap().success());
    assert_eq!(contents.sums.len(), 3);
    for (file, sum) in &contents.sums {
        let file = String::from_utf8(file[1..].to_vec()).unwrap();
        let out = Command::new("md5sum")
            .arg(unpacked.join(file))
            .output()
            .unwrap();
        assert!(
            String::from_utf8(out.stdout)
                .unwrap()
                .starts_with(sum.as_str())
        );
    }
}

#[test]
fn a_deb_that_is_cut_off_or_damaged_anywhere_is_refused_with_its_name() {
    let (dir, path) = example("xz");
    let whole = fs::read(&path).unwrap();
    let at = dir.path().join("damaged.deb");
    let read = |bytes: &[u8]| {
        fs::write(&at, bytes).unwrap();
        Deb::open(&at).and_then(|deb| deb.contents())
    };
    let step = whole.len() / 9;
    for length in (0..whole.len()).step_by(step) {
        let error = read(&whole[..length]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
        assert!(error.to_string().contains("damaged.deb"), "{error}");
    }
    // Within the compressed parts a checksum tells.
    let control = 8 + 60 + 4 + 60;
    for position in (control + 30..whole.len() - 30).step_by(step) {
        let mut changed = whole.clone();
        changed[position] ^= 1;
        let _ = read(&changed).map(|_| panic!("byte {position} can change unseen"));
    }
}

#[test]
fn a_bomb_is_given_up_on_before_it_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bomb.deb");
    // A control member that is larger than any, and hardly a byte in the file.
    let member = "\n".repeat((MOST_MEMBER + 1) as usize);
    build(&path, CONTROL, &[("DEBIAN/md5sums", &member)], "xz");
    assert!(fs::metadata(&path).unwrap().len() < 100_000);
    assert_eq!(Deb::open(&path).unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn a_name_that_is_a_path_or_steers_a_terminal_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.deb");
    for (from, to) in [
        ("lava-x", "../x"),
        ("lava-x", "\x1b[2J"),
        ("lava-x", ""),
        ("2:1.0-1", "1.0/2"),
        ("2:1.0-1", "../1"),
        ("Architecture: all", "Architecture: a/b"),
        ("Architecture: all", "X: y"),
        ("Description: x", "Package: again"),
    ] {
        let control = CONTROL.replace(from, to);
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("control"), control).unwrap();
        let tar = |name: &str| {
            let out = Command::new("tar")
                .args(["-c", "--format=gnu", "-C"])
                .arg(dir.path())
                .arg("./control")
                .output()
                .unwrap();
            fs::write(dir.path().join(name), out.stdout).unwrap();
        };
        fs::write(dir.path().join("debian-binary"), "2.0\n").unwrap();
        tar("control.tar");
        tar("data.tar");
        let _ = fs::remove_file(&path);
        let members = ["debian-binary", "control.tar", "data.tar"];
        let out = Command::new("ar")
            .arg("rc")
            .arg(&path)
            .args(members.map(|name| dir.path().join(name)))
            .status();
        assert!(out.unwrap().success());
        let error = Deb::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{to}");
        assert!(!error.to_string().contains('\x1b'), "{error}");
    }
    assert_eq!(Deb::open(dir.path()).unwrap_err().kind(), ErrorKind::Path);
}
