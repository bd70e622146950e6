//! The server: opening, clients, the TLS listener, the end.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission;
use crate::auth::bound;
use crate::auth::ca::{Authority, CaError, Credential};
use crate::auth::token::Tokens;
use crate::auth::{Auth, Caller, Decision, MASTERS};
use crate::core::{Core, now};
use crate::follow::Follow;
use crate::gc;
use crate::namespaces::{NAMESPACES, Namespaces};
use crate::registry::{DEFINITIONS, Registry};
use crate::rest;
use crate::store::{self, Durability, Event, Key, Meta, Store};
use crate::watch::Hub;

/// How long a kubeconfig's certificate is valid.
const ADMIN_LIFE: Duration = Duration::from_secs(365 * 86_400);
/// How often old events and forgotten pages are let go.
const TRIM: Duration = Duration::from_secs(15);

/// How to open a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where everything is kept; it is made if it is missing.
    pub data_dir: PathBuf,
    /// Namespaces that exist from the first start, besides `default` and `kube-system`.
    pub namespaces: Vec<String>,
    /// Names and addresses by which clients reach the server, besides `localhost`, this machine's name and the
    /// address that is served on. They are put into its certificate.
    pub names: Vec<String>,
}

impl ServerOptions {
    /// Everything but the directory at its default.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), namespaces: Vec::new(), names: Vec::new() }
    }
}

/// The server can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// Certificates and keys.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// What is stored can't be read.
    #[error("{0}")]
    Read(String),
}

/// The embedded API server. Clones are the same server; it ends with the last of them, or with [`Server::shutdown`].
#[derive(Clone)]
pub struct Server {
    pub(crate) core: Arc<Core>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) names: Arc<[String]>,
    tasks: TaskTracker,
    clients: Arc<Mutex<[Option<kube::Client>; 2]>>,
    _end: Arc<tokio_util::sync::DropGuard>,
}

/// What the writer's thread tells of every event.
struct Wiring {
    hub: Arc<Hub>,
    registry: Arc<Registry>,
    namespaces: Arc<Namespaces>,
    collector: Arc<gc::Collector>,
    core: std::sync::Weak<Core>,
}

impl Wiring {
    fn observe(&self, events: &[Arc<Event>]) {
        for event in events {
            let resource = &*event.object.key.resource;
            if resource == DEFINITIONS {
                // Watches of a kind that is gone end.
                for storage in self.registry.apply(event) {
                    self.hub.log(&storage).wake();
                }
            } else if resource == NAMESPACES {
                self.namespaces.apply(event);
            } else if resource.starts_with("rbac.authorization.k8s.io/")
                && let Some(core) = self.core.upgrade()
            {
                core.auth.policy.apply(event);
            } else if resource.starts_with(admission::GROUP)
                && let Some(core) = self.core.upgrade()
            {
                core.admission.apply(event);
            } else if bound::is_owner(resource)
                && let Some(core) = self.core.upgrade()
            {
                core.auth.owners.apply(event);
            }
        }
        self.collector.apply(events);
        self.hub.publish(events);
    }
}

impl Server {
    /// Opens the store and starts what runs in the background. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`OpenError`]: the directory is in use, damaged or not accessible.
    pub fn open(options: ServerOptions) -> Result<Self, OpenError> {
        let dir = &options.data_dir;
        private_dir(dir).map_err(|source| store::OpenError::Io { path: dir.clone(), source })?;
        let wiring: Arc<OnceLock<Wiring>> = Arc::default();
        let observer = wiring.clone();
        let store = Store::open(
            dir,
            Box::new(move |events| {
                if let Some(wiring) = observer.get() {
                    wiring.observe(events);
                }
            }),
        )?;
        let authority = Arc::new(Authority::open(&dir.join("pki"))?);
        let tokens = Arc::new(Tokens::open(&dir.join("pki"))?);
        let (core, collector_tasks) = load(store)?;
        let _ = wiring.set(Wiring {
            hub: core.hub.clone(),
            registry: core.registry.clone(),
            namespaces: core.namespaces.clone(),
            collector: core.collector.clone(),
            core: Arc::downgrade(&core),
        });
        let tasks = TaskTracker::new();
        tasks.spawn(gc::run(core.clone(), collector_tasks));
        tasks.spawn(trim(core.clone()));
        let end = Arc::new(core.stop.clone().drop_guard());
        let names = options.names.clone().into();
        let server = Self { core, authority, tokens, names, tasks, clients: Arc::default(), _end: end };
        server.first_objects(&options)?;
        Ok(server)
    }

    /// What exists from the first start.
    fn first_objects(&self, options: &ServerOptions) -> Result<(), OpenError> {
        let names = ["default", "kube-system"].into_iter().chain(options.namespaces.iter().map(String::as_str));
        for name in names {
            let key = Key::new(&NAMESPACES.into(), "", name);
            let there = self.core.store.get(&key).map_err(|e| OpenError::Read(e.to_string()))?;
            if there.is_some() {
                continue;
            }
            let mut object = namespace(name);
            // The writer is a thread of its own: this waits for one fsync, at the first start only.
            let written = futures::executor::block_on(self.core.put(key, None, &mut object, Durability::Immediate));
            written.map_err(|e| OpenError::Read(e.to_string()))?;
        }
        Ok(())
    }

    /// A client in this process, whose writes are acknowledged once they are on disk.
    pub fn client(&self) -> kube::Client {
        self.client_for(Durability::Immediate)
    }

    /// A client in this process. Reconcilers, which would derive their writes again after a crash, take
    /// [`Durability::Derived`].
    pub fn client_for(&self, durability: Durability) -> kube::Client {
        let mut clients = self.clients.lock();
        let slot = &mut clients[usize::from(durability == Durability::Derived)];
        slot.get_or_insert_with(|| self.client_as(Caller::internal(durability))).clone()
    }

