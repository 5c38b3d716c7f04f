use std::collections::BTreeSet;

use serde_json::Value;

/// A field of a document that its schema does not have, so that nobody reads it: a slip of the pen,
/// or of a later version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct UnknownField {
    /// Where it is, such as `packages[3].versoin`.
    pub path: String,
    /// The field that may be meant.
    pub nearest: Option<String>,
}

/// The fields of a document that its schema does not know, in their order. Nothing of a document
/// below an unknown field is looked at.
pub(crate) fn unknown_fields(document: &Value, schema: &Value) -> Vec<UnknownField> {
    let mut found = Vec::new();
    look(document, &[schema], schema, "", &mut found);
    found.sort();
    found
}

/// `forms` are the schemas of which the value may have one; `root` holds what they refer to.
fn look(value: &Value, forms: &[&Value], root: &Value, path: &str, found: &mut Vec<UnknownField>) {
    let mut plain = Vec::new();
    forms
        .iter()
        .for_each(|form| resolve(form, root, &mut plain));
    match value {
        Value::Object(fields) => {
            let known = |name: &str| -> Vec<&Value> {
                plain
                    .iter()
                    .filter_map(|form| form.get("properties")?.get(name))
                    .collect()
            };
            // A map has any key.
            let any = plain
                .iter()
                .filter_map(|form| form.get("additionalProperties"));
            let any: Vec<&Value> = any.filter(|form| form.is_object()).collect();
            for (name, value) in fields {
                let place = match path {
                    "" => name.clone(),
                    _ => format!("{path}.{name}"),
                };
                let mut forms = known(name);
                forms.extend(&any);
                if forms.is_empty() {
                    let nearest = nearest(name, &plain);
                    found.push(UnknownField {
                        path: place,
                        nearest,
                    });
                } else {
                    look(value, &forms, root, &place, found);
                }
            }
        }
        Value::Array(items) => {
            let forms: Vec<&Value> = plain.iter().filter_map(|form| form.get("items")).collect();
            for (number, item) in items.iter().enumerate() {
                look(item, &forms, root, &format!("{path}[{number}]"), found);
            }
        }
        _ => {}
    }
}

/// A schema, and those that it refers to or offers to choose from.
fn resolve<'a>(form: &'a Value, root: &'a Value, plain: &mut Vec<&'a Value>) {
    plain.push(form);
    if let Some(Value::String(name)) = form.get("$ref") {
        let name = name.trim_start_matches('#');
        if let Some(form) = root.pointer(name) {
            resolve(form, root, plain);
        }
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        let forms = form.get(choice).and_then(Value::as_array);
        forms
            .into_iter()
            .flatten()
            .for_each(|form| resolve(form, root, plain));
    }
}

/// The known name that differs least, if it is not quite another.
fn nearest(name: &str, forms: &[&Value]) -> Option<String> {
    const LONGEST: usize = 60;
    let known: BTreeSet<&String> = forms
        .iter()
        .filter_map(|form| form.get("properties")?.as_object())
        .flat_map(|properties| properties.keys())
        .collect();
    if name.len() > LONGEST {
        return None;
    }
    let rated = known
        .into_iter()
        .map(|known| (distance(name, known), known));
    let (least, known) = rated.min()?;
    (least <= 2 || 3 * least <= name.chars().count()).then(|| known.clone())
}

/// How many letters must be changed, added or left out to get from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_as_far_from_another_as_letters_must_change() {
        for (a, b, far) in [
            ("", "", 0),
            ("role", "role", 0),
            ("role", "roles", 1),
            ("a", "", 1),
        ] {
            assert_eq!(distance(a, b), far);
        }
        assert_eq!(distance("versoin", "version"), 2);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
