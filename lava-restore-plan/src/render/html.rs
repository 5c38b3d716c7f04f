use std::fmt::{Result as Written, Write as _};

use crate::forbid::{self, WARNING_BEGINS, WARNING_ENDS};
use crate::{Error, Phase, Plan, PlannedHost, Step, Verdict};

mod escape;
mod findings;
mod step;

use escape::Text;

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// The digests by which the page allows its own style and script, and no other.
const STYLE_DIGEST: &str = "EZbJFmaFbWg+JYIx2WjIyjjcd9JZGtEMzExeOrRcfa4=";
const SCRIPT_DIGEST: &str = "U4FhgGUZVUowKCtt03FlwsESq/ufqA1Qm29DqgwbZLM=";

/// The plan as one page of HTML, to print or to tick in a browser.
///
/// It is one file that loads nothing, so it works without a network. Each step and each gate has a
/// box; the browser keeps the ticks for this very plan, if it keeps anything for files. Without
/// scripts all of it works but that, the counts of what is done and the buttons that copy. Its
/// policy allows no script and no style but its own, and nothing from a backup is markup in it.
///
/// # Errors
/// Those of [`Plan::check`], and `Forbidden` when the text would hold a forbidden operation.
pub fn html(plan: &Plan) -> Result<String, Error> {
    plan.check()?;
    let digest = fingerprint(&super::json(plan)?);
    let mut page = String::new();
    // Writing to a String can't fail.
    let _ = write_page(&mut page, plan, &digest);
    forbid::text("page", &page)?;
    Ok(page)
}

/// Tells plans apart where a browser keeps ticks (FNV-1a of 64 bits). It proves nothing.
fn fingerprint(text: &str) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

fn write_page(page: &mut String, plan: &Plan, digest: &str) -> Written {
    let has_steps = !plan.steps.is_empty();
    let mut policy = format!("default-src 'none'; style-src 'sha256-{STYLE_DIGEST}'");
    if has_steps {
        write!(policy, "; script-src 'sha256-{SCRIPT_DIGEST}'")?;
    }
    policy.push_str("; base-uri 'none'; form-action 'none'");
    let title = super::title(plan);
    writeln!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\" data-plan=\"{digest}\">\n<head>"
    )?;
    writeln!(page, "<meta charset=\"utf-8\">")?;
    writeln!(
        page,
        "<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">"
    )?;
    writeln!(
        page,
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
    )?;
    writeln!(page, "<meta name=\"color-scheme\" content=\"light dark\">")?;
    writeln!(page, "<meta name=\"referrer\" content=\"no-referrer\">")?;
    writeln!(page, "<title>{}: runbook</title>", Text(&title))?;
    writeln!(page, "<style>{STYLE}</style>\n</head>\n<body>")?;
    if has_steps {
        writeln!(page, "<a class=\"skip\" href=\"#steps\">To the steps</a>")?;
    }
    write_head(page, plan, &title)?;
    writeln!(page, "<div class=\"columns\">")?;
    write_contents(page, plan)?;
    writeln!(page, "<main>")?;
    findings::write(page, &plan.findings, plan.hosts.len() > 1)?;
    if has_steps {
        write_warning(page)?;
        write_parts(page, plan)?;
    } else {
        let none = "There are no steps: what is refused above comes first.";
        writeln!(page, "<p class=\"stop\">{none}</p>")?;
    }
    writeln!(page, "</main>\n</div>")?;
    if has_steps {
        writeln!(page, "<script>{SCRIPT}</script>")?;
    }
    writeln!(page, "</body>\n</html>")
}

fn write_head(page: &mut String, plan: &Plan, title: &str) -> Written {
    writeln!(
        page,
        "<header class=\"head\">\n<p class=\"kind\">Runbook</p>"
    )?;
    writeln!(page, "<h1>{}</h1>\n<dl class=\"about\">", Text(title))?;
    let verdict = plan.verdict;
    let meaning = match verdict {
        Verdict::Ok => "nothing stands in the way",
        Verdict::Note => "nothing stands in the way; there is something to know",
        Verdict::Prepare => "something must be prepared first, and a step waits for it",
        Verdict::Refuse => "there is no way from here",
    };
    let said = format!("<strong class=\"verdict {verdict}\">{verdict}</strong>: {meaning}");
    writeln!(page, "<div><dt>Verdict</dt><dd>{said}</dd></div>")?;
    writeln!(page, "</dl>\n<div class=\"hosts\">")?;
    for host in &plan.hosts {
        write_host(page, host)?;
    }
    writeln!(page, "</div>\n</header>")
}

fn write_host(page: &mut String, host: &PlannedHost) -> Written {
    let name = Text(host.name.as_deref().unwrap_or("unnamed"));
    let id = Text(&host.id);
    writeln!(
        page,
        "<dl class=\"about host\"><div><dt>{id}</dt><dd>{name}</dd></div>"
    )?;
    row(page, "Backup", &host.backup)?;
    row(page, "Made", &host.backup_created)?;
    row(page, "Seal", &host.seal_digest)?;
    let target = host.target_digest.as_deref().unwrap_or("not given");
    row(page, "Target's facts", target)?;
    writeln!(page, "</dl>")
}

