//! The built-in proxy engine: takes standard Envoy v3 resources over xDS and serves by them.
//!
//! ```text
//! xDS stream ── control (one thread) ── config: messages → shared parts ── snapshot, published atomically
//!              names of endpoints, looked up again and again                  │
//! client ── worker (a thread per core): accept → TLS → HTTP/1.1 or 2 → routing → pool → TLS → HTTP/1.1 or 2 ── endpoint
//! client ── worker: accept → client hello → TCP, or what is in TLS → endpoint;  datagrams → session → endpoint
//! ```
//!
//! [`Engine`] holds several gateways' instances, each configured by its own xDS socket. [`config`] compiles resources
//! and refuses, with the field's path, whatever the engine can't do: nothing is ever ignored silently. [`snapshot`] is
//! what the workers serve by, a tree of shared parts that is swapped under running connections. [`worker`] is the
//! request path: nothing in it is shared between threads but the published snapshot and plain counters.

mod access_log;
mod bind;
mod client_auth;
mod config;
mod control;
mod engine;
mod hashing;
mod limit;
mod metrics;
mod persistent;
mod resolve;
mod routing;
mod shared;
mod slots;
mod snapshot;
mod tls;
mod upstream_tls;
mod worker;

#[cfg(feature = "fuzzing")]
pub use worker::fuzz as fuzzing;

#[cfg(test)]
mod tests;

pub use access_log::{AccessLog, LogFormat};
pub use engine::{ConfigSource, Engine, EngineError, EngineOptions, InstanceOptions, Listening};
