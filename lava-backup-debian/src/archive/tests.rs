#![allow(clippy::unwrap_used)]

use std::{ffi::OsString, fs, path::PathBuf, process::Command};

use super::*;
use crate::{
    Class, FindingKind,
    lab::{BACKPORTS, Lab, assert_expected, lab_of_debian, listed},
    read_sources,
};

#[test]
fn lists_are_read_in_every_compression_and_all_say_the_same() {
    let lab = lab_of_debian();
    let lists = lab.at("root/var/lib/apt/lists");
    let kept = |compressed: bool| {
        fs::remove_dir_all(&lists).unwrap();
        fs::create_dir_all(lists.join("partial")).unwrap();
        let option = format!("Acquire::GzipIndexes={compressed}");
        assert!(lab.update(&["-o", &option]).status.success());
        let names = lab.root().names("var/lib/apt/lists").unwrap();
        names
            .iter()
            .any(|name| name.to_str().unwrap().ends_with("_Packages.lz4"))
    };
    // As apt itself compresses them.
    assert!(kept(true));
    assert_expected(&lab.origins());
    assert!(!kept(false));
    let plain: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(&lists)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with("_Packages"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    assert_eq!(plain.len(), 4);
    for (program, extension) in [
        ("lz4", "lz4"),
        ("gzip", "gz"),
        ("xz", "xz"),
        ("zstd", "zst"),
    ] {
        let mut compressed = Vec::new();
        for (path, _) in &plain {
            let output = Command::new(program).arg("-c").arg(path).output().unwrap();
            assert!(output.status.success());
            fs::remove_file(path).unwrap();
            compressed.push((
                PathBuf::from(format!("{}.{extension}", path.display())),
                output.stdout,
            ));
        }
        for (path, bytes) in &compressed {
            fs::write(path, bytes).unwrap();
        }
        let origins = lab.origins();
        assert_expected(&origins);
        let all: Vec<&List> = origins
            .archives
            .iter()
            .flat_map(|archive| &archive.lists)
            .collect();
        assert_eq!(all.len(), 4);
        for list in all {
            assert_eq!(list.content, Content::Listed);
            assert_eq!(list.file.extension().unwrap(), extension);
        }
        // Of what is cut off nothing is used.
        for (path, bytes) in &compressed {
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }
        assert!(lab.has(FindingKind::ListsUnreadable), "{extension}");
        assert!(
            lab.origins()
                .packages
                .iter()
                .all(|p| p.class == Class::Unknown)
        );
        for (path, _) in &compressed {
            fs::remove_file(path).unwrap();
        }
        for (path, bytes) in &plain {
            fs::write(path, bytes).unwrap();
        }
    }
}

#[test]
fn what_is_not_signed_by_the_right_key_is_found_with_a_code_of_its_own() {
    let mut lab = lab_of_debian();
    let ours = [
        FindingKind::Unsigned,
        FindingKind::BadSignature,
        FindingKind::Trusted,
        FindingKind::ListsExpired,
        FindingKind::ListsAltered,
        FindingKind::ListsMissing,
        FindingKind::NoLists,
        FindingKind::KeyringMissing,
    ];
    let found = |lab: &Lab| -> Vec<(FindingKind, String)> {
        lab.findings()
            .into_iter()
            .filter(|(kind, _)| ours.contains(kind))
            .collect()
    };
    assert_eq!(found(&lab), []);

    // The third archive is signed by a key that is not for all sources.
    let sources = lab.sources.clone();
    lab.write(
        "root/etc/apt/sources.list",
        &sources.replace(&format!("[signed-by={}] ", lab.other_key()), ""),
    );
    assert_eq!(
        found(&lab),
        [(FindingKind::BadSignature, "copy:/third bookworm".into())]
    );
    let no_such = sources.replace("other.gpg", "none.gpg");
    lab.write("root/etc/apt/sources.list", &no_such);
    let kinds: Vec<FindingKind> = found(&lab).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(
        kinds,
        [FindingKind::BadSignature, FindingKind::KeyringMissing]
    );
    // apt sees it the same way.
    let lists = lab.at("root/var/lib/apt/lists");
    fs::remove_dir_all(&lists).unwrap();
    fs::create_dir_all(lists.join("partial")).unwrap();
    let update = lab.update(&["-o", "APT::Update::Error-Mode=any"]);
    assert!(!update.status.success(), "{update:?}");
    lab.write("root/etc/apt/sources.list", &sources);
    assert!(lab.update(&[]).status.success());

    // One byte of what was signed.
    let base = lab
        .dir
        .path()
        .display()
        .to_string()
        .replace('_', "%5f")
        .replace('/', "_");
    let in_release = lists.join(format!("{base}_debian_dists_bookworm_InRelease"));
    let good = fs::read_to_string(&in_release).unwrap();
    fs::write(&in_release, good.replace("Label: Debian", "Label: debian")).unwrap();
    assert_eq!(
        found(&lab),
        [(FindingKind::BadSignature, "copy:/debian bookworm".into())]
    );
    assert!(
        lab.origins().packages[2]
            .origins
            .iter()
            .all(|o| o.trust == Trust::None)
    );
    fs::write(&in_release, &good).unwrap();

    // A list that is not the one that was signed.
    let list = lists.join(format!(
        "{base}_debian_dists_bookworm_main_binary-amd64_Packages"
    ));
    let packages = fs::read_to_string(&list).unwrap();
    fs::write(&list, packages.replace("Description: d", "Description: e")).unwrap();
    assert_eq!(found(&lab)[0].0, FindingKind::ListsAltered);
    assert!(
        lab.origins().packages[2]
            .origins
            .iter()
            .all(|o| o.trust == Trust::None)
    );
    fs::write(&list, packages).unwrap();
    assert_eq!(found(&lab), []);

    // Without a signature, with and without leave.
    lab.archive(
        "plain",
        "Origin: Plain\nCodename: x\n",
        &listed("home", "1.0-1", "b"),
        None,
        "",
    );
    assert!(
        lab.update(&["--allow-insecure-repositories"])
            .status
            .success()
    );
    assert_eq!(
        found(&lab),
        [(FindingKind::Unsigned, "copy:/plain x".into())]
    );
    assert_eq!(lab.origins().packages[4].origins[0].trust, Trust::None);
    let trusting = lab.sources.replace("deb  copy", "deb [trusted=yes] copy");
    lab.write(
        "root/etc/apt/sources.list",
        &trusting.replacen("[trusted=yes] ", "", 3),
    );
    let kinds: Vec<FindingKind> = found(&lab).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [FindingKind::Unsigned, FindingKind::Trusted]);
    assert_eq!(lab.origins().packages[4].origins[0].trust, Trust::ByOption);
    lab.write("root/etc/apt/sources.list", &sources);

    // Old lists.
    lab.sources = sources.clone();
    let old = format!("{BACKPORTS}Valid-Until: Sun, 29 Nov 2020 20:17:03 UTC\n")
        .replace("backports", "old");
    lab.archive("old", &old, "", Some("debian"), "");
    let update = lab.update(&["-o", "APT::Update::Error-Mode=any"]);
    assert!(!update.status.success(), "{update:?}");
    assert!(
        lab.update(&["-o", "Acquire::Check-Valid-Until=false"])
            .status
            .success()
    );
    assert_eq!(
        found(&lab),
        [(FindingKind::ListsExpired, "copy:/old bookworm-old".into())]
    );
    let lenient = lab
        .sources
        .replace("deb  copy", "deb [check-valid-until=no] copy");
    lab.write("root/etc/apt/sources.list", &lenient);
    assert_eq!(found(&lab), []);

    // None of one archive, then none at all.
    lab.sources = sources;
    lab.archive("new", BACKPORTS, "", Some("debian"), "");
    assert_eq!(
        found(&lab),
        [(
            FindingKind::ListsMissing,
            "copy:/new bookworm-backports".into()
        )]
    );
    assert_eq!(
        lab.origins().packages[4].class,
        Class::Unknown,
        "the new one might have it"
    );
    fs::remove_dir_all(&lists).unwrap();
    assert_eq!(
        found(&lab),
        [(FindingKind::NoLists, "/var/lib/apt/lists".into())]
    );
    assert!(
        lab.origins()
            .packages
            .iter()
            .all(|p| p.class == Class::Unknown)
    );
}

