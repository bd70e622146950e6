//! The workload side: it watches what users write (GatewayClass, Gateway, HTTPRoute, GRPCRoute, Backend,
//! BackendTLSPolicy, Service, EndpointSlice, Secret, ConfigMap, ReferenceGrant, Namespace), lets [`foregate_attach`]
//! decide, and writes what follows: derived objects for the platform, and status back to the users' objects.
//!
//! This crate is the shell around a pure decision. [`source`] turns watches into inputs, [`run`] feeds them to the one
//! task that owns the decision, [`dispatch`] executes the writes: one at a time per object, the newest wins, failures
//! are tried again. Nothing here polls. [`files`] is another way for objects to come: what is in directories is in the API.

mod backoff;
mod client;
pub mod dispatch;
mod error;
pub mod files;
mod health;
pub mod leader;
mod pipeline;
mod served;
mod source;
mod target;
mod workload;
mod write;

pub use client::connect;
pub use dispatch::Gate;
pub use error::ControllerError;
pub use foregate_attach::{DefaultTarget, Settings};
pub use pipeline::{Controller, run};
