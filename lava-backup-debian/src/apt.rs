//! Where apt takes packages from, without the passwords.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde::{Serialize, Serializer};

use crate::{
    Error, ErrorKind, Result, Root,
    deb822::{Comments, Paragraph, Scanner},
    parts,
};

/// One entry of apt's sources: a line of the one-line form, or a paragraph of the deb822 form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SourceEntry {
    /// The file, absolute in the root.
    pub file: PathBuf,
    /// The line at which it begins, counted from 1.
    pub line: u64,
    /// Whether apt uses it: `Enabled: no` turns a paragraph off.
    pub enabled: bool,
    /// Binary packages, source packages, or both.
    pub types: Vec<SourceType>,
    /// Where the archives are.
    pub uris: Vec<SourceUri>,
    /// Suites as they are written, or paths that end in a slash. `stable` is possible here.
    pub suites: Vec<String>,
    /// Components; none when the suites are paths.
    pub components: Vec<String>,
    /// All other settings by the lower-case name of the deb822 form (`arch+=` of a line is
    /// `architectures-add` here), each with its values. A key block in `signed-by` is one value.
    pub options: BTreeMap<String, Vec<String>>,
}

/// What kind of packages a source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceType {
    /// Binary packages.
    Deb,
    /// Source packages.
    DebSrc,
}

/// The URI of an archive. A user name and password in it, or a query, are dropped when it is read,
/// so nothing can show them; `…` stands in their place.
///
/// A password may hold any character, so all before the last at sign is dropped, a host too when
/// the sign is in its path. A secret that is the path itself, as some hosting services use, can't
/// be told from a path, and stays.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceUri {
    redacted: String,
    had_credentials: bool,
}

const REDACTED: &str = "…";

impl SourceUri {
    /// The URI without credentials.
    pub fn as_str(&self) -> &str {
        &self.redacted
    }

    /// Whether there was something to drop.
    pub fn had_credentials(&self) -> bool {
        self.had_credentials
    }

    pub(crate) fn of_text(text: &str) -> Self {
        let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
        let local = ["file", "copy", "cdrom"]
            .iter()
            .any(|local| scheme.eq_ignore_ascii_case(local));
        if local {
            return Self {
                redacted: text.to_owned(),
                had_credentials: false,
            };
        }
        // apt takes `http:user:password@host` for the same as with slashes, and a password may
        // hold slashes and at signs, so all before the last at sign may be secret.
        let slashes = rest.len() - rest.trim_start_matches('/').len();
        let shown = match (rest.rfind('@'), rest.find('?')) {
            (None, None) => {
                return Self {
                    redacted: text.to_owned(),
                    had_credentials: false,
                };
            }
            (None, Some(query)) => format!("{}?{REDACTED}", &rest[..query]),
            // The at sign may be one of the query, and a secret on both its sides.
            (Some(at), Some(query)) if query < at => format!("{}{REDACTED}", &rest[..slashes]),
            (Some(at), None) => format!("{}{REDACTED}{}", &rest[..slashes], &rest[at..]),
            (Some(at), Some(query)) => {
                format!(
                    "{}{REDACTED}{}?{REDACTED}",
                    &rest[..slashes],
                    &rest[at..query]
                )
            }
        };
        Self {
            redacted: format!("{scheme}:{shown}"),
            had_credentials: true,
        }
    }
}

/// A text in which URIs may stand, without their credentials; and whether it had any.
pub(crate) fn without_credentials(text: &str) -> (String, bool) {
    let mut had_credentials = false;
    let mut shown = String::with_capacity(text.len());
    // A password may hold any sign but a blank.
    for word in text.split_inclusive(char::is_whitespace) {
        let end = word.trim_end();
        let may_be = |mark: &str, secret: char| end.contains(mark) && end.contains(secret);
        if may_be(":", '@') || may_be("://", '?') {
            let uri = SourceUri::of_text(end);
            had_credentials |= uri.had_credentials();
            shown.push_str(uri.as_str());
        } else {
            shown.push_str(end);
        }
        shown.push_str(&word[end.len()..]);
    }
    (shown, had_credentials)
}

