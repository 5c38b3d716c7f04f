use std::fmt::{Result as Written, Write as _};

use super::escape::{Command, Text};
use crate::step::{Danger, Expect};
use crate::{Action, Gate, Step};

/// A step, with its gates before and after what is to be run.
pub(super) fn write(
    page: &mut String,
    step: &Step,
    (part, position): (usize, usize),
    show_host: bool,
) -> Written {
    let id = Text(&step.id);
    writeln!(
        page,
        "<article class=\"step\" id=\"{id}\" data-of=\"{part}\" aria-labelledby=\"title:{id}\">"
    )?;
    writeln!(
        page,
        "<h3 id=\"title:{id}\"><label><input type=\"checkbox\" data-tick=\"{id}\"> \
         <span class=\"number\">{part}.{position}</span> <span class=\"title\">{}</span></label></h3>",
        Text(&step.title)
    )?;
    write!(page, "<p class=\"meta\"><code>{id}</code>")?;
    if show_host {
        write!(
            page,
            " <span>on <strong>{}</strong></span>",
            Text(&step.host)
        )?;
    }
    write!(
        page,
        " <span>step {} of LAVA's manual</span>",
        step.manual_step
    )?;
    if !step.secrets.is_empty() {
        let secrets = step.secrets.join(", ");
        write!(page, " <span>reads {}</span>", Text(&secrets))?;
    }
    let danger = match step.danger {
        Danger::None => None,
        Danger::Interrupts => Some(("interrupts", "interrupts users or jobs")),
        Danger::Replaces => Some(("replaces", "replaces; what was there is kept")),
        Danger::ReachesOut => Some(("reaches-out", "may send mail, call back or drive a device")),
    };
    if let Some((class, text)) = danger {
        write!(page, " <span class=\"danger {class}\">{text}</span>")?;
    }
    writeln!(page, "</p>\n<p class=\"why\">{}</p>", Text(&step.why))?;
    write_gates(page, "First check", &step.pre)?;
    write_action(page, step)?;
    write_gates(
        page,
        if step.argv.is_empty() {
            "Check"
        } else {
            "Then check"
        },
        &step.post,
    )?;
    if !(step.pre.is_empty() && step.post.is_empty()) {
        writeln!(
            page,
            "<p class=\"unticked\">Done, with checks that are not ticked?</p>"
        )?;
    }
    writeln!(page, "</article>")
}

fn write_action(page: &mut String, step: &Step) -> Written {
    match &step.action {
        Action::Confirm { ask } => {
            writeln!(page, "<h4>Confirm</h4>\n<p class=\"ask\">{}</p>", Text(ask))?;
        }
        Action::AwaitHost { host, step } => {
            let (host, step) = (Text(host), Text(step));
            writeln!(
                page,
                "<h4>Wait</h4>\n<p class=\"ask\">Go on when <a href=\"#{step}\">\
                 <code>{step}</code></a> is done on <strong>{host}</strong>.</p>"
            )?;
        }
        _ => {}
    }
    if step.argv.is_empty() {
        return Ok(());
    }
    writeln!(page, "<h4>Run</h4>")?;
    for argv in &step.argv {
        write_command(page, argv)?;
    }
    match step.action.choices() {
        None if step.argv.len() > 1 => {
            writeln!(
                page,
                "<p class=\"expect\">Expect exit 0 of each before the next. If not, stop.</p>"
            )
        }
        None => writeln!(page, "<p class=\"expect\">Expect exit 0. If not, stop.</p>"),
        Some([]) => writeln!(
            page,
            "<p class=\"ask\">Read it, and go on only when you know what each line means.</p>"
        ),
        Some(choices) => {
            let id = Text(&step.id);
            writeln!(page, "<h4 id=\"decide:{id}\">Decide</h4>")?;
            writeln!(
                page,
                "<p class=\"choices\" role=\"radiogroup\" aria-labelledby=\"decide:{id}\">"
            )?;
            for choice in choices {
                writeln!(
                    page,
                    "<label><input type=\"radio\" name=\"{id}\" data-tick=\"{id}={choice}\"> {choice}</label>"
                )?;
            }
            writeln!(page, "</p>")?;
            match step.proof() {
                Some((choice, _)) => writeln!(
                    page,
                    "<p class=\"expect\">With {choice}, run it again: expect exit 0 and no output. \
                     If not, stop.</p>"
                ),
                None => Ok(()),
            }
        }
    }
}

/// Gates, those with the same reason below it once.
fn write_gates(page: &mut String, title: &str, gates: &[Gate]) -> Written {
    if gates.is_empty() {
        return Ok(());
    }
    writeln!(page, "<h4>{title}</h4>")?;
    for alike in gates.chunk_by(|a, b| a.why == b.why) {
        writeln!(
            page,
            "<p class=\"why-gate\">{}</p>\n<ul class=\"gates\">",
            Text(&alike[0].why)
        )?;
        for gate in alike {
            write_gate(page, gate)?;
        }
        writeln!(page, "</ul>")?;
    }
    Ok(())
}

fn write_gate(page: &mut String, gate: &Gate) -> Written {
    let id = Text(&gate.id);
    writeln!(
        page,
        "<li class=\"gate\" id=\"{id}\"><label><input type=\"checkbox\" data-tick=\"{id}\"> {id}</label>"
    )?;
    write_command(page, &gate.argv)?;
    write!(page, "<p class=\"expect\">Expect exit {}", gate.expect.exit)?;
    write_output(page, &gate.expect)?;
    if gate.patience > 0 {
        write!(page, ", within {} seconds", gate.patience)?;
    }
    writeln!(page, ". If not, stop.</p></li>")
}

fn write_output(page: &mut String, expect: &Expect) -> Written {
    let Some(text) = &expect.stdout else {
        return Ok(());
    };
    let lines: Vec<&str> = text.lines().collect();
    match lines.as_slice() {
        [] => write!(page, " and no output"),
        [line] => write!(page, " and <samp>{}</samp>", Text(line)),
        [line, others @ ..] if others.iter().all(|other| other == line) => {
            write!(
                page,
                " and {} lines of <samp>{}</samp>",
                lines.len(),
                Text(line)
            )
        }
        _ => {
            let lines = lines
                .iter()
                .map(|line| format!("<samp>{}</samp>", Text(line)));
            write!(
                page,
                " and the lines {}",
                lines.collect::<Vec<_>>().join(", ")
            )
        }
    }
}

fn write_command(page: &mut String, argv: &[String]) -> Written {
    writeln!(
        page,
        "<div class=\"box\"><pre><code>{}</code></pre></div>",
        Command(argv)
    )
}
