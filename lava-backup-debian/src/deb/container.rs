//! The outer form of a .deb: an `ar` with a version, control members and files.

use std::io::{Read, Seek, SeekFrom};

/// What lies in a .deb, by the headers of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    /// The time that its first member bears, in seconds since 1970: when it was built.
    pub(crate) built: u64,
    /// The name of the member with its control files.
    pub(crate) control: String,
    /// The name of the member with its files.
    pub(crate) data: String,
}

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: usize = 60;
/// More than dpkg ever wrote, signatures by others among them.
const MOST_MEMBERS: usize = 64;

impl Container {
    /// Reads the headers alone, of an archive of `length` bytes; `Err` says what is wrong.
    ///
    /// dpkg itself takes more than this: members that end beyond the file, and what follows the
    /// last one. Two readers could take those for two archives, so here they are errors.
    pub(crate) fn read(file: &mut (impl Read + Seek), length: u64) -> Result<Self, String> {
        let mut magic = [0; MAGIC.len()];
        read_at(file, 0, &mut magic)?;
        if magic != *MAGIC {
            return Err("it is no ar archive".into());
        }
        let mut at = MAGIC.len() as u64;
        let mut built = None;
        let mut tarballs: Vec<String> = Vec::new();
        for _ in 0..MOST_MEMBERS {
            if at == length {
                let mut tarballs = tarballs.into_iter();
                return match (built, tarballs.next(), tarballs.next()) {
                    (Some(built), Some(control), Some(data)) => Ok(Self {
                        built,
                        control,
                        data,
                    }),
                    _ => Err("it ends before its files".into()),
                };
            }
            let mut header = [0; HEADER];
            read_at(file, at, &mut header)?;
            let member = Member::of(&header).ok_or_else(|| format!("at byte {at} is no member"))?;
            let content = at + HEADER as u64;
            let end = content
                .checked_add(member.size)
                .filter(|end| *end <= length)
                .ok_or_else(|| format!("the member at byte {at} ends beyond its end"))?;
            let wrong = |what: &str| Err(format!("at byte {at} should be {what}"));
            if built.is_none() {
                let mut version = [0; 16];
                let read = version.len().min(member.size as usize);
                read_at(file, content, &mut version[..read])?;
                let is_second = version.starts_with(b"2.") && version[..read].contains(&b'\n');
                if member.name != "debian-binary" || !is_second {
                    return wrong("the version of a .deb, 2.0");
                }
                built = Some(member.time);
            } else if tarballs.len() < 2 && !member.name.starts_with('_') {
                let stem = ["control.tar", "data.tar"][tarballs.len()];
                match member.name.strip_prefix(stem) {
                    Some("" | ".gz" | ".xz" | ".zst" | ".bz2" | ".lzma") => {}
                    _ => return wrong(stem),
                }
                tarballs.push(member.name);
            }
            at = end + (end & 1);
            // The last member may lack the byte that makes its length even.
            if end == length {
                at = end;
            }
        }
        Err(format!("it has more than {MOST_MEMBERS} members"))
    }
}

struct Member {
    name: String,
    time: u64,
    size: u64,
}

impl Member {
    fn of(header: &[u8; HEADER]) -> Option<Self> {
        let text = std::str::from_utf8(header).ok()?;
        let field = |from: usize, to: usize| text.get(from..to).map(str::trim_end);
        let number = |from, to| {
            let digits = field(from, to)?;
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse().ok())?
        };
        (&header[58..] == b"`\n").then_some(())?;
        let name = field(0, 16)?;
        Some(Self {
            // GNU ar ends names with a slash, dpkg-deb does not.
            name: name.strip_suffix('/').unwrap_or(name).to_owned(),
            time: number(16, 28)?,
            size: number(48, 58)?,
        })
    }
}

fn read_at(file: &mut (impl Read + Seek), at: u64, buffer: &mut [u8]) -> Result<(), String> {
    file.seek(SeekFrom::Start(at))
        .and_then(|_| file.read_exact(buffer))
        .map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                format!("it ends before byte {}", at + buffer.len() as u64)
            }
            _ => e.to_string(),
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn member(name: &str, content: &[u8]) -> Vec<u8> {
        let size = content.len();
        let mut bytes = format!(
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n",
            7, 0, 0, 100_644
        )
        .into_bytes();
        bytes.extend(content);
        if size % 2 == 1 {
            bytes.push(b'\n');
        }
        bytes
    }

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (name, content) in members {
            bytes.extend(member(name, content));
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Container, String> {
        Container::read(&mut Cursor::new(bytes), bytes.len() as u64)
    }

    const PLAIN: [(&str, &[u8]); 3] = [
        ("debian-binary", b"2.0\n"),
        ("control.tar.xz", b"abc"),
        ("data.tar.zst", b"defg"),
    ];

    #[test]
    fn a_deb_is_three_members_and_bears_the_time_of_the_first() {
        let found = read(&archive(&PLAIN)).unwrap();
        assert_eq!(found.built, 7);
        assert_eq!(found.control, "control.tar.xz");
        assert_eq!(found.data, "data.tar.zst");
        let with_signatures = [
            PLAIN[0],
            ("_gpgorigin", b"x"),
            PLAIN[1],
            PLAIN[2],
            ("_gpgbuilder/", b"y"),
        ];
        assert_eq!(read(&archive(&with_signatures)).unwrap(), found);
    }

    #[test]
    fn an_archive_that_is_cut_off_or_lacks_a_member_is_refused() {
        let whole = archive(&PLAIN);
        for length in 0..whole.len() {
            read(&whole[..length]).unwrap_err();
        }
        let mut longer = whole.clone();
        longer.push(b'\n');
        read(&longer).unwrap_err();
        for (at, why) in [
            (0, "version of a .deb"),
            (1, "control.tar"),
            (2, "before its files"),
        ] {
            let mut members = PLAIN.to_vec();
            members.remove(at);
            let error = read(&archive(&members)).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let swapped = [PLAIN[0], PLAIN[2], PLAIN[1]];
        assert!(
            read(&archive(&swapped))
                .unwrap_err()
                .contains("control.tar")
        );
        let newer = [("debian-binary", &b"3.0\n"[..]), PLAIN[1], PLAIN[2]];
        assert!(read(&archive(&newer)).unwrap_err().contains("version"));
    }

    #[test]
    fn a_member_that_says_it_is_larger_than_the_file_is_refused() {
        let mut bytes = archive(&PLAIN);
        let size = MAGIC.len() + 48;
        bytes[size..size + 10].copy_from_slice(b"9999999999");
        assert!(read(&bytes).unwrap_err().contains("beyond its end"));
        bytes[size..size + 10].copy_from_slice(b"-1        ");
        assert!(read(&bytes).unwrap_err().contains("is no member"));
    }

    proptest! {
        #[test]
        fn any_change_of_a_header_is_read_or_refused(at in 8_usize..80, byte: u8) {
            let mut bytes = archive(&PLAIN);
            bytes[at] = byte;
            let _ = read(&bytes);
        }
    }
}
