use std::fmt;
use std::task::{Poll, ready};

use serde::{Deserialize, Serialize};

use super::error::{ArchiveError, ArchiveErrorKind};
use super::scan::{Input, Scan};

/// The version of the archive format, which is not that of PostgreSQL.
///
/// | version | written by | adds |
/// | --- | --- | --- |
/// | 1.12 | 9.0 and later | large objects as entries |
/// | 1.13 | 10.3, 11, and the minor releases of their day | search path |
/// | 1.14 | 12 to 15 | table access method |
/// | 1.15 | 16 | method of compression |
/// | 1.16 | 17 and later | kind of relation, large objects in several blocks |
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ArchiveVersion {
    /// 1, ever since there is a number.
    pub major: u8,
    /// Grows when something is added.
    pub minor: u8,
}

impl ArchiveVersion {
    pub(super) const OLDEST: Self = Self::new(1, 12);
    pub(super) const WITH_TABLE_ACCESS_METHOD: Self = Self::new(1, 14);
    pub(super) const WITH_COMPRESSION_METHOD: Self = Self::new(1, 15);
    pub(super) const WITH_RELATION_KIND: Self = Self::new(1, 16);
    pub(super) const NEWEST: Self = Self::new(1, 16);

    const fn new(major: u8, minor: u8) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for ArchiveVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// When `pg_dump` began, on the clock and in the time zone of the machine it ran on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpTime {
    /// Year of the common era.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60: a leap second.
    pub second: u8,
}

impl fmt::Display for DumpTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self;
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
        )
    }
}

/// What stands before a dump's table of contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpHeader {
    /// Of the archive format.
    pub version: ArchiveVersion,
    /// When the dump was begun.
    pub created: DumpTime,
    /// The name of the database.
    pub database: String,
    /// The server's version as it tells it: `15.20 (Debian 15.20-0+deb12u1)`.
    pub server_version: String,
    /// The version of `pg_dump`, in the same form.
    pub dump_version: String,
}

const MAGIC: [u8; 5] = *b"PGDMP";
const TEXT_LIMIT: usize = 64 * 1024;

/// Reads a [`DumpHeader`]; one step reads one value.
#[derive(Debug)]
pub(super) struct HeaderReader {
    next: Value,
    time: [i32; 7],
    header: DumpHeader,
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Magic,
    Layout,
    Compression,
    Time(usize),
    Database,
    ServerVersion,
    DumpVersion,
}

impl HeaderReader {
    pub(super) fn new() -> Self {
        Self {
            next: Value::Magic,
            time: [0; 7],
            header: DumpHeader {
                version: ArchiveVersion::OLDEST,
                created: DumpTime {
                    year: 0,
                    month: 1,
                    day: 1,
                    hour: 0,
                    minute: 0,
                    second: 0,
                },
                database: String::new(),
                server_version: String::new(),
                dump_version: String::new(),
            },
        }
    }

    pub(super) fn read(
        &mut self,
        scan: &mut Scan,
        input: &mut Input<'_>,
    ) -> Poll<Result<DumpHeader, ArchiveError>> {
        loop {
            self.next = match self.next {
                Value::Magic => {
                    let found = ready!(scan.bytes::<5>(input));
                    if found != MAGIC {
                        let kind = ArchiveErrorKind::NotADump { found };
                        return Poll::Ready(Err(ArchiveError::new(kind, scan.start())));
                    }
                    Value::Layout
                }
                Value::Layout => {
                    let layout = ready!(scan.bytes::<6>(input));
                    self.header.version = version_of(layout, scan.start())?;
                    Value::Compression
                }
                Value::Compression => {
                    ready!(self.compression(scan, input))?;
                    Value::Time(0)
                }
                Value::Time(part) => {
                    self.time[part] = ready!(scan.int(input))?;
                    if part + 1 < self.time.len() {
                        Value::Time(part + 1)
                    } else {
                        self.header.created = time_of(self.time, scan.start())?;
                        Value::Database
                    }
                }
                Value::Database => {
                    self.header.database =
                        ready!(scan.text(input, "the name of the database", TEXT_LIMIT))?;
                    Value::ServerVersion
                }
                Value::ServerVersion => {
                    self.header.server_version =
                        ready!(scan.text(input, "the version of the server", TEXT_LIMIT))?;
                    Value::DumpVersion
                }
                Value::DumpVersion => {
                    self.header.dump_version =
                        ready!(scan.text(input, "the version of pg_dump", TEXT_LIMIT))?;
                    return Poll::Ready(Ok(self.header.clone()));
                }
            }
        }
    }

    /// A level of gzip up to 1.14, a method since.
    fn compression(
        &self,
        scan: &mut Scan,
        input: &mut Input<'_>,
    ) -> Poll<Result<(), ArchiveError>> {
        let method = if self.header.version < ArchiveVersion::WITH_COMPRESSION_METHOD {
            match ready!(scan.int(input))? {
                0 => return Poll::Ready(Ok(())),
                _ => "gzip".to_owned(),
            }
        } else {
            match ready!(scan.bytes::<1>(input)) {
                [0] => return Poll::Ready(Ok(())),
                [1] => "gzip".to_owned(),
                [2] => "lz4".to_owned(),
                [3] => "zstd".to_owned(),
                [other] => format!("method {other}"),
            }
        };
        let kind = ArchiveErrorKind::Compressed { method };
        Poll::Ready(Err(ArchiveError::new(kind, scan.start())))
    }
}

/// Every platform that Debian has writes integers of 4 bytes and offsets of 8.
fn version_of(layout: [u8; 6], at: u64) -> Result<ArchiveVersion, ArchiveError> {
    let [major, minor, _revision, int_size, offset_size, format] = layout;
    let found = ArchiveVersion::new(major, minor);
    let (oldest, newest) = (ArchiveVersion::OLDEST, ArchiveVersion::NEWEST);
    if found < oldest || found > newest {
        let kind = ArchiveErrorKind::UnsupportedVersion {
            found,
            oldest,
            newest,
        };
        return Err(ArchiveError::new(kind, at));
    }
    for (what, expected, found, at) in [
        ("the size of integers", 4, int_size, at + 3),
        ("the size of offsets", 8, offset_size, at + 4),
        ("the format of the archive", 1, format, at + 5),
    ] {
        if found != expected {
            return Err(ArchiveError::malformed(what, expected, found, at));
        }
    }
    Ok(found)
}

/// From the members of C's `struct tm`, daylight saving last.
fn time_of(tm: [i32; 7], at: u64) -> Result<DumpTime, ArchiveError> {
    let [second, minute, hour, day, month, year, _] = tm;
    let part = |value: i32, least: i32, greatest: i32| {
        u8::try_from(value)
            .ok()
            .filter(|_| (least..=greatest).contains(&value))
            .ok_or_else(|| {
                let found = format!("{year} {month} {day} {hour} {minute} {second}");
                ArchiveError::malformed("the time of the dump", "a date and a time", found, at)
            })
    };
    Ok(DumpTime {
        year: year.saturating_add(1900),
        month: part(month, 0, 11)? + 1,
        day: part(day, 1, 31)?,
        hour: part(hour, 0, 23)?,
        minute: part(minute, 0, 59)?,
        second: part(second, 0, 60)?,
    })
}