impl fmt::Display for SourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.redacted)
    }
}

impl Serialize for SourceUri {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.redacted)
    }
}

const MOST_SOURCES: u64 = 16 << 20;

/// Reads `/etc/apt/sources.list` and the files beside it, in apt's order, entries turned off
/// included. A commented line is no entry, and a file whose name apt ignores is ignored.
///
/// A root whose apt configuration moves these files is read at the usual place all the same.
///
/// # Errors
/// [`ErrorKind::Malformed`] with file and line, and none of its text, for what apt would refuse.
pub fn read_sources(root: &Root) -> Result<Vec<SourceEntry>> {
    let mut entries = Vec::new();
    for file in files(root)? {
        let place = root.describe(&file);
        let bytes = root.read(&file, MOST_SOURCES)?.unwrap_or_default();
        match file.extension().is_some_and(|e| e == "sources") {
            true => read_paragraphs(&bytes, &file, &place, &mut entries)?,
            false => read_lines(&bytes, &file, &place, &mut entries)?,
        }
    }
    Ok(entries)
}

/// The files that apt reads, in its order.
pub(crate) fn files(root: &Root) -> Result<Vec<PathBuf>> {
    let (main, dir) = ("/etc/apt/sources.list", "/etc/apt/sources.list.d");
    parts::files(root, main, dir, |e| matches!(e, Some("list" | "sources")))
}

fn malformed(place: &str, line: u64, why: &str) -> Error {
    Error::new(
        ErrorKind::Malformed,
        format!("read {place}, line {line}"),
        why,
    )
}

fn read_lines(
    bytes: &[u8],
    file: &Path,
    place: &str,
    entries: &mut Vec<SourceEntry>,
) -> Result<()> {
    for (line, text) in (1..).zip(bytes.split(|b| *b == b'\n')) {
        let text = String::from_utf8_lossy(text);
        let text = without_comment(&text).trim();
        if !text.is_empty() {
            let entry = entry_of_line(text, file, line);
            entries.push(entry.map_err(|why| malformed(place, line, why))?);
        }
    }
    Ok(())
}

/// A `#` begins a comment wherever it stands, but for one in brackets.
fn without_comment(line: &str) -> &str {
    let mut at = 0;
    while let Some(found) = line[at..].find(['#', '[']) {
        at += found;
        if line.as_bytes()[at] == b'#' {
            return &line[..at];
        }
        at += line[at..].find(']').unwrap_or(0) + 1;
    }
    line
}

fn entry_of_line(text: &str, file: &Path, line: u64) -> Result<SourceEntry, &'static str> {
    let (kind, mut rest) = next_word(text);
    let kind = source_type(kind).ok_or("it is of no type that is known")?;
    let mut options = BTreeMap::new();
    if let Some(list) = rest.strip_prefix('[') {
        let (list, after) = list.split_once(']').ok_or("its options have no end")?;
        if !after.starts_with(char::is_whitespace) {
            return Err("no blank follows its options");
        }
        for option in list.split_whitespace() {
            let (name, values) = option.split_once('=').ok_or("an option has no value")?;
            let (name, suffix) = match (name.strip_suffix('+'), name.strip_suffix('-')) {
                (Some(name), _) => (name, "-add"),
                (_, Some(name)) => (name, "-remove"),
                _ => (name, ""),
            };
            let name = format!("{}{suffix}", long_name(&name.to_ascii_lowercase()));
            let values = values.split(',').map(str::to_owned).collect();
            if options.insert(name, values).is_some() {
                return Err("an option stands twice");
            }
        }
        rest = after.trim_start();
    }
    let (uri, rest) = next_word(rest);
    let (suite, rest) = next_word(rest);
    let entry = SourceEntry {
        file: file.to_owned(),
        line,
        enabled: true,
        types: vec![kind],
        uris: [uri]
            .into_iter()
            .filter(|uri| !uri.is_empty())
            .map(SourceUri::of_text)
            .collect(),
        suites: [suite]
            .into_iter()
            .filter(|s| !s.is_empty())
            .map(str::to_owned)
            .collect(),
        components: rest.split_whitespace().map(str::to_owned).collect(),
        options,
    };
    checked(entry)
}

