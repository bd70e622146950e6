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
use tokio::sync::mpsc;

use crate::ControllerError;

/// What a watch says.
pub enum Fed {
    /// An object came, changed or went.
    Input(Input),
    /// All objects of one kind that were there at the start have been said.
    Listed,
}

/// Follows one kind. After a list (the first, or one that the server asked for), what is gone is said as gone.
///
/// # Errors
/// When the watch ends for good.
pub async fn follow<K>(
    api: Api<K>,
    kind: &'static str,
    input: fn(Change<K>) -> Input,
    feed: mpsc::Sender<Fed>,
) -> Result<(), ControllerError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    let (mut known, mut listing, mut listed_before) = (HashSet::new(), HashSet::new(), false);
    loop {
        let event = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return Err(ControllerError::WatchEnded { kind }),
            Err(error) => {
                tracing::warn!(%kind, %error, "watch failed; trying again");
                continue;
            }
        };
        let listed = matches!(event, watcher::Event::InitDone);
        let changes: Vec<Change<K>> = match event {
            watcher::Event::Init => {
                listing.clear();
                continue;
            }
            watcher::Event::InitApply(object) => {
                listing.insert(key(&object));
                vec![Change::Set(compact(object))]
            }
            watcher::Event::InitDone => {
                let gone = known.difference(&listing).cloned().map(Change::Gone).collect();
                known = std::mem::take(&mut listing);
                gone
            }
            watcher::Event::Apply(object) => {
                known.insert(key(&object));
                vec![Change::Set(compact(object))]
            }
            watcher::Event::Delete(object) => {
                known.remove(&key(&object));
                vec![Change::Gone(key(&object))]
            }
        };
        tracing::trace!(kind, changes = changes.len(), listed, "watch");
        for change in changes {
            if feed.send(Fed::Input(input(change))).await.is_err() {
                return Ok(());
            }
        }
        if listed && !std::mem::replace(&mut listed_before, true) && feed.send(Fed::Listed).await.is_err() {
            return Ok(());
        }
    }
}

/// In as little memory as it takes: a decoded list has room for four items at least, its clone for those it has.
/// Nobody here reads who manages which field.
fn compact<K: Resource + Clone>(mut object: K) -> Arc<K> {
    object.meta_mut().managed_fields = None;
    Arc::new(object.clone())
}

fn key<K: Resource>(object: &K) -> Key {
    Key::new(object.namespace().unwrap_or_default(), object.name_any())
}
