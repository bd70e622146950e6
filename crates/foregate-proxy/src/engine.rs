//! The engine: worker threads, a control thread, and the gateways' instances on them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use foregate_xds::Endpoint;
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::access_log::{AccessLog, Writer};
use crate::bind::Addresses;
use crate::control::{self, Request, Shared, Workers};
use crate::limit::ConnectionLimit;
use crate::metrics::{Registry, render};
use crate::worker::Worker;

/// How an engine runs.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Threads that serve requests; 0: one per CPU.
    pub workers: usize,
    /// How long requests under way get when their listener or instance goes away.
    pub drain: Duration,
    /// Where the access log goes.
    pub access_log: AccessLog,
    /// Connections of clients, of all instances together; who comes when there are so many is closed at once. 0: as many
    /// as the open files that the process may have allow.
    pub max_connections: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { workers: 0, drain: Duration::from_secs(30), access_log: AccessLog::Off, max_connections: 0 }
    }
}

/// One gateway's instance.
#[derive(Clone, Debug)]
pub struct InstanceOptions {
    /// Its name, unique in the engine; labels its metrics and log lines.
    pub name: String,
    /// Where its configuration comes from.
    pub xds: ConfigSource,
}

/// Where an instance's configuration comes from.
#[derive(Clone, Debug)]
pub enum ConfigSource {
    /// Over a unix socket.
    Socket {
        /// Which.
        path: PathBuf,
        /// What the engine calls itself there.
        node_id: String,
    },
    /// From a cache in this process.
    Local(Endpoint),
}

/// An address that a listener is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The gateway's instance.
    pub instance: Arc<str>,
    /// The listener.
    pub listener: Arc<str>,
    /// Address and port.
    pub address: SocketAddr,
    /// UDP; otherwise TCP. A port may have both.
    pub datagrams: bool,
}

