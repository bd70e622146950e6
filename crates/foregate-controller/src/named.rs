//! Secrets and ConfigMaps that something names, followed one by one, so that nobody else's are read. Where many of one
//! namespace are named, one watch follows the namespace, and what isn't named is passed over.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;

use foregate_attach::{Change, Input, Key, Need, NeedChange};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::decode::Lean;
use crate::source::{Fed, Followed, seen};
use crate::unread::Questions;
use crate::voice::Voice;

/// So many of a namespace are followed one by one: each takes a connection.
const ONE_BY_ONE: usize = 8;

/// What is named in a namespace, with the numbers that its news carry.
type Names = BTreeMap<Arc<str>, u64>;

/// A kind, and a namespace.
type Place = (Kind, Arc<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Secret,
    ConfigMap,
}

/// Where news go, and who says what goes wrong.
#[derive(Clone)]
struct Feed {
    to: mpsc::Sender<Fed>,
    voice: Voice,
}

/// All that is followed.
pub struct Named {
    client: Client,
    feed: Feed,
    shutdown: CancellationToken,
    places: HashMap<Place, watch::Sender<Names>>,
    /// Services aren't followed by themselves, but asked for once.
    questions: Questions,
    tasks: JoinSet<()>,
}

impl Named {
    /// Nothing yet.
    pub fn new(client: Client, feed: mpsc::Sender<Fed>, voice: Voice, shutdown: CancellationToken) -> Self {
        let questions = Questions::new(client.clone(), feed.clone(), voice.clone(), shutdown.clone());
        let feed = Feed { to: feed, voice };
        Self { client, feed, shutdown, places: HashMap::new(), questions, tasks: JoinSet::new() }
    }

    /// Follows what has come to be needed, and no more what isn't.
    pub fn change(&mut self, changes: Vec<NeedChange>) {
        for change in changes {
            let (need, number) = match change {
                NeedChange::Follow(need, number) => (need, Some(number)),
                NeedChange::Forget(need) => (need, None),
            };
            let (kind, key) = match need {
                Need::Secret(key) => (Kind::Secret, key),
                Need::ConfigMap(key) => (Kind::ConfigMap, key),
                Need::Service(key) => {
                    match number {
                        Some(number) => self.questions.ask(key, number),
                        None => self.questions.forget(&key),
                    }
                    continue;
                }
            };
            let place = (kind, key.namespace.clone());
            if !self.places.contains_key(&place) {
                self.start(&place);
            }
            let Some(names) = self.places.get(&place) else { continue };
            names.send_modify(|names| {
                match number {
                    Some(number) => names.insert(key.name.clone(), number),
                    None => names.remove(&key.name),
                };
            });
            if names.borrow().is_empty() {
                // Its task ends with it.
                self.places.remove(&place);
            }
        }
        while self.tasks.try_join_next().is_some() {}
    }

    fn start(&mut self, place: &Place) {
        let (names, told) = watch::channel(Names::new());
        let (feed, client, namespace) = (self.feed.clone(), self.client.clone(), place.1.clone());
        let shutdown = self.shutdown.clone();
        match place.0 {
            Kind::Secret => {
                let api = Api::<Lean<Secret>>::namespaced(client, &namespace);
                self.tasks.spawn(until(shutdown, follow(api, namespace, told, feed)));
            }
            Kind::ConfigMap => {
                let api = Api::<Lean<ConfigMap>>::namespaced(client, &namespace);
                self.tasks.spawn(until(shutdown, follow(api, namespace, told, feed)));
            }
        }
        self.places.insert(place.clone(), names);
    }
}

async fn until(shutdown: CancellationToken, run: impl Future<Output = ()>) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = run => {}
    }
}

/// A kind that is followed by name.
trait Nameable:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync
{
    const KIND: &'static str;
    fn input(change: Change<Self>) -> Input;
    fn need(key: Key) -> Need;
}

impl Nameable for Secret {
    const KIND: &'static str = "Secret";
    fn input(change: Change<Self>) -> Input {
        Input::Secret(change)
    }
    fn need(key: Key) -> Need {
        Need::Secret(key)
    }
}

impl Nameable for ConfigMap {
    const KIND: &'static str = "ConfigMap";
    fn input(change: Change<Self>) -> Input {
        Input::ConfigMap(change)
    }
    fn need(key: Key) -> Need {
        Need::ConfigMap(key)
    }
}

/// Follows what is named in a namespace until nothing is.
async fn follow<K: Nameable + 'static>(
    api: Api<Lean<K>>,
    namespace: Arc<str>,
    mut names: watch::Receiver<Names>,
    feed: Feed,
) {
    let mut single: HashMap<Arc<str>, (u64, CancellationToken)> = HashMap::new();
    // They end with it.
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let wanted = names.borrow_and_update().clone();
        let one_by_one = wanted.len() <= ONE_BY_ONE;
        single.retain(|name, (number, stop)| {
            let stays = one_by_one && wanted.get(name) == Some(number);
            if !stays {
                stop.cancel();
            }
            stays
        });
        if one_by_one {
            for (name, number) in wanted {
                if single.contains_key(&name) {
                    continue;
                }
                let stop = CancellationToken::new();
                let key = Key::new(namespace.clone(), name.clone());
                tasks.spawn(until(stop.clone(), one(api.clone(), key, number, feed.clone())));
                single.insert(name, (number, stop));
            }
            if names.changed().await.is_err() {
                break;
            }
        } else {
            tokio::select! {
                () = all(api.clone(), namespace.clone(), wanted, feed.clone()) => break,
                changed = names.changed() => if changed.is_err() { break },
            }
        }
    }
}

/// One object.
async fn one<K: Nameable + 'static>(api: Api<Lean<K>>, key: Key, number: u64, feed: Feed) {
    let config = watcher::Config::default().fields(&format!("metadata.name={}", key.name));
    let mut known = Some(Fed::Input(Input::Known(K::need(key), number)));
    run(api, config, K::input, move || known.take(), feed).await;
}

/// All of a namespace, of which some are named.
async fn all<K: Nameable + 'static>(api: Api<Lean<K>>, namespace: Arc<str>, wanted: Names, feed: Feed) {
    let known = wanted
        .into_iter()
        .map(|(name, number)| Fed::Input(Input::Known(K::need(Key::new(namespace.clone(), name)), number)));
    let mut known: VecDeque<Fed> = known.collect();
    run(api, watcher::Config::default(), K::input, move || known.pop_front(), feed).await;
}

async fn run<K: Nameable + 'static>(
    api: Api<Lean<K>>,
    config: watcher::Config,
    input: fn(Change<K>) -> Input,
    listed: impl FnMut() -> Option<Fed> + Send,
    feed: Feed,
) {
    let Feed { to, voice } = feed;
    let served = |_: &_| true;
    let (kind, say) = (K::KIND, seen(input));
    let followed = Followed { api, kind, config, served, say, is_missing_if_forbidden: true, voice, listed };
    if let Err(error) = followed.run(to).await {
        tracing::error!(%error, "workload");
    }
}
