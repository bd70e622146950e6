//! Any bytes are checked, sorted and printed; what doesn't decode never passes the check.
#![no_main]

use foregate_envoy::{canonical, decode, message_to_json, validate};

const TYPE: &str = "envoy.config.route.v3.VirtualHost";

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let violations = validate(TYPE, body);
    match decode(TYPE, body) {
        Ok(message) => drop(message_to_json(&message)),
        Err(_) => assert!(!violations.is_empty()),
    }
    let mut sorted = body.to_vec();
    canonical::sort(TYPE, &mut sorted);
    assert_eq!(sorted.len(), body.len());
});
