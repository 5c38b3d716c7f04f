//! Which backups to keep: a pure function of what is known of each.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use crate::civil::Instant;
use crate::error::{Error, ErrorKind, Result};
use crate::seal::BackupId;

/// How many backups to keep of each host.
///
/// `last` counts backups. The others count periods in which there are backups,
/// the newest first; each keeps the newest good backup of its period, or the
/// newest if none is good. Days, ISO weeks, months and years are those of UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The newest backups.
    pub last: u32,
    /// Days.
    pub daily: u32,
    /// Weeks, which begin on Monday.
    pub weekly: u32,
    /// Months.
    pub monthly: u32,
    /// Years.
    pub yearly: u32,
}

/// A backup, as far as it decides whether it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: BackupId,
    /// What is known of it; `None` if its seal or its evidence can't be read.
    pub known: Option<Known>,
}

/// What is known of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The host: each has its own backups to keep.
    pub host: String,
    /// The instant that it shows, RFC 3339 in UTC.
    pub taken: String,
    /// Is it complete, and has no later check failed?
    pub good: bool,
    /// Has a drill of it passed?
    pub drilled: bool,
}

/// What is to happen to a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The backup.
    pub id: BackupId,
    /// Why it is kept: every reason, those that no policy overrules first. If
    /// there is none, it is to be forgotten.
    pub reasons: Vec<Reason>,
}

/// Why a backup is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It is the newest good one of its host.
    NewestGood,
    /// It is the newest of its host that a drill has proved.
    NewestDrilled,
    /// It is the newest of its host, of which none is good.
    NewestOfNoneGood,
    /// It can't be read, so nobody can tell what would be lost.
    Unreadable,
    /// It is this one, counted from 1, of so many last ones.
    Last(u32, u32),
    /// It is that of a period, such as `daily 2026-11-22`.
    Period(&'static str, String),
}

impl Reason {
    /// Does it hold also for a backup that a person wants gone by its name?
    pub fn protects(&self) -> bool {
        matches!(
            self,
            Self::NewestGood | Self::NewestDrilled | Self::NewestOfNoneGood
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewestGood => f.write_str("newest good"),
            Self::NewestDrilled => f.write_str("newest drilled"),
            Self::NewestOfNoneGood => f.write_str("newest, and none is good"),
            Self::Unreadable => f.write_str("unreadable"),
            Self::Last(place, of) => write!(f, "last {place} of {of}"),
            Self::Period(word, which) => write!(f, "{word} {which}"),
        }
    }
}

/// What a policy makes of the backups of a store, in the order given.
///
/// Never forgotten are, of each host, the newest good and the newest drilled
/// backup, and the newest of all if none is good; and what can't be read.
///
/// # Errors
/// [`ErrorKind::Refused`] for a policy that keeps nothing.
pub fn retain(keep: &Keep, backups: &[Candidate]) -> Result<Vec<Decision>> {
    if *keep == Keep::default() {
        return Err(Error::new(
            ErrorKind::Refused,
            "policy",
            "keeps no backup at all",
        ));
    }
    let mut decisions = protect(backups);
    for of_host in by_host(backups).into_values() {
        let last = (1..=keep.last).zip(&of_host);
        for (place, dated) in last {
            let reason = Reason::Last(place, keep.last);
            decisions[dated.at].reasons.push(reason);
        }
        let periods: [(&str, u32, Naming); 4] = [
            ("daily", keep.daily, Instant::day),
            ("weekly", keep.weekly, Instant::week),
            ("monthly", keep.monthly, Instant::month),
            ("yearly", keep.yearly, Instant::year),
        ];
        for (word, count, name) in periods {
            for (period, dated) in newest_of_each(&of_host, count, name) {
                let reason = Reason::Period(word, period);
                decisions[dated.at].reasons.push(reason);
            }
        }
    }
    Ok(decisions)
}

/// What no policy and no person's word overrules, for each backup in the order
/// given; here the others have no reason, but what can't be read has that.
pub fn protect(backups: &[Candidate]) -> Vec<Decision> {
    let decision = |c: &Candidate| Decision {
        id: c.id.clone(),
        reasons: match dated(0, c) {
            Some(_) => Vec::new(),
            None => vec![Reason::Unreadable],
        },
    };
    let mut decisions: Vec<Decision> = backups.iter().map(decision).collect();
    for of_host in by_host(backups).values() {
        let good = of_host.iter().find(|d| d.known.good);
        let drilled = of_host.iter().find(|d| d.known.drilled);
        let otherwise = of_host.first().filter(|_| good.is_none());
        for (found, reason) in [
            (good, Reason::NewestGood),
            (drilled, Reason::NewestDrilled),
            (otherwise, Reason::NewestOfNoneGood),
        ] {
            if let Some(found) = found {
                decisions[found.at].reasons.push(reason);
            }
        }
    }
    decisions
}

/// A backup whose time is understood, and its place in the caller's list.
struct Dated<'c> {
    at: usize,
    taken: Instant,
    known: &'c Known,
}

fn dated(at: usize, candidate: &Candidate) -> Option<Dated<'_>> {
    let known = candidate.known.as_ref()?;
    let taken = Instant::parse(&known.taken)?;
    Some(Dated { at, taken, known })
}

/// The backups of each host, the newest first.
fn by_host(backups: &[Candidate]) -> BTreeMap<&str, Vec<Dated<'_>>> {
    let mut hosts: BTreeMap<&str, Vec<Dated<'_>>> = BTreeMap::new();
    for found in backups
        .iter()
        .enumerate()
        .filter_map(|(at, c)| dated(at, c))
    {
        hosts.entry(&found.known.host).or_default().push(found);
    }
    for of_host in hosts.values_mut() {
        of_host.sort_by_key(|d| Reverse((d.taken, &backups[d.at].id)));
    }
    hosts
}

/// Gives the name of the period that an instant is in.
type Naming = fn(Instant) -> String;

/// Of backups, the newest first, the one that stands for each of the newest
/// `count` periods, and the period's name.
fn newest_of_each<'d, 'c>(
    of_host: &'d [Dated<'c>],
    count: u32,
    name: Naming,
) -> Vec<(String, &'d Dated<'c>)> {
    of_host
        .chunk_by(|one, next| name(one.taken) == name(next.taken))
        .take(usize::try_from(count).unwrap_or(usize::MAX))
        .filter_map(|period| {
            let newest = period.first()?;
            let chosen = period.iter().find(|d| d.known.good).unwrap_or(newest);
            Some((name(newest.taken), chosen))
        })
        .collect()
}

#[cfg(test)]
mod tests;
