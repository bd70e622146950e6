//! The control thread: xDS streams in, snapshots and commands to the workers out.

mod clusters;
mod dns;
mod listeners;
mod routes;
mod secrets;
pub(crate) mod source;
pub(crate) mod store;
mod stream;
mod wanted;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::bind::Addresses;
use crate::engine::{ConfigSource, EngineError, InstanceOptions};
use crate::metrics::Registry;
use crate::shared::InstanceShared;
use crate::worker::Command;

use source::{LocalConnector, UnixConnector};
use store::Store;

/// What the engine asks of its control thread.
pub(crate) enum Request {
    /// Run an instance.
    Add(InstanceOptions, oneshot::Sender<Result<(), EngineError>>),
    /// End one, with this time for its requests.
    Remove(String, Duration, oneshot::Sender<Result<(), EngineError>>),
    /// Run an instance with a source of resources of the test's own.
    #[cfg(test)]
    AddFake(String, source::fake::FakeConnector, oneshot::Sender<Result<(), EngineError>>),
}

/// All workers.
#[derive(Clone)]
pub(crate) struct Workers(pub(crate) Arc<[UnboundedSender<Command>]>);

impl Workers {
    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Asks the same of everyone.
    pub(crate) fn all(&self, command: impl Fn() -> Command) {
        for worker in self.0.iter() {
            let _ = worker.send(command());
        }
    }

    /// Asks one.
    pub(crate) fn one(&self, index: usize, command: Command) {
        let _ = self.0[index].send(command);
    }
}

/// What all instances share.
pub(crate) struct Shared {
    /// The workers.
    pub(crate) workers: Workers,
    /// Who listens where.
    pub(crate) addresses: Addresses,
    /// Where counters live.
    pub(crate) registry: Arc<Registry>,
    /// For requests on listeners that go away.
    pub(crate) drain: Duration,
}

struct Running {
    key: u64,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// Works until the engine is gone.
pub(crate) async fn run(shared: Shared, mut requests: UnboundedReceiver<Request>) {
    let shared = Rc::new(shared);
    let mut instances: HashMap<String, Running> = HashMap::new();
    let mut next = 0;
    while let Some(request) = requests.recv().await {
        match request {
            Request::Add(options, reply) => {
                let InstanceOptions { name, xds } = options;
                let added = match xds {
                    ConfigSource::Socket { path: socket, node_id } => {
                        add(&shared, &mut instances, &mut next, name, UnixConnector { socket, node_id })
                    }
                    ConfigSource::Local(endpoint) => {
                        add(&shared, &mut instances, &mut next, name, LocalConnector(endpoint))
                    }
                };
                let _ = reply.send(added);
            }
            #[cfg(test)]
            Request::AddFake(name, connector, reply) => {
                let _ = reply.send(add(&shared, &mut instances, &mut next, name, connector));
            }
            Request::Remove(name, drain, reply) => match instances.remove(&name) {
                Some(running) => {
                    let shared = Rc::clone(&shared);
                    tokio::task::spawn_local(async move {
                        remove(&shared, running, drain).await;
                        let _ = reply.send(Ok(()));
                    });
                }
                None => {
                    let _ = reply.send(Err(EngineError::Unknown(name)));
                }
            },
        }
    }
}

fn add<C: source::Connector + 'static>(
    shared: &Rc<Shared>,
    instances: &mut HashMap<String, Running>,
    next: &mut u64,
    name: String,
    connector: C,
) -> Result<(), EngineError> {
    if instances.contains_key(&name) {
        return Err(EngineError::Exists(name));
    }
    let key = *next;
    *next += 1;
    let label: Arc<str> = name.as_str().into();
    let instance = Arc::new(InstanceShared {
        key,
        stats: shared.registry.instance(&label),
        name: label,
        published: crate::snapshot::Published::default(),
        drain: shared.drain,
    });
    let store = Store::new(Arc::clone(&instance), Rc::clone(shared), connector.resolver())?;
    shared.workers.all(|| Command::Add(Arc::clone(&instance)));
    let stop = CancellationToken::new();
    let task = tokio::task::spawn_local(stream::run(store, connector, stop.clone()));
    instances.insert(name, Running { key, stop, task });
    Ok(())
}

async fn remove(shared: &Shared, running: Running, drain: Duration) {
    running.stop.cancel();
    let _ = running.task.await;
    let done = (0..shared.workers.count()).map(|index| {
        let (done, told) = oneshot::channel();
        shared.workers.one(index, Command::Remove { instance: running.key, drain, done });
        told
    });
    let all: Vec<_> = done.collect();
    futures::future::join_all(all).await;
}