fn row(page: &mut String, name: &str, value: &str) -> Written {
    writeln!(
        page,
        "<div><dt>{name}</dt><dd><code>{}</code></dd></div>",
        Text(value)
    )
}

fn write_contents(page: &mut String, plan: &Plan) -> Written {
    writeln!(
        page,
        "<nav class=\"contents\" aria-labelledby=\"contents\">"
    )?;
    writeln!(page, "<h2 id=\"contents\">Contents</h2>")?;
    if !plan.steps.is_empty() {
        let steps = plan.steps.len();
        writeln!(page, "<div class=\"tools\">")?;
        writeln!(
            page,
            "<label for=\"all\" id=\"all-says\">{steps} steps</label>"
        )?;
        writeln!(
            page,
            "<progress id=\"all\" max=\"{steps}\" value=\"0\"></progress>"
        )?;
        writeln!(
            page,
            "<p class=\"buttons\"><a class=\"button\" id=\"next\" href=\"#steps\">Next step</a>"
        )?;
        writeln!(
            page,
            "<button type=\"button\" id=\"clear\">Clear ticks</button></p>"
        )?;
        writeln!(
            page,
            "<p class=\"says\" id=\"says\" role=\"status\"></p>\n</div>"
        )?;
    }
    writeln!(page, "<ol><li><a href=\"#findings\">Findings</a></li>")?;
    let mut whose = None;
    for (number, part) in (1..).zip(plan.parts()) {
        let host = part[0].host.as_str();
        if plan.hosts.len() > 1 && whose.replace(host) != Some(host) {
            writeln!(page, "</ol>\n<p class=\"whose\">{}</p>\n<ol>", Text(host))?;
        }
        writeln!(
            page,
            "<li><a href=\"#part-{number}\">{number}. {}</a> \
             <span class=\"count\" data-part=\"{number}\">{}</span></li>",
            part[0].phase.name(),
            part.len()
        )?;
    }
    writeln!(page, "</ol>")?;
    writeln!(page, "</nav>")
}

/// A phase, and of several hosts also whose.
fn heading(plan: &Plan, part: &[Step]) -> String {
    let (phase, host) = (part[0].phase.name(), Text(&part[0].host));
    match plan.hosts.len() {
        1 => format!("<span class=\"phase\">{phase}</span>"),
        _ => format!("<span class=\"phase\">{phase}</span> <span class=\"on\">on {host}</span>"),
    }
}

fn write_warning(page: &mut String) -> Written {
    writeln!(page, "{WARNING_BEGINS}")?;
    writeln!(page, "<aside class=\"never\" aria-labelledby=\"never\">")?;
    writeln!(page, "<h2 id=\"never\">Never run</h2>")?;
    writeln!(
        page,
        "<p>Now or while this backup is in use: <code>migrate</code>, <code>makemigrations</code>, \
         <code>dpkg-reconfigure lava-server</code>, <code>postinst.py</code>, \
         <code>dpkg --configure</code>, or any <code>apt-get</code> that installs, upgrades or \
         repairs. Each of them migrates the restored database.</p>\n</aside>"
    )?;
    writeln!(page, "{WARNING_ENDS}")
}

fn write_parts(page: &mut String, plan: &Plan) -> Written {
    writeln!(
        page,
        "<p class=\"stop\" id=\"steps\">If anything below is not as expected: stop. \
         Nothing after it is safe.</p>"
    )?;
    for (number, part) in (1..).zip(plan.parts()) {
        writeln!(
            page,
            "<section class=\"part\" aria-labelledby=\"part-{number}\">"
        )?;
        writeln!(
            page,
            "<h2 id=\"part-{number}\"><span class=\"number\">{number}.</span> {}</h2>",
            heading(plan, part)
        )?;
        writeln!(page, "<p class=\"purpose\">{}</p>", purpose(part[0].phase))?;
        for (position, step) in (1..).zip(part) {
            step::write(page, step, (number, position), plan.hosts.len() > 1)?;
        }
        let signed = ["Done by", "On", "At"].map(|text| format!("<span>{text}</span>"));
        writeln!(
            page,
            "<p class=\"signed\">{}</p>\n</section>",
            signed.concat()
        )?;
    }
    Ok(())
}

/// What a phase is to bring about.
fn purpose(phase: Phase) -> &'static str {
    match phase {
        Phase::Isolate => "Keep users and their programs out.",
        Phase::Base => "The base system is the backup's and stays as it is.",
        Phase::Install => "The packages are the backup's and stay as they are.",
        Phase::Smoke => "The empty system works.",
        Phase::Quiesce => "LAVA is still.",
        Phase::Database => "The backup's database is in place.",
        Phase::Maintenance => "Nothing in it can drive a device.",
        Phase::Config => "Configuration, job output and logs are in place.",
        Phase::Start => "LAVA runs.",
        Phase::Verify => "LAVA runs well.",
        Phase::Workers => "The master sees its workers.",
        Phase::Reopen => "Users may come back.",
    }
}
