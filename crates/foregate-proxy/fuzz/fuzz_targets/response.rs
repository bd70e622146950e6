//! What an endpoint says doesn't depend on the pieces that it comes in.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (bool, &[u8], &[u8])| {
    foregate_proxy::fuzzing::response(input.2, input.1, input.0);
});
