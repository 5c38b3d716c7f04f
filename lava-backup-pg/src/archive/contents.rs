use serde::{Deserialize, Serialize};

use super::error::{ArchiveError, excerpt};
use super::header::DumpHeader;
use super::toc::TocEntry;
use crate::digest::TableDigest;

/// A table whose data is in the dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableInfo {
    /// The table's schema.
    pub schema: String,
    /// The table's name.
    pub name: String,
    /// The columns in the order in which the rows have them, without those the server generates.
    pub columns: Vec<String>,
}

/// What the dump holds of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSummary {
    /// The table.
    pub table: TableInfo,
    /// How many rows.
    pub rows: u64,
    /// How many bytes of COPY text, newlines included; the end mark is none of them.
    pub bytes: u64,
    /// Of the rows, whatever their order.
    pub digest: TableDigest,
}

/// What a sequence is set to.
///
/// A sequence is not part of the snapshot that the tables are read in, so it may be ahead of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceSet {
    /// The sequence's schema.
    pub schema: String,
    /// The sequence's name.
    pub name: String,
    /// Its last value.
    pub last_value: i64,
    /// Whether that value was handed out; if not, it is the next one.
    pub is_called: bool,
}

/// What a dump holds, known once all of it has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpContents {
    /// Versions, name and time.
    pub header: DumpHeader,
    /// How many entries the table of contents has.
    pub entries: u64,
    /// The tables with data in the dump, sorted by schema and name.
    pub tables: Vec<TableSummary>,
    /// The sequences that the dump sets, sorted by schema and name.
    pub sequences: Vec<SequenceSet>,
    /// How many large objects.
    pub large_objects: u64,
    /// Of the large objects, as if each were a row: its number, a tab, its
    /// bytes. `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub large_objects_digest: Option<TableDigest>,
    /// The length of the dump in bytes.
    pub bytes: u64,
}

impl DumpContents {
    /// The table of that name, if its data is in the dump.
    #[must_use]
    pub fn table(&self, schema: &str, name: &str) -> Option<&TableSummary> {
        let key = |t: &TableSummary| {
            (t.table.schema.as_str(), t.table.name.as_str()).cmp(&(schema, name))
        };
        let at = self.tables.binary_search_by(key).ok()?;
        self.tables.get(at)
    }
}

impl SequenceSet {
    /// From `SELECT pg_catalog.setval('public.x_seq', 42, true);`. The name is taken from the
    /// entry, which has it unquoted.
    pub(super) fn from_entry(entry: &TocEntry, at: u64) -> Result<Self, ArchiveError> {
        let defn = entry.defn.as_deref().unwrap_or_default();
        match set_value(defn) {
            Some((last_value, is_called)) => Ok(Self {
                schema: entry.namespace.clone().unwrap_or_default(),
                name: entry.tag.clone(),
                last_value,
                is_called,
            }),
            None => Err(ArchiveError::malformed(
                "the value of a sequence",
                "SELECT pg_catalog.setval('…', …, …);",
                excerpt(defn),
                at,
            )),
        }
    }
}

fn set_value(defn: &str) -> Option<(i64, bool)> {
    let arguments = defn
        .strip_prefix("SELECT pg_catalog.setval(")?
        .trim_end()
        .strip_suffix(");")?;
    // The name comes first and may hold anything.
    let mut arguments = arguments.rsplitn(3, ", ");
    let is_called = arguments.next()?.parse().ok()?;
    let last_value = arguments.next()?.parse().ok()?;
    arguments.next()?;
    Some((last_value, is_called))
}

#[cfg(test)]
mod tests {
    use super::set_value;

    #[test]
    fn the_value_of_a_sequence_is_read_whatever_its_name() {
        assert_eq!(
            set_value("SELECT pg_catalog.setval('public.x_seq', 42, true);\n"),
            Some((42, true))
        );
        assert_eq!(
            set_value(
                "SELECT pg_catalog.setval('\"S, 1\".\"x''y, 7, true);\"', -9223372036854775808, false);\n\n"
            ),
            Some((i64::MIN, false))
        );
    }

    #[test]
    fn another_statement_is_no_value() {
        for defn in [
            "",
            "SELECT pg_catalog.setval(42, true);",
            "SELECT pg_catalog.setval('x', 42);",
            "SELECT pg_catalog.setval('x', 99999999999999999999, true);",
            "SELECT pg_catalog.setval('x', 42, true)",
        ] {
            assert_eq!(set_value(defn), None, "{defn:?}");
        }
    }
}
