//! What a LAVA lab does between two backups is no difference; what it loses is.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::entry::Time;
use crate::writer::{Meta, new_entry};

fn path(text: &str) -> MemberPath {
    text.parse().unwrap()
}

fn entry(at: &str, kind: Kind, size: u64) -> Entry {
    let meta = Meta::private(Class::Plain, Time::default());
    Entry {
        size,
        ..new_entry(path(at), kind, meta)
    }
}

fn file(at: impl AsRef<str>, size: u64) -> Entry {
    entry(at.as_ref(), Kind::File, size)
}

fn rules() -> Rules {
    Rules {
        named: vec![
            path("config/lava/secret_key.conf"),
            path("config/lava/settings.d"),
        ],
        collections: vec![
            path("config/lava/devices"),
            path("config/lava/device-types"),
        ],
        living: vec![path("data"), path("logs")],
        ignored: vec!["**/*~".parse().unwrap()],
        tolerance: Tolerance::default(),
    }
}

/// A lab after so many days, of 10 jobs each.
fn lab(days: std::ops::Range<u64>) -> Vec<Entry> {
    let mut all = vec![
        entry("config/lava/devices", Kind::Dir, 0),
        entry("config/apache/mods/wsgi.load", Kind::Symlink, 0),
        file("config/lava/env.yaml", 30),
        file("config/lava/settings.d/00-database.yaml", 90),
        file("config/lava/settings.d/01-mail.yaml", 90),
        file("logs/lava-server.log", 5_000_000),
        file("logs/lava-server.log.1", 9_000_000),
        file("logs/django.log", 0),
    ];
    let mut key = file("config/lava/secret_key.conf", 66);
    key.class = Class::Secret;
    all.push(key);
    for n in 2..9 {
        all.push(file(format!("logs/lava-server.log.{n}.gz"), 100_000));
    }
    for board in ["bob", "alice", "qemu-01", "qemu-02", "juno"] {
        all.push(file(format!("config/lava/devices/{board}.jinja2"), 400));
    }
    for day in days {
        for job in 0..10 {
            let dir = format!(
                "data/job-output/{}/{:02}/{:02}/{}",
                2026 + day / 360,
                day / 30 % 12 + 1,
                day % 30 + 1,
                day * 10 + job
            );
            all.push(entry(&dir, Kind::Dir, 0));
            all.push(file(format!("{dir}/output.yaml"), 300_000 + job * 1000));
            all.push(file(format!("{dir}/job.yaml"), 2_000));
        }
    }
    all
}

fn survey(entries: &[Entry]) -> Survey {
    let mut survey = Survey::default();
    for entry in entries {
        survey.add(entry, &rules()).unwrap();
    }
    survey
}

fn findings(was: &[Entry], is: &[Entry]) -> Vec<Finding> {
    compare(&survey(was), &survey(is), &Tolerance::default())
}

/// What fails, as `change name`.
fn fails(was: &[Entry], is: &[Entry]) -> Vec<String> {
    let findings = findings(was, is);
    let failing = findings.iter().filter(|f| f.fails);
    failing
        .map(|f| format!("{:?} {}", f.change, f.name))
        .collect()
}

fn without(entries: Vec<Entry>, gone: impl Fn(&str) -> bool) -> Vec<Entry> {
    let stays = |e: &Entry| !gone(&e.path.to_string());
    entries.into_iter().filter(stays).collect()
}

fn changed(mut entries: Vec<Entry>, which: &str, change: impl Fn(&mut Entry)) -> Vec<Entry> {
    let named = entries
        .iter_mut()
        .filter(|e| e.path.to_string().contains(which));
    named.for_each(change);
    entries
}

#[test]
fn a_lab_that_works_on_stays_equivalent() {
    // A year begins, old jobs go, new ones come.
    assert_eq!(findings(&lab(0..40), &lab(5..400)), []);
    assert_eq!(findings(&lab(300..340), &lab(304..341)), []);

    // Devices, device types, settings and services are added, one board goes.
    let mut is = without(lab(0..41), |p| p.contains("bob"));
    is.push(file("config/lava/devices/imx8.jinja2", 300));
    is.push(file("config/lava/device-types/imx8.jinja2", 300));
    is.push(file("config/lava/settings.d/02-ldap.yaml", 300));
    assert_eq!(fails(&lab(0..40), &is), [""; 0]);
    let told = findings(&lab(0..40), &is);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|f| f.change == Change::New));

    // Logs are rotated, and one that was empty is told of.
    let mut was = without(lab(0..40), |p| p.contains(".log."));
    was.push(file("logs/odd-name.txt", 0));
    was.push(file("config/lava/env.yaml~", 0));
    let is = changed(lab(0..40), "logs/lava-server.log", |e| e.size = 10);
    assert_eq!(fails(&was, &is), [""; 0]);
    let more = {
        let mut more = is.clone();
        more.push(file("logs/lava-server.log.10.gz", 100));
        more
    };
    assert_eq!(findings(&is, &more), []);

    // `jobs compress` packs nearly all logs.
    let packed = lab(0..40).into_iter().flat_map(|e| {
        let text = e.path.to_string();
        match text.contains("output.yaml") && !text.ends_with("9/output.yaml") {
            true => vec![
                file(format!("{text}.xz"), 9_000),
                file(format!("{text}.size"), 6),
            ],
            false => vec![e],
        }
    });
    assert_eq!(fails(&lab(0..40), &packed.collect::<Vec<_>>()), [""; 0]);
}

