//! Envoy's messages: YAML and JSON to typed messages and back, checked by Envoy's own validation rules.
//!
//! [`pb`] is every message of Envoy's API; [`Resource`] is one of them, encoded, named, hashed, with what it needs and
//! whose it is: the unit that travels from translation through xDS to an engine.

pub mod resource;

pub use envoy_types::pb;
pub use resource::{Delta, Owner, Resource, ResourceId, ResourceKind};
