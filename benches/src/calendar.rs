//! Moments without a clock.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// A moment in UTC, in microseconds since 1970: what PostgreSQL and LAVA's
/// logs both keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

/// One second in a [`Moment`]'s unit.
pub(crate) const SECOND: u64 = 1_000_000;
/// One day in a [`Moment`]'s unit.
pub(crate) const DAY: u64 = 86_400 * SECOND;

impl Moment {
    /// Midnight at the start of a day of the Gregorian calendar, or `None`
    /// before 1970, after 9999, or if there is no such day.
    pub fn midnight(year: u64, month: u64, day: u64) -> Option<Self> {
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || day == 0 {
            return None;
        }
        // Counted in years that start in March, so that the leap day is last.
        let shifted = if month > 2 { year } else { year - 1 };
        let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
        let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year;
        let moment = Self((days - 719_468) * DAY);
        (moment.date() == (year, month, day)).then_some(moment)
    }

    /// Its year, month and day.
    pub fn date(self) -> (u64, u64, u64) {
        let days = self.0 / DAY + 719_468;
        let era = days / 146_097;
        let of_era = days % 146_097;
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        (year, month, of_year - (153 * shifted + 2) / 5 + 1)
    }

    /// The moment `micros` microseconds later.
    pub fn after(self, micros: u64) -> Self {
        Self(self.0 + micros)
    }

    /// For file times.
    pub fn system_time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(self.0)
    }

    /// Append it as LAVA's logs write it: `2023-05-31T23:59:59.000001`.
    ///
    /// A log has one in every line, so this is spared `fmt`: with `fmt` it
    /// took a third of all the time that a lab takes.
    pub fn append_to(self, out: &mut Vec<u8>) {
        let (year, month, day) = self.date();
        let micros = self.0 % DAY;
        let seconds = micros / SECOND;
        digits(out, year, 4);
        out.push(b'-');
        digits(out, month, 2);
        out.push(b'-');
        digits(out, day, 2);
        out.push(b'T');
        digits(out, seconds / 3600, 2);
        out.push(b':');
        digits(out, seconds / 60 % 60, 2);
        out.push(b':');
        digits(out, seconds % 60, 2);
        out.push(b'.');
        digits(out, micros % SECOND, 6);
    }
}

/// Append the last `width` digits of a number, with leading zeros.
pub(crate) fn digits(out: &mut Vec<u8>, number: u64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut rest = number;
    for place in out[start..].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// As PostgreSQL writes a `timestamp with time zone` in UTC.
impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(26);
        self.append_to(&mut text);
        let text = String::from_utf8_lossy(&text);
        write!(out, "{} {}+00", &text[..10], &text[11..])
    }
}

/// Reads a day, `2023-06-01`, as its midnight.
impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a day from 1970 on, such as 2023-06-01";
        let mut parts = text.splitn(3, '-').map(str::parse::<u64>);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(Ok(year)), Some(Ok(month)), Some(Ok(day))) => {
                Self::midnight(year, month, day).ok_or(EXPECTED)
            }
            _ => Err(EXPECTED),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_day_is_the_one_after_the_last() {
        let mut moment = Moment::midnight(1970, 1, 1).unwrap();
        assert_eq!(moment, Moment(0));
        // 400 years are a whole cycle of leap years.
        for _ in 0..146_097 {
            let (year, month, day) = moment.date();
            assert_eq!(Moment::midnight(year, month, day), Some(moment));
            moment = moment.after(DAY);
        }
        assert_eq!(moment.date(), (2370, 1, 1));
    }

    #[test]
    fn known_dates_are_right() {
        // `date -u -d '2023-06-01' +%s` and the like.
        for (day, seconds) in [("2023-06-01", 1_685_577_600), ("2024-02-29", 1_709_164_800)] {
            assert_eq!(day.parse(), Ok(Moment(seconds * SECOND)));
        }
        let moment = Moment(1_685_577_599 * SECOND + 42);
        assert_eq!(moment.to_string(), "2023-05-31 23:59:59.000042+00");
    }

    #[test]
    fn days_that_do_not_exist_are_refused() {
        for day in [
            "2023-02-29",
            "2023-13-01",
            "2023-00-01",
            "1969-12-31",
            "2023-06",
            "x",
            "-1-1-1",
            "99999-01-01",
        ] {
            assert!(day.parse::<Moment>().is_err(), "{day}");
        }
    }
}
