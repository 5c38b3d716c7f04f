use std::fmt::{Result as Written, Write as _};

use super::bound;
use super::one_line;
use crate::{Error, ErrorKind, Plan, Step, Verdict, forbid};

mod scalar;
mod step;

use scalar::{argument, text};

/// What every playbook says of itself.
const HEAD: &str = include_str!("ansible/head.yml");
/// What every play does before its steps and after them.
const BEFORE: &str = include_str!("ansible/before.yml");
const AFTER: &str = include_str!("ansible/after.yml");

/// The plan as an Ansible playbook.
///
/// The inventory names the plan's hosts by groups of one host each, `lava_master` and so on; the
/// plays follow the plan's order, one for each run of steps on the same host. Task names and tags
/// carry the ids of steps and gates. Done steps are remembered on their host, in the same files as
/// by [`shell`](super::shell), so that either goes on where the other stopped. A gate that does not
/// hold ends all; with `--check` every gate is asked, and none ends anything.
///
/// # Errors
/// Those of [`Plan::check`], `Forbidden` when the text would hold a forbidden operation, and
/// `Unwritable` for an argument that begins with `~`, which Ansible changes whatever is written.
pub fn ansible(plan: &Plan) -> Result<String, Error> {
    plan.check()?;
    for step in &plan.steps {
        if step.commands().flatten().any(|word| word.starts_with('~')) {
            let at = format!("step {} as a playbook: an argument begins with ~", step.id);
            return Err(Error::new(ErrorKind::Unwritable, at));
        }
    }
    let mut playbook = String::new();
    // Writing to a String can't fail.
    let _ = write_playbook(&mut playbook, plan);
    forbid::text("playbook", &playbook)?;
    Ok(playbook)
}

fn write_playbook(playbook: &mut String, plan: &Plan) -> Written {
    writeln!(playbook, "---\n# {}.", super::title(plan))?;
    for host in &plan.hosts {
        let [backup, created] = [&host.backup, &host.backup_created].map(|text| one_line(text));
        writeln!(
            playbook,
            "# {}: from backup {backup} made {created}.",
            group(&host.id)
        )?;
    }
    writeln!(playbook, "# Verdict: {}", plan.verdict)?;
    let worse = plan
        .findings
        .iter()
        .filter(|finding| finding.severity > Verdict::Ok);
    for finding in worse {
        let what = [
            &finding.host,
            &finding.code,
            &finding.subject,
            &finding.expected,
            &finding.found,
        ];
        let [host, code, subject, expected, found] = what.map(|text| one_line(text));
        let severity = finding.severity;
        let on = if host.is_empty() { "all" } else { &host };
        writeln!(
            playbook,
            "# {severity} {code} on {on}: {subject}: expected {expected}, found {found}"
        )?;
    }
    if plan.steps.is_empty() {
        return playbook.write_str(REFUSED);
    }
    playbook.push_str(HEAD);
    write_inventory_check(playbook, &plan.steps)?;
    for steps in plan.steps.chunk_by(|a, b| a.host == b.host) {
        write_play(playbook, plan, steps)?;
    }
    Ok(())
}

const REFUSED: &str = "
- name: The plan is refused
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Stop
      ansible.builtin.fail:
        msg: Refused; the findings are at the head of this playbook.
      tags: [always]
";

/// The inventory's group of a host of the plan.
fn group(host: &str) -> String {
    format!("lava_{host}")
}

/// A group that nobody named would be passed over with a warning, and the rest would run.
fn write_inventory_check(playbook: &mut String, steps: &[Step]) -> Written {
    let mut groups: Vec<String> = steps.iter().map(|step| group(&step.host)).collect();
    groups.sort();
    groups.dedup();
    writeln!(
        playbook,
        "
- name: The inventory names every host of the plan
  hosts: localhost
  connection: local
  gather_facts: false
  any_errors_fatal: true
  tasks:"
    )?;
    for group in groups {
        writeln!(
            playbook,
            "    - name: \"One host is in the group {group}\"
      ansible.builtin.assert:
        that: groups['{group}'] | default([]) | length == 1
        fail_msg: The inventory must have one host in the group {group}.
        quiet: true
      tags: [always]"
        )?;
    }
    Ok(())
}

fn write_play(playbook: &mut String, plan: &Plan, steps: &[Step]) -> Written {
    let Some(host) = plan.host(&steps[0].host) else {
        return Ok(());
    };
    let group = group(&host.id);
    let phases = [steps[0].phase, steps[steps.len() - 1].phase].map(|phase| phase.name());
    let name = format!("Restore on {group}: {} to {}", phases[0], phases[1]);
    writeln!(
        playbook,
        "
- name: {}
  hosts: {group}
  serial: 1
  any_errors_fatal: true
  gather_facts: false
  become: true
  environment:
    LC_ALL: C
    dollar: $
  vars:
    lava_restore_group: {group}
    lava_restore_state: {}
    lava_restore_plan: {}",
        text(&name),
        text(&bound::state(host)),
        text(&one_line(&bound::binding(host))),
    )?;
    playbook.push_str(BEFORE);
    for step in steps {
        step::write(playbook, plan, step)?;
    }
    playbook.push_str(AFTER);
    Ok(())
}

/// A command's arguments, as the lines below `argv:`.
fn write_arguments(playbook: &mut String, indent: usize, argv: &[String]) -> Written {
    for word in argv {
        writeln!(playbook, "{:indent$}- {}", "", argument(word))?;
    }
    Ok(())
}
