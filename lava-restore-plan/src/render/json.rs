use crate::{Error, ErrorKind, Plan};

/// The plan as JSON, indented, with a newline at its end. The same plan gives the same bytes.
///
/// # Errors
/// Those of [`Plan::check`].
pub fn json(plan: &Plan) -> Result<String, Error> {
    plan.check()?;
    let text = serde_json::to_string_pretty(plan)
        .map_err(|error| Error::new(ErrorKind::Malformed, "the plan").with_source(error))?;
    Ok(text + "\n")
}
