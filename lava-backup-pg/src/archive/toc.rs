use std::task::{Poll, ready};

use super::error::{ArchiveError, excerpt};
use super::header::ArchiveVersion;
use super::scan::{Input, Scan};

/// One entry of a dump's table of contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TocEntry {
    /// The dump's own number for it, above 0; what dependencies and data blocks refer to.
    pub dump_id: i32,
    /// The catalog that the object is in, 0 for none.
    pub catalog: u32,
    /// The object's number in its catalog, 0 for none.
    pub oid: u32,
    /// The object's name; for some kinds its table's name and its own.
    pub tag: String,
    /// The kind of object: `TABLE`, `TABLE DATA`, `SEQUENCE SET`, `INDEX` …
    pub desc: String,
    /// When `pg_restore` runs it.
    pub section: Section,
    /// The statement that makes the object.
    pub defn: Option<String>,
    /// The statement that drops it.
    pub drop_stmt: Option<String>,
    /// For table data, the `COPY` statement that its rows follow.
    pub copy_stmt: Option<String>,
    /// The schema.
    pub namespace: Option<String>,
    /// The tablespace.
    pub tablespace: Option<String>,
    /// The table access method, since 1.14.
    pub table_access_method: Option<String>,
    /// `pg_class.relkind`, since 1.16.
    pub relation_kind: Option<i32>,
    /// The role that owns it.
    pub owner: Option<String>,
    /// The entries that must be restored before it.
    pub dependencies: Vec<i32>,
    /// Whether a data block of this number is in the dump.
    pub has_data: bool,
    /// Where that block begins, if `pg_dump` could go back and write it: not in a dump that was
    /// piped.
    pub data_offset: Option<u64>,
}

/// When `pg_restore` runs an entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Section {
    /// At any time: comments and the like.
    #[default]
    None,
    /// Before the data.
    PreData,
    /// The data, large objects and sequences.
    Data,
    /// After the data: indexes, constraints, triggers.
    PostData,
}

/// The bounds of one entry, in bytes. `pg_dump` itself has none; a table has at most 1,600 columns
/// with names of 63 bytes, so no honest `COPY` statement comes near.
const DEFINITION_LIMIT: usize = 16 * 1024 * 1024;
const TEXT_LIMIT: usize = 1024 * 1024;
const NUMBER_LIMIT: usize = 16;
const DEPENDENCY_LIMIT: usize = 1_000_000;

/// Reads one [`TocEntry`] after another; one step reads one value.
#[derive(Debug)]
pub(super) struct EntryReader {
    version: ArchiveVersion,
    next: Value,
    entry: TocEntry,
}

/// The values of an entry, in their order.
#[derive(Debug, Clone, Copy)]
enum Value {
    DumpId,
    HadDumper,
    Catalog,
    Oid,
    Tag,
    Desc,
    Section,
    Definition,
    DropStatement,
    CopyStatement,
    Namespace,
    Tablespace,
    AccessMethod,
    RelationKind,
    Owner,
    WithOids,
    Dependencies,
    Data,
}

impl EntryReader {
    pub(super) fn new(version: ArchiveVersion) -> Self {
        Self {
            version,
            next: Value::DumpId,
            entry: TocEntry::default(),
        }
    }

