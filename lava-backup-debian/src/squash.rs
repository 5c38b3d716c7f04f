//! What a squashed migration replaces, read out of its Python file without running it.

/// Why the names can't be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// The line, counted from 1.
    pub(crate) line: usize,
}

/// The `(app, name)` pairs of the list that is assigned to `replaces`, none when nothing is.
///
/// Only a list (or tuple) of tuples of two plain string literals can be read, which is what Django
/// writes. Any other value is an error: to guess it empty would turn a squash into a migration
/// that is missing.
pub(crate) fn replaces(source: &[u8]) -> Result<Vec<(String, String)>, Unreadable> {
    let mut lexer = Lexer {
        source,
        at: 0,
        line: 1,
    };
    let mut found = Vec::new();
    let mut previous = Token::End;
    let mut depth = 0_usize;
    loop {
        let token = lexer.next()?;
        match token {
            Token::End => return Ok(found),
            Token::Sign(b'(' | b'[' | b'{') => depth += 1,
            Token::Sign(b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            // `self.replaces` and an argument of that name are something else.
            Token::Word(b"replaces") if depth == 0 && previous != Token::Sign(b'.') => {
                let rewind = (lexer.at, lexer.line);
                if lexer.is_assignment()? {
                    found.extend(lexer.pairs()?);
                } else {
                    (lexer.at, lexer.line) = rewind;
                }
            }
            _ => {}
        }
        previous = token;
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a [u8]),
    /// A literal whose value is its text; the value of any other string is never needed.
    Text(Option<&'a [u8]>),
    Sign(u8),
    End,
}

struct Lexer<'a> {
    source: &'a [u8],
    at: usize,
    line: usize,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Result<Token<'a>, Unreadable> {
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => {
                    let rest = &self.source[self.at..];
                    self.at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                }
                b'\n' => {
                    self.line += 1;
                    self.at += 1;
                }
                // A backslash at the end of a line joins it with the next.
                b' ' | b'\t' | b'\r' | b'\x0c' | b'\\' => self.at += 1,
                b'"' | b'\'' => return self.string(b""),
                _ if is_word(byte) => {
                    let rest = &self.source[self.at..];
                    let end = rest.iter().position(|b| !is_word(*b)).unwrap_or(rest.len());
                    self.at += end;
                    let word = &rest[..end];
                    let is_prefix = end <= 2 && word.iter().all(|b| b"rRbBuUfF".contains(b));
                    if is_prefix && matches!(self.peek(), Some(b'"' | b'\'')) {
                        return self.string(word);
                    }
                    return Ok(Token::Word(word));
                }
                sign => {
                    self.at += 1;
                    return Ok(Token::Sign(sign));
                }
            }
        }
        Ok(Token::End)
    }

    fn peek(&self) -> Option<u8> {
        self.source.get(self.at).copied()
    }

    fn string(&mut self, prefix: &[u8]) -> Result<Token<'a>, Unreadable> {
        let begun = Unreadable { line: self.line };
        let quote = self.source[self.at];
        let triple = self.source[self.at..].starts_with(&[quote; 3]);
        self.at += if triple { 3 } else { 1 };
        let start = self.at;
        let mut plain = !triple && (prefix.is_empty() || prefix.eq_ignore_ascii_case(b"u"));
        loop {
            match self.peek().ok_or(begun)? {
                b'\\' => {
                    plain = false;
                    self.at += 1;
                    if self.peek() == Some(b'\n') {
                        self.line += 1;
                    }
                }
                b'\n' if !triple => return Err(begun),
                b'\n' => self.line += 1,
                byte if byte == quote => {
                    if !triple {
                        break;
                    }
                    if self.source[self.at..].starts_with(&[quote; 3]) {
                        break;
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
        let text = &self.source[start..self.at];
        self.at += if triple { 3 } else { 1 };
        Ok(Token::Text(plain.then_some(text)))
    }

    /// Reads `=`, with or without an annotation before it; false for a comparison, an argument's
    /// name or any other use.
    fn is_assignment(&mut self) -> Result<bool, Unreadable> {
        let begun = Unreadable { line: self.line };
        match self.next()? {
            Token::Sign(b'=') => Ok(self.peek() != Some(b'=')),
            Token::Sign(b':') => loop {
                let line = self.line;
                match self.next()? {
                    Token::Sign(b'=') => return Ok(true),
                    Token::End => return Ok(false),
                    // A name declared without a value.
                    _ if self.line != line => return Ok(false),
                    _ => {}
                }
            },
            // `replaces += …` and the like add what can't be followed here.
            Token::Sign(b'+' | b'*') if self.peek() == Some(b'=') => Err(begun),
            _ => Ok(false),
        }
    }

    fn pairs(&mut self) -> Result<Vec<(String, String)>, Unreadable> {
        let close = match self.next()? {
            Token::Sign(b'[') => b']',
            Token::Sign(b'(') => b')',
            _ => return Err(self.here()),
        };
        let mut pairs = Vec::new();
        loop {
            match self.next()? {
                Token::Sign(sign) if sign == close => break,
                Token::Sign(b'(' | b'[') => {}
                _ => return Err(self.here()),
            }
            let app = self.text()?;
            self.sign(b",")?;
            let name = self.text()?;
            if self.sign(b",)]")? == b',' {
                self.sign(b")]")?;
            }
            pairs.push((app, name));
            if self.sign(&[b',', close])? == close {
                break;
            }
        }
        // Only the end of the statement may follow: a sum or a comprehension is no literal.
        let rest = &self.source[self.at..];
        let end = rest.iter().position(|b| !matches!(b, b' ' | b'\t' | b'\r'));
        match end.map(|at| rest[at]) {
            None | Some(b'\n' | b'#' | b';') => Ok(pairs),
            Some(_) => Err(self.here()),
        }
    }

    fn text(&mut self) -> Result<String, Unreadable> {
        match self.next()? {
            Token::Text(Some(text)) => String::from_utf8(text.to_vec()).map_err(|_| self.here()),
            _ => Err(self.here()),
        }
    }

    fn sign(&mut self, allowed: &[u8]) -> Result<u8, Unreadable> {
        match self.next()? {
            Token::Sign(sign) if allowed.contains(&sign) => Ok(sign),
            _ => Err(self.here()),
        }
    }

    fn here(&self) -> Unreadable {
        Unreadable { line: self.line }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn read(source: &str) -> Vec<(String, String)> {
        replaces(source.as_bytes()).unwrap()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(app, name)| ((*app).to_owned(), (*name).to_owned()))
            .collect()
    }

    #[test]
    fn the_list_that_django_writes_is_read() {
        let source = r#"
# replaces = [("not", "this")]
"""replaces = [("nor", "this")]"""
from django.db import migrations

class Migration(migrations.Migration):

    replaces = [
        ("lava_scheduler_app", "0001_initial"),  # ("nor", "this")
        ('lava_scheduler_app', u'0002_add',),
    ]
    dependencies = [("auth", "0001_initial")]
"#;
        assert_eq!(
            read(source),
            pairs(&[
                ("lava_scheduler_app", "0001_initial"),
                ("lava_scheduler_app", "0002_add")
            ])
        );
        assert_eq!(
            read("class M:\n  replaces: list[tuple] = [('a', '1')]"),
            pairs(&[("a", "1")])
        );
        assert_eq!(read("replaces = ()"), []);
    }

    #[test]
    fn what_only_looks_like_it_is_not_read() {
        for source in [
            "",
            "x = 'replaces = [(\"a\", \"b\")]'",
            "x = 'it\\'s replaces = 1'",
            "self.replaces = other()",
            "if replaces == [1]: pass",
            "print(replaces)",
            "replaces_all = other()",
            "r'''\nreplaces = x\n'''",
            "x = replaces + 1",
            "f(replaces=names())",
        ] {
            assert_eq!(read(source), [], "{source}");
        }
    }

    #[test]
    fn what_can_not_be_read_without_running_it_is_an_error_with_its_line() {
        for source in [
            "\nreplaces = names()",
            "\nreplaces = [('a', '1')] + others",
            "\nreplaces = [('a', name)]",
            "\nreplaces = [('a', '1') for a in b]",
            "\nreplaces = [('a', f'1')]",
            "\nreplaces = [('a', '1' '2')]",
            "\nreplaces = [('a', '\\x31')]",
            "\nreplaces += [('a', '1')]",
            "\nreplaces = [('a', '1')",
            "\n'open",
        ] {
            assert_eq!(
                replaces(source.as_bytes()),
                Err(Unreadable { line: 2 }),
                "{source}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_pairs_or_an_error(bytes: Vec<u8>) {
            let _ = replaces(&bytes);
        }

        #[test]
        fn text_that_looks_like_python_gives_pairs_or_an_error(
            text in "(replaces|=|\\[|\\]|\\(|\\)|,|'a'|\"|'''|\\\\|\n|#| |:|r'){0,40}"
        ) {
            let _ = replaces(text.as_bytes());
        }
    }
}
