//! Watches: one per kind, with recovery, into one channel.

use std::fmt::Debug;
use std::sync::Arc;

use futures::{StreamExt as _, pin_mut};
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_kind};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::pipeline::Observation;
use crate::store::Seen;

/// Holds the last `kubectl apply`: as large as the object, and nobody here reads it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Watches one kind until the shutdown.
pub(crate) async fn watch<K>(
    api: Api<K>,
    streaming_list: bool,
    wrap: fn(Seen<K>) -> Observation,
    observations: mpsc::Sender<Observation>,
    shutdown: CancellationToken,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let config = watcher::Config::default();
    let config = if streaming_list { config.streaming_lists() } else { config.page_size(10_000) };
    let events = watch_kind(api, config).default_backoff();
    pin_mut!(events);
    let mut list = Vec::new();
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            event = events.next() => event,
        };
        let seen = match event {
            Some(Ok(event)) => seen(event, &mut list),
            Some(Err(error)) => {
                tracing::warn!(kind = %K::kind(&()), %error, "a watch was lost; it is tried again");
                None
            }
            None => return,
        };
        if let Some(seen) = seen
            && observations.send(wrap(seen)).await.is_err()
        {
            return;
        }
    }
}

fn seen<K: Resource + Clone>(event: Event<K>, list: &mut Vec<Arc<K>>) -> Option<Seen<K>> {
    match event {
        Event::Apply(object) => Some(Seen::Set(slim(object))),
        Event::Delete(object) => Some(Seen::Gone(slim(object))),
        Event::Init => {
            list.clear();
            None
        }
        Event::InitApply(object) => {
            list.push(slim(object));
            None
        }
        Event::InitDone => Some(Seen::All(std::mem::take(list))),
    }
}

/// Without what is only of use to the API server, and in as little memory as it takes: a decoded list has room for
/// four items at least, its clone for those it has.
fn slim<K: Resource + Clone>(mut object: K) -> Arc<K> {
    object.meta_mut().managed_fields = None;
    object.annotations_mut().remove(LAST_APPLIED);
    Arc::new(object.clone())
}
