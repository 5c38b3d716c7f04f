//! What a planner is told of a backup: never panic, and written and read again it is the same.
#![no_main]

use lava_restore_plan::Backup;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut backup = match Backup::from_json(data) {
        Ok(backup) => backup,
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control), "{error}");
            return;
        }
    };
    let again = |backup: &Backup| Backup::from_json(&serde_json::to_vec(backup).unwrap()).unwrap();
    assert_eq!(again(&backup), backup);
    backup.normalise();
    let mut twice = backup.clone();
    twice.normalise();
    assert_eq!(twice, backup);
});
