//! Any bytes as a relay's file: read or refused; what is read is written as something that reads the same.
#![no_main]

use foregate_xds::relay::{Damage, parse};
use xxhash_rust::xxh3::xxh3_128;

/// A file with this payload, and a checksum that is right.
fn sealed(payload: &[u8]) -> Vec<u8> {
    let (length, sum) = ((payload.len() as u64).to_le_bytes(), xxh3_128(payload).to_le_bytes());
    [b"foregate-relay 1\n", &length[..], &sum[..], payload].concat()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    drop(parse(bytes.to_vec().into()));
    match parse(sealed(bytes).into()) {
        Ok(stored) => assert_eq!(parse(stored.encode().into()).as_ref(), Ok(&stored)),
        Err(error) => assert!(matches!(error, Damage::Content(_)), "{error}"),
    }
});
