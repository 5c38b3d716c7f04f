//! A check that reads some of the frames, and knows what it is worth.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;

use super::VerifyReport;
use crate::ahead::Ahead;
use crate::backup::Backup;
use crate::error::{At, Result};
use crate::frame::FrameName;

/// Which of a backup's frames a sampled check reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// How many.
    pub share: Share,
    /// What they are drawn from: the same seed draws the same frames of the
    /// same backup. `None`: one from the kernel, which the report tells.
    pub seed: Option<u32>,
}

/// How many frames are read; at least one, and not more than there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Share {
    /// So many.
    Frames(u64),
    /// So many of a million, rounded up.
    PerMillion(u32),
}

/// What a sampled check has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sampled {
    /// Frames read and proved.
    pub frames: u64,
    /// Frames of the backup that differ from each other: what they were drawn
    /// from.
    pub of: u64,
    /// The seed, to draw the same ones again.
    pub seed: u32,
}

impl Sampled {
    /// The probability, 0 to 1, that at least one of `damaged` frames would have
    /// been read, wherever they are; `None` if there are not so many frames.
    pub fn chance(&self, damaged: u64) -> Option<f64> {
        let unread = self.of.checked_sub(self.frames)?;
        if damaged > self.of {
            return None;
        }
        // C(n-d, s) / C(n, s) is C(n-s, d) / C(n, d): all of them are unread.
        let mut missed = 1.0;
        for drawn in 0..damaged {
            match unread.checked_sub(drawn) {
                None | Some(0) => return Some(1.0),
                Some(left) => missed *= left as f64 / (self.of - drawn) as f64,
            }
        }
        Some(1.0 - missed)
    }
}

impl Sample {
    /// Draws from the frames of a backup, each of which counts once.
    pub(super) fn draw(&self, frames: &[FrameName]) -> Result<(BTreeSet<FrameName>, Sampled)> {
        let seed = match self.seed {
            Some(seed) => seed,
            None => any_seed()?,
        };
        // The order of their digests under a seed is as good as any other, and
        // nobody's generator of random numbers has to stay as it is.
        let ranked: BTreeMap<[u8; 32], FrameName> = frames
            .iter()
            .map(|name| {
                let ticket = format!("lava-backup sample {seed} {name}");
                (*blake3::hash(ticket.as_bytes()).as_bytes(), *name)
            })
            .collect();
        let of = ranked.len() as u64;
        let wanted = match self.share {
            Share::Frames(frames) => frames,
            Share::PerMillion(share) => {
                let share = u128::from(of) * u128::from(share);
                u64::try_from(share.div_ceil(1_000_000)).unwrap_or(of)
            }
        };
        let wanted = wanted.max(1).min(of);
        let drawn = ranked.into_values();
        let drawn: BTreeSet<FrameName> = drawn
            .take(usize::try_from(wanted).unwrap_or(usize::MAX))
            .collect();
        let sampled = Sampled {
            frames: wanted,
            of,
            seed,
        };
        Ok((drawn, sampled))
    }
}

/// Reads the frames that were drawn; gives the numbers of damaged ones, each
/// with the place of its damage in the report.
pub(super) fn read(
    backup: &Backup,
    frames: &[FrameName],
    sample: Sample,
    report: &mut VerifyReport,
) -> Result<BTreeMap<u64, usize>> {
    let (drawn, sampled) = sample.draw(frames)?;
    report.sampled = Some(sampled);
    let names: Vec<FrameName> = drawn.into_iter().collect();
    let mut lost: BTreeMap<FrameName, usize> = BTreeMap::new();
    for (name, read) in names.iter().zip(Ahead::new(backup.store(), names.clone())) {
        match read {
            Ok(bytes) => report.bytes += bytes.len() as u64,
            // A frame that can't be read is lost, whatever the reason.
            Err(e) => {
                let file = backup.store().frame_place(*name);
                lost.insert(*name, report.damaged(file, &e.what()));
            }
        }
    }
    let numbered = frames.iter().zip(0..);
    Ok(numbered
        .filter_map(|(name, number)| Some((number, *lost.get(name)?)))
        .collect())
}

