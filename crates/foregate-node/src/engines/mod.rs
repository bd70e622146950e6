//! The engine store: the Envoys that an operator has added to a node.
//!
//! ```text
//! DATA/engines/envoy/VERSION/envoy          the binary, 0755
//! DATA/engines/envoy/VERSION/manifest.json  what it is: [`Manifest`]
//! ```
//!
//! An engine comes whole or not at all: it is unpacked, checked and started once in a directory beside, which is then
//! renamed. A running agent notices ([`Watch`]).

mod archive;
mod error;
mod fetch;
mod probe;
mod store;
mod watch;

#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use fetch::{Progress, Source};
pub use store::{Installed, Manifest, Store};
pub use watch::Watch;
