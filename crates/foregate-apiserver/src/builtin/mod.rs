//! Kubernetes' own kinds as data.
//!
//! `data/openapi.json` and `data/protobuf.json` are extracts of Kubernetes' published sources, made
//! by the example `codegen`; what those can't say (defaults, printer columns, names) is in tables.

mod definitions;

pub use definitions::definitions;