#[test]
fn what_a_lab_must_not_lose_is_found() {
    let was = lab(0..40);
    let lost = |gone: &str| fails(&was, &without(was.clone(), |p| p.contains(gone)));
    assert_eq!(lost("devices/"), ["Missing config/lava/devices/*.jinja2"]);
    assert_eq!(
        lost("00-database"),
        ["Missing config/lava/settings.d/00-database.yaml"]
    );
    assert_eq!(lost("env.yaml"), ["Missing config/lava/env.yaml"]);
    assert_eq!(lost("wsgi"), ["Missing config/apache/mods/wsgi.load"]);
    assert_eq!(
        lost("output.yaml"),
        [
            "Missing data/job-output/N/N/N/N/output.yaml",
            "Shrunk data/**",
        ]
    );
    assert!(lost("data/").contains(&"Missing data/**".to_owned()));
    assert!(lost("logs/").contains(&"Missing logs/**".to_owned()));

    let half = |p: &str| p.ends_with("output.yaml") && p.as_bytes()[p.len() - 13].is_multiple_of(2);
    let kind = "Shrunk data/job-output/N/N/N/N/output.yaml";
    assert_eq!(fails(&was, &without(was.clone(), half))[0], kind);
    let boards = without(was.clone(), |p| {
        ["bob", "qemu", "juno"].iter().any(|b| p.contains(b))
    });
    assert_eq!(
        fails(&was, &boards),
        ["Shrunk config/lava/devices/*.jinja2"]
    );
}

#[test]
fn what_is_there_and_not_what_it_was_is_found() {
    let was = lab(0..40);
    let after = |which: &str, change: &dyn Fn(&mut Entry)| {
        fails(&was, &changed(was.clone(), which, change))
    };
    assert_eq!(
        after("secret_key", &|e| e.size = 0),
        ["Shrunk config/lava/secret_key.conf"]
    );
    assert_eq!(
        after("secret_key", &|e| e.class = Class::Plain),
        ["ChangedKind config/lava/secret_key.conf"]
    );
    assert_eq!(
        after("env.yaml", &|e| (e.kind, e.size) = (Kind::Symlink, 0)),
        ["ChangedKind config/lava/env.yaml"]
    );
    let kind = "Shrunk data/job-output/N/N/N/N/output.yaml";
    assert!(after("output.yaml", &|e| e.size = 0).contains(&kind.to_owned()));
    assert_eq!(after("output.yaml", &|e| e.size /= 2), [kind]);
    assert_eq!(after("output.yaml", &|e| e.size -= e.size / 10), [""; 0]);
    assert_eq!(
        after("lava-server.log", &|e| e.class = Class::InFlight),
        [""; 0]
    );
}

#[test]
fn tables_that_are_gone_or_shrank_are_found() {
    let of = |items: &[(&str, Option<u64>)]| {
        let mut survey = Survey::default();
        survey.take_stock(Inventory {
            name: "table".into(),
            items: items.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect(),
        });
        survey
    };
    let was = of(&[
        ("a", Some(1000)),
        ("b", Some(1000)),
        ("c", Some(3)),
        ("d", Some(3)),
        ("e", None),
        ("f", Some(1)),
    ]);
    let is = of(&[
        ("a", Some(801)),
        ("b", Some(700)),
        ("c", Some(1)),
        ("d", Some(0)),
        ("e", Some(0)),
        ("g", Some(9)),
    ]);
    let found = compare(&was, &is, &Tolerance::default());
    let words: Vec<String> = found
        .iter()
        .map(|f| format!("{} {} {:?} {}", f.of, f.name, f.change, f.fails))
        .collect();
    assert_eq!(
        words,
        [
            "table b Shrunk true",
            "table d Shrunk true",
            "table f Missing true",
            "table g New false"
        ]
    );
    let amounts = (found[0].reference.unwrap(), found[0].found.unwrap());
    assert_eq!((amounts.0.entries, amounts.1.entries), (1000, 700));
}

#[test]
fn names_without_a_pattern_are_refused_before_they_fill_the_memory() {
    let mut survey = Survey::default();
    let letters = |mut n: usize| {
        let mut name = String::new();
        for _ in 0..5 {
            name.push(char::from(b'g' + (n % 20) as u8));
            n /= 20;
        }
        name
    };
    let refused = (0..=MAX_KINDS).find_map(|n| {
        let entry = file(format!("facts/{}", letters(n)), 1);
        survey.add(&entry, &Rules::default()).err()
    });
    assert_eq!(refused.unwrap().kind(), ErrorKind::Refused);
    assert_eq!(survey.groups.len(), MAX_KINDS);
}
