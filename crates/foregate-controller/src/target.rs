//! Targets: the platforms' tenants that derived objects are written to, each with its own connection, watches and
//! writes. What one of them does delays no other.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foregate_api::{CLUSTER_LABEL, GatewayBackend, GatewayClaim, GatewayEndpointSlice, GatewayRoute};
use foregate_attach::{Connection, DerivedChange, Input, TargetChange, TargetEvent, TargetId};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::sync::{Notify, SetOnce, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::{self, Exchangeable};
use crate::decode::Lean;
use crate::dispatch::{self, Batch, Gate};
use crate::health::{self, Teller};
use crate::renew::Renewal;
use crate::source::{Fed, Followed, once, seen};
use crate::voice::Voice;
use crate::write::{self, DerivedKey};

/// Writes that run at once, per target.
const WRITES: usize = 32;
/// Kinds that are followed at a target.
const KINDS: usize = 4;

/// All targets that are connected.
pub struct Targets {
    /// The API that credentials are kept in.
    workload: Client,
    feed: mpsc::Sender<Fed>,
    gate: Gate,
    shutdown: CancellationToken,
    running: HashMap<TargetId, Running>,
    tasks: JoinSet<()>,
}

/// One target.
struct Running {
    jobs: mpsc::UnboundedSender<Batch<DerivedKey, DerivedChange>>,
    /// None: it is reached by a client that was given.
    connection: Option<watch::Sender<Arc<Connection>>>,
    stop: CancellationToken,
}

/// What a default target is reached by.
#[derive(Clone)]
pub struct Given {
    /// Its API.
    pub client: Client,
    /// Namespace of the derived objects.
    pub namespace: String,
    /// Name of this workload cluster there.
    pub cluster: String,
    /// The GatewayTemplate that must be there.
    pub template: String,
    /// Whether what is there counts as a part of the workload's API: it is listed with it, and isn't checked.
    pub shares_api: bool,
}

impl Targets {
    /// None yet. Nothing is written while the gate is closed.
    pub fn new(workload: Client, feed: mpsc::Sender<Fed>, gate: Gate, shutdown: CancellationToken) -> Self {
        Self { workload, feed, gate, shutdown, running: HashMap::new(), tasks: JoinSet::new() }
    }

    /// Takes the default target in. Returns how many kinds are told as listed with the workload's.
    pub fn give(&mut self, given: Given) -> usize {
        let stop = self.shutdown.child_token();
        let voice = if given.shares_api { Voice::default() } else { Voice::of_checked() };
        let place = Place { id: TargetId::DEFAULT, namespace: given.namespace, cluster: given.cluster, voice };
        let (up, is_up) = watch::channel(true);
        let doubt = Arc::new(Notify::new());
        let client = match given.shares_api {
            true => given.client.clone(),
            false => client::doubting(given.client.clone(), doubt.clone()),
        };
        let jobs = self.write_to(&client, &place, self.gate.and(is_up.clone()), stop.clone());
        self.running.insert(place.id, Running { jobs, connection: None, stop: stop.clone() });
        if given.shares_api {
            self.follow(&given.client, &place, &stop, &is_up, || once(Fed::Listed));
            self.follow_copies(&given.client, &place, &stop);
            return KINDS + 1;
        }
        self.follow_with_one_voice(&client, &place, &stop, &is_up);
        let templates = BTreeSet::from([given.template]);
        let (feed, client) = (self.feed.clone(), given.client);
        self.tasks.spawn(async move {
            let probe = health::Probe { client, namespace: place.namespace, cluster: None, templates };
            tokio::select! {
                () = stop.cancelled() => {}
                () = health::keep(Teller::new(place.id, feed, up), probe, doubt) => {}
            }
        });
        0
    }

    /// Does what the decision wants done about targets.
    pub fn change(&mut self, change: TargetChange) {
        match change {
            TargetChange::Drop(id) => {
                if let Some(running) = self.running.remove(&id) {
                    tracing::info!(?id, "nothing is left to do for a platform; disconnecting");
                    running.stop.cancel();
                }
            }
            TargetChange::Connect(id, to) => match self.running.get(&id).and_then(|it| it.connection.as_ref()) {
                Some(connection) => drop(connection.send(to)),
                None => self.connect(id, to),
            },
        }
    }

    /// Writes what the decision wants written. `tried` is set once all of it was tried.
    pub fn write(&mut self, id: TargetId, changes: Vec<DerivedChange>, tried: Option<Arc<SetOnce<()>>>) {
        if let Some(running) = self.running.get(&id) {
            let jobs = changes.into_iter().map(write::derived_job).collect();
            // It ends at shutdown only; what would have been written is derived again by the next start.
            let _ = running.jobs.send(Batch { jobs, tried });
        }
    }

    fn connect(&mut self, id: TargetId, to: Arc<Connection>) {
        tracing::info!(url = to.url, namespace = to.namespace, cluster = to.cluster, "connecting to a platform");
        let stop = self.shutdown.child_token();
        let place =
            Place { id, namespace: to.namespace.clone(), cluster: to.cluster.clone(), voice: Voice::of_checked() };
        let exchangeable = Exchangeable::new();
        let doubt = Arc::new(Notify::new());
        let client = exchangeable.doubting(&to.namespace, doubt.clone());
        let (up, is_up) = watch::channel(false);
        let jobs = self.write_to(&client, &place, self.gate.and(is_up.clone()), stop.clone());
        self.follow_with_one_voice(&client, &place, &stop, &is_up);
        let (connection, connections) = watch::channel(to);
        let (feed, gate, ending) = (self.feed.clone(), self.gate.clone(), stop.clone());
        let renewal = Renewal::new(self.workload.clone());
        self.tasks.spawn(async move {
            let teller = Teller::new(id, feed, up);
            tokio::select! {
                () = ending.cancelled() => {}
                () = health::keep_connected(teller, (exchangeable, renewal), connections, gate, doubt) => {}
            }
        });
        self.running.insert(id, Running { jobs, connection: Some(connection), stop });
    }

    fn write_to(
        &mut self,
        client: &Client,
        place: &Place,
        gate: Gate,
        stop: CancellationToken,
    ) -> mpsc::UnboundedSender<Batch<DerivedKey, DerivedChange>> {
        let (jobs, batches) = mpsc::unbounded_channel();
        let platform = write::Platform::new(client.clone(), &place.namespace, place.voice.clone());
        self.tasks.spawn(dispatch::run(batches, WRITES, gate, stop, move |_, change| platform.write(change)));
        jobs
    }

    /// Follows the copies of Secrets that were made before: who shares the workload's API may read them.
    fn follow_copies(&mut self, client: &Client, place: &Place, stop: &CancellationToken) {
        let followed = Followed {
            api: Api::<Lean<Secret>>::namespaced(client.clone(), &place.namespace),
            kind: "Secret",
            config: watcher::Config::default().labels(&format!("{CLUSTER_LABEL}={}", place.cluster)),
            served: |_| true,
            say: seen(Input::Secret),
            is_missing_if_forbidden: false,
            voice: place.voice.clone(),
            listed: once(Fed::Listed),
        };
        let (feed, stop) = (self.feed.clone(), stop.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                ended = followed.run(feed) => if let Err(error) = ended { tracing::error!(%error, "platform") },
            }
        });
    }

    /// Follows what is there, and says when all kinds have been listed.
    fn follow_with_one_voice(
        &mut self,
        client: &Client,
        place: &Place,
        stop: &CancellationToken,
        is_up: &watch::Receiver<bool>,
    ) {
        let (unlisted, id) = (Arc::new(AtomicUsize::new(KINDS)), place.id);
        self.follow(client, place, stop, is_up, || {
            let unlisted = unlisted.clone();
            let mut listed = false;
            move || {
                let last = !std::mem::replace(&mut listed, true) && unlisted.fetch_sub(1, Ordering::AcqRel) == 1;
                last.then_some(Fed::Input(Input::Target(id, TargetEvent::Listed)))
            }
        });
    }

    fn follow<L>(
        &mut self,
        client: &Client,
        place: &Place,
        stop: &CancellationToken,
        is_up: &watch::Receiver<bool>,
        listed: impl Fn() -> L,
    ) where
        L: FnMut() -> Option<Fed> + Send + 'static,
    {
        let config = watcher::Config::default().labels(&format!("{CLUSTER_LABEL}={}", place.cluster));
        let id = place.id;
        macro_rules! follow {
            ($kind:ty, $input:path) => {
                let followed = Followed {
                    api: Api::<Lean<$kind>>::namespaced(client.clone(), &place.namespace),
                    kind: stringify!($kind),
                    config: config.clone(),
                    served: |_| true,
                    // Of what is as we wrote it, what we wrote is kept.
                    say: seen(move |change| $input(id, change)),
                    is_missing_if_forbidden: false,
                    voice: place.voice.clone(),
                    listed: listed(),
                };
                let (feed, stop, mut is_up) = (self.feed.clone(), stop.clone(), is_up.clone());
                let run = async move {
                    // Who isn't there yet needn't be asked by each of them.
                    if is_up.wait_for(|up| *up).await.is_err() {
                        return Ok(());
                    }
                    followed.run(feed).await
                };
                self.tasks.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        ended = run => if let Err(error) = ended { tracing::error!(%error, "platform") },
                    }
                });
            };
        }
        follow!(GatewayClaim, Input::Claim);
        follow!(GatewayRoute, Input::Route);
        follow!(GatewayBackend, Input::Backend);
        follow!(GatewayEndpointSlice, Input::Slice);
    }
}

/// Where derived objects are.
struct Place {
    id: TargetId,
    namespace: String,
    cluster: String,
    /// Says what goes wrong there.
    voice: Voice,
}
