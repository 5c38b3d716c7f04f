//! The exact .debs of a root: from its cache, from a mirror, out of an earlier backup; and every
//! way in which one is not to be had, each with its code. With real dpkg and apt.
#![cfg(feature = "readers")]
#![allow(clippy::unwrap_used, unreachable_pub)]

mod debs;

use std::{collections::BTreeMap, fs, io::Write, path::Path, process::Command};

use debs::{Built, COMMON, LIBRARY, Lab, SERVER, run};
use lava_backup_debian::{
    Deb, DebOrigin, Fetched, IndexWord, InstalledBuilds, Lack, Repository, Trust, critical,
    open_ends, shipped_migrations,
};

fn origins(fetched: &Fetched) -> Vec<(&str, &str)> {
    let debs = fetched.debs.iter();
    debs.map(|found| (found.deb.name(), found.origin.as_str()))
        .collect()
}

fn lacks(fetched: &Fetched) -> Vec<(&str, &str)> {
    let lacking = fetched.lacking.iter();
    lacking
        .map(|lacking| (lacking.name.as_str(), lacking.lack.code()))
        .collect()
}

/// Every file of a tree with its content.
fn tree(dir: &Path) -> Vec<u8> {
    run(Command::new("tar")
        .args(["-c", "--sort=name", "-C"])
        .arg(dir)
        .arg("."))
}

#[test]
fn what_the_cache_has_is_taken_from_there_and_the_rest_is_downloaded() {
    let lab = Lab::new();
    let before = tree(&lab.at("root"));
    let (_private, all) = lab.fetch();
    assert_eq!(
        origins(&all),
        [
            ("lava-common", "download"),
            ("lava-server", "download"),
            ("libx", "download")
        ],
        "{all:#?}"
    );
    assert!(
        lab.at("root").exists() && tree(&lab.at("root")) == before,
        "the root is as it was"
    );

    lab.fill_cache();
    fs::remove_file(lab.cached(&COMMON)).unwrap();
    let (_private, some) = lab.fetch();
    assert_eq!(
        origins(&some),
        [
            ("lava-common", "download"),
            ("lava-server", "cache"),
            ("libx", "cache")
        ]
    );
    for (found, built) in some.debs.iter().zip([COMMON, SERVER, LIBRARY]) {
        let bytes = fs::read(lab.on_mirror(&built)).unwrap();
        assert_eq!(fs::read(found.deb.path()).unwrap(), bytes);
        let IndexWord::Same { place, trust } = &found.index else {
            panic!("{:?}", found.index);
        };
        assert_eq!(*trust, Trust::ByOption);
        assert!(
            place.starts_with("copy:/") && place.ends_with(".deb"),
            "{place}"
        );
        assert!(found.differences.is_empty());
    }
}

#[test]
fn without_a_cache_and_a_mirror_each_package_is_named_with_a_reason() {
    let lab = Lab::new();
    fs::remove_dir_all(lab.at("mirror")).unwrap();
    let (_private, none) = lab.fetch();
    let gone = ["lava-common", "lava-server", "libx"].map(|name| (name, "deb.gone"));
    assert_eq!(lacks(&none), gone, "{none:#?}");

    fs::remove_dir_all(lab.at("root/var/lib/apt/lists")).unwrap();
    let (_private, none) = lab.fetch();
    let unlisted = ["lava-common", "lava-server", "libx"].map(|name| (name, "deb.unlisted"));
    assert_eq!(lacks(&none), unlisted, "{none:#?}");
}

#[test]
fn a_package_that_the_mirror_has_no_more_is_told_from_one_that_no_index_names() {
    let lab = Lab::new();
    // Removed since the index was read.
    fs::remove_file(lab.on_mirror(&COMMON)).unwrap();
    let (_private, fetched) = lab.fetch();
    assert_eq!(
        lacks(&fetched),
        [("lava-common", "deb.gone")],
        "{fetched:#?}"
    );
    assert_eq!(fetched.debs.len(), 2);

    // The index was read again, and names a newer version.
    let newer = Built {
        version: "1:2023.01-3",
        ..COMMON
    };
    newer.build(&lab.at("mirror"));
    lab.index();
    let (_private, fetched) = lab.fetch();
    assert_eq!(
        lacks(&fetched),
        [("lava-common", "deb.unlisted")],
        "{fetched:#?}"
    );
}

