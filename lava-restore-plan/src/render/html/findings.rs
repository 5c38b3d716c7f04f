use std::fmt::{Result as Written, Write as _};

use super::escape::Text;
use crate::forbid::{FINDINGS_BEGIN, FINDINGS_END};
use crate::{Finding, Verdict};

/// The findings as a table, in the plan's order, which is the worst first; those that are well
/// in a list to open.
pub(super) fn write(page: &mut String, findings: &[Finding], show_host: bool) -> Written {
    let (well, worse): (Vec<_>, Vec<_>) = findings
        .iter()
        .partition(|finding| finding.severity == Verdict::Ok);
    writeln!(
        page,
        "<section class=\"findings\" aria-labelledby=\"findings\">"
    )?;
    writeln!(page, "<h2 id=\"findings\">Findings</h2>")?;
    writeln!(page, "{FINDINGS_BEGIN}")?;
    if !worse.is_empty() {
        let heads = [
            "Severity",
            "About",
            "Expected",
            "Found",
            "Why, and what to do",
        ];
        let heads =
            heads.map(|head| format!("<th scope=\"col\" role=\"columnheader\">{head}</th>"));
        writeln!(
            page,
            "<table role=\"table\">\n<thead role=\"rowgroup\"><tr role=\"row\">{}</tr></thead>",
            heads.concat()
        )?;
        writeln!(page, "<tbody role=\"rowgroup\">")?;
        for finding in worse {
            write_row(page, finding, show_host)?;
        }
        writeln!(page, "</tbody>\n</table>")?;
    }
    let count = well.len();
    writeln!(
        page,
        "<details>\n<summary>{count} rules found all well</summary>\n<ul>"
    )?;
    for finding in well {
        writeln!(
            page,
            "<li><code>{}</code> {}</li>",
            Text(&finding.code),
            Text(&finding.subject)
        )?;
    }
    writeln!(page, "</ul>\n</details>\n{FINDINGS_END}\n</section>")
}

fn write_row(page: &mut String, finding: &Finding, show_host: bool) -> Written {
    let Finding {
        host,
        code,
        severity,
        subject,
        expected,
        found,
        why,
        remedy,
        ground,
        steps,
    } = finding;
    let whose = match host.as_str() {
        _ if !show_host => String::new(),
        "" => "<p class=\"ground\">on all hosts</p>".to_owned(),
        host => format!("<p class=\"ground\">on {}</p>", Text(host)),
    };
    // Tables that are laid out as cards on a phone lose their roles unless they are said.
    writeln!(
        page,
        "<tr role=\"row\"><td role=\"cell\" class=\"verdict {severity}\">{severity}</td>"
    )?;
    writeln!(
        page,
        "<td role=\"cell\"><p>{}</p><p><code>{}</code></p>{whose}</td>",
        Text(subject),
        Text(code)
    )?;
    for (label, text) in [("Expected", expected), ("Found", found)] {
        let text = if text.is_empty() { "nothing" } else { text };
        writeln!(
            page,
            "<td role=\"cell\" data-label=\"{label}\">{}</td>",
            Text(text)
        )?;
    }
    writeln!(page, "<td role=\"cell\">")?;
    if !why.is_empty() {
        let ground = format!("<span class=\"ground\">({})</span>", Text(ground));
        writeln!(page, "<p>{} {ground}</p>", Text(why))?;
    }
    if !remedy.is_empty() {
        writeln!(page, "<p><strong>Remedy:</strong> {}</p>", Text(remedy))?;
    }
    for step in steps {
        let step = Text(step);
        writeln!(
            page,
            "<p>Seen to by <a href=\"#{step}\"><code>{step}</code></a></p>"
        )?;
    }
    writeln!(page, "</td></tr>")
}
