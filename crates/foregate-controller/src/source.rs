//! Watches, turned into inputs of the decision.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;

use foregate_attach::{Change, Input, Key};
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
use crate::voice::{Failure, Voice};

/// What a watch says.
#[derive(Debug)]
pub enum Fed {
    /// An object came, changed or went.
    Input(Input),
    /// All objects of one kind that were there at the start have been said.
    Listed,
}

/// One kind to follow.
pub struct Followed<K, I, L> {
    /// Where.
    pub api: Api<Lean<K>>,
    /// For messages.
    pub kind: &'static str,
    /// Which of them.
    pub config: watcher::Config,
    /// Whether an API has it that doesn't have all kinds.
    pub served: fn(&Served) -> bool,
    /// What a change is to the decision.
    pub input: I,
    /// Whether what is read is kept for long, in as little memory as it takes.
    pub is_kept: bool,
    /// Whether those that may not be read are taken for missing, instead of waited for.
    pub is_missing_if_forbidden: bool,
    /// Says what goes wrong.
    pub voice: Voice,
    /// What to say, one after the other, once all that were there at the start have been said.
    pub listed: L,
}

impl<K, I, L> Followed<K, I, L>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    I: Fn(Change<K>) -> Input + Send,
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
                    if feed.send(Fed::Input((self.input)(Change::Gone(key)))).await.is_err() {
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
        let own = if self.is_kept { compact } else { Arc::new };
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
            let (change, gone) = match event {
                watcher::Event::Init => {
                    listing.clear();
                    continue;
                }
                watcher::Event::InitApply(object) => {
                    listing.insert(key(&object));
                    (Some(Change::Set(own(object.0))), Vec::new())
                }
                watcher::Event::InitDone => {
                    let gone = known.difference(&listing).cloned().collect();
                    *known = std::mem::take(&mut listing);
                    (None, gone)
                }
                watcher::Event::Apply(object) => {
                    known.insert(key(&object));
                    (Some(Change::Set(own(object.0))), Vec::new())
                }
                watcher::Event::Delete(object) => {
                    known.remove(&key(&object));
                    (Some(Change::Gone(key(&object))), Vec::new())
                }
            };
            tracing::trace!(kind, gone = gone.len(), listed, "watch");
            for change in change.into_iter().chain(gone.into_iter().map(Change::Gone)) {
                if feed.send(Fed::Input((self.input)(change))).await.is_err() {
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

/// In as little memory as it takes: a decoded list has room for four items at least, its clone for those it has.
fn compact<K: Clone>(object: K) -> Arc<K> {
    Arc::new(object.clone())
}

fn key<K: Resource>(object: &K) -> Key {
    Key::new(object.namespace().unwrap_or_default(), object.name_any())
}
