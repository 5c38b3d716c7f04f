//! The paragraphs of dpkg's and apt's files, read strictly and one at a time.

use std::{
    collections::BTreeSet,
    io::{BufRead, Read},
};

use crate::{Error, ErrorKind, Result};

/// One paragraph: fields in the order of the file, none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paragraph {
    /// The line of its first field, counted from 1.
    pub line: u64,
    /// Its fields.
    pub fields: Vec<Field>,
}

/// One field. Its value is bytes, because these files need not be UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name as it is written; names differ in more than case.
    pub name: String,
    /// The value without the blanks around it. A continuation line follows a newline, and has lost
    /// the one blank that marks it and the blanks at its end.
    pub value: Vec<u8>,
    /// The line of the name, counted from 1.
    pub line: u64,
}

impl Paragraph {
    /// The value of a field, by its name in any case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let field = self
            .fields
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name))?;
        Some(&field.value)
    }

    /// The value of a field as text; what is not UTF-8 is replaced.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name)
            .map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

/// Whether a line that begins with `#` is a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comments {
    /// It is skipped, even between the lines of one value: apt's sources.
    Skipped,
    /// It is an error: dpkg 1.21 refuses a status file with one.
    Refused,
}

/// Reads paragraphs from a stream, holding no more than one of them.
///
/// Lines may end in CR LF. Empty lines separate paragraphs; a line of blanks alone does not, though
/// it looks so, because to dpkg 1.21 and apt 2.6 it is a part of the value before it. A field that
/// stands twice is an error: dpkg refuses it, and apt silently takes the last, so that two
/// paragraphs that only seem to be apart are never read as one.
#[derive(Debug)]
pub struct Scanner<R> {
    reader: R,
    /// What an error is said to have happened in.
    place: String,
    comments: Comments,
    repeating: Option<&'static str>,
    line: u64,
    buffer: Vec<u8>,
}

/// The longest line seen in a status file has 11,203 bytes.
const MOST_LINE: u64 = 1 << 20;
const MOST_PARAGRAPH: usize = 8 << 20;
const MOST_FIELDS: usize = 1024;

impl<R: BufRead> Scanner<R> {
    /// Reads `reader`; `place` names it in errors.
    pub fn new(reader: R, place: impl Into<String>, comments: Comments) -> Self {
        Self {
            reader,
            place: place.into(),
            comments,
            repeating: None,
            line: 0,
            buffer: Vec::new(),
        }
    }

    /// Takes a field of this name for one however often it stands in a paragraph, its values a
    /// line each: apt's preferences have an `Explanation` for every line.
    #[must_use]
    pub fn repeating(mut self, name: &'static str) -> Self {
        self.repeating = Some(name);
        self
    }