#[test]
fn a_source_may_name_keys_by_fingerprint_or_hold_one_itself() {
    let lab = lab_of_debian();
    let own = lab
        .gpg(&["--with-colons", "--list-keys", "debian@example.org"])
        .stdout;
    let own = String::from_utf8(own).unwrap();
    let own = own
        .lines()
        .find(|l| l.starts_with("fpr:"))
        .unwrap()
        .split(':')
        .nth(9)
        .unwrap()
        .to_owned();
    let sources = |signed_by: &str| {
        let debian = lab.at("debian");
        format!(
            "Types: deb\nURIs: copy:{}\nSuites: bookworm\nComponents: main\nSigned-By: {signed_by}\n",
            debian.display()
        )
    };
    fs::remove_file(lab.at("root/etc/apt/sources.list")).unwrap();
    let armoured = lab
        .gpg(&["--armor", "--export", "debian@example.org"])
        .stdout;
    let block: String = String::from_utf8(armoured)
        .unwrap()
        .lines()
        .map(|l| {
            if l.is_empty() {
                "\n .".to_owned()
            } else {
                format!("\n {l}")
            }
        })
        .collect();
    let wrong = "0".repeat(40);
    for (signed_by, good) in [
        (own.as_str(), true),
        (&*format!("{own}!"), true),
        (&block, true),
        (&wrong, false),
    ] {
        lab.write("root/etc/apt/sources.list.d/x.sources", &sources(signed_by));
        let archives = lab.origins().archives;
        assert_eq!(
            matches!(archives[0].signature, Signature::Good { .. }),
            good,
            "{signed_by}: {archives:?}"
        );
        fs::remove_dir_all(lab.at("root/var/lib/apt/lists")).unwrap();
        fs::create_dir_all(lab.at("root/var/lib/apt/lists/partial")).unwrap();
        let apt = lab.update(&["-o", "APT::Update::Error-Mode=any"]);
        assert_eq!(apt.status.success(), good, "{apt:?}");
    }
}

