//! A lab whose backups and facts were altered at some places: whatever is made of it holds its
//! checks, is the same again, and is rendered without a panic.
#![no_main]

#[allow(dead_code, unreachable_pub)]
#[path = "../../lava-restore-plan/tests/lab/mod.rs"]
mod lab;

use lava_restore_plan::{Backup, Facts, Host, Intent, Options, Verdict, diff, plan, render};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

/// What may stand where something else did.
fn strange(choice: u8) -> Value {
    match choice % 24 {
        0 => Value::Null,
        1 => json!(0),
        2 => json!(1),
        3 => json!(u64::MAX),
        4 => json!(true),
        5 => json!(false),
        6 => json!(""),
        7 => json!("a;b"),
        8 => json!("-rf"),
        9 => json!("a\nb"),
        10 => json!("\u{1b}[2J\u{202e}"),
        11 => json!("$(touch x)"),
        12 => json!("../../etc/shadow"),
        13 => json!("migrate"),
        14 => json!("worker"),
        15 => json!("half-configured"),
        16 => json!("2026.10-2~bpo13+1"),
        17 => json!("2019.01-5"),
        18 => json!("trixie"),
        19 => json!("unknown"),
        20 => json!([]),
        21 => json!({}),
        22 => json!("lava-server"),
        _ => json!("apt-get"),
    }
}

/// Goes down from a value as the bytes say, and alters what it comes to.
fn alter(value: &mut Value, bytes: &mut impl Iterator<Item = u8>) {
    let Some(byte) = bytes.next() else { return };
    let at = usize::from(byte);
    match (byte, value) {
        (..0xe0, Value::Object(fields)) if !fields.is_empty() => {
            let at = at % fields.len();
            if let Some(inner) = fields.values_mut().nth(at) {
                alter(inner, bytes);
            }
        }
        (..0xe0, Value::Array(items)) if !items.is_empty() => {
            let at = at % items.len();
            alter(&mut items[at], bytes);
        }
        (0xf0.., Value::Object(fields)) if !fields.is_empty() => {
            let name = fields.keys().nth(at % fields.len()).cloned();
            name.map(|name| fields.remove(&name));
        }
        (0xf0.., Value::Array(items)) if !items.is_empty() => {
            let at = at % items.len();
            match byte % 2 {
                0 => drop(items.remove(at)),
                _ => items.push(items[at].clone()),
            }
        }
        (_, value) => *value = strange(bytes.next().unwrap_or(0)),
    }
}

fn host(altered: &Value) -> Option<Host> {
    let backup = Backup::from_json(altered["backup"].to_string().as_bytes()).ok()?;
    let target = Facts::from_json(altered["target"].to_string().as_bytes()).ok()?;
    Some(Host::new(backup, altered["store"].as_str()?, target))
}

fuzz_target!(|data: &[u8]| {
    let [intent, hosts, flags, rest @ ..] = data else {
        return;
    };
    let mut options = Options::default();
    options.replace_data = flags & 1 != 0;
    options.next_job_id = (flags & 2 != 0).then_some(u64::from(*flags));
    let mut bytes = rest.iter().copied();
    let mut lab = Vec::new();
    for number in 0..=hosts % 4 {
        let mut case = json!({
            "store": "/srv/store",
            "backup": lab::backup(),
            "target": lab::target(),
        });
        if number > 0 {
            for facts in ["/backup/facts", "/target"] {
                let facts = case.pointer_mut(facts).unwrap();
                facts["role"] = json!("worker");
                facts["hostname"] = json!(format!("rack-{number}"));
            }
            case["backup"]["database"] = Value::Null;
        }
        for _ in 0..bytes.next().unwrap_or(0) % 8 {
            alter(&mut case, &mut bytes);
        }
        let Some(mut host) = host(&case) else { return };
        // No two backups have one seal.
        host.backup.seal_digest = number.to_string();
        lab.push(host);
    }
    let intent = [
        Intent::RestoreMaster,
        Intent::RestoreWorker,
        Intent::RestoreLab,
        Intent::Grow,
        Intent::Drill,
    ][usize::from(*intent) % 5];
    let made = plan(lab.clone(), intent, &options);
    assert!(made.check().is_ok());
    assert_eq!(made.verdict == Verdict::Refuse, made.steps.is_empty());
    lab.reverse();
    let again = plan(lab, intent, &options);
    assert_eq!(again, made);
    assert!(diff(&again, &made).is_empty());
    let json = render::json(&made).unwrap();
    assert_eq!(
        lava_restore_plan::Plan::from_json(json.as_bytes()).unwrap(),
        made
    );
    let _ = render::markdown(&made);
    let _ = render::html(&made);
    let _ = render::ansible(&made);
    for host in &made.hosts {
        let _ = render::shell(&made, &host.id);
    }
});