    /// The next paragraph, `None` at the end.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] with the line, [`ErrorKind::TooLarge`] for a line of more than
    /// 1 MiB, a paragraph of more than 8 MiB or more than 1024 fields, [`ErrorKind::Io`]. After an
    /// error the position is unspecified.
    pub fn next_paragraph(&mut self) -> Result<Option<Paragraph>> {
        let mut paragraph = Paragraph {
            line: 0,
            fields: Vec::new(),
        };
        let mut names = BTreeSet::new();
        let mut size = 0;
        while self.next_line()? {
            let line = &self.buffer;
            if line.is_empty() {
                if paragraph.fields.is_empty() {
                    continue;
                }
                break;
            }
            if line[0] == b'#' && self.comments == Comments::Skipped {
                continue;
            }
            size += line.len();
            if size > MOST_PARAGRAPH || paragraph.fields.len() == MOST_FIELDS {
                return Err(self.error(ErrorKind::TooLarge, "the paragraph is too large"));
            }
            if line[0] == b' ' || line[0] == b'\t' {
                let text = line[1..].trim_ascii_end();
                if text.is_empty() {
                    continue;
                }
                let Some(field) = paragraph.fields.last_mut() else {
                    return Err(self.malformed("a value goes on that never began"));
                };
                field.value.push(b'\n');
                field.value.extend_from_slice(text);
                continue;
            }
            let Some(colon) = line.iter().position(|b| *b == b':') else {
                return Err(self.malformed("the line has no colon"));
            };
            let name = &line[..colon];
            let well_formed = name.iter().all(u8::is_ascii_graphic)
                && name.first().is_some_and(|b| !matches!(b, b'#' | b'-'));
            let (true, Ok(name)) = (well_formed, std::str::from_utf8(name)) else {
                return Err(self.malformed("the field's name is not well formed"));
            };
            if !names.insert(name.to_ascii_lowercase()) {
                let is_name = |name: &str| {
                    self.repeating
                        .is_some_and(|repeating| repeating.eq_ignore_ascii_case(name))
                };
                if is_name(name)
                    && let Some(at) = paragraph.fields.iter().position(|f| is_name(&f.name))
                {
                    // Its next line goes on with what was read last.
                    let mut field = paragraph.fields.remove(at);
                    field.value.push(b'\n');
                    field
                        .value
                        .extend_from_slice(line[colon + 1..].trim_ascii());
                    paragraph.fields.push(field);
                    continue;
                }
                return Err(self.malformed(&format!("field {name:.80} stands twice")));
            }
            if paragraph.fields.is_empty() {
                paragraph.line = self.line;
            }
            paragraph.fields.push(Field {
                name: name.to_owned(),
                value: line[colon + 1..].trim_ascii().to_vec(),
                line: self.line,
            });
        }
        Ok(if paragraph.fields.is_empty() {
            None
        } else {
            Some(paragraph)
        })
    }

