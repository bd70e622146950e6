//! The workload side: it watches what users write (the Gateway API's kinds, Services, EndpointSlices, and what these name),
//! lets [`foregate_attach`] decide, and writes what follows: derived objects for platforms, and status back to the users'
//! objects.
//!
//! This crate is the shell around a pure decision. `source` turns watches into inputs, as far as the API serves the kinds
//! (`served`) and as far as something names the objects (`named`, `unread`). [`run`] feeds them to the one task that owns the
//! decision. [`dispatch`] executes the writes: one at a time per object, the newest wins, failures are tried again. Each
//! platform has a connection, watches and a queue of its own (`target`), is asked how it is (`health`), and
//! for the next credential in time (`renew`). Of several
//! replicas one writes ([`leader`]). Nothing here polls but that. [`files`] is another way for objects to come: what is in
//! directories is in the API.

mod backoff;
mod client;
mod decode;
pub mod dispatch;
mod error;
pub mod files;
mod health;
pub mod leader;
mod lean;
mod named;
mod pipeline;
mod renew;
mod served;
mod source;
mod target;
mod unread;
mod voice;
mod workload;
mod write;

pub use client::connect;
pub use dispatch::Gate;
pub use error::ControllerError;
pub use foregate_attach::{DefaultTarget, Settings};
pub use pipeline::{Controller, run};
