//! Any header value with commands compiles or is refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| foregate_proxy::fuzzing::value(text));
