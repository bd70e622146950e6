//! Any text is read or refused; what is read prints to something that reads as the same.
#![no_main]

use foregate_envoy::{canonical, from_json, from_yaml, message_to_json};

const TYPE: &str = "envoy.config.listener.v3.Listener";

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(message) = from_yaml(TYPE, text) {
        let again = from_json(TYPE, &message_to_json(&message)).expect("what is printed can be read");
        assert_eq!(canonical::encode(&again), canonical::encode(&message));
    }
});