/// Splits off a word; quotes and brackets hold blanks together, as in a CD's URI.
fn next_word(text: &str) -> (&str, &str) {
    let mut inside = None;
    let end = text.find(|c| match (inside, c) {
        (None, '"') => {
            inside = Some('"');
            false
        }
        (None, '[') => {
            inside = Some(']');
            false
        }
        (Some(close), c) => {
            if c == close {
                inside = None;
            }
            false
        }
        (None, c) => c.is_whitespace(),
    });
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    (word.trim_matches('"'), rest.trim_start())
}

/// The deb822 name of an option of a line.
fn long_name(short: &str) -> &str {
    match short {
        "arch" => "architectures",
        "lang" => "languages",
        "target" => "targets",
        other => other,
    }
}

fn source_type(word: &str) -> Option<SourceType> {
    match word {
        "deb" => Some(SourceType::Deb),
        "deb-src" => Some(SourceType::DebSrc),
        _ => None,
    }
}

fn checked(entry: SourceEntry) -> Result<SourceEntry, &'static str> {
    if entry.types.is_empty() {
        return Err("it has no type");
    }
    if entry.uris.is_empty() || !entry.uris.iter().all(|uri| uri.as_str().contains(':')) {
        return Err("it has no URI");
    }
    if entry.suites.is_empty() {
        return Err("it has no suite");
    }
    let paths = entry
        .suites
        .iter()
        .filter(|suite| suite.ends_with('/'))
        .count();
    if paths > 0 && !entry.components.is_empty() {
        return Err("its suite is a path, so it can have no component");
    }
    if paths < entry.suites.len() && entry.components.is_empty() {
        return Err("it has no component");
    }
    Ok(entry)
}

fn read_paragraphs(
    bytes: &[u8],
    file: &Path,
    place: &str,
    entries: &mut Vec<SourceEntry>,
) -> Result<()> {
    let mut scanner = Scanner::new(bytes, place, Comments::Skipped);
    while let Some(paragraph) = scanner.next_paragraph()? {
        let entry = entry_of_paragraph(&paragraph, file);
        entries.push(entry.map_err(|why| malformed(place, paragraph.line, why))?);
    }
    Ok(())
}

fn entry_of_paragraph(paragraph: &Paragraph, file: &Path) -> Result<SourceEntry, &'static str> {
    let words = |name: &str| -> Vec<String> {
        let value = paragraph.text(name).unwrap_or_default();
        value.split_whitespace().map(str::to_owned).collect()
    };
    let mut options = BTreeMap::new();
    for field in &paragraph.fields {
        let name = field.name.to_ascii_lowercase();
        if ["types", "uris", "suites", "components", "enabled"].contains(&name.as_str()) {
            continue;
        }
        let value = String::from_utf8_lossy(&field.value);
        let values = if value.contains("-----BEGIN PGP") {
            vec![value.trim().to_owned()]
        } else {
            value.split_whitespace().map(str::to_owned).collect()
        };
        options.insert(name, values);
    }
    let types = words("Types");
    // apt's words for no, in any case; whatever else stands there means yes.
    let off = ["no", "false", "without", "off", "disable", "0"];
    let enabled = paragraph
        .text("Enabled")
        .unwrap_or_default()
        .to_ascii_lowercase();
    checked(SourceEntry {
        file: file.to_owned(),
        line: paragraph.line,
        enabled: !off.contains(&enabled.as_str()),
        types: types
            .iter()
            .map(|word| source_type(word).ok_or("it is of no type that is known"))
            .collect::<Result<_, _>>()?,
        uris: words("URIs")
            .iter()
            .map(|uri| SourceUri::of_text(uri))
            .collect(),
        suites: words("Suites"),
        components: words("Components"),
        options,
    })
}

#[cfg(test)]
mod tests;