/// Why an engine can't do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A thread or its runtime can't be started.
    #[error("can't start the proxy engine: {0}")]
    Start(#[source] io::Error),
    /// The access log can't be opened.
    #[error("can't open the access log {log}: {source}")]
    Log {
        /// Which.
        log: AccessLog,
        /// Why.
        source: io::Error,
    },
    /// There are no keys for TLS sessions.
    #[error("can't set up TLS: {0}")]
    Tls(#[source] rustls::Error),
    /// There is an instance of that name.
    #[error("gateway instance {0} runs already")]
    Exists(String),
    /// There is no instance of that name.
    #[error("there is no gateway instance {0}")]
    Unknown(String),
    /// The engine has been shut down.
    #[error("the proxy engine has stopped")]
    Stopped,
}

/// A running engine. Dropping it ends its threads without draining; [`Engine::shutdown`] drains.
pub struct Engine {
    requests: UnboundedSender<Request>,
    registry: Arc<Registry>,
    addresses: Addresses,
    drain: Duration,
    names: Mutex<Vec<String>>,
    threads: Vec<JoinHandle<()>>,
    writer: Writer,
}

impl Engine {
    /// Starts the threads. Nothing listens until an instance is added.
    ///
    /// # Errors
    /// A thread can't be started, or the access log can't be opened.
    pub fn start(options: EngineOptions) -> Result<Self, EngineError> {
        let count = match options.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let limit = ConnectionLimit::new(options.max_connections);
        let registry = Arc::new(Registry::limited(limit));
        let writer = Writer::start(&options.access_log)
            .map_err(|source| EngineError::Log { log: options.access_log.clone(), source })?;
        let mut threads = Vec::with_capacity(count + 1);
        let mut workers = Vec::with_capacity(count);
        for index in 0..count {
            let (sender, receiver) = unbounded_channel();
            let (registry, sink) = (Arc::clone(&registry), writer.sink(Arc::clone(&registry)));
            let format = options.access_log.format();
            threads.push(thread(format!("proxy-{index}"), move || Worker::new(registry, sink, format).run(receiver))?);
            workers.push(sender);
        }
        let (requests, receiver) = unbounded_channel();
        let addresses = Addresses::default();
        let shared = ControlParts {
            workers: Workers(workers.into()),
            addresses: addresses.clone(),
            registry: Arc::clone(&registry),
            drain: options.drain,
        };
        threads.push(thread("proxy-control".to_owned(), move || control::run(shared.into(), receiver))?);
        let names = Mutex::new(Vec::new());
        Ok(Self { requests, registry, addresses, drain: options.drain, names, threads, writer })
    }

    /// Runs an instance. Where its configuration comes over a socket, it comes again whenever the socket does.
    ///
    /// # Errors
    /// There is one of that name, or the engine has stopped.
    pub async fn add(&self, options: InstanceOptions) -> Result<(), EngineError> {
        let name = options.name.clone();
        self.ask(|reply| Request::Add(options, reply)).await?;
        self.names.lock().push(name);
        Ok(())
    }

    /// Ends an instance: its sockets close, requests under way get the engine's drain time.
    ///
    /// # Errors
    /// There is none of that name, or the engine has stopped.
    pub async fn remove(&self, name: &str) -> Result<(), EngineError> {
        self.remove_within(name, self.drain).await
    }

    async fn remove_within(&self, name: &str, drain: Duration) -> Result<(), EngineError> {
        self.names.lock().retain(|other| other != name);
        self.ask(|reply| Request::Remove(name.to_owned(), drain, reply)).await
    }

    async fn ask(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<(), EngineError>>) -> Request,
    ) -> Result<(), EngineError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).map_err(|_| EngineError::Stopped)?;
        answer.await.map_err(|_| EngineError::Stopped)?
    }

    /// Ends everything: instances drain side by side, for at most `drain`, and the access log is written out.
    pub async fn shutdown(mut self, drain: Duration) {
        let names = std::mem::take(&mut *self.names.lock());
        let removals = names.iter().map(|name| self.remove_within(name, drain));
        futures::future::join_all(removals).await;
        let (requests, _) = unbounded_channel();
        drop(std::mem::replace(&mut self.requests, requests));
        let threads = std::mem::take(&mut self.threads);
        let mut writer = std::mem::replace(&mut self.writer, Writer::none());
        let ended = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
            writer.finish();
        });
        let _ = ended.await;
    }

    /// All metrics in the Prometheus text format.
    pub fn metrics(&self) -> String {
        render(&self.registry)
    }

    /// The same, for whoever serves them: it may outlive the engine.
    pub fn metrics_source(&self) -> impl Fn() -> String + Send + Sync + use<> {
        let registry = Arc::clone(&self.registry);
        move || render(&registry)
    }

    /// Whether an instance, there or yet to be added, may listen where another process of this user does: while it takes
    /// the place of another engine. Otherwise an address in use is a reason to refuse a listener.
    pub fn share_addresses(&self, instance: &str, shares: bool) {
        self.addresses.share(instance, shares);
    }

    /// Where listeners are bound.
    pub fn addresses(&self) -> Vec<Listening> {
        self.addresses.all()
    }

    #[cfg(test)]
    pub(crate) async fn add_fake(
        &self,
        name: &str,
        connector: crate::control::source::fake::FakeConnector,
    ) -> Result<(), EngineError> {
        self.ask(|reply| Request::AddFake(name.to_owned(), connector, reply)).await?;
        self.names.lock().push(name.to_owned());
        Ok(())
    }
}

/// What the control thread starts with; `Shared` itself never leaves that thread.
struct ControlParts {
    workers: Workers,
    addresses: Addresses,
    registry: Arc<Registry>,
    drain: Duration,
}

impl From<ControlParts> for Shared {
    fn from(parts: ControlParts) -> Self {
        let ControlParts { workers, addresses, registry, drain } = parts;
        Self { workers, addresses, registry, drain }
    }
}

/// A thread with a runtime of its own.
fn thread<F, T>(name: String, task: F) -> Result<JoinHandle<()>, EngineError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Future<Output = ()> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(EngineError::Start)?;
    std::thread::Builder::new()
        .name(name)
        .spawn(move || LocalSet::new().block_on(&runtime, task()))
        .map_err(EngineError::Start)
}