#[test]
fn where_one_list_of_an_archive_is_lacking_no_package_is_called_local() {
    let lab = lab_of_debian();
    let class = |lab: &Lab| lab.origins().packages[4].class;
    assert_eq!(class(&lab), Class::Local);
    let lists = lab.root().names("var/lib/apt/lists").unwrap();
    let packages = |name: &&OsString| {
        let name = name.to_str().unwrap();
        name.contains("_security_") && name.ends_with("_Packages")
    };
    let list = lists.iter().find(packages).unwrap();
    fs::remove_file(lab.at("root/var/lib/apt/lists").join(list)).unwrap();
    assert_eq!(class(&lab), Class::Unknown);
    let subject = "copy:/security bookworm-security".to_owned();
    assert!(
        lab.findings()
            .contains(&(FindingKind::ListsMissing, subject))
    );
}

#[test]
fn entries_that_name_different_keys_for_one_archive_are_no_good_as_apt_sees_it() {
    let lab = lab_of_debian();
    let line = |option: &str| {
        let debian = lab.at("debian");
        format!("deb {option} copy:{} bookworm main\n", debian.display())
    };
    let other = format!("[signed-by={}]", lab.other_key());
    // apt looks for a key outside the root that it is told to work in.
    let key = lab.at("root/etc/apt/trusted.gpg.d/debian.asc");
    let inside = lab.at("root").join(key.strip_prefix("/").unwrap());
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    fs::copy(&key, inside).unwrap();
    let right = format!("[signed-by={}]", key.display());
    // Which of the two comes first makes a difference to apt.
    for (first, second, good) in [
        ("", "", true),
        ("", right.as_str(), true),
        (&right, &right, true),
        (&right, "", false),
        (&right, &other, false),
        ("", &other, false),
        (&other, "", false),
    ] {
        lab.write("root/etc/apt/sources.list", &(line(first) + &line(second)));
        let archives = lab.origins().archives;
        assert_eq!(archives.len(), 1);
        assert_eq!(
            matches!(archives[0].signature, Signature::Good { .. }),
            good,
            "{first} {second}: {archives:?}"
        );
        let apt = lab.update(&["-o", "APT::Update::Error-Mode=any"]);
        assert_eq!(apt.status.success(), good, "{first} {second}: {apt:?}");
    }
}

