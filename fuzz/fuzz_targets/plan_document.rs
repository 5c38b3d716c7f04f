//! Plans from anywhere: what is read holds its checks, and no rendering or comparison panics, of
//! what is not read either.
#![no_main]

use lava_restore_plan::{Plan, diff, render};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(plan) = Plan::from_json_unchecked(data) {
        assert!(diff(&plan, &plan).is_empty());
        let _ = render::markdown(&plan);
        let _ = render::html(&plan);
        let _ = render::ansible(&plan);
        for host in &plan.hosts {
            let _ = render::shell(&plan, &host.id);
        }
    }
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
});
