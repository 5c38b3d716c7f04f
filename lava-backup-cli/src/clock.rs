//! The one place that looks at the clock.

use jiff::Timestamp;
use lava_backup_core::Time;

/// An instant, to the second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instant(Timestamp);

pub(crate) fn now() -> Instant {
    Instant(Timestamp::now())
}

impl Instant {
    /// RFC 3339 in UTC.
    pub(crate) fn rfc3339(self) -> String {
        self.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// For names: sorts by age.
    pub(crate) fn compact(self) -> String {
        self.0.strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    /// For times of files.
    pub(crate) fn for_files(self) -> Time {
        Time {
            seconds: self.0.as_second(),
            nanoseconds: 0,
        }
    }

    /// Milliseconds since then.
    pub(crate) fn elapsed(self) -> u64 {
        let passed = Timestamp::now().as_millisecond() - self.0.as_millisecond();
        u64::try_from(passed).unwrap_or(0)
    }
}
