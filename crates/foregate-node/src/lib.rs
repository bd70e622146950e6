//! The gateway node agent: for each GatewayInstance of this node, an engine and its configuration.
//!
//! - [`agent`] follows the GatewayInstances, serves each one's xDS socket, runs its engine, and says in
//!   `status.engine` how that fares. An engine is exchanged for another without a request that fails: the new one
//!   listens beside the old one before that drains.
//! - [`envoy`] is one Envoy process: its bootstrap, its log, its admin interface, hot restart, and what is written down
//!   of it, so that it is found again when the agent was killed.
//! - [`engines`] is the store of the Envoys that an operator has added: `DATA/engines/envoy/VERSION/`.
//!
//! ```text
//! GatewayInstance ── agent ─┬─ xDS server on a unix socket ── XdsSource: the platform's cache, or the relay's
//!                           └─ Actor, one per instance ─┬─ Builtin: foregate-proxy, which the binary brings along
//!                                                       └─ Process: an Envoy
//! ```

pub mod agent;
pub mod engines;
pub mod envoy;

pub use agent::{Agent, AgentError, Builtin, BuiltinInstance, Options, XdsSource};
pub use envoy::Bound;
