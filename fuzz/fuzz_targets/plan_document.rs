//! Plans from anywhere: what is read holds its checks, and no rendering of it panics.
#![no_main]

use lava_restore_plan::{Plan, render};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let plan = match Plan::from_json(data) {
        Ok(plan) => plan,
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control), "{error}");
            return;
        }
    };
    assert!(plan.check().is_ok());
    if let Ok(json) = render::json(&plan) {
        assert_eq!(Plan::from_json(json.as_bytes()).unwrap(), plan);
    }
    let _ = render::markdown(&plan);
    for host in &plan.hosts {
        let _ = render::shell(&plan, &host.id);
    }
});
