//! The node of `foregate up`: foregate-node's agent, with the built-in engine of this process.

use std::time::Duration;

use foregate_node::agent::BoxError;
use foregate_node::{Bound, Builtin, BuiltinInstance};
use foregate_proxy::{ConfigSource, Engine, EngineError, InstanceOptions};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::RwLock;

/// Name of the one node of `foregate up`.
pub const NODE: &str = "local";

/// foregate-proxy, as the agent knows it.
pub struct BuiltinEngine(RwLock<Option<Engine>>);

impl BuiltinEngine {
    /// A running engine.
    pub fn new(engine: Engine) -> Self {
        Self(RwLock::new(Some(engine)))
    }

    /// Looks at the engine; nothing once it has been shut down, or while that goes on.
    fn look<T>(&self, look: impl FnOnce(&Engine) -> T) -> Option<T> {
        self.0.try_read().ok()?.as_ref().map(look)
    }
}

impl Builtin for BuiltinEngine {
    fn add(&self, instance: BuiltinInstance) -> BoxFuture<'_, Result<(), BoxError>> {
        async move {
            let guard = self.0.read().await;
            let engine = guard.as_ref().ok_or(EngineError::Stopped)?;
            engine.share_addresses(&instance.name, instance.shares_addresses);
            let BuiltinInstance { name, xds, .. } = instance;
            engine.add(InstanceOptions { name, xds: ConfigSource::Local(xds) }).await.map_err(Into::into)
        }
        .boxed()
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        async move {
            let guard = self.0.read().await;
            guard.as_ref().ok_or(EngineError::Stopped)?.remove(name).await.map_err(Into::into)
        }
        .boxed()
    }

    fn listening(&self, name: &str) -> Vec<Bound> {
        let all = self.look(Engine::addresses).unwrap_or_default().into_iter();
        let own = all.filter(|it| &*it.instance == name);
        own.map(|it| Bound { address: it.address, datagrams: it.datagrams }).collect()
    }

    fn alone(&self, name: &str) {
        self.look(|engine| engine.share_addresses(name, false));
    }

    fn shutdown(&self, drain: Duration) -> BoxFuture<'_, ()> {
        async move {
            // Instances that end at the moment hold the engine until they have.
            let engine = self.0.write().await.take();
            if let Some(engine) = engine {
                engine.shutdown(drain).await;
            }
        }
        .boxed()
    }
}
