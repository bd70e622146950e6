//! The embedded API server: Kubernetes semantics on redb, generic over kinds.
//!
//! A newcomer starts at [`Server`]: it opens a data directory, hands out [`kube::Client`]s that reach it within the
//! process, and serves the same API over TLS. A request goes from `rest` (its path, body and answer) through the
//! kind's rules (`registry`) to the [`store`], whose one writer puts all changes in order and shows them to watches
//! (`watch`). `gc` removes what depends on what is gone, `auth` decides who may do what to which kinds, `admission`
//! (policies in CEL) to which objects, and `discovery` tells clients what there is.

mod admission;
pub mod auth;
pub mod builtin;
mod core;
mod discovery;
mod error;
mod extra;
mod follow;
mod gc;
mod metrics;
mod namespaces;
pub mod patch;
mod registry;
mod rest;
pub mod schema;
mod serve;
mod server;
pub mod store;
mod watch;

pub use auth::{Caller, Decision};
pub use extra::{Extra, Posted, Refusal};
pub use serve::ServeError;
pub use server::{OpenError, Server, ServerOptions};
pub use store::Durability;
