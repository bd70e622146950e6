//! Kubernetes' structural schemas: what a kind's objects may look like, compiled once.
//!
//! [`Schema::compile`] takes a CRD's `openAPIV3Schema`, [`Schema::builtin`] a definition of
//! Kubernetes' published OpenAPI. A write then goes through
//! 1. [`Schema::prepare`]: unknown fields are reported and removed, defaults are applied;
//! 2. [`Schema::validate`]: every error at once, with its field path, structure first, then the
//!    CEL rules of `x-kubernetes-validations`. What is unchanged since the old object is not
//!    checked again (Kubernetes calls that ratcheting);
//! 3. [`validate_metadata`]: names, labels and annotations.
//!
//! The same compiled tree tells [`crate::patch`] how lists and maps merge.

pub(crate) mod cel;
mod compile;
mod correlation;
mod error;
mod format;
mod keywords;
mod metadata;
mod path;
mod pattern;
mod prepare;
mod structure;
mod tree;
mod validate;

pub use compile::SchemaError;
pub use error::{FieldError, FieldErrorKind};
pub use metadata::{NameRule, validate_metadata};
pub(crate) use metadata::{is_dns_label, is_dns_subdomain};
pub use prepare::{FieldValidation, StrictError};
pub use tree::Schema;
pub(crate) use tree::{ListType, NodeId};

#[cfg(test)]
mod tests;
