//! Instants as a calendar names them. Everything is UTC.

/// An instant, to the second: days since 1970-01-01, and seconds of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant {
    days: i64,
    seconds: u32,
}

impl Instant {
    /// Reads RFC 3339 in UTC, with `Z` or a zero offset; `None` for anything
    /// else. Fractions of a second are cut off.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.split_once(['T', 't', ' '])?;
        let time = ["Z", "z", "+00:00", "-00:00"]
            .iter()
            .find_map(|zone| time.strip_suffix(zone))?;
        let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
        if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
        let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
        // A leap second is the 61st of its minute.
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let days = days_from_civil(i64::from(year), month, day);
        let seconds = hour * 3600 + minute * 60 + second;
        // February 30 would come back as another day.
        (civil_from_days(days) == (i64::from(year), month, day)).then_some(Self { days, seconds })
    }

    /// Such as `2026-11-22`.
    pub(crate) fn day(self) -> String {
        let (year, month, day) = civil_from_days(self.days);
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// Such as `2026-W47`, as ISO 8601 counts: a week belongs to the year of
    /// its Thursday.
    pub(crate) fn week(self) -> String {
        // Day 0 was a Thursday.
        let thursday = (self.days + 3).div_euclid(7) * 7;
        let (year, ..) = civil_from_days(thursday);
        let week = (thursday - days_from_civil(year, 1, 1)) / 7 + 1;
        format!("{year:04}-W{week:02}")
    }

    /// Such as `2026-11`.
    pub(crate) fn month(self) -> String {
        let (year, month, _) = civil_from_days(self.days);
        format!("{year:04}-{month:02}")
    }

    /// Such as `2026`.
    pub(crate) fn year(self) -> String {
        format!("{:04}", civil_from_days(self.days).0)
    }
}

/// Numbers of so many digits each.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u32; 3]> {
    let mut parts = text.split(between);
    let mut found = [0; 3];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        let fine = part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
        *number = fine.then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(found)
}

/// Years are counted from March, so that the leap day is the last of one; 400
/// of them have 146,097 days.
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_era = year.rem_euclid(400);
    let month = i64::from((month + 9) % 12);
    let of_year = (153 * month + 2) / 5 + i64::from(day) - 1;
    let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    year.div_euclid(400) * 146_097 + days - 719_468
}

fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year + days.div_euclid(146_097) * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// Every third day of six centuries or so, by GNU date.
    #[test]
    fn periods_are_those_of_date() {
        let seconds: Vec<i64> = (-40_000..60_000).map(|n| n * 3 * 86_400 + 86_399).collect();
        let mut date = Command::new("date")
            .args(["-u", "-f", "-", "+%FT%TZ %F %G-W%V %Y-%m %Y"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = date.stdin.take().unwrap();
        let lines: String = seconds.iter().map(|s| format!("@{s}\n")).collect();
        let feeder = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
        let out = date.wait_with_output().unwrap();
        feeder.join().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert_eq!(text.lines().count(), seconds.len());
        for line in text.lines() {
            let (stamp, periods) = line.split_once(' ').unwrap();
            let at = Instant::parse(stamp).unwrap();
            let ours = [at.day(), at.week(), at.month(), at.year()].join(" ");
            assert_eq!(ours, periods, "{stamp}");
        }
    }

    #[test]
    fn what_is_no_instant_in_utc_is_none() {
        for bad in [
            "",
            "2026-11-22",
            "2026-11-22T12:00:00",
            "2026-11-22T12:00:00+01:00",
            "2026-02-29T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-00-01T12:00:00Z",
            "2026-11-00T12:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T12:00:00.Z",
            "2026-11-22T12:00:00.1.2Z",
            "2026-11-22-1T12:00:00Z",
            "+026-11-22T12:00:00Z",
            "é",
        ] {
            assert_eq!(Instant::parse(bad), None, "{bad:?}");
        }
        let order = ["2024-02-29T23:59:60Z", "2024-03-01T00:00:00.25+00:00"];
        let order = order.map(|text| Instant::parse(text).unwrap());
        assert!(order[0] < order[1]);
    }
}
