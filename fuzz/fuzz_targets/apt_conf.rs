//! apt's configuration: any bytes are read or refused, and no password in a URI is ever shown.
#![no_main]

mod host;

use lava_backup_debian::read_apt_settings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    host::write("etc/apt/apt.conf", data);
    if let Ok(settings) = read_apt_settings(host::root()) {
        let lines = data.iter().filter(|b| **b == b'\n').count() as u64 + 1;
        assert!(settings.iter().all(|s| (1..=lines).contains(&s.line)));
    }

    const SECRET: &str = "correct-horse-battery";
    let Ok(noise) = std::str::from_utf8(data) else {
        return;
    };
    let ends = |c: char| c.is_whitespace() || c == '"' || c == '\'';
    if noise.contains(ends) || noise.contains(SECRET) {
        return;
    }
    let text = format!("Acquire::http::Proxy \"http://{noise}{SECRET}{noise}@host:3128\";\n");
    host::write("etc/apt/apt.conf", text.as_bytes());
    let shown = match read_apt_settings(host::root()) {
        Ok(settings) => format!("{settings:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    assert!(!shown.contains(SECRET), "{shown}");
});
