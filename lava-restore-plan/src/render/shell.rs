use std::fmt::Write as _;

use super::{bound, command, one_line, quote};
use crate::{Action, Error, ErrorKind, Gate, Plan, PlannedHost, Step, Verdict, forbid};

/// What every script has before its steps.
const PRELUDE: &str = include_str!("prelude.sh");

/// The part of one host, by its id, as a POSIX shell script for root on that target.
///
/// It has one function for each step, remembers what was done under
/// `LAVA_RESTORE_STATE` (by default below `/var/lib/lava-backup/restore`) so that a second run goes
/// on where the first one stopped, holds the lock of the host that a run of
/// `lava-backup restore` holds, asks a person on the terminal or takes their answers from
/// `LAVA_RESTORE_CONFIRM`, and with `--dry-run` only says what it would do. It exits 0 when all is
/// done, 1 when a command failed or another run is at work, 2 on wrong usage, 3 when the plan was
/// refused, 6 when the directory belongs to another plan and 7 at a gate that does not hold.
///
/// # Errors
/// Those of [`Plan::check`], `UnknownHost` when the plan is not for such a host, and `Forbidden`
/// when the text would hold a forbidden operation.
pub fn shell(plan: &Plan, host: &str) -> Result<String, Error> {
    plan.check()?;
    let unknown = || Error::new(ErrorKind::UnknownHost, format!("host {host:.200}"));
    let host = plan.host(host).ok_or_else(unknown)?;
    let mut script = String::new();
    // Writing to a String can't fail.
    let _ = write_script(&mut script, plan, host);
    forbid::text("script", &script)?;
    Ok(script)
}

fn write_script(script: &mut String, plan: &Plan, host: &PlannedHost) -> std::fmt::Result {
    writeln!(script, "#!/bin/sh")?;
    // Its rule takes each `$` or backtick in single quotes for an oversight. Here every one is meant.
    writeln!(script, "# Arguments are literal. shellcheck is told so:")?;
    writeln!(script, "# shellcheck disable=SC2016")?;
    writeln!(
        script,
        "# {}: {}, from backup {} made {}.",
        super::title(plan),
        host.id,
        one_line(&host.backup),
        one_line(&host.backup_created)
    )?;
    writeln!(script, "# Verdict: {}", plan.verdict)?;
    for finding in plan
        .findings
        .iter()
        .filter(|finding| finding.severity > Verdict::Ok)
        .filter(|finding| finding.host == host.id || finding.host.is_empty())
    {
        let what = [
            &finding.code,
            &finding.subject,
            &finding.expected,
            &finding.found,
        ]
        .map(|text| one_line(text));
        let [code, subject, expected, found] = what;
        writeln!(
            script,
            "# {} {code} {subject}: expected {expected}, found {found}",
            finding.severity
        )?;
    }
    writeln!(script)?;
    if plan.steps.is_empty() {
        writeln!(
            script,
            "echo 'refused; the findings are at the head of this script' >&2\nexit 3"
        )?;
        return Ok(());
    }
    writeln!(script, "backup={}", quote(&one_line(&host.backup), false))?;
    writeln!(
        script,
        "plan={}\n",
        quote(&one_line(&bound::binding(host)), false)
    )?;
    script.push_str(PRELUDE);
    let steps = || plan.steps.iter().filter(|step| step.host == host.id);
    for step in steps() {
        write_step(script, step)?;
    }
    writeln!(script, "\nbind")?;
    for step in steps() {
        writeln!(script, "step {} {}", step.id, function(step))?;
    }
    writeln!(script, "echo 'all steps done'")
}

/// A dot has no place in a function's name, and an id has no other sign.
fn function(step: &Step) -> String {
    step.id.replace('.', "_")
}

fn write_step(script: &mut String, step: &Step) -> std::fmt::Result {
    writeln!(script, "\n# {}: {}", step.id, one_line(&step.title))?;
    writeln!(script, "# {}", one_line(&step.why))?;
    writeln!(script, "{}() {{", function(step))?;
    for gate in &step.pre {
        write_gate(script, gate)?;
    }
    let ask = match &step.action {
        Action::Confirm { ask } => Some(one_line(ask)),
        Action::AwaitHost { host, step } => Some(format!("{step} is done on {host}.")),
        _ => None,
    };
    if let Some(ask) = ask {
        writeln!(script, "    printf '%s\\n' {}", quote(&ask, false))?;
    }
    for argv in &step.argv {
        writeln!(script, "    run {}", arguments(argv))?;
    }
    if let Some(choices) = step.action.choices() {
        if !choices.is_empty() {
            writeln!(
                script,
                "    printf '%s\\n' {}",
                quote(&one_line(&step.why), false)
            )?;
        }
        let mut answers: Vec<String> = choices
            .iter()
            .map(|choice| format!("{}={choice}", step.id))
            .collect();
        if answers.is_empty() {
            answers.push(step.id.clone());
        }
        writeln!(script, "    confirm {}", arguments(&answers))?;
    }
    if let Some((choice, gate)) = step.proof() {
        let answer = quote(&format!("{}={choice}", step.id), false);
        writeln!(script, "    if [ \"$answer\" = {answer} ]; then")?;
        write!(script, "    ")?;
        write_gate(script, &gate)?;
        writeln!(script, "    fi")?;
    }
    for gate in &step.post {
        write_gate(script, gate)?;
    }
    writeln!(script, "}}")
}

fn write_gate(script: &mut String, gate: &Gate) -> std::fmt::Result {
    let (compare, text) = match &gate.expect.stdout {
        Some(text) => ("text", text.as_str()),
        None => ("any", ""),
    };
    let exit = gate.expect.exit.to_string();
    let patience = gate.patience.to_string();
    let why = one_line(&gate.why);
    let line =
        [gate.id.as_str(), &why, &patience, &exit, compare, text].map(|word| quote(word, false));
    writeln!(
        script,
        "    gate {} {}",
        line.join(" "),
        arguments(&gate.argv)
    )
}

/// A command behind `run` or `gate`, where its first word is an argument too.
fn arguments(argv: &[String]) -> String {
    match argv {
        [first] => quote(first, false),
        _ => command(argv),
    }
}
