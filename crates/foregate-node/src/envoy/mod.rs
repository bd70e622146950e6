//! Envoy processes: one per gateway instance and epoch.
//!
//! [`Process`] starts one and tells what happens to it: ready, exited, hung. Which process is there, and which takes its
//! place, is the [`agent`](crate::agent)'s decision.
//!
//! # Epochs
//! A process takes another's place by hot restart where both speak the same hot restart version: it gets the listening
//! sockets from its parent, and tells it to drain once it serves. Otherwise it is started beside, with sockets of its
//! own on the same addresses (SO_REUSEPORT), and [`steer`] sends it the new connections before the old one closes.
//!
//! # Who outlives whom
//! Envoys don't end with the agent: traffic outlives the control plane. [`inventory`] says which processes an instance
//! has (process id and start time, so that no other process is taken for it); the next agent takes them over by hot
//! restart. If none ever comes, they serve what they have; `kill` ends them, their ids are in `RUN/ID/processes.json`.

pub(crate) mod admin;
pub(crate) mod backoff;
pub(crate) mod bootstrap;
pub(crate) mod inventory;
pub(crate) mod listening;
mod logs;
pub(crate) mod metrics;
pub(crate) mod pid;
pub(crate) mod process;
mod routes;
pub(crate) mod steer;
pub(crate) mod stray;

pub use inventory::{Record, running};
pub use listening::Bound;
pub use metrics::Metrics;
pub(crate) use process::{Launch, Process};
