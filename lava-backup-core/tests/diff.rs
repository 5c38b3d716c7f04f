//! Two backups side by side.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::{back_up, odd_tree, path, sh};
use lava_backup_core::{Backup, Class, Difference, Meta, SealInput, Store, Time, diff};

fn told(first: &Backup, second: &Backup) -> Vec<String> {
    told_within(first, second, None)
}

fn told_within(first: &Backup, second: &Backup, within: Option<&str>) -> Vec<String> {
    let mut lines = Vec::new();
    let within = within.map(path);
    diff(first, second, within.as_ref(), &mut |difference| {
        lines.push(match difference {
            Difference::Added(entry) => format!("+ {}", entry.path),
            Difference::Removed(entry) => format!("- {}", entry.path),
            Difference::Changed(pair) => {
                format!("! {} {}", pair.0.path, pair.0.changes(&pair.1).join(","))
            }
        });
    })
    .unwrap();
    lines
}

#[test]
fn what_changed_in_a_tree_is_told_in_the_order_of_paths() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    odd_tree(&tree);
    let store = Store::init(&dir.path().join("store")).unwrap();
    let before = back_up(&store, &tree, "1");
    assert_eq!(told(&before, &back_up(&store, &tree, "2")), [""; 0]);
    let etc = tree.join("etc/lava");
    fs::set_permissions(etc.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    sh(
        "cd tree/etc/lava; touch -r . ../stamp; \
         touch -d 2030-01-01 plain; \
         touch -r empty ../empty; echo more >> empty; touch -r ../empty empty; \
         rm link; ln -s elsewhere link; touch -h -d 2001-01-01 link; \
         rm exactly-a-block; mkdir exactly-a-block; touch -d 2001-01-01 exactly-a-block; \
         rm pipe; echo new > 'plain ly'; echo x > a; \
         touch -r ../stamp .; rm ../stamp ../empty; touch -d 2001-01-01 ..",
        dir.path(),
    );
    let after = back_up(&store, &tree, "3");
    let lines = told(&before, &after);
    let expected = [
        "! config/etc mtime",
        "+ config/etc/lava/a",
        "! config/etc/lava/empty content",
        "! config/etc/lava/exactly-a-block type,mode,mtime",
        "! config/etc/lava/link link,mtime",
        "- config/etc/lava/pipe",
        "! config/etc/lava/plain mtime",
        "+ config/etc/lava/plain ly",
        "! config/etc/lava/secret mode",
    ];
    assert_eq!(lines, expected);
    let of = |path: &str| told_within(&before, &after, Some(path));
    assert_eq!(of("config"), expected);
    assert_eq!(of("config/etc/lava/plain"), [expected[6]]);
    assert_eq!(of("config/etc/lava/a"), [expected[1]]);
    assert_eq!(of("config/nothing"), [""; 0]);
    // The other way round.
    let back = told(&after, &before);
    assert_eq!(back.len(), expected.len());
    assert_eq!(back[1], "- config/etc/lava/a");
}

/// Sections stand in any order.
#[test]
fn sections_are_found_wherever_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    let make = |id: &str, members: &[(&str, &str)]| {
        let mut writer = store.create(id.parse().unwrap()).unwrap();
        for (path, text) in members {
            let meta = Meta::private(Class::Plain, Time::default());
            writer
                .add_file(path.parse().unwrap(), meta, text.as_bytes())
                .unwrap();
        }
        let sealed = writer.seal(SealInput::default()).unwrap();
        store.backup(&sealed.seal.id).unwrap()
    };
    let one = make(
        "1",
        &[("a/x", "1"), ("b/x", "1"), ("c/x", "1"), ("e/x", "1")],
    );
    let two = make(
        "2",
        &[
            ("d/x", "1"),
            ("c/x", "2"),
            ("f/x", "1"),
            ("b/x", "1"),
            ("a/x", "3"),
            ("g/x", "1"),
        ],
    );
    let sorted = |first: &Backup, second: &Backup| {
        let mut lines = told(first, second);
        lines.sort();
        lines
    };
    assert_eq!(
        sorted(&one, &two),
        [
            "! a/x content",
            "! c/x content",
            "+ d/x",
            "+ f/x",
            "+ g/x",
            "- e/x"
        ]
    );
    assert_eq!(
        sorted(&two, &one),
        [
            "! a/x content",
            "! c/x content",
            "+ e/x",
            "- d/x",
            "- f/x",
            "- g/x"
        ]
    );
    let empty = make("3", &[]);
    assert_eq!(told(&empty, &one).len(), 4);
    assert_eq!(told(&one, &empty).len(), 4);
    assert_eq!(told(&two, &two), [""; 0]);
}