#[test]
fn a_rebuild_with_the_same_version_is_not_taken_for_the_installed_build() {
    for (what, rebuilt) in [
        (
            "another content",
            Built {
                files: &[("usr/share/lava-common/VERSION", "2023.02\n")],
                ..COMMON
            },
        ),
        (
            "another file",
            Built {
                files: &[
                    ("usr/share/lava-common/VERSION", "2023.01\n"),
                    ("usr/bin/more", ""),
                ],
                ..COMMON
            },
        ),
        (
            "another relation",
            Built {
                fields: "Depends: libx\n",
                ..COMMON
            },
        ),
        (
            "a script",
            Built {
                files: &[
                    ("usr/share/lava-common/VERSION", "2023.01\n"),
                    ("DEBIAN/postinst", "#!/bin/sh\n"),
                ],
                ..COMMON
            },
        ),
    ] {
        let lab = Lab::new();
        fs::copy(lab.on_mirror(&COMMON), lab.at("own.deb")).unwrap();
        rebuilt.build(&lab.at("mirror"));
        lab.index();
        let (_private, fetched) = lab.fetch();
        assert_eq!(
            lacks(&fetched),
            [("lava-common", "deb.other-build")],
            "{what}: {fetched:#?}"
        );

        // The one that is installed, where the host still has it.
        fs::copy(lab.at("own.deb"), lab.cached(&COMMON)).unwrap();
        let (_private, fetched) = lab.fetch();
        assert!(fetched.lacking.is_empty(), "{what}: {fetched:#?}");
        assert_eq!(fetched.debs[0].origin, DebOrigin::Cache);
        assert_eq!(fetched.debs[0].index, IndexWord::Other);
    }
}

