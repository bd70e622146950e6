//! Services and EndpointSlices, of which only the beginning is read until it is known whether anything names them; and
//! those that are asked for because something does that hadn't.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use foregate_attach::{Change, Fetched, Glimpse, GlimpseKind, Input, Key, Told};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::decode::Lean;
use crate::lean;
use crate::source::{Fed, News};
use crate::voice::{Failure, Voice};

/// Services that are asked for at once, at most.
const AT_ONCE: usize = 8;

/// An object of which only the beginning was read.
#[derive(Clone, Debug)]
pub struct Unread<K> {
    metadata: ObjectMeta,
    is_ours: bool,
    whole: Box<RawValue>,
    kind: PhantomData<K>,
}

/// What tells an object apart.
#[derive(Deserialize)]
struct Head {
    metadata: HeadMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct HeadMetadata {
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    labels: Option<HeadLabels>,
}

#[derive(Deserialize)]
struct HeadLabels {
    /// [`lean::SERVICE`].
    #[serde(rename = "kubernetes.io/service-name")]
    service: Option<String>,
    /// [`lean::MANAGED_BY`].
    #[serde(rename = "app.kubernetes.io/managed-by")]
    managed_by: Option<String>,
}

impl<'de, K> Deserialize<'de> for Unread<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole = Box::<RawValue>::deserialize(deserializer)?;
        let Head { metadata: head } = serde_json::from_str(whole.get()).map_err(D::Error::custom)?;
        let labels = head.labels;
        let is_ours = labels.as_ref().and_then(|l| l.managed_by.as_deref()) == Some(lean::MANAGED_BY.1);
        let service = labels.and_then(|labels| labels.service);
        let metadata = ObjectMeta {
            namespace: head.namespace,
            name: head.name,
            uid: head.uid,
            resource_version: head.resource_version,
            labels: service.map(|service| [(lean::SERVICE.to_owned(), service)].into()),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, is_ours, whole, kind: PhantomData })
    }
}