    /// Reads one line without its end; false when there is none.
    fn next_line(&mut self) -> Result<bool> {
        self.buffer.clear();
        let read = self
            .reader
            .by_ref()
            .take(MOST_LINE + 1)
            .read_until(b'\n', &mut self.buffer);
        match read {
            Err(error) => return Err(Error::io(format!("read {}", self.place), error)),
            Ok(0) => return Ok(false),
            Ok(_) => self.line += 1,
        }
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        } else if self.buffer.len() as u64 > MOST_LINE {
            return Err(self.error(ErrorKind::TooLarge, "the line is too long"));
        }
        if self.buffer.last() == Some(&b'\r') {
            self.buffer.pop();
        }
        Ok(true)
    }

    fn malformed(&self, why: &str) -> Error {
        self.error(ErrorKind::Malformed, why)
    }

    fn error(&self, kind: ErrorKind, why: &str) -> Error {
        Error::new(
            kind,
            format!("read {}, line {}", self.place, self.line),
            why,
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn scan(bytes: &[u8], comments: Comments) -> Result<Vec<Paragraph>> {
        let mut scanner = Scanner::new(bytes, "test", comments);
        std::iter::from_fn(|| scanner.next_paragraph().transpose()).collect()
    }

    fn refusal(bytes: &[u8]) -> Error {
        scan(bytes, Comments::Refused).unwrap_err()
    }

    #[test]
    fn paragraphs_are_separated_by_blank_lines_whatever_their_number() {
        let paragraphs = scan(b"\n\nA: 1\nB:2 \n\n\n\nA: 3", Comments::Refused).unwrap();
        assert_eq!(paragraphs.len(), 2);
        assert_eq!(paragraphs[0].get("b"), Some(&b"2"[..]));
        assert_eq!((paragraphs[0].line, paragraphs[1].line), (3, 8));
        assert_eq!(paragraphs[1].get("A"), Some(&b"3"[..]));
        assert_eq!(scan(b"\n\n", Comments::Refused).unwrap(), []);
    }

    #[test]
    fn a_line_of_blanks_alone_ends_no_paragraph() {
        let paragraphs = scan(b" \nA: 1\n \t\nB: 2\n", Comments::Refused).unwrap();
        assert_eq!(paragraphs.len(), 1);
        assert_eq!(paragraphs[0].get("A"), Some(&b"1"[..]));
    }

    #[test]
    fn a_continuation_line_keeps_its_indent_but_one_blank() {
        let text = b"Conffiles:\n /etc/a 0\n\t  b \nC: x\n .\n";
        let paragraph = &scan(text, Comments::Refused).unwrap()[0];
        assert_eq!(paragraph.get("Conffiles"), Some(&b"\n/etc/a 0\n  b"[..]));
        assert_eq!(paragraph.get("C"), Some(&b"x\n."[..]));
    }

    #[test]
    fn lines_that_end_in_cr_lf_read_the_same() {
        let unix = "A: 1\n b\n\nB: 2\n";
        assert_eq!(
            scan(unix.as_bytes(), Comments::Refused).unwrap(),
            scan(unix.replace('\n', "\r\n").as_bytes(), Comments::Refused).unwrap()
        );
    }

    #[test]
    fn a_comment_is_skipped_in_sources_and_refused_in_dpkgs_files() {
        let text = b"# head: x\nA: 1\n#A: 2\n 3\n";
        let paragraph = &scan(text, Comments::Skipped).unwrap()[0];
        assert_eq!(paragraph.get("A"), Some(&b"1\n3"[..]));
        assert_eq!(
            scan(text, Comments::Refused).unwrap_err().kind(),
            ErrorKind::Malformed
        );
    }

    #[test]
    fn what_two_readers_could_take_differently_is_an_error_with_its_line() {
        for (text, line, why) in [
            (&b"A: 1\nB: 2\na: 3\n"[..], 3, "field a stands twice"),
            (b"A: 1\n  \nA: 2\n", 3, "field A stands twice"),
            (b" A: 1\n", 1, "never began"),
            (b"A: 1\nno colon\n", 2, "no colon"),
            (b": 1\n", 1, "not well formed"),
            (b"A B: 1\n", 1, "not well formed"),
            (b"-A: 1\n", 1, "not well formed"),
            (b"\xff: 1\n", 1, "not well formed"),
        ] {
            let error = refusal(text);
            assert_eq!(error.kind(), ErrorKind::Malformed);
            let message = error.to_string();
            assert!(
                message.starts_with(&format!("read test, line {line}: ")),
                "{message}"
            );
            assert!(message.contains(why), "{message}");
        }
    }

    #[test]
    fn what_is_too_large_is_an_error_before_it_is_held() {
        let endless = std::io::BufReader::new(std::io::repeat(b'A'));
        let mut scanner = Scanner::new(endless, "test", Comments::Refused);
        assert_eq!(
            scanner.next_paragraph().unwrap_err().kind(),
            ErrorKind::TooLarge
        );
        assert!(scanner.buffer.len() as u64 <= MOST_LINE + 1);

        let fields: String = (0..=MOST_FIELDS).map(|n| format!("F{n}: x\n")).collect();
        assert_eq!(refusal(fields.as_bytes()).kind(), ErrorKind::TooLarge);
        let long = format!("A: x\n{}", format!(" {}\n", "x".repeat(1 << 19)).repeat(17));
        assert_eq!(refusal(long.as_bytes()).kind(), ErrorKind::TooLarge);
    }

    proptest! {
        #[test]
        fn any_bytes_give_paragraphs_or_an_error(bytes: Vec<u8>) {
            let _ = scan(&bytes, Comments::Refused);
        }

        #[test]
        fn bytes_that_look_like_fields_give_paragraphs_or_an_error(text in "([AB#-]?[:, \t\r\n]{1,3}x?){0,40}") {
            for comments in [Comments::Refused, Comments::Skipped] {
                for paragraph in scan(text.as_bytes(), comments).into_iter().flatten() {
                    prop_assert!(!paragraph.fields.is_empty());
                }
            }
        }
    }
}
