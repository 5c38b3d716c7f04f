use std::fmt::{Result as Written, Write as _};

use super::super::bound;
use super::super::one_line;
use super::scalar::text;
use super::{group, write_arguments};
use crate::{Action, Gate, Plan, Step};

const HIDE: &str = "no_log: \"{{ lava_restore_hide | default(true) | bool }}\"";

/// A step: what it needs, its gates, its commands, its question, and the file that remembers it.
pub(super) fn write(out: &mut String, plan: &Plan, step: &Step) -> Written {
    let (id, title) = (&step.id, one_line(&step.title));
    let manual = step.manual_step;
    out.push('\n');
    write_comment(out, &one_line(&step.why))?;
    writeln!(
        out,
        "        - name: {}",
        text(&format!("[{id}] {title} (step {manual} of LAVA's manual)"))
    )?;
    writeln!(out, "          tags: [\"{}\", \"{id}\"]", step.phase.name())?;
    writeln!(out, "          when: \"'{id}' not in lava_restore_done\"")?;
    if let Some(answers) = answers(step) {
        writeln!(
            out,
            "          vars:\n            lava_restore_answers: [\"{}\"]",
            answers.join("\", \"")
        )?;
        out.push_str(GIVEN);
    }
    writeln!(out, "          block:")?;
    for need in &step.needs {
        write_need(out, plan, step, need)?;
    }
    for gate in &step.pre {
        write_gate(out, step, gate)?;
    }
    let count = step.argv.len();
    for (position, argv) in step.argv.iter().enumerate() {
        let part = if count > 1 {
            format!(" ({} of {count})", position + 1)
        } else {
            String::new()
        };
        task(out, &format!("[{id}] {title}{part}"))?;
        write_command(out, argv)?;
        if step.action.is_read_only() {
            writeln!(
                out,
                "              register: lava_restore_seen\n              changed_when: false"
            )?;
        } else {
            writeln!(out, "              changed_when: true")?;
        }
        if !step.secrets.is_empty() {
            writeln!(out, "              {HIDE}")?;
        }
    }
    write_question(out, step)?;
    for gate in &step.post {
        write_gate(out, step, gate)?;
    }
    write_mark(out, step)
}

/// A comment above a step, in lines of a page's width.
fn write_comment(out: &mut String, text: &str) -> Written {
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.len() + word.len() > 80 {
            writeln!(out, "        # {line}")?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "        # {line}")
}

/// The name of a task of a step.
fn task(out: &mut String, name: &str) -> Written {
    writeln!(out, "            - name: {}", text(name))
}

fn write_command(out: &mut String, argv: &[String]) -> Written {
    writeln!(
        out,
        "              ansible.builtin.command:\n                chdir: /\n                argv:"
    )?;
    write_arguments(out, 18, argv)
}

fn write_need(out: &mut String, plan: &Plan, step: &Step, need: &str) -> Written {
    task(out, &format!("[{}] {need} is done", step.id))?;
    writeln!(
        out,
        "              ansible.builtin.file:
                path: \"{{{{ lava_restore_state }}}}/done/{need}\"
                state: file"
    )?;
    let other = plan.host(bound::host_in(need));
    if let Some(other) = other.filter(|other| other.id != step.host) {
        // Of the directory that nobody named, each host has its own.
        let state = text(&bound::state(other));
        writeln!(
            out,
            "              delegate_to: \"{{{{ groups['{}'][0] }}}}\"
              vars:
                lava_restore_state: {state}",
            group(&other.id)
        )?;
    }
    writeln!(out, "              when: not ansible_check_mode")
}

fn write_gate(out: &mut String, step: &Step, gate: &Gate) -> Written {
    let id = one_line(&gate.id);
    let hidden = !step.secrets.is_empty();
    task(out, &format!("[{id}] Ask"))?;
    write_command(out, &gate.argv)?;
    writeln!(
        out,
        "              register: lava_restore_gate
              changed_when: false
              failed_when: false
              check_mode: false"
    )?;
    let holds = holds(gate);
    if gate.patience > 0 {
        // When it does not hold in time, the next task says so. Nobody waits for what --check has
        // not done.
        writeln!(
            out,
            "              until:
                - {}
              delay: 1
              retries: \"{{{{ 0 if ansible_check_mode else {} }}}}\"
              ignore_errors: true",
            holds.join("\n                - "),
            gate.patience
        )?;
        write_expected(out, gate)?;
    }
    if hidden {
        writeln!(out, "              {HIDE}")?;
    }
    task(out, &format!("[{id}] {}", one_line(&gate.why)))?;
    let exit = gate.expect.exit;
    writeln!(
        out,
        "              ansible.builtin.assert:
                that:
                  - {}",
        holds.join("\n                  - ")
    )?;
    writeln!(
        out,
        "                fail_msg:
                  - {}
                  - {}",
        text(&format!(
            "gate {id} does not hold; nothing after it was run"
        )),
        text(&format!("expected: exit {exit}")),
    )?;
    if gate.expect.stdout.is_some() {
        writeln!(
            out,
            "                  - \"expected: {{{{ lava_restore_expected }}}}\""
        )?;
    }
    writeln!(
        out,
        "                  - \"found: exit {{{{ lava_restore_gate.rc | default('unknown') }}}}\""
    )?;
    if !hidden {
        writeln!(
            out,
            "                  - \"found: {{{{ lava_restore_gate.stdout | default('') }}}}\"
                  - \"found: {{{{ lava_restore_gate.stderr | default(lava_restore_gate.msg | default('')) }}}}\""
        )?;
    }
    writeln!(out, "                quiet: true")?;
    write_expected(out, gate)?;
    writeln!(
        out,
        "              ignore_errors: \"{{{{ ansible_check_mode }}}}\""
    )
}

