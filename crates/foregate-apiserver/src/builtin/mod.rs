//! Kubernetes' own kinds as data.
//!
//! `data/openapi.json` and `data/protobuf.json` are extracts of Kubernetes' published sources, made
//! by the example `codegen`; what those can't say (defaults, printer columns, name rules, which
//! verbs are served here) is in tables. [`KINDS`] lists the kinds, [`Builtin::schema`] has their
//! schema, [`Builtin::complete`] and [`Builtin::validate`] what upstream does in Go code,
//! [`decode_protobuf`] reads the bodies that kubectl sends in protobuf.

mod columns;
mod complete;
mod definitions;
mod kinds;
mod protobuf;
mod validate;

pub use columns::{Column, age};
pub use definitions::{definitions, definitions_of, object_meta};
pub use kinds::{Builtin, KINDS, find};
pub use protobuf::{MAGIC, ProtobufError, decode_protobuf};

#[cfg(test)]
mod tests;
