use crate::{Error, ErrorKind, MOST_BYTES, Plan};

/// The plan as JSON, indented, with a newline at its end. The same plan gives the same bytes.
///
/// # Errors
/// Those of [`Plan::check`], and `TooLarge` for one that [`Plan::from_json`] would not read.
pub fn json(plan: &Plan) -> Result<String, Error> {
    plan.check()?;
    let text = serde_json::to_string_pretty(plan)
        .map_err(|error| Error::new(ErrorKind::Malformed, "the plan").with_source(error))?;
    if text.len() >= MOST_BYTES {
        let at = format!("the plan for {} hosts", plan.hosts.len());
        return Err(Error::new(ErrorKind::TooLarge, at));
    }
    Ok(text + "\n")
}
