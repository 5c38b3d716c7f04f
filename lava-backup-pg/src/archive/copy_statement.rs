/// The columns of `COPY schema.table (column, "Column 2") FROM stdin;`, in their order; `None` if
/// the statement is not one that `pg_dump` writes.
///
/// A table without columns has no list, not even an empty one.
pub(super) fn columns(statement: &str) -> Option<Vec<String>> {
    let mut rest = statement.strip_prefix("COPY ")?;
    loop {
        rest = identifier(rest)?.1;
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None => break,
        }
    }
    rest = rest.strip_prefix(' ')?;
    let mut columns = Vec::new();
    if let Some(mut list) = rest.strip_prefix('(') {
        loop {
            let (column, after) = identifier(list)?;
            columns.push(column);
            match after.strip_prefix(", ") {
                Some(next) => list = next,
                None => {
                    rest = after.strip_prefix(')')?;
                    break;
                }
            }
        }
    }
    (rest == " FROM stdin;\n").then_some(columns)
}

/// The table of a statement that [`columns`] understands, as it names it.
pub(crate) fn table(statement: &str) -> &str {
    let named = statement.strip_prefix("COPY ").unwrap_or(statement);
    let mut rest = named;
    while let Some((_, after)) = identifier(rest) {
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None => return &named[..named.len() - after.len()],
        }
    }
    named
}

/// The identifier that a text begins with, unquoted, and what follows it.
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find([' ', '.', ',', '(', ')', '"', ';'])?;
        let (name, rest) = text.split_at(end);
        return (!name.is_empty()).then(|| (name.to_owned(), rest));
    };
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return (!name.is_empty()).then_some((name, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{columns, table};

    #[track_caller]
    fn has(statement: &str, expected: &[&str]) {
        let expected = expected.iter().map(|&c| c.to_owned()).collect();
        assert_eq!(columns(statement), Some(expected), "{statement}");
    }

    #[test]
    fn names_are_unquoted() {
        has("COPY public.t (id, name) FROM stdin;\n", &["id", "name"]);
        has(
            "COPY \"My Schema\".\"t \"\"x\"\".(y)\" (\"Id\", \"a, b) FROM stdin;\n\", \"q\"\"q\", größe) FROM stdin;\n",
            &["Id", "a, b) FROM stdin;\n", "q\"q", "größe"],
        );
    }

    #[test]
    fn a_table_is_named_as_the_statement_names_it() {
        assert_eq!(
            table("COPY public.nothing  FROM stdin;\n"),
            "public.nothing"
        );
        assert_eq!(
            table("COPY \"My Schema\".\"t (x)\" (id) FROM stdin;\n"),
            "\"My Schema\".\"t (x)\""
        );
        assert_eq!(table("INSERT"), "INSERT");
    }

    #[test]
    fn a_table_without_columns_has_no_list() {
        has("COPY public.nothing  FROM stdin;\n", &[]);
    }

    #[test]
    fn another_statement_is_not_guessed_at() {
        for statement in [
            "",
            "COPY",
            "COPY ",
            "COPY t",
            "COPY t (",
            "COPY t ()",
            "COPY t (a",
            "COPY t (a,b) FROM stdin;\n",
            "COPY t (a) FROM stdin;",
            "COPY t (\"a) FROM stdin;\n",
            "COPY t (\"\") FROM stdin;\n",
            "COPY . (a) FROM stdin;\n",
            "COPY t (a) WITH OIDS FROM stdin;\n",
            "COPY t (a) FROM stdin;\nDROP TABLE t;\n",
            "INSERT INTO t VALUES (1);\n",
        ] {
            assert_eq!(columns(statement), None, "{statement:?}");
        }
    }
}