#[test]
fn a_changed_byte_is_found_wherever_the_bytes_come_from() {
    let lab = Lab::new();
    lab.fill_cache();
    let change = |path: &Path, at: usize| {
        let mut bytes = fs::read(path).unwrap();
        let length = bytes.len();
        bytes[at.min(length - 30)] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    // In the cache: what the mirror has is taken instead.
    change(&lab.cached(&SERVER), usize::MAX);
    let (_private, fetched) = lab.fetch();
    assert_eq!(fetched.lacking, []);
    assert_eq!(origins(&fetched)[1], ("lava-server", "download"));
    // On the mirror too: there is none.
    change(&lab.on_mirror(&SERVER), usize::MAX);
    let (_private, fetched) = lab.fetch();
    assert_eq!(
        lacks(&fetched),
        [("lava-server", "deb.damaged")],
        "{fetched:#?}"
    );
    // In the header of a member, where dpkg does not look: the digest tells.
    let lab = Lab::new();
    change(&lab.on_mirror(&SERVER), 8 + 16);
    let (_private, fetched) = lab.fetch();
    assert_eq!(
        lacks(&fetched),
        [("lava-server", "deb.damaged")],
        "{fetched:#?}"
    );
}

#[test]
fn what_apt_itself_will_not_download_comes_by_its_stanza() {
    let lab = Lab::new();
    // Not trusted, and its lists are there all the same.
    let list = lab.at("root/etc/apt/sources.list");
    let line = fs::read_to_string(&list)
        .unwrap()
        .replace("[trusted=yes]", "[trusted=no]");
    fs::write(&list, line).unwrap();
    let (_private, fetched) = lab.fetch();
    assert_eq!(fetched.lacking, [], "{fetched:#?}");
    assert!(
        fetched
            .debs
            .iter()
            .all(|found| found.origin == DebOrigin::Stanza),
        "{fetched:#?}"
    );
}

#[test]
fn a_digest_is_signed_if_its_list_is_what_a_key_of_the_source_signed() {
    let lab = Lab::new();
    lab.sign();
    let words = || -> Vec<Option<Trust>> {
        let (_private, fetched) = lab.fetch();
        assert_eq!(fetched.lacking, [], "{fetched:#?}");
        let debs = fetched.debs.iter();
        debs.map(|found| match found.index {
            IndexWord::Same { trust, .. } => Some(trust),
            _ => None,
        })
        .collect()
    };
    assert_eq!(words(), [Some(Trust::Signed); 3]);

    // Nobody vouches for a list of which one byte is another.
    let list = lab.list();
    let text = fs::read_to_string(&list).unwrap();
    let altered = text.replacen("of a test", "of a tost", 1);
    fs::write(&list, &altered).unwrap();
    assert_eq!(words(), [Some(Trust::None); 3]);

    // Its digests say nothing where another archive has the package, trusted by a person at least.
    let (mirror, other) = (lab.at("mirror"), lab.at("other"));
    run(Command::new("cp").arg("-r").arg(&mirror).arg(&other));
    let of_other = lab.at("root/var/lib/apt/lists").join(
        list.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .replace("_mirror_", "_other_"),
    );
    let digest = Deb::open(&lab.on_mirror(&COMMON))
        .unwrap()
        .sha256()
        .unwrap();
    let another = text.replace(&digest.to_string(), &"0".repeat(64));
    fs::write(&of_other, another).unwrap();
    let sources = lab.at("root/etc/apt/sources.list");
    let line = fs::read_to_string(&sources).unwrap();
    let more = format!("deb [trusted=yes] copy:{} ./\n", other.display());
    fs::write(&sources, line + &more).unwrap();
    lab.fill_cache();
    let of_both = [None, Some(Trust::ByOption), Some(Trust::ByOption)];
    assert_eq!(words(), of_both);
    fs::write(&list, &text).unwrap();
    assert_eq!(words(), [Some(Trust::Signed); 3]);
}

#[test]
fn what_an_earlier_backup_has_is_taken_after_it_was_proved() {
    let lab = Lab::new();
    let mirror: BTreeMap<&str, Vec<u8>> = [COMMON, SERVER, LIBRARY]
        .iter()
        .map(|built| (built.name, fs::read(lab.on_mirror(built)).unwrap()))
        .collect();
    fs::remove_dir_all(lab.at("mirror")).unwrap();
    let (_private, fetched) = lab.fetch_with(false, &mut |package, to| {
        let mut bytes = mirror[package.name.as_str()].clone();
        if package.name == "libx" {
            let at = bytes.len() - 30;
            bytes[at] ^= 1;
        }
        to.write_all(&bytes)?;
        Ok(Some(DebOrigin::Download))
    });
    assert_eq!(
        origins(&fetched),
        [("lava-common", "download"), ("lava-server", "download")]
    );
    assert!(fetched.debs.iter().all(|found| found.earlier));
    assert_eq!(lacks(&fetched), [("libx", "deb.damaged")]);
}

#[test]
fn what_is_repacked_is_marked_and_only_made_when_asked_for() {
    let lab = Lab::new();
    fs::remove_dir_all(lab.at("mirror")).unwrap();
    fs::write(lab.at("root/etc/lava-server/env.yaml"), "changed: here\n").unwrap();
    let (_private, fetched) = lab.fetch_with(true, &mut |_, _| Ok(None));
    assert_eq!(fetched.lacking, [], "{fetched:#?}");
    assert!(
        fetched
            .debs
            .iter()
            .all(|found| found.origin == DebOrigin::Repacked)
    );
    let server = &fetched.debs[1];
    assert_eq!(server.deb.name(), "lava-server");
    assert!(!server.differences.is_empty(), "{server:#?}");
}

#[test]
fn a_password_of_a_source_is_in_no_reason() {
    let lab = Lab::new();
    let list = lab.at("root/etc/apt/sources.list");
    let line = "deb [trusted=yes] http://user:hunter2@127.0.0.1:9/debian ./\n";
    fs::write(&list, line).unwrap();
    let lists = lab.at("root/var/lib/apt/lists");
    for entry in fs::read_dir(&lists).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if let Some(end) = name.find("_._") {
            let to = lists.join(format!("127.0.0.1:9_debian{}", &name[end..]));
            fs::rename(&path, to).unwrap();
        }
    }
    let (_private, fetched) = lab.fetch();
    assert_eq!(fetched.lacking.len(), 3);
    for lacking in &fetched.lacking {
        assert_eq!(lacking.lack, Lack::Unfetched, "{lacking:#?}");
        assert!(lacking.why.contains("127.0.0.1"), "{lacking:#?}");
        assert!(!lacking.why.contains("hunter2"), "{lacking:#?}");
    }
}

#[test]
fn a_closure_with_one_deb_missing_is_open_and_says_which() {
    let lab = Lab::new();
    let (private, fetched) = lab.fetch();
    let ask = |without: &str, scratch: &str| {
        let dir = tempfile::tempdir().unwrap();
        let debs: Vec<_> = fetched
            .debs
            .iter()
            .filter(|found| found.deb.name() != without)
            .map(|found| {
                let to = dir.path().join(found.deb.file_name());
                fs::copy(found.deb.path(), &to).unwrap();
                (Deb::open(&to).unwrap(), found.sha256)
            })
            .collect();
        Repository::of(&debs).unwrap().write(dir.path()).unwrap();
        let debs: Vec<&Deb> = debs.iter().map(|(deb, _)| deb).collect();
        let scratch = private.path().join(scratch);
        open_ends(dir.path(), &scratch, &debs, &["amd64".into()]).unwrap()
    };
    assert_eq!(ask("", "one"), [""; 0]);
    let open = ask("libx", "two");
    assert!(open[0].contains("lava-server : Depends: libx"), "{open:?}");
    assert_eq!(ask("lava-server", "three"), [""; 0]);
}