#[test]
fn sources_that_are_off_or_have_no_binary_packages_name_no_archive() {
    let lab = lab_of_debian();
    let off = "Types: deb\nURIs: http://off/\nSuites: x\nComponents: main\nEnabled: no\n";
    lab.write("root/etc/apt/sources.list.d/off.sources", off);
    let source = "deb-src http://source/ x main\n";
    lab.write("root/etc/apt/sources.list.d/source.list", source);
    assert_eq!(lab.origins().archives.len(), 4);
    assert_expected(&lab.origins());
}

#[test]
fn what_is_no_file_among_keys_and_sources_is_passed_over_as_apt_does() {
    let lab = lab_of_debian();
    let keys = lab.at("root/etc/apt/trusted.gpg.d");
    std::os::unix::fs::symlink("/nowhere.gpg", keys.join("dangling.gpg")).unwrap();
    fs::create_dir(keys.join("directory.gpg")).unwrap();
    fs::create_dir(lab.at("root/usr/share/keyrings/directory.gpg")).unwrap();
    for inside in ["sources.list.d/x.list", "preferences.d/x", "apt.conf.d/x"] {
        fs::create_dir(lab.at("root/etc/apt").join(inside)).unwrap();
    }
    assert!(
        lab.update(&["-o", "APT::Update::Error-Mode=any"])
            .status
            .success()
    );
    assert_expected(&lab.origins());
    let root = lab.root();
    let sources = read_sources(&root).unwrap();
    let keyrings = crate::read_keyrings(&root, &sources).unwrap();
    assert!(keyrings.iter().all(|k| k.size.is_some()), "{keyrings:?}");
    assert!(!lab.has(FindingKind::Unreadable) && !lab.has(FindingKind::KeyringMissing));
    crate::Fingerprint::of(&root).unwrap();
}

#[test]
fn a_release_that_can_not_be_read_spoils_its_own_archive_alone() {
    let lab = lab_of_debian();
    let lists = lab.at("root/var/lib/apt/lists");
    let names = lab.root().names("var/lib/apt/lists").unwrap();
    let third = |name: &&OsString| {
        let name = name.to_str().unwrap();
        name.contains("_third_") && name.ends_with("InRelease")
    };
    let release = lists.join(names.iter().find(third).unwrap());
    fs::remove_file(&release).unwrap();
    fs::create_dir(&release).unwrap();
    let origins = lab.origins();
    assert_eq!(origins.packages[1].class, Class::Base);
    assert_eq!(origins.packages[3].origins[0].trust, Trust::None);
    let subject = "copy:/third bookworm".to_owned();
    assert!(
        lab.findings()
            .contains(&(FindingKind::BadSignature, subject))
    );
}

#[test]
fn a_word_for_trust_is_the_one_of_documents() {
    for trust in [
        Trust::Signed,
        Trust::Unchecked,
        Trust::ByOption,
        Trust::None,
    ] {
        assert_eq!(serde_json::to_value(trust).unwrap(), trust.as_str());
    }
}