fn any_seed() -> Result<u32> {
    let place = Path::new("/dev/urandom");
    let mut seed = [0; 4];
    File::open(place)
        .and_then(|mut file| file.read_exact(&mut seed))
        .at("read", place)?;
    Ok(u32::from_le_bytes(seed))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn names(count: u64) -> Vec<FrameName> {
        let name = |n: u64| FrameName::of(&n.to_le_bytes());
        (0..count).map(name).collect()
    }

    fn sampled(frames: u64, of: u64) -> Sampled {
        Sampled {
            frames,
            of,
            seed: 0,
        }
    }

    fn drawn(share: Share, seed: u32, frames: &[FrameName]) -> BTreeSet<FrameName> {
        let seed = Some(seed);
        Sample { share, seed }.draw(frames).unwrap().0
    }

    /// All ways to draw `frames` of `of`, of which the first `damaged` are bad.
    fn by_counting(frames: u64, of: u64, damaged: u64) -> f64 {
        let ways = (0u32..1 << of).filter(|way| u64::from(way.count_ones()) == frames);
        let (mut all, mut seen) = (0u32, 0u32);
        for way in ways {
            all += 1;
            seen += u32::from(way & ((1u32 << damaged) - 1) != 0);
        }
        f64::from(seen) / f64::from(all)
    }

    #[test]
    fn the_chance_is_that_of_counting_all_ways_to_draw() {
        for of in 1..=12 {
            for frames in 1..=of {
                for damaged in 0..=of {
                    let told = sampled(frames, of).chance(damaged).unwrap();
                    let counted = by_counting(frames, of, damaged);
                    let close = (told - counted).abs() < 1e-12;
                    assert!(close, "{frames} of {of}, {damaged}: {told}, {counted}");
                }
                assert_eq!(sampled(frames, of).chance(of + 1), None);
            }
        }
    }

    #[test]
    fn draws_see_damage_as_often_as_told() {
        let frames = names(60);
        for (share, damaged) in [(6, 1), (6, 10), (30, 3)] {
            let seen = (0..4000)
                .filter(|seed| {
                    let drawn = drawn(Share::Frames(share), *seed, &frames);
                    frames[20..20 + damaged].iter().any(|f| drawn.contains(f))
                })
                .count();
            let told = sampled(share, 60).chance(damaged as u64).unwrap();
            let found = seen as f64 / 4000.0;
            // Five standard deviations at the most.
            assert!((found - told).abs() < 0.04, "{share}: {found}, {told}");
        }
    }

    #[test]
    fn a_draw_depends_on_seed_and_names_alone() {
        let frames = names(500);
        let mut turned: Vec<_> = frames.iter().rev().copied().collect();
        turned.extend(&frames[..100]);
        let some = Share::Frames(50);
        assert_eq!(drawn(some, 7, &frames), drawn(some, 7, &turned));
        assert_ne!(drawn(some, 7, &frames), drawn(some, 8, &frames));
    }

    proptest! {
        #[test]
        fn as_many_are_drawn_as_asked_for(of in 1u64..300, per_million in 1u32..=1_000_000, frames in 1u64..400) {
            let all = names(of);
            let some = drawn(Share::PerMillion(per_million), 1, &all).len() as u64;
            prop_assert!(some >= 1 && some <= of);
            prop_assert!(some * 1_000_000 >= of * u64::from(per_million));
            prop_assert!((some - 1) * 1_000_000 < of * u64::from(per_million));
            prop_assert_eq!(drawn(Share::Frames(frames), 1, &all).len() as u64, frames.min(of));
        }

        #[test]
        fn more_damage_and_more_frames_are_seen_more(of in 2u64..5000, a in 0u64..5000, b in 0u64..5000) {
            let (frames, damaged) = (1 + a % (of - 1), b % of);
            let here = sampled(frames, of).chance(damaged).unwrap();
            prop_assert!((0.0..=1.0).contains(&here));
            prop_assert!(sampled(frames, of).chance(damaged + 1).unwrap() >= here);
            prop_assert!(sampled(frames + 1, of).chance(damaged).unwrap() >= here);
        }
    }
}