#[test]
fn the_proof_sees_each_thing_that_dpkg_keeps() {
    let lab = Lab::new();
    let packages = lab.packages();
    let server = packages.iter().find(|p| p.name == "lava-server").unwrap();
    let deb = Deb::open(&lab.on_mirror(&SERVER)).unwrap();
    let differences = || {
        let builds = InstalledBuilds::read(&lab.root()).unwrap();
        builds.differences(server, &deb).unwrap()
    };
    assert_eq!(differences(), [""; 0]);
    let info = lab.at("root/var/lib/dpkg/info");
    let status = lab.at("root/var/lib/dpkg/status");
    for (file, from, to, says) in [
        (status.clone(), "libx (>> 1.0)", "libx (>> 1.1)", "Depends"),
        (
            status.clone(),
            "Installed-Size: 12",
            "Installed-Size: 13",
            "Installed-Size",
        ),
        (
            info.join("lava-server.md5sums"),
            "0001_initial",
            "0002_initial",
            "md5sums",
        ),
        (
            info.join("lava-server.conffiles"),
            "env.yaml",
            "env2.yaml",
            "conffiles",
        ),
        (
            info.join("lava-server.list"),
            "/etc/lava-server/env.yaml\n",
            "",
            "not installed",
        ),
        (
            info.join("lava-server.list"),
            "/etc\n",
            "/etc\n/etc/more\n",
            "lacks",
        ),
    ] {
        let text = fs::read_to_string(&file).unwrap();
        let text_or = text.replace("libx (>> 0:1.0)", "libx (>> 1.0)");
        assert!(text_or.contains(from), "{from} is not in {text}");
        fs::write(&file, text_or.replace(from, to)).unwrap();
        let found = differences();
        assert!(found.iter().any(|d| d.contains(says)), "{says}: {found:?}");
        fs::write(&file, text).unwrap();
    }
    fs::write(info.join("lava-server.prerm"), "#!/bin/sh\n").unwrap();
    assert_eq!(differences(), ["control member prerm is missing"]);
    assert_eq!(
        fs::remove_file(info.join("lava-server.prerm")).ok(),
        Some(())
    );
    assert_eq!(differences(), [""; 0]);
}

#[test]
fn critical_is_what_the_manual_names_and_what_ships_migrations() {
    let lab = Lab::new();
    let packages = lab.packages();
    let shipped = shipped_migrations(&lab.root(), &packages).unwrap();
    let names: Vec<&str> = critical(&packages, &shipped)
        .iter()
        .map(|p| p.name.as_str())
        .collect();
    assert_eq!(names, ["lava-common", "lava-server"]);
    let of_deb = Deb::open(&lab.on_mirror(&SERVER))
        .unwrap()
        .migrations()
        .unwrap();
    assert_eq!(of_deb, shipped, "a .deb ships what it has installed");
}

#[test]
fn a_deb_whose_files_are_not_what_its_own_sums_say_is_not_the_installed_build() {
    let lab = Lab::new();
    let info = lab.at("root/var/lib/dpkg/info");
    let sums = fs::read_to_string(info.join("lava-server.md5sums")).unwrap();
    let migration = SERVER.files[2];
    for (file, of) in [
        ((migration.0, "class Migration: fail\n"), SERVER.files[1]),
        // A link has no sum.
        ((migration.0, "-> /tmp/0001_initial.py"), SERVER.files[1]),
        // Configuration has its sum in dpkg's status.
        ((SERVER.files[1].0, "a: c\n"), migration),
    ] {
        let files = [SERVER.files[0], file, of, ("DEBIAN/md5sums", &sums)];
        let tampered = Built {
            files: &files,
            ..SERVER
        };
        let path = tampered.build(&lab.at("root/var/cache/apt/archives"));
        fs::rename(path, lab.cached(&SERVER)).unwrap();
        fs::remove_dir_all(lab.at("mirror")).ok();
        let (_private, fetched) = lab.fetch();
        let server = fetched
            .lacking
            .iter()
            .find(|l| l.name == "lava-server")
            .unwrap();
        assert_eq!(server.lack, Lack::OtherBuild, "{server:#?}");
        assert!(server.why.contains("another content in"), "{server:#?}");
        assert!(server.why.contains(file.0), "{server:#?}");
    }
}
