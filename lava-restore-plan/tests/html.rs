//! The HTML runbook: what may be in it, and what a browser makes of it.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
mod lab;

use std::path::{Path, PathBuf};
use std::process::Command;

use lava_restore_plan::{Action, Plan, Verdict, render};
use sha2::{Digest, Sha256};

/// What an attacker would like to see in a page.
const HOSTILE: &str = "</script></style></title>--><script>document.title='evil'</script>\
    <img src=x onerror=\"document.title='evil'\">\" onfocus=evil autofocus x='&amp;\u{202e}gpj\u{2066}\u{1b}[2J\u{0}\n# x";

/// A plan of which everything that is only shown is hostile.
fn hostile_plan() -> Plan {
    let mut plan = lab::longest_plan();
    let host = &mut plan.hosts[0];
    host.backup_created = HOSTILE.into();
    host.seal_digest = HOSTILE.into();
    host.target_digest = Some(HOSTILE.into());
    host.name = Some(HOSTILE.into());
    for finding in &mut plan.findings {
        finding.severity = Verdict::Note;
        for text in [
            &mut finding.host,
            &mut finding.code,
            &mut finding.subject,
            &mut finding.expected,
            &mut finding.found,
            &mut finding.remedy,
        ] {
            *text = HOSTILE.into();
        }
        finding.why = HOSTILE.into();
        finding.ground = HOSTILE.into();
        finding.steps = vec![HOSTILE.into()];
    }
    for step in &mut plan.steps {
        step.title = HOSTILE.into();
        step.why = HOSTILE.into();
        if let Action::Confirm { ask } = &mut step.action {
            *ask = HOSTILE.into();
        }
        for gate in step.pre.iter_mut().chain(&mut step.post) {
            gate.why = HOSTILE.into();
            gate.expect.stdout = Some(HOSTILE.into());
            // A path is the one argument of a gate that may be anything.
            if gate.argv[0] == "test" {
                let path = gate.argv.last_mut().unwrap();
                *path = format!("/{}", HOSTILE.replace('\0', ""));
            }
        }
    }
    plan
}

/// The texts between `<NAME ...>` and `</NAME>`, as a browser takes them.
fn contents<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let parts = page.split(&open).skip(1);
    parts
        .map(|part| part.split(&close).next().unwrap())
        .collect()
}

#[test]
fn the_policy_allows_the_pages_own_script_and_style_and_nothing_else() {
    let page = render::html(&lab::plan()).unwrap();
    let policy = page
        .split("Content-Security-Policy\" content=\"")
        .nth(1)
        .unwrap();
    let policy = policy.split('"').next().unwrap();
    let mut expected = vec!["default-src 'none'".to_owned()];
    for name in ["style", "script"] {
        let [content] = contents(&page, name)[..] else {
            panic!("{name}")
        };
        let digest = base64(&Sha256::digest(content));
        expected.push(format!("{name}-src 'sha256-{digest}'"));
    }
    expected.extend([
        "base-uri 'none'".to_owned(),
        "form-action 'none'".to_owned(),
    ]);
    assert_eq!(policy, expected.join("; "));
    assert!(
        !page.contains(" style=") && !page.contains("javascript:"),
        "inline"
    );
    for outside in [
        "http:", "https:", "//", "url(", "@import", "<link", "<iframe",
    ] {
        let rest = page.replace(contents(&page, "script")[0], "");
        assert!(!rest.contains(outside), "{outside}");
    }

    let refused = render::html(&lab::refused_plan()).unwrap();
    assert!(
        !refused.contains("script-src") && !refused.contains("<script"),
        "{refused}"
    );
}

