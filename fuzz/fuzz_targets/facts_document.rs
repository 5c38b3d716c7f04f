//! Facts from anywhere: never panic, and what is read is written and read again as the same.
#![no_main]

use lava_restore_plan::Facts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let unknown = Facts::unknown_fields(data);
    let mut facts = match Facts::from_json(data) {
        Ok(facts) => facts,
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control), "{error}");
            return;
        }
    };
    assert!(unknown.is_ok(), "what can be read can be looked through");
    let again = |facts: &Facts| Facts::from_json(&serde_json::to_vec(facts).unwrap()).unwrap();
    assert_eq!(again(&facts), facts);
    facts.normalise();
    let mut twice = facts.clone();
    twice.normalise();
    assert_eq!(twice, facts);
    assert_eq!(facts.lasting().lasting(), facts.lasting());
});
