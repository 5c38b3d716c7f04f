use std::fmt::{Display, Formatter, Result as Written};

use serde_json::Value;

use super::{Difference, FieldChange, PlanDiff, Side};
use crate::render::{command, one_line};

/// What is longer has a line for each side.
const SHORT: usize = 60;

impl Display for PlanDiff {
    fn fmt(&self, f: &mut Formatter<'_>) -> Written {
        for change in &self.plan {
            f.write_str("! ")?;
            write_change(f, change, "    ")?;
        }
        let kinds = [
            ("host", &self.hosts),
            ("step", &self.steps),
            ("gate", &self.gates),
            ("finding", &self.findings),
        ];
        for (kind, differences) in kinds {
            for difference in differences {
                write_difference(f, kind, difference)?;
            }
        }
        Ok(())
    }
}

fn write_difference(f: &mut Formatter<'_>, kind: &str, difference: &Difference) -> Written {
    let Difference {
        id,
        side,
        title,
        fields,
    } = difference;
    let sign = match side {
        Side::Removed => '-',
        Side::Added => '+',
        Side::Changed => '!',
    };
    writeln!(f, "{sign} {kind} {}: {}", one_line(id), one_line(title))?;
    let changed = |name: &str| fields.iter().any(|change| change.field == name);
    for change in fields {
        // Commands follow from actions and say the same.
        let of_action = change.field == "action" || change.field.starts_with("action.");
        if !of_action || !changed("argv") {
            f.write_str("    ")?;
            write_change(f, change, "        ")?;
        }
    }
    Ok(())
}

fn write_change(f: &mut Formatter<'_>, change: &FieldChange, indent: &str) -> Written {
    let field = one_line(&change.field);
    let (before, after) = (lines(&field, &change.before), lines(&field, &change.after));
    if let ([before], [after]) = (&before[..], &after[..])
        && before.chars().count() + after.chars().count() <= SHORT
    {
        return writeln!(f, "{field}: {before} -> {after}");
    }
    writeln!(f, "{field}:")?;
    // Where only the order differs, or how often something is there, all of it is shown.
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these
            .iter()
            .filter(|line| !those.contains(line))
            .cloned()
            .collect()
    };
    let (removed, added) = (only(&before, &after), only(&after, &before));
    let (removed, added) = if removed.is_empty() && added.is_empty() {
        (before, after)
    } else {
        (removed, added)
    };
    for line in removed {
        writeln!(f, "{indent}- {line}")?;
    }
    for line in added {
        writeln!(f, "{indent}+ {line}")?;
    }
    Ok(())
}

/// A value for a person, in lines: commands as they are typed, lists an element each.
fn lines(field: &str, value: &Value) -> Vec<String> {
    match value {
        Value::Array(elements) => match words(value) {
            Some(argv) if field == "argv" => vec![one_line(&command(&argv))],
            _ => elements
                .iter()
                .map(|element| line(field, element))
                .collect(),
        },
        _ => vec![line(field, value)],
    }
}

fn line(field: &str, value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => "nothing".to_owned(),
        other => match words(other) {
            Some(argv) if field == "argv" => command(&argv),
            _ => other.to_string(),
        },
    };
    one_line(&text)
}

fn words(value: &Value) -> Option<Vec<String>> {
    let words = value.as_array()?.iter();
    words.map(|word| word.as_str().map(str::to_owned)).collect()
}
