//! The embedded API server: Kubernetes semantics on redb, generic over kinds.

pub mod builtin;
pub mod schema;
