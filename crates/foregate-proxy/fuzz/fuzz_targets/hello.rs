//! Which name a client hello asks for.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| foregate_proxy::fuzzing::hello(bytes));
