//! Any path has a normal form without dot segments, or is refused; any host can be taken apart.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (u8, &str)| {
    foregate_proxy::fuzzing::path(input.1, input.0);
    foregate_proxy::fuzzing::host(input.1);
});
