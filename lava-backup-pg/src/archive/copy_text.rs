//! The text form of `COPY`: fields between tabs, with backslash escapes.

use std::borrow::Cow;

/// The fields of one row, in the order of the table's columns; `None` is NULL.
///
/// The row is given without its newline. A row always has a field, so the one row that a table
/// without columns can have reads as one empty field.
///
/// Escapes are read as the server reads them: `\b \f \n \r \t \v`, one to three octal digits,
/// `\x` with one or two hexadecimal digits; a backslash before anything else stands for that
/// byte, and at the very end for itself.
///
/// ```
/// use lava_backup_pg::archive::copy_text;
///
/// let fields: Vec<_> = copy_text::fields(b"7\t\\N\ta\\tb\t\\\\N").collect();
/// assert_eq!(fields[0].as_deref(), Some(&b"7"[..]));
/// assert_eq!(fields[1], None);
/// assert_eq!(fields[2].as_deref(), Some(&b"a\tb"[..]));
/// assert_eq!(fields[3].as_deref(), Some(&br"\N"[..]));
/// ```
pub fn fields(row: &[u8]) -> impl Iterator<Item = Option<Cow<'_, [u8]>>> {
    row.split(|&b| b == b'\t').map(|field| match field {
        br"\N" => None,
        _ => Some(unescape(field)),
    })
}

fn unescape(field: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = field.iter().position(|&b| b == b'\\') else {
        return Cow::Borrowed(field);
    };
    let (plain, mut rest) = field.split_at(first);
    let mut out = Vec::with_capacity(field.len());
    out.extend_from_slice(plain);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some((&escaped, after)) = rest.split_first() else {
            out.push(b'\\');
            break;
        };
        rest = after;
        out.push(match escaped {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'0'..=b'7' => digits(escaped - b'0', &mut rest, 8, 2),
            b'x' => match rest.first().and_then(|&b| digit(b, 16)) {
                Some(high) => {
                    rest = &rest[1..];
                    digits(high, &mut rest, 16, 1)
                }
                None => b'x',
            },
            other => other,
        });
    }
    Cow::Owned(out)
}

/// Goes on with a number that began with `value`, for at most `more` digits. The server keeps the
/// low eight bits of `\777`, and so does this.
fn digits(mut value: u8, rest: &mut &[u8], radix: u8, more: usize) -> u8 {
    for _ in 0..more {
        let Some((&byte, after)) = rest.split_first() else {
            break;
        };
        let Some(digit) = digit(byte, radix) else {
            break;
        };
        value = value.wrapping_mul(radix).wrapping_add(digit);
        *rest = after;
    }
    value
}

fn digit(byte: u8, radix: u8) -> Option<u8> {
    char::from(byte).to_digit(radix.into())?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::fields;
    use proptest::prelude::*;

    fn one(field: &[u8]) -> Option<Vec<u8>> {
        let all: Vec<_> = fields(field).collect();
        assert_eq!(all.len(), 1);
        all[0].as_deref().map(<[u8]>::to_vec)
    }

    #[test]
    fn null_is_not_an_empty_string_and_not_the_text_of_it() {
        assert_eq!(one(br"\N"), None);
        assert_eq!(one(b""), Some(b"".to_vec()));
        assert_eq!(one(br"\\N"), Some(br"\N".to_vec()));
        assert_eq!(one(br"x\N"), Some(b"xN".to_vec()));
    }

    #[test]
    fn escapes_are_read_as_the_server_reads_them() {
        for (written, read) in [
            (&br"\b\f\n\r\t\v\\"[..], &b"\x08\x0c\n\r\t\x0b\\"[..]),
            (br"\101\12\7\0x\1018", b"A\n\x07\0xA8"),
            (br"\777", b"\xff"),
            (br"\x41\x4g\xg\x414", b"A\x04gxgA4"),
            ("\\.\\q\\é".as_bytes(), ".qé".as_bytes()),
            (br"a\", br"a\"),
        ] {
            assert_eq!(
                one(written),
                Some(read.to_vec()),
                "{}",
                written.escape_ascii()
            );
        }
    }

    #[test]
    fn empty_fields_count() {
        assert_eq!(fields(b"\t\t").count(), 3);
        assert_eq!(fields(b"").count(), 1);
    }

    proptest! {
        #[test]
        fn what_the_server_writes_is_read_back(
            row in prop::collection::vec(prop::option::of(any::<Vec<u8>>()), 1..6)
        ) {
            let written: Vec<Vec<u8>> = row.iter().map(|field| match field {
                None => br"\N".to_vec(),
                Some(value) => value.iter().flat_map(|&b| match b {
                    0x08 => br"\b".to_vec(),
                    0x0c => br"\f".to_vec(),
                    b'\n' => br"\n".to_vec(),
                    b'\r' => br"\r".to_vec(),
                    b'\t' => br"\t".to_vec(),
                    0x0b => br"\v".to_vec(),
                    b'\\' => br"\\".to_vec(),
                    other => vec![other],
                }).collect(),
            }).collect();
            let line = written.join(&b'\t');
            let read: Vec<_> = fields(&line).map(|f| f.map(|f| f.into_owned())).collect();
            prop_assert_eq!(read, row);
        }
    }
}