/// What is so of `lava_restore_gate` when a gate holds.
fn holds(gate: &Gate) -> Vec<String> {
    let exit = gate.expect.exit;
    let mut holds = vec![format!("lava_restore_gate.rc | default(-1) == {exit}")];
    if gate.expect.stdout.is_some() {
        holds.push("lava_restore_gate.stdout | default('') == lava_restore_expected".to_owned());
    }
    holds
}

fn write_expected(out: &mut String, gate: &Gate) -> Written {
    let Some(expected) = &gate.expect.stdout else {
        return Ok(());
    };
    let expected = text(expected);
    writeln!(
        out,
        "              vars:\n                lava_restore_expected: {expected}"
    )
}

/// What a person may answer, as in the script; `None` for steps that ask nobody.
fn answers(step: &Step) -> Option<Vec<String>> {
    // That another host has come so far is seen there, as a step that is needed.
    let asks = !matches!(step.action, Action::AwaitHost { .. });
    let choices = step.action.choices().filter(|_| asks)?;
    if choices.is_empty() {
        return Some(vec![step.id.clone()]);
    }
    Some(
        choices
            .iter()
            .map(|choice| format!("{}={choice}", step.id))
            .collect(),
    )
}

const GIVEN: &str = "            lava_restore_given: >-
              {{ (lava_restore_confirm.split() + [lava_restore_typed.user_input | default('') | trim])
              | intersect(lava_restore_answers) | first | default('') }}
";

fn write_question(out: &mut String, step: &Step) -> Written {
    let Some(answers) = answers(step) else {
        return Ok(());
    };
    let id = &step.id;
    let words = answers.join(" or ");
    let ask = match &step.action {
        Action::Confirm { ask } => one_line(ask),
        _ => one_line(&step.why),
    };
    if !step.argv.is_empty() {
        task(out, &format!("[{id}] Read this"))?;
        writeln!(
            out,
            "              ansible.builtin.debug:
                msg: \"{{{{ lava_restore_seen.stdout_lines | default([]) }}}}\"
              when: not ansible_check_mode"
        )?;
    }
    task(out, &format!("[{id}] To be answered with {words}"))?;
    writeln!(
        out,
        "              ansible.builtin.debug:
                msg: {}
              when: ansible_check_mode",
        text(&ask)
    )?;
    task(out, &format!("[{id}] A person answers"))?;
    writeln!(
        out,
        "              ansible.builtin.pause:
                prompt: {}
              register: lava_restore_typed
              when:
                - not ansible_check_mode
                - lava_restore_confirm.split() | intersect(lava_restore_answers) | length == 0",
        text(&format!("{ask}\nType {words}"))
    )?;
    task(out, &format!("[{id}] It is answered"))?;
    writeln!(
        out,
        "              ansible.builtin.assert:
                that: lava_restore_given in lava_restore_answers
                fail_msg: {}
                quiet: true
              when: not ansible_check_mode",
        text(&format!(
            "step {id} is not confirmed: type {words}, or give it in LAVA_RESTORE_CONFIRM"
        ))
    )?;
    let Some((choice, gate)) = step.proof() else {
        return Ok(());
    };
    task(out, &format!("[{}] {}", gate.id, one_line(&gate.why)))?;
    write_command(out, &gate.argv)?;
    writeln!(
        out,
        "              register: lava_restore_gate
              changed_when: false
              failed_when: lava_restore_gate.rc != {} or lava_restore_gate.stdout != lava_restore_expected
              when:
                - not ansible_check_mode
                - lava_restore_given == '{id}={choice}'",
        gate.expect.exit
    )?;
    write_expected(out, &gate)
}

/// A step is done when this file is there; what a person answered stands in it.
fn write_mark(out: &mut String, step: &Step) -> Written {
    let id = &step.id;
    task(out, &format!("[{id}] Done"))?;
    let done = format!("\"{{{{ lava_restore_state }}}}/done/{id}\"");
    if answers(step).is_some() {
        writeln!(
            out,
            "              ansible.builtin.copy:
                content: \"{{{{ lava_restore_given }}}}\\n\"
                dest: {done}"
        )?;
    } else {
        writeln!(
            out,
            "              ansible.builtin.file:
                path: {done}
                state: touch"
        )?;
    }
    writeln!(
        out,
        "                mode: \"0600\"
              when: not ansible_check_mode"
    )
}