    /// A client in this process that acts as `caller`, with no more rights than that.
    pub fn client_as(&self, caller: Caller) -> kube::Client {
        let core = self.core.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let (core, caller) = (core.clone(), caller.clone());
            async move { Ok::<_, std::convert::Infallible>(rest::handle(core, Some(caller), request).await) }
        });
        kube::Client::new(service, "default")
    }

    /// A token for a user in groups.
    pub fn token(&self, user: &str, groups: &[&str], life: Duration) -> String {
        self.tokens.issue(user, groups, life)
    }

    /// A client certificate for a user in one group.
    ///
    /// # Errors
    /// [`CaError`]
    pub fn credential(&self, user: &str, group: &str, life: Duration) -> Result<Credential, CaError> {
        self.authority.client(user, group, life)
    }

    /// Tells of each decision on a request for objects, from now on; whoever was told before isn't any more.
    pub fn on_decision(&self, tell: impl Fn(Decision) + Send + Sync + 'static) {
        self.core.auth.listener.store(Some(Arc::new(Box::new(tell))));
    }

    /// The authority that signs this server's certificates and its clients'.
    pub fn authority(&self) -> Arc<Authority> {
        self.authority.clone()
    }

    /// The certificate of the authority that signs this server's certificates, in PEM.
    pub fn ca_certificate(&self) -> &str {
        &self.authority.certificate
    }

    /// A kubeconfig for an administrator who reaches the server at `address`.
    ///
    /// # Errors
    /// [`CaError`]
    pub fn admin_kubeconfig(&self, address: SocketAddr) -> Result<String, CaError> {
        let credential = self.authority.client("admin", MASTERS, ADMIN_LIFE)?;
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let server = format!("https://{}", SocketAddr::new(ip, address.port()));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "foregate", "preferences": {},
            "clusters": [{"name": "foregate", "cluster": {"server": server,
                "certificate-authority-data": STANDARD.encode(&self.authority.certificate)}}],
            "contexts": [{"name": "foregate", "context": {"cluster": "foregate", "user": "admin"}}],
            "users": [{"name": "admin", "user": {
                "client-certificate-data": STANDARD.encode(credential.certificate),
                "client-key-data": STANDARD.encode(credential.key)}}],
        });
        // JSON is YAML; kubectl reads either.
        serde_saphyr::to_string(&config).or_else(|_| Ok(config.to_string()))
    }

    /// Ends everything: watches are closed, what waits is written, all is on disk when this returns.
    pub async fn shutdown(&self) {
        self.core.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let core = self.core.clone();
        let _ = tokio::task::spawn_blocking(move || core.store.close()).await;
    }

    /// Cancelled when the server ends.
    pub fn stopped(&self) -> CancellationToken {
        self.core.stop.clone()
    }
}

/// Makes the directory, for its owner alone.
fn private_dir(dir: &std::path::Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(dir)
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "uid": uuid::Uuid::new_v4().to_string(), "creationTimestamp": now(),
            "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
}

/// Reads what is stored: definitions, roles, and who owns what.
fn load(store: Store) -> Result<(Arc<Core>, UnboundedReceiver<Vec<gc::Task>>), OpenError> {
    let (auth, policies) = (Auth::default(), admission::Admission::default());
    let (namespaces, (collector, tasks)) = (Namespaces::default(), gc::Collector::new());
    let mut definitions = Vec::new();
    let mut notes = Vec::new();
    let mut damaged = None;
    let snapshot = store.snapshot().map_err(|e| OpenError::Read(e.to_string()))?;
    let visited = snapshot.each(|object| {
        let mut read = || {
            let (meta, resource) = (Meta::read(&object.bytes)?, &*object.key.resource);
            if resource == NAMESPACES {
                namespaces.set(&object.key.name, &meta);
            }
            notes.extend(collector.stored(&object.key, meta));
            if resource == DEFINITIONS {
                definitions.push(serde_json::from_slice(&object.bytes)?);
            } else if resource.starts_with("rbac.authorization.k8s.io/") {
                auth.policy.set(&object.key, Some(&serde_json::from_slice(&object.bytes)?));
            } else if resource.starts_with(admission::GROUP) {
                policies.set(&object.key, Some(&serde_json::from_slice(&object.bytes)?));
            } else if bound::is_owner(resource) {
                auth.owners.set(&object.key, Some(&serde_json::from_slice(&object.bytes)?));
            }
            Ok::<_, serde_json::Error>(())
        };
        if let Err(error) = read() {
            damaged.get_or_insert(format!("the stored object {} is damaged: {error}", object.key.name));
        }
    });
    visited.map_err(|e| OpenError::Read(e.to_string()))?;
    if let Some(error) = damaged {
        return Err(OpenError::Read(error));
    }
    collector.resume(&notes);
    let hub = Arc::new(Hub::new(store.start()));
    let core = Core {
        registry: Arc::new(Registry::new(&definitions)),
        store,
        hub,
        auth,
        admission: policies,
        namespaces: Arc::new(namespaces),
        collector: Arc::new(collector),
        pages: rest::Pages::default(),
        stop: CancellationToken::new(),
        metrics: crate::metrics::Metrics::default(),
        extras: crate::extra::Extras::default(),
    };
    Ok((Arc::new(core), tasks))
}

async fn trim(core: Arc<Core>) {
    let mut tick = tokio::time::interval(TRIM);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                core.hub.trim();
                core.pages.trim();
            }
            () = core.stop.cancelled() => return,
        }
    }
}
