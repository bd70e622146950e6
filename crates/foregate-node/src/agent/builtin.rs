//! The built-in engine, as the agent needs it.

use std::time::Duration;

use foregate_xds::Endpoint;
use futures::future::BoxFuture;

use crate::envoy::listening::Bound;

/// What an engine says when it can't.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One gateway's instance of the built-in engine.
#[derive(Clone, Debug)]
pub struct BuiltinInstance {
    /// Its name, unique in the engine.
    pub name: String,
    /// Where its configuration comes from.
    pub xds: Endpoint,
    /// Whether it may listen where another process listens: while it takes the place of another engine.
    pub shares_addresses: bool,
}

/// The built-in engine. The agent has no arrow to foregate-proxy: the binary brings it along.
pub trait Builtin: Send + Sync + 'static {
    /// Starts an instance.
    fn add(&self, instance: BuiltinInstance) -> BoxFuture<'_, Result<(), BoxError>>;

    /// Ends an instance: its sockets close at once, whoever waits in their queues is served. Returns when the requests
    /// under way are done, or the drain time is over.
    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), BoxError>>;

    /// Where an instance listens now.
    fn listening(&self, name: &str) -> Vec<Bound>;

    /// An instance that shared its addresses has them for itself now.
    fn alone(&self, name: &str);

    /// Drains all instances, for at most `drain`, and ends the engine.
    fn shutdown(&self, drain: Duration) -> BoxFuture<'_, ()>;
}