#[test]
fn nothing_of_a_plan_is_markup() {
    let (honest, hostile) = (lab::longest_plan(), hostile_plan());
    let tags = |plan: &Plan| {
        let page = render::html(plan).unwrap();
        let mut names: Vec<String> = page
            .split('<')
            .skip(1)
            .map(|tag| tag.split([' ', '>', '\n']).next().unwrap().to_owned())
            .collect();
        // A character that can't be seen is marked in a command; findings and lines of output
        // are laid out by what they say.
        names.retain(|name| {
            ![
                "bdi", "/bdi", "samp", "/samp", "p", "/p", "span", "/span", "li", "/li", "ul",
                "/ul", "code", "/code", "td", "/td", "tr", "/tr", "strong", "/strong", "a", "/a",
            ]
            .contains(&name.as_str())
        });
        names
    };
    assert_eq!(tags(&honest), tags(&hostile));
    let page = render::html(&hostile).unwrap();
    assert_eq!(page.matches("<script").count(), 1);
    assert_eq!(page.matches("<img").count(), 0);
    assert!(!page.contains('\u{1b}') && !page.contains('\u{0}'));
    // A mark of direction stands alone in an element that ends what it turns.
    for (at, _) in page.match_indices(['\u{202e}', '\u{2066}']) {
        assert!(page[..at].ends_with("\">"), "{}", &page[at - 40..at]);
        assert!(page[at + 3..].starts_with("</bdi>"));
    }
}

#[test]
fn each_box_has_a_name_of_its_own_and_each_link_a_place() {
    for plan in [lab::plan(), lab::longest_plan(), lab::lab_plan()] {
        let page = render::html(&plan).unwrap();
        let all = |attribute: &str| -> Vec<String> {
            let begin = format!(" {attribute}=\"");
            let parts = page.split(&begin).skip(1);
            parts
                .map(|part| part.split('"').next().unwrap().to_owned())
                .collect()
        };
        let unique = |mut names: Vec<String>| {
            let before = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), before, "{names:?}");
            names
        };
        let ids = unique(all("id"));
        let ticks = unique(all("data-tick"));
        let gates = plan
            .steps
            .iter()
            .flat_map(|step| step.pre.iter().chain(&step.post));
        for id in plan
            .steps
            .iter()
            .map(|step| &step.id)
            .chain(gates.map(|gate| &gate.id))
        {
            assert!(ticks.contains(id) && ids.contains(id), "{id}");
        }
        for link in all("href") {
            let place = link.strip_prefix('#').unwrap();
            assert!(ids.iter().any(|id| id == place), "{link}");
        }
        for label in all("aria-labelledby") {
            assert!(ids.contains(&label), "{label}");
        }
    }
}

#[test]
fn a_browser_shows_it_without_a_fault() {
    if Command::new("chromium").arg("--version").output().is_err() {
        skip("a_browser_shows_it_without_a_fault", "chromium is missing");
        return;
    }
    let kept = std::env::var_os("LAVA_BACKUP_LOOK").map(PathBuf::from);
    let temporary =
        std::env::temp_dir().join(format!("lava-restore-plan-{}-look", std::process::id()));
    let directory = kept.clone().unwrap_or_else(|| temporary.clone());
    std::fs::create_dir_all(&directory).unwrap();
    let mut command =
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/look-at-runbook"));
    command.arg(kept.as_deref().unwrap_or(Path::new("-")));
    for (name, plan) in [
        ("plain", lab::plan()),
        ("longest", lab::longest_plan()),
        ("lab", lab::lab_plan()),
        ("refused", lab::refused_plan()),
        ("hostile", hostile_plan()),
    ] {
        let page = directory.join(format!("{name}.html"));
        std::fs::write(&page, render::html(&plan).unwrap()).unwrap();
        command.arg(page);
    }
    let output = command.output().unwrap();
    if kept.is_none() {
        std::fs::remove_dir_all(&temporary).unwrap();
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// Says that a test did not run, and why: for people, and for `scripts/test`.
#[allow(clippy::print_stdout)]
fn skip(test: &str, why: &str) {
    println!("skipped: {test}: {why}");
    if let Some(list) = std::env::var_os("LAVA_BACKUP_SKIPPED") {
        let list = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(list);
        std::io::Write::write_all(&mut list.unwrap(), format!("{test}: {why}\n").as_bytes())
            .unwrap();
    }
}

fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..three.len()].copy_from_slice(three);
        let number = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for sign in 0..4 {
            let shown = sign <= three.len();
            let index = (number >> (18 - 6 * sign)) as usize & 63;
            text.push(if shown { char::from(SIGNS[index]) } else { '=' });
        }
    }
    text
}
