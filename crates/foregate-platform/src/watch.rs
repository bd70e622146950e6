//! Watches: one per kind, with recovery.

use std::fmt::Debug;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_kind};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::pipeline::Observation;
use crate::store::Seen;

/// Holds the last `kubectl apply`: as large as the object, and nobody here reads it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Watches one kind. Whoever polls it decodes: there is no task in between.
pub(crate) fn watch<K>(
    api: Api<K>,
    streaming_list: bool,
    wrap: fn(Seen<K>) -> Observation,
) -> impl Stream<Item = Observation> + Send
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let config = watcher::Config::default();
    let config = if streaming_list { config.streaming_lists() } else { config.page_size(10_000) };
    let mut list = Vec::new();
    watch_kind(api, config).default_backoff().filter_map(move |event| {
        let seen = match event {
            Ok(event) => seen(event, &mut list),
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %error, "a watch was lost; it is tried again");
                None
            }
        };
        std::future::ready(seen.map(wrap))
    })
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
