//! Ways to change an object, and who owns which field of it.
//!
//! - [`json`] (RFC 6902), [`merge`] (RFC 7386) and [`strategic`] (Kubernetes' merge patch that knows
//!   list keys) give a new object from the live one;
//! - [`managed::apply`] is server-side apply: it merges an applied configuration field by field,
//!   refuses what others own, and removes what the manager gave up;
//! - [`managed::update`] notes after every other write which manager owns what it changed.
//!
//! Ownership is in `metadata.managedFields`; a patch or apply that changes nothing gives an object
//! equal to the live one, so that the server can skip the write.

mod conflict;
mod documents;
mod fields;
mod lists;
pub mod managed;
mod strategic;
mod typed;

pub use conflict::{Conflict, Conflicts};
pub use documents::{PatchError, json, merge};
pub use strategic::strategic;

#[cfg(test)]
mod tests;
