use std::collections::BTreeMap;

use crate::archive::SequenceSet;
use crate::error::Result;
use crate::superuser::Console;

/// What asks for every sequence of a database.
const ALL: &str = r"SELECT pg_catalog.format('SELECT %L, %L, last_value, is_called, %L FROM %s',
    n.nspname, c.relname,
    CASE WHEN s.seqcycle THEN 'cycles' WHEN s.seqincrement > 0 THEN 'up' ELSE 'down' END,
    c.oid::pg_catalog.regclass)
FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
";

/// What asks for sequences that would next give a value that their column may hold already.
const LOW: &str = r"SELECT pg_catalog.format(
    'SELECT %L, %L, next, far, %L FROM '
    '(SELECT last_value::pg_catalog.numeric + CASE WHEN is_called THEN %s ELSE 0 END AS next FROM %s) s, '
    '(SELECT pg_catalog.%s(%I) AS far FROM %s) t WHERE far %s= next',
    n.nspname, c.relname, n2.nspname || '.' || t.relname || '.' || a.attname,
    s.seqincrement, c.oid::pg_catalog.regclass,
    CASE WHEN s.seqincrement > 0 THEN 'max' ELSE 'min' END, a.attname,
    t.oid::pg_catalog.regclass, CASE WHEN s.seqincrement > 0 THEN '>' ELSE '<' END)
FROM pg_catalog.pg_sequence s
JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    AND d.objid = c.oid AND d.refclassid = d.classid AND d.refobjsubid > 0
    AND d.deptype IN ('a', 'i')
JOIN pg_catalog.pg_class t ON t.oid = d.refobjid AND t.relkind IN ('r', 'p')
JOIN pg_catalog.pg_namespace n2 ON n2.oid = t.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE NOT s.seqcycle AND a.atttypid IN (20, 21, 23)
ORDER BY n.nspname, c.relname
";

/// The sequences of the dump that are behind it, and those that are missing.
pub(super) fn behind(console: &mut Console, dumped: &[SequenceSet]) -> Result<Vec<String>> {
    let mut found = BTreeMap::new();
    for row in each(console, ALL)? {
        if let [schema, name, last, called, way] = row.as_slice() {
            let value = (last.parse().unwrap_or(0), called == "t", way.clone());
            found.insert((schema.clone(), name.clone()), value);
        }
    }
    let is_behind = |dumped: &&SequenceSet| {
        let Some((last, called, way)) = found.get(&(dumped.schema.clone(), dumped.name.clone()))
        else {
            return true;
        };
        let found = distance(*last, *called, way);
        let wanted = distance(dumped.last_value, dumped.is_called, way);
        way != "cycles" && found < wanted
    };
    let behind = dumped.iter().filter(is_behind);
    Ok(behind.map(|s| format!("{}.{}", s.schema, s.name)).collect())
}

/// The answers to all that a query says is to be asked.
fn each(console: &mut Console, sql: &str) -> Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    for ask in console.statements(sql)? {
        rows.append(&mut console.query(&ask)?);
    }
    Ok(rows)
}

/// How far a sequence has come on its way.
fn distance(last: i64, called: bool, way: &str) -> i128 {
    let sign = if way == "down" { -1 } else { 1 };
    sign * i128::from(last) + i128::from(called)
}

/// Sequences whose next value their column may hold already, and how far that
/// column goes.
pub(super) fn low(console: &mut Console) -> Result<Vec<String>> {
    let rows = each(console, LOW)?.into_iter();
    Ok(rows
        .filter_map(|row| match row.as_slice() {
            [schema, name, next, far, column] => Some(format!(
                "{schema}.{name}, whose next value is {next}, though {column} goes to {far}"
            )),
            _ => None,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn a_value_that_was_handed_out_is_one_further_whichever_way_a_sequence_goes() {
        assert!(distance(5, true, "up") > distance(5, false, "up"));
        assert!(distance(6, false, "up") > distance(5, false, "up"));
        assert!(distance(-6, false, "down") > distance(-5, false, "down"));
        assert!(distance(-5, true, "down") > distance(-5, false, "down"));
    }
}
