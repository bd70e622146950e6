//! Any text is a template or is refused; any template renders within its bounds or says why not.
#![no_main]

use foregate_template::Template;

/// What a template's author may write at most, and what it may make.
const MAX_OUTPUT: usize = 1 << 20;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(template) = Template::parse("fuzz", text) else { return };
    let data = serde_json::json!({
        "gateway": {"name": "a", "namespace": "b", "addresses": ["127.0.0.1"]},
        "listener": {"port": 80, "protocol": "HTTP", "hostname": null},
        "values": {"list": [1, 2.5, "x", {"y": true}], "text": "z", "deep": {"a": {"b": {"c": 1}}}},
    });
    if let Ok(output) = template.render(&data) {
        assert!(output.len() <= MAX_OUTPUT);
    }
});
