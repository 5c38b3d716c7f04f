use std::fmt::Write as _;

use super::{command, one_line};
use crate::forbid::{self, FINDINGS_BEGIN, FINDINGS_END, WARNING_BEGINS, WARNING_ENDS};
use crate::{Action, Error, Finding, Gate, Plan, Step, Verdict};

/// The plan as a runbook: numbered by phase, a box to tick for each step, what to run, what to
/// expect, and where to stop.
///
/// # Errors
/// Those of [`Plan::check`], and `Forbidden` when the text would hold a forbidden operation.
pub fn markdown(plan: &Plan) -> Result<String, Error> {
    plan.check()?;
    let mut page = String::new();
    // Writing to a String can't fail.
    let _ = write_page(&mut page, plan);
    forbid::text("runbook", &page)?;
    Ok(page)
}

fn write_page(page: &mut String, plan: &Plan) -> std::fmt::Result {
    writeln!(page, "# {}\n", super::title(plan))?;
    for host in &plan.hosts {
        let name = host.name.as_deref().unwrap_or("unnamed");
        writeln!(page, "- `{}`: {}", host.id, code(name))?;
        writeln!(page, "  - backup: {}", code(&host.backup))?;
        writeln!(page, "  - made: {}", code(&host.backup_created))?;
        writeln!(page, "  - seal: {}", code(&host.seal_digest))?;
        let target = host.target_digest.as_deref().unwrap_or("not given");
        writeln!(page, "  - target's facts: {}", code(target))?;
    }
    writeln!(page, "- verdict: **{}**\n", plan.verdict)?;
    write_findings(page, &plan.findings)?;
    if plan.steps.is_empty() {
        writeln!(
            page,
            "There are no steps: what is refused above comes first."
        )?;
        return Ok(());
    }
    writeln!(page, "{WARNING_BEGINS}")?;
    writeln!(
        page,
        "> **Never run**, now or while this backup is in use: `migrate`, `makemigrations`,"
    )?;
    writeln!(
        page,
        "> `dpkg-reconfigure lava-server`, `postinst.py`, `dpkg --configure`, or any `apt-get`"
    )?;
    writeln!(
        page,
        "> that installs, upgrades or repairs. Each of them migrates the restored database."
    )?;
    writeln!(page, "{WARNING_ENDS}\n")?;
    writeln!(
        page,
        "If anything below is not as expected: **stop**. Nothing after it is safe.\n"
    )?;
    for (number, part) in (1..).zip(plan.parts()) {
        let first = &part[0];
        let (phase, host) = (first.phase.name(), &first.host);
        writeln!(page, "## {number}. {phase} on `{host}`\n")?;
        for (at, step) in (1..).zip(part) {
            write_step(page, step, (number, at))?;
        }
    }
    Ok(())
}

fn write_findings(page: &mut String, findings: &[Finding]) -> std::fmt::Result {
    writeln!(page, "## Findings\n\n{FINDINGS_BEGIN}")?;
    for finding in findings
        .iter()
        .filter(|finding| finding.severity > Verdict::Ok)
    {
        let Finding {
            host,
            code: id,
            severity,
            subject,
            expected,
            found,
            why,
            remedy,
            ground,
            steps,
        } = finding;
        writeln!(
            page,
            "- **{severity}** `{id}` on `{}`: {}: expected {}, found {}.",
            if host.is_empty() { "all" } else { host },
            code(subject),
            code(expected),
            code(found)
        )?;
        if !why.is_empty() {
            writeln!(page, "  Why: {} ({}).", one_line(why), one_line(ground))?;
        }
        if !remedy.is_empty() {
            writeln!(page, "  Remedy: {}.", one_line(remedy))?;
        }
        for step in steps {
            writeln!(page, "  Seen to by: `{step}`.")?;
        }
    }
    let well = findings
        .iter()
        .filter(|finding| finding.severity == Verdict::Ok)
        .count();
    writeln!(page, "- {well} rules found all well.")?;
    writeln!(page, "{FINDINGS_END}\n")
}

fn write_step(page: &mut String, step: &Step, (phase, number): (usize, usize)) -> std::fmt::Result {
    writeln!(page, "### {phase}.{number} {}\n", one_line(&step.title))?;
    writeln!(
        page,
        "- [ ] `{}` (step {} of LAVA's manual)\n",
        step.id, step.manual_step
    )?;
    writeln!(page, "{}\n", one_line(&step.why))?;
    for gate in &step.pre {
        write_gate(page, "First check", gate)?;
    }
    match &step.action {
        Action::Confirm { ask } => writeln!(page, "Confirm: {}\n", one_line(ask))?,
        Action::AwaitHost { host, step } => {
            writeln!(page, "Go on when `{step}` is done on `{host}`.\n")?;
        }
        _ => {}
    }
    if !step.argv.is_empty() {
        writeln!(page, "```sh")?;
        for argv in &step.argv {
            writeln!(page, "{}", command(argv))?;
        }
        writeln!(page, "```\n")?;
        match step.action.choices() {
            Some([]) => writeln!(
                page,
                "Read it, and go on only when you know what each line means.\n"
            )?,
            Some(choices) => {
                let choices = choices.join(" or ");
                writeln!(page, "Decide, and write it down: {choices}.\n")?;
                if let Some((choice, _)) = step.proof() {
                    writeln!(
                        page,
                        "With {choice}, run it again. Expect: exit 0 and no output. If not: stop.\n"
                    )?;
                }
            }
            None => writeln!(page, "Expect: exit 0. If not: stop.\n")?,
        }
    }
    for gate in &step.post {
        write_gate(page, "Check", gate)?;
    }
    Ok(())
}

fn write_gate(page: &mut String, title: &str, gate: &Gate) -> std::fmt::Result {
    writeln!(
        page,
        "{title} {}: {}\n",
        code(&gate.id),
        one_line(&gate.why)
    )?;
    writeln!(page, "```sh\n{}\n```\n", command(&gate.argv))?;
    if gate.patience > 0 {
        writeln!(
            page,
            "It may take up to {} seconds to hold.\n",
            gate.patience
        )?;
    }
    let exit = gate.expect.exit;
    match gate.expect.stdout.as_deref() {
        None => writeln!(page, "Expect: exit {exit}. If not: stop.\n"),
        Some("") => writeln!(page, "Expect: exit {exit} and no output. If not: stop.\n"),
        Some(text) => {
            let lines: Vec<String> = text.lines().map(code).collect();
            writeln!(
                page,
                "Expect: exit {exit} and {}. If not: stop.\n",
                lines.join(", ")
            )
        }
    }
}

/// Text from elsewhere as a code span, on one line and without a way out of it.
fn code(text: &str) -> String {
    let text = one_line(text).replace('`', "'");
    if text.is_empty() {
        "nothing".to_owned()
    } else {
        format!("`{text}`")
    }
}
