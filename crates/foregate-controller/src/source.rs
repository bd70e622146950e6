//! Watches, turned into inputs of the decision.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;

use foregate_attach::{Change, Glimpse, Input, Key, Told};
use futures::TryStreamExt;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};

use crate::ControllerError;
use crate::backoff::Backoff;
use crate::decode::Lean;
use crate::served::Served;
use crate::unread::Rest;
use crate::voice::{Failure, Voice};

/// What a watch says.
#[derive(Debug)]
pub enum Fed {
    /// An object came, changed or went.
    Input(Input),
    /// An object came, changed or went of which only the beginning was read.
    Glimpsed(Glimpse, Rest),
    /// All objects of one kind that were there at the start have been said.
    Listed,
    /// The same, of one of the kinds of which only the beginning is read.
    GlimpsesListed,
}

/// What a watch says of an object.
pub struct News<T> {
    /// Which.
    pub key: Key,
    /// What.
    pub told: Told,
    /// As it is, or was last; none: it is missing from a list.
    pub object: Option<T>,
}

/// One kind to follow.
pub struct Followed<T, S, L> {
    /// Where.
    pub api: Api<T>,
    /// For messages.
    pub kind: &'static str,
    /// Which of them.
    pub config: watcher::Config,
    /// Whether an API has it that doesn't have all kinds.
    pub served: fn(&Served) -> bool,
    /// How it is passed on.
    pub say: S,
    /// Whether those that may not be read are taken for missing, instead of waited for.
    pub is_missing_if_forbidden: bool,
    /// Says what goes wrong.
    pub voice: Voice,
    /// What to say, one after the other, once all that were there at the start have been said.
    pub listed: L,
}

impl<T, S, L> Followed<T, S, L>
where
    T: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    S: Fn(News<T>) -> Fed + Send,
    L: FnMut() -> Option<Fed> + Send,
{
    /// Follows it. After a list (the first, or one that the server asked for), what is gone is said as gone.
    ///
    /// # Errors
    /// When the watch ends for good.
    pub async fn run(mut self, feed: mpsc::Sender<Fed>) -> Result<(), ControllerError> {
        self.follow(&mut HashSet::new(), &feed).await
    }

    /// Follows it as long as the API serves it. A kind that isn't served has no objects.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_while_served(
        mut self,
        mut served: watch::Receiver<Served>,
        feed: mpsc::Sender<Fed>,
    ) -> Result<(), ControllerError> {
        let mut known = HashSet::new();
        loop {
            let is_served = self.served;
            if is_served(&served.borrow_and_update()) {
                let mut gone = served.clone();
                tokio::select! {
                    ended = self.follow(&mut known, &feed) => return ended,
                    lost = gone.wait_for(|served| !is_served(served)) => if lost.is_err() { return Ok(()) },
                }
                tracing::warn!("the cluster doesn't serve {} any more", self.kind);
                for key in known.drain() {
                    if feed.send((self.say)(News { key, told: Told::Gone, object: None })).await.is_err() {
                        return Ok(());
                    }
                }
            } else {
                if !self.say_listed(&feed).await {
                    return Ok(());
                }
                if served.wait_for(is_served).await.is_err() {
                    return Ok(());
                }
                tracing::info!("the cluster serves {} now", self.kind);
            }
        }
    }

    /// Returns whether anybody listens.
    async fn say_listed(&mut self, feed: &mpsc::Sender<Fed>) -> bool {
        while let Some(listed) = (self.listed)() {
            if feed.send(listed).await.is_err() {
                return false;
            }
        }
        true
    }

    async fn follow(&mut self, known: &mut HashSet<Key>, feed: &mpsc::Sender<Fed>) -> Result<(), ControllerError> {
        let kind = self.kind;
        let mut events = std::pin::pin!(watcher(self.api.clone(), self.config.clone()).backoff(Backoff::default()));
        let mut listing = HashSet::new();
        loop {
            let event = match events.try_next().await {
                Ok(Some(event)) => event,
                Ok(None) => return Err(ControllerError::WatchEnded { kind }),
                Err(error) => {
                    self.voice.failed(&format!("the watch of {kind}s"), &Failure::from(&error));
                    if self.is_missing_if_forbidden && is_forbidden(&error) && !self.say_listed(feed).await {
                        return Ok(());
                    }
                    continue;
                }
            };
            let listed = matches!(event, watcher::Event::InitDone);
            let (told, object) = match event {
                watcher::Event::Init => {
                    listing.clear();
                    continue;
                }
                watcher::Event::InitApply(object) => (Told::Listed, Some(object)),
                watcher::Event::InitDone => (Told::Gone, None),
                watcher::Event::Apply(object) => (Told::Set, Some(object)),
                watcher::Event::Delete(object) => (Told::Gone, Some(object)),
            };
            tracing::trace!(kind, ?told, listed, "watch");
            let said = match object {
                Some(object) => {
                    let key = key(&object);
                    match told {
                        Told::Listed => drop(listing.insert(key.clone())),
                        Told::Set => drop(known.insert(key.clone())),
                        Told::Gone => drop(known.remove(&key)),
                    }
                    vec![News { key, told, object: Some(object) }]
                }
                None => {
                    let gone = known.difference(&listing).cloned();
                    let gone = gone.map(|key| News { key, told, object: None }).collect();
                    *known = std::mem::take(&mut listing);
                    gone
                }
            };
            for news in said {
                if feed.send((self.say)(news)).await.is_err() {
                    return Ok(());
                }
            }
            if listed && !self.say_listed(feed).await {
                return Ok(());
            }
        }
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status)) => status.code == 403,
        _ => false,
    }
}

/// Says once that a kind was listed.
pub fn once(said: Fed) -> impl FnMut() -> Option<Fed> + Send {
    let mut said = Some(said);
    move || said.take()
}

/// Passes on objects that are kept for long.
pub fn kept<K: Clone>(input: impl Fn(Change<K>) -> Input + Send) -> impl Fn(News<Lean<K>>) -> Fed + Send {
    move |news| Fed::Input(input(change(news, compact)))
}

/// Passes on objects of which at most parts are kept.
pub fn seen<K>(input: impl Fn(Change<K>) -> Input + Send) -> impl Fn(News<Lean<K>>) -> Fed + Send {
    move |news| Fed::Input(input(change(news, Arc::new)))
}

fn change<K>(news: News<Lean<K>>, own: fn(K) -> Arc<K>) -> Change<K> {
    match news {
        News { told: Told::Listed | Told::Set, object: Some(Lean(object)), .. } => Change::Set(own(object)),
        News { key, .. } => Change::Gone(key),
    }
}

/// In as little memory as it takes: a decoded list has room for four items at least, its clone for those it has.
fn compact<K: Clone>(object: K) -> Arc<K> {
    Arc::new(object.clone())
}

fn key<K: Resource>(object: &K) -> Key {
    Key::new(object.namespace().unwrap_or_default(), object.name_any())
}
