//! What is seen in a head doesn't depend on the pieces that it comes in.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (&[u8], &[u8])| foregate_proxy::fuzzing::head(input.0, input.1));