impl<K: Resource> Resource for Unread<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
        K::kind(dt)
    }
    fn group(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
        K::group(dt)
    }
    fn version(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
        K::version(dt)
    }
    fn plural(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
        K::plural(dt)
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// A kind of which only the beginning is read at first.
pub trait Glimpsed: Clone + DeserializeOwned {
    /// Which.
    const KIND: GlimpseKind;
    /// A change to the decision.
    fn input(change: Change<Self>) -> Input;
    /// The object without what nobody reads.
    fn lean(self) -> Self;
}

impl Glimpsed for Service {
    const KIND: GlimpseKind = GlimpseKind::Service;
    fn input(change: Change<Self>) -> Input {
        Input::Service(change)
    }
    fn lean(self) -> Self {
        lean::service(self)
    }
}

impl Glimpsed for EndpointSlice {
    const KIND: GlimpseKind = GlimpseKind::EndpointSlice;
    fn input(change: Change<Self>) -> Input {
        Input::EndpointSlice(change)
    }
    fn lean(self) -> Self {
        lean::slice(self)
    }
}

/// What is left to be read of a change, if it is to be.
#[derive(Debug)]
pub struct Rest {
    whole: Option<Box<RawValue>>,
    read: fn(Option<Box<RawValue>>, &Key) -> serde_json::Result<Input>,
}

impl Rest {
    /// Reads it; none: it can't be read, which was said.
    pub fn read(self, glimpse: &Glimpse) -> Option<Input> {
        let Glimpse { kind, key, .. } = glimpse;
        let read = (self.read)(self.whole, key);
        read.inspect_err(|error| tracing::error!(?kind, %key, %error, "an object can't be read, and is passed over"))
            .ok()
    }
}

/// What a watch says, as it is passed on.
pub fn glimpsed<K: Glimpsed>(news: News<Unread<K>>) -> Fed {
    let News { key, told, object } = news;
    let version = |metadata: &ObjectMeta| metadata.resource_version.as_deref().and_then(|version| version.parse().ok());
    let head = object.as_ref();
    let glimpse = Glimpse {
        kind: K::KIND,
        key,
        told,
        uid: head.and_then(|object| object.metadata.uid.clone()).unwrap_or_default(),
        version: head.and_then(|object| version(&object.metadata)),
        service: head.and_then(|object| object.metadata.labels.as_ref()?.get(lean::SERVICE).cloned()),
        may_be_ours: head.is_none_or(|object| object.is_ours),
    };
    let whole = object.filter(|_| told != Told::Gone).map(|object| object.whole);
    Fed::Glimpsed(glimpse, Rest { whole, read: read::<K> })
}

fn read<K: Glimpsed>(whole: Option<Box<RawValue>>, key: &Key) -> serde_json::Result<Input> {
    let Some(whole) = whole else { return Ok(K::input(Change::Gone(key.clone()))) };
    let Lean(object) = serde_json::from_str::<Lean<K>>(whole.get())?;
    Ok(K::input(Change::Set(small(object))))
}

/// As it is kept: without what nobody reads, and in as little memory as it takes.
fn small<K: Glimpsed>(object: K) -> Arc<K> {
    let object = object.lean();
    Arc::new(object.clone())
}

/// Asks for Services that something has come to name.
pub struct Questions {
    client: Client,
    feed: mpsc::Sender<Fed>,
    voice: Voice,
    shutdown: CancellationToken,
    turns: Arc<Semaphore>,
    asked: HashMap<Key, CancellationToken>,
    tasks: JoinSet<()>,
}

impl Questions {
    /// None yet.
    pub fn new(client: Client, feed: mpsc::Sender<Fed>, voice: Voice, shutdown: CancellationToken) -> Self {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Self { client, feed, voice, shutdown, turns, asked: HashMap::new(), tasks: JoinSet::new() }
    }

    /// Asks for a Service until there is an answer.
    pub fn ask(&mut self, service: Key, number: u64) {
        while self.tasks.try_join_next().is_some() {}
        let stop = self.shutdown.child_token();
        self.asked.insert(service.clone(), stop.clone());
        let (client, feed, voice) = (self.client.clone(), self.feed.clone(), self.voice.clone());
        let turns = self.turns.clone();
        self.tasks.spawn(async move {
            let ask = async {
                let fetched = {
                    let _turn = turns.acquire().await;
                    answer(&client, &voice, service, number).await
                };
                // Who doesn't listen any more needs no answer.
                let _ = feed.send(Fed::Input(Input::Fetched(fetched))).await;
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = ask => {}
            }
        });
    }

    /// Nobody wants to know any more.
    pub fn forget(&mut self, service: &Key) {
        if let Some(stop) = self.asked.remove(service) {
            stop.cancel();
        }
    }
}

async fn answer(client: &Client, voice: &Voice, service: Key, number: u64) -> Fetched {
    let services = Api::<Lean<Service>>::namespaced(client.clone(), &service.namespace);
    let slices = Api::<Lean<EndpointSlice>>::namespaced(client.clone(), &service.namespace);
    // The right to list is enough.
    let named = ListParams::default().fields(&format!("metadata.name={}", service.name));
    let labelled = ListParams::default().labels(&format!("{}={}", lean::SERVICE, service.name));
    let mut pauses = Backoff::default();
    loop {
        match futures::future::try_join(services.list(&named), slices.list(&labelled)).await {
            Ok((mut objects, slices)) => {
                let object = objects.items.pop().map(|Lean(object)| small(object));
                let slices = slices.items.into_iter().map(|Lean(slice)| small(slice)).collect();
                return Fetched { service, number, object, slices };
            }
            Err(error) => voice.failed(&format!("the read of Service {service}"), &Failure::from(&error)),
        }
        if let Some(pause) = pauses.next() {
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use kube::ResourceExt;
    use kube::core::{ObjectList, WatchEvent};
    use serde_json::json;

    use super::*;

    fn slice() -> serde_json::Value {
        json!({
            "metadata": {
                "name": "e", "namespace": "n", "uid": "u", "resourceVersion": "7", "managedFields": [{ "manager": "m" }],
                "labels": { "kubernetes.io/service-name": "s", "x": "y" },
            },
            "addressType": "IPv4", "endpoints": [{ "addresses": ["10.0.0.1"], "hostname": "h" }],
        })
    }

    #[test]
    fn the_beginning_is_read_and_then_the_rest() {
        let text = format!(r#"{{"type":"ADDED","object":{}}}"#, slice());
        let WatchEvent::Added(unread) = serde_json::from_str::<WatchEvent<Unread<EndpointSlice>>>(&text).unwrap()
        else {
            panic!("it was added")
        };
        assert_eq!((unread.name_any(), unread.resource_version().as_deref()), ("e".to_owned(), Some("7")));
        let key = Key::new("n", "e");
        let Fed::Glimpsed(glimpse, rest) =
            glimpsed(News { key: key.clone(), told: Told::Set, object: Some(unread.clone()) })
        else {
            panic!("it is passed on")
        };
        assert_eq!((glimpse.version, glimpse.service.as_deref(), glimpse.may_be_ours), (Some(7), Some("s"), false));
        let Some(Input::EndpointSlice(Change::Set(read))) = rest.read(&glimpse) else { panic!("it is there") };
        let expected = serde_json::from_value::<EndpointSlice>(slice()).unwrap();
        assert_eq!(*read, lean::slice(expected));
        let gone = glimpsed(News { key, told: Told::Gone, object: Some(unread) });
        let Fed::Glimpsed(glimpse, rest) = gone else { panic!("it is passed on") };
        assert_eq!(glimpse.version, Some(7));
        assert!(matches!(rest.read(&glimpse), Some(Input::EndpointSlice(Change::Gone(_)))));
    }

    #[test]
    fn lists_are_read_alike() {
        let ours = json!({ "metadata": { "name": "g", "labels": { "app.kubernetes.io/managed-by": "foregate" } } });
        let items = json!([{ "metadata": { "name": "s" }, "spec": { "ports": "wrong" } }, ours]);
        let list = json!({ "apiVersion": "v1", "kind": "ServiceList", "metadata": {}, "items": items }).to_string();
        let list: ObjectList<Unread<Service>> = serde_json::from_str(&list).unwrap();
        let is_ours: Vec<bool> = list.items.iter().map(|service| service.is_ours).collect();
        assert_eq!(is_ours, [false, true]);
    }
}