    pub(super) fn read(
        &mut self,
        scan: &mut Scan,
        input: &mut Input<'_>,
    ) -> Poll<Result<TocEntry, ArchiveError>> {
        loop {
            let entry = &mut self.entry;
            self.next = match self.next {
                Value::DumpId => {
                    entry.dump_id = ready!(scan.int(input))?;
                    if entry.dump_id < 1 {
                        let found = entry.dump_id;
                        let what = "the number of an entry";
                        return Poll::Ready(Err(ArchiveError::malformed(
                            what,
                            "1 or more",
                            found,
                            scan.start(),
                        )));
                    }
                    Value::HadDumper
                }
                Value::HadDumper => {
                    ready!(scan.int(input))?;
                    Value::Catalog
                }
                Value::Catalog => {
                    entry.catalog = ready!(number(scan, input, "the catalog of an entry"))?;
                    Value::Oid
                }
                Value::Oid => {
                    entry.oid = ready!(number(scan, input, "the oid of an entry"))?;
                    Value::Tag
                }
                Value::Tag => {
                    entry.tag = ready!(scan.text(input, "the tag of an entry", TEXT_LIMIT))?;
                    Value::Desc
                }
                Value::Desc => {
                    entry.desc = ready!(scan.text(input, "the kind of an entry", TEXT_LIMIT))?;
                    Value::Section
                }
                Value::Section => {
                    entry.section = section(ready!(scan.int(input))?, scan.start())?;
                    Value::Definition
                }
                Value::Definition => {
                    entry.defn = ready!(scan.string(input, "a definition", DEFINITION_LIMIT))?;
                    Value::DropStatement
                }
                Value::DropStatement => {
                    entry.drop_stmt = ready!(scan.string(input, "a DROP statement", TEXT_LIMIT))?;
                    Value::CopyStatement
                }
                Value::CopyStatement => {
                    entry.copy_stmt = ready!(scan.string(input, "a COPY statement", TEXT_LIMIT))?;
                    Value::Namespace
                }
                Value::Namespace => {
                    entry.namespace = ready!(scan.string(input, "a schema's name", TEXT_LIMIT))?;
                    Value::Tablespace
                }
                Value::Tablespace => {
                    entry.tablespace =
                        ready!(scan.string(input, "a tablespace's name", TEXT_LIMIT))?;
                    Value::AccessMethod
                }
                Value::AccessMethod => {
                    if self.version >= ArchiveVersion::WITH_TABLE_ACCESS_METHOD {
                        entry.table_access_method =
                            ready!(scan.string(input, "a table access method", TEXT_LIMIT))?;
                    }
                    Value::RelationKind
                }
                Value::RelationKind => {
                    if self.version >= ArchiveVersion::WITH_RELATION_KIND {
                        entry.relation_kind = Some(ready!(scan.int(input))?);
                    }
                    Value::Owner
                }
                Value::Owner => {
                    entry.owner = ready!(scan.string(input, "an owner's name", TEXT_LIMIT))?;
                    Value::WithOids
                }
                Value::WithOids => {
                    ready!(scan.string(input, "the mark of tables with oids", NUMBER_LIMIT))?;
                    Value::Dependencies
                }
                Value::Dependencies => match ready!(dependency(scan, input))? {
                    None => Value::Data,
                    Some(id) => {
                        entry.dependencies.push(id);
                        let count = entry.dependencies.len();
                        if count > DEPENDENCY_LIMIT {
                            return Poll::Ready(Err(ArchiveError::too_large(
                                "the number of dependencies of an entry",
                                DEPENDENCY_LIMIT as u64,
                                count as u64,
                                scan.start(),
                            )));
                        }
                        Value::Dependencies
                    }
                },
                Value::Data => {
                    let [state, offset @ ..] = ready!(scan.bytes::<9>(input));
                    (entry.has_data, entry.data_offset) = match state {
                        1 => (true, None),
                        2 => (true, Some(u64::from_le_bytes(offset))),
                        3 => (false, None),
                        _ => {
                            let what = "the state of an entry's data";
                            return Poll::Ready(Err(ArchiveError::malformed(
                                what,
                                "1, 2 or 3",
                                state,
                                scan.start(),
                            )));
                        }
                    };
                    self.next = Value::DumpId;
                    return Poll::Ready(Ok(std::mem::take(entry)));
                }
            }
        }
    }
}

fn section(value: i32, at: u64) -> Result<Section, ArchiveError> {
    match value {
        1 => Ok(Section::None),
        2 => Ok(Section::PreData),
        3 => Ok(Section::Data),
        4 => Ok(Section::PostData),
        _ => Err(ArchiveError::malformed(
            "the section of an entry",
            "1 to 4",
            value,
            at,
        )),
    }
}

/// A number that is written as text.
fn number(
    scan: &mut Scan,
    input: &mut Input<'_>,
    what: &'static str,
) -> Poll<Result<u32, ArchiveError>> {
    let text = ready!(scan.text(input, what, NUMBER_LIMIT))?;
    Poll::Ready(
        text.parse()
            .map_err(|_| ArchiveError::malformed(what, "a number", excerpt(&text), scan.start())),
    )
}

/// The number of an entry as text; no text ends the list.
fn dependency(scan: &mut Scan, input: &mut Input<'_>) -> Poll<Result<Option<i32>, ArchiveError>> {
    let what = "a dependency of an entry";
    let Some(text) = ready!(scan.string(input, what, NUMBER_LIMIT))? else {
        return Poll::Ready(Ok(None));
    };
    Poll::Ready(match text.parse() {
        Ok(id) => Ok(Some(id)),
        Err(_) => Err(ArchiveError::malformed(
            what,
            "a number",
            excerpt(&text),
            scan.start(),
        )),
    })
}
