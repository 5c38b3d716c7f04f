//! The documents: a seal, evidence and a store's own, as raw bytes and with a digest that fits.
#![no_main]

mod forge;

use std::fs;
use std::sync::OnceLock;

use forge::{Forge, ID, document};
use lava_backup_core::{Depth, Store, verify};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

fn forged() -> &'static (Forge, String) {
    static FORGE: OnceLock<(Forge, String)> = OnceLock::new();
    FORGE.get_or_init(|| {
        let forge = Forge::new(&[&[0; 1024]]);
        let digest = forge.index(&[b"{\"format\":\"lava-backup-index/1\"}\n"]);
        (forge, digest)
    })
}

/// Lays members over others, object by object.
fn lay(over: &mut Map<String, Value>, members: &Map<String, Value>) {
    for (key, value) in members {
        match (over.get_mut(key), value) {
            (Some(Value::Object(inner)), Value::Object(value)) => lay(inner, value),
            _ => {
                over.insert(key.clone(), value.clone());
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let (forge, digest) = forged();
    let members = match serde_json::from_slice(data) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    };
    let mut documents = [Forge::store(), forge.seal(digest, 0), Forge::evidence()];
    let sound = documents.clone().map(|d| document(&d));
    for d in &mut documents {
        lay(d, &members);
    }
    let laid = documents.map(|d| document(&d));
    let raw = String::from_utf8_lossy(data).into_owned();
    let places = [
        forge.path().join("store.json"),
        forge.backup().join("backup.json"),
        forge.backup().join("evidence/x.json"),
    ];
    for (at, place) in places.iter().enumerate() {
        fs::write(place, &sound[at]).unwrap();
    }
    for (at, place) in places.iter().enumerate() {
        // Without a digest that fits, bytes go no further than what all documents have in common.
        let texts = if at == 1 {
            &[&raw, &laid[at]][..]
        } else {
            &[&laid[at]]
        };
        for text in texts {
            fs::write(place, text).unwrap();
            check(forge);
        }
        fs::write(place, &sound[at]).unwrap();
    }
});

fn check(forge: &Forge) {
    let Ok(store) = Store::open(forge.path()) else {
        return;
    };
    let Ok(backup) = store.backup(&ID.parse().unwrap()) else {
        return;
    };
    assert_eq!(backup.seal().id.as_str(), ID);
    assert!(backup.seal().requires.is_empty());
    if let Ok(evidence) = backup.evidence() {
        assert_eq!(evidence.len(), 1);
    }
    let report = verify(&backup, Depth::Quick).unwrap();
    assert!(!report.damage.is_empty(), "a frame is missing");
}
