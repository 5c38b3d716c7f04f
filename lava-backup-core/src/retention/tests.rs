#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn candidate(id: &str, host: &str, taken: &str, good: bool, drilled: bool) -> Candidate {
    Candidate {
        id: id.parse().unwrap(),
        known: Some(Known {
            host: host.into(),
            taken: taken.into(),
            good,
            drilled,
        }),
    }
}

/// What each decision says, by id.
fn told(keep: Keep, backups: &[Candidate]) -> Vec<String> {
    let words = |d: &Decision| {
        let reasons: Vec<String> = d.reasons.iter().map(ToString::to_string).collect();
        format!("{}: {}", d.id, reasons.join(", "))
    };
    retain(&keep, backups).unwrap().iter().map(words).collect()
}

#[test]
fn each_slot_is_filled_by_the_newest_of_its_period() {
    let at = |id: &str, taken: &str| candidate(id, "lab", taken, true, false);
    let backups = [
        at("a", "2024-12-29T12:00:00Z"),
        at("b", "2024-12-30T12:00:00Z"),
        at("c", "2025-01-01T06:00:00Z"),
        at("d", "2025-01-01T18:00:00Z"),
        at("e", "2025-01-02T00:00:00Z"),
    ];
    let keep = Keep {
        last: 1,
        daily: 2,
        weekly: 9,
        monthly: 2,
        yearly: 1,
    };
    assert_eq!(
        told(keep, &backups),
        [
            "a: weekly 2024-W52",
            // 30 December is in the first week of the next year.
            "b: monthly 2024-12",
            "c: ",
            "d: daily 2025-01-01",
            "e: newest good, last 1 of 1, daily 2025-01-02, weekly 2025-W01, \
             monthly 2025-01, yearly 2025",
        ]
    );
}

#[test]
fn a_backup_that_is_not_good_fills_no_slot_that_a_good_one_can_fill() {
    let backups = [
        candidate("a", "lab", "2026-11-21T01:00:00Z", false, false),
        candidate("b", "lab", "2026-11-21T02:00:00Z", false, false),
        candidate("c", "lab", "2026-11-22T01:00:00Z", true, true),
        candidate("d", "lab", "2026-11-22T02:00:00Z", false, false),
    ];
    let keep = Keep {
        daily: 5,
        ..Keep::default()
    };
    assert_eq!(
        told(keep, &backups),
        [
            "a: ",
            "b: daily 2026-11-21",
            "c: newest good, newest drilled, daily 2026-11-22",
            "d: "
        ]
    );
}

#[test]
fn hosts_are_counted_apart_and_the_unreadable_is_kept() {
    let unreadable = |id: &str| Candidate {
        id: id.parse().unwrap(),
        known: None,
    };
    let backups = [
        candidate("a", "master", "2026-11-21T00:00:00Z", true, true),
        candidate("b", "master", "2026-11-22T00:00:00Z", true, false),
        candidate("c", "worker", "2026-11-20T00:00:00Z", false, false),
        candidate("d", "worker", "2026-11-19T00:00:00Z", false, false),
        unreadable("e"),
        candidate("f", "master", "yesterday", true, true),
    ];
    let keep = Keep {
        last: 1,
        ..Keep::default()
    };
    assert_eq!(
        told(keep, &backups),
        [
            "a: newest drilled",
            "b: newest good, last 1 of 1",
            "c: newest, and none is good, last 1 of 1",
            "d: ",
            "e: unreadable",
            "f: unreadable",
        ]
    );
}

#[test]
fn a_policy_that_keeps_nothing_is_refused() {
    let refused = retain(&Keep::default(), &[]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
}

fn any_keep() -> impl Strategy<Value = Keep> {
    [0..4u32, 0..4, 0..4, 0..4, 0..4].prop_map(|[last, daily, weekly, monthly, yearly]| Keep {
        last,
        daily,
        weekly,
        monthly,
        yearly,
    })
}

/// Hours are few, so that backups share periods and instants.
fn any_backups() -> impl Strategy<Value = Vec<Candidate>> {
    let one = (0..2u8, 0..3u8, 1..3u8, 1..28u8, 0..2u8, 0..12u8);
    prop::collection::vec((one, any::<bool>(), any::<bool>()), 1..25).prop_map(|all| {
        let of = |(at, ((host, year, month, day, hour, odd), good, drilled)): (
            usize,
            (_, bool, bool),
        )| {
            let taken = format!("202{year}-0{month}-{day:02}T0{hour}:00:00Z");
            let mut made = candidate(
                &format!("b{at}"),
                &format!("h{host}"),
                &taken,
                good,
                drilled,
            );
            if odd == 0 {
                made.known = None;
            }
            made
        };
        all.into_iter().enumerate().map(of).collect()
    })
}

fn kept(keep: &Keep, backups: &[Candidate]) -> Vec<Candidate> {
    let decisions = retain(keep, backups).unwrap();
    let pairs = backups.iter().zip(&decisions);
    pairs
        .filter(|(_, d)| !d.reasons.is_empty())
        .map(|(c, _)| c.clone())
        .collect()
}

proptest! {
    #[test]
    fn a_second_run_forgets_nothing(keep in any_keep(), backups in any_backups()) {
        prop_assume!(keep != Keep::default());
        let once = kept(&keep, &backups);
        prop_assert_eq!(kept(&keep, &once), once);
    }

    #[test]
    fn keeping_more_forgets_no_more(
        keep in any_keep(), more in any_keep(), backups in any_backups()
    ) {
        prop_assume!(keep != Keep::default());
        let larger = Keep {
            last: keep.last + more.last,
            daily: keep.daily + more.daily,
            weekly: keep.weekly + more.weekly,
            monthly: keep.monthly + more.monthly,
            yearly: keep.yearly + more.yearly,
        };
        let larger = kept(&larger, &backups);
        prop_assert!(kept(&keep, &backups).iter().all(|c| larger.contains(c)));
    }

    #[test]
    fn what_is_protected_stays_and_no_host_is_left_without(
        keep in any_keep(), backups in any_backups()
    ) {
        prop_assume!(keep != Keep::default());
        let stays = kept(&keep, &backups);
        let newest = |of: &[Candidate], host: &str, fits: fn(&Known) -> bool| {
            of.iter()
                .filter_map(|c| Some((c.known.as_ref()?, &c.id)))
                .filter(|(k, _)| k.host == host && fits(k))
                .map(|(k, id)| (k.taken.clone(), id.clone()))
                .max()
        };
        for c in &backups {
            let Some(known) = &c.known else {
                prop_assert!(stays.contains(c));
                continue;
            };
            for fits in [|k: &Known| k.good, |k: &Known| k.drilled] {
                let before = newest(&backups, &known.host, fits);
                prop_assert_eq!(newest(&stays, &known.host, fits), before);
            }
            prop_assert!(newest(&stays, &known.host, |_| true).is_some());
        }
    }
}
