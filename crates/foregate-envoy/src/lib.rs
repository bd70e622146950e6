//! Envoy's messages: YAML and JSON to typed messages and back, checked by Envoy's own validation rules.
//!
//! [`pb`] is every message of Envoy's API; [`Resource`] is one of them, encoded, named, hashed, with what it needs and
//! whose it is: the unit that travels from translation through xDS to an engine.
//!
//! - [`from_yaml`], [`decode_yaml`] and their siblings read text strictly, through Any, and report every mistake with
//!   line, column and field path ([`Diagnostic`]).
//! - [`validate()`] checks an encoded message by Envoy's rules, every violation at once.
//! - [`to_json`], [`to_yaml`] show a resource to people; [`message_to_json`] is exact.
//! - [`merge_json`] lays a patch over a message's JSON form, [`merge`] over the message itself.
//! - [`normal_path`] is the form in which routes see paths.
//! - [`descriptors`] has every message's descriptor with Envoy's options, and is what all of this works on.

pub mod canonical;
pub mod descriptors;
mod diagnostic;
mod locate;
mod merge;
mod node;
pub mod normal_path;
mod parse;
mod path;
mod plan;
mod print;
pub mod resource;
mod validate;
mod wire;

pub use diagnostic::Diagnostic;
pub use envoy_types::pb;
pub use locate::locate;
pub use merge::{merge, merge_json};
pub use parse::{decode_json, decode_yaml, from_json, from_yaml, from_yaml_documents};
pub use print::{PrintError, REDACTED, decode, message_to_json, message_to_yaml, to_json, to_yaml};
pub use prost_reflect::DynamicMessage;
pub use resource::{Delta, Owner, Resource, ResourceId, ResourceKind};
pub use validate::{Violation, validate};
