//! apt's preferences: any bytes are read or refused, and what is read comes back from its own text.
#![no_main]

mod host;

use lava_backup_debian::{Preference, read_preferences};
use libfuzzer_sys::fuzz_target;

fn written(preferences: &[Preference]) -> String {
    let mut text = String::new();
    for p in preferences {
        for line in p.explanation.iter().flat_map(|e| e.split('\n')) {
            text += &format!("Explanation: {line}\n");
        }
        let pin = p.pin.replace('\n', "\n ");
        text += &format!(
            "Package: {}\nPin: {pin}\nPin-Priority: {}\n\n",
            p.packages.join(" "),
            p.priority
        );
    }
    text
}

fuzz_target!(|data: &[u8]| {
    host::write("etc/apt/preferences", data);
    let Ok(read) = read_preferences(host::root()) else {
        return;
    };
    let lines = data.iter().filter(|b| **b == b'\n').count() as u64 + 1;
    assert!(
        read.iter()
            .all(|p| p.priority != 0 && (1..=lines).contains(&p.line))
    );
    let text = written(&read);
    // What is not UTF-8 is replaced, and may then be longer than a line may be.
    if text.len() > 1 << 19 {
        return;
    }
    host::write("etc/apt/preferences", text.as_bytes());
    let again = read_preferences(host::root()).unwrap();
    assert_eq!(read.len(), again.len());
    for (a, b) in read.iter().zip(&again) {
        assert_eq!((&a.packages, a.priority), (&b.packages, b.priority));
        assert_eq!(
            a.pin.split_whitespace().collect::<Vec<_>>(),
            b.pin.split_whitespace().collect::<Vec<_>>()
        );
    }
});
