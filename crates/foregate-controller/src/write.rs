//! What the decision wants written, as one API call each.

use std::sync::Arc;
use std::time::Duration;

use foregate_api::envoy_gateway::Backend;
use foregate_api::gateway::experimental::{XBackend, XBackendTrafficPolicy, XTelemetryPolicy};
use foregate_api::gateway::{
    BackendTLSPolicy, GRPCRoute, Gateway, GatewayClass, HTTPRoute, ListenerSet, TCPRoute, TLSRoute, UDPRoute,
};
use foregate_api::{GatewayBackend, GatewayClaim, GatewayEndpointSlice, GatewayRoute};
use foregate_attach::{
    Derived, DerivedChange, DerivedKind, FinalizerChange, Key, ServiceChange, StatusChange, StatusKind,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Client, Resource};
use serde::Serialize;
use serde_json::json;

use crate::dispatch::{Job, Outcome};
use crate::voice::{Failure, Voice};

/// How long statuses that count routes rest after a write: who writes many routes needs no write for each.
const REST: Duration = Duration::from_millis(50);

/// Field manager of all that this crate writes.
pub const MANAGER: &str = "foregate-controller";

/// How long one attempt may take. Whatever is newer waits for it.
const PATIENCE: Duration = Duration::from_secs(15);

/// A derived object.
pub type DerivedKey = (DerivedKind, Arc<str>);
/// A user's object.
pub type StatusKey = (StatusKind, Key);

/// A derived change as a job. What is named is written before what names it, and deleted after it.
pub fn derived_job(change: DerivedChange) -> Job<DerivedKey, DerivedChange> {
    let order = match change.kind() {
        DerivedKind::Secret => 0,
        DerivedKind::Slice => 1,
        DerivedKind::Backend => 2,
        DerivedKind::Claim => 3,
        DerivedKind::Route => 4,
    };
    let rank = if matches!(change, DerivedChange::Set(_)) { order } else { 9 - order };
    Job { key: (change.kind(), change.name().into()), rank, job: change }
}

/// A status change as a job.
pub fn status_job(change: StatusChange) -> Job<StatusKey, StatusChange> {
    Job { key: (change.kind, change.key.clone()), rank: 0, job: change }
}

/// A change of a GatewayClass's finalizers as a job.
pub fn finalizer_job(change: FinalizerChange) -> Job<Arc<str>, FinalizerChange> {
    Job { key: change.class.clone(), rank: 0, job: change }
}

/// A change of a Service that stands for a Gateway as a job.
pub fn service_job(change: ServiceChange) -> Job<Key, ServiceChange> {
    Job { key: change.key(), rank: 0, job: change }
}

/// The API that takes derived objects.
#[derive(Clone)]
pub struct Platform {
    client: Client,
    namespace: Arc<str>,
    voice: Voice,
}

impl Platform {
    /// Derived objects go into `namespace`.
    pub fn new(client: Client, namespace: &str, voice: Voice) -> Self {
        Self { client, namespace: namespace.into(), voice }
    }

    /// One attempt.
    pub fn write(&self, change: DerivedChange) -> BoxFuture<'static, Outcome> {
        let target = self.clone();
        let what = format!("{:?} {}", change.kind(), change.name());
        let write = async move {
            match change {
                DerivedChange::Set(derived) => target.apply(&derived).await,
                DerivedChange::Delete(kind, name) => target.delete(kind, &name).await,
            }
        };
        attempt(write, what, self.voice.clone()).boxed()
    }

    async fn apply(&self, derived: &Derived) -> kube::Result<()> {
        match derived {
            Derived::Secret(object) => self.apply_one::<Secret>(object, derived.name()).await,
            Derived::Slice(object) => self.apply_one::<GatewayEndpointSlice>(object, derived.name()).await,
            Derived::Backend(object) => self.apply_one::<GatewayBackend>(object, derived.name()).await,
            Derived::Claim(object) => self.apply_one::<GatewayClaim>(object, derived.name()).await,
            Derived::Route(object) => self.apply_one::<GatewayRoute>(object, derived.name()).await,
        }
    }

    async fn apply_one<K>(&self, object: &K, name: &str) -> kube::Result<()>
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let path = K::url_path(&(), Some(&self.namespace));
        apply(&self.client, path, name, object).await
    }

    async fn delete(&self, kind: DerivedKind, name: &str) -> kube::Result<()> {
        let namespace = Some(&*self.namespace);
        let path = match kind {
            DerivedKind::Secret => Secret::url_path(&(), namespace),
            DerivedKind::Slice => GatewayEndpointSlice::url_path(&(), namespace),
            DerivedKind::Backend => GatewayBackend::url_path(&(), namespace),
            DerivedKind::Claim => GatewayClaim::url_path(&(), namespace),
            DerivedKind::Route => GatewayRoute::url_path(&(), namespace),
        };
        delete(&self.client, path, name).await
    }
}

/// The API that users write to.
#[derive(Clone)]
pub struct Workload {
    client: Client,
    voice: Voice,
}

impl Workload {
    /// Statuses go to this API.
    pub fn new(client: Client, voice: Voice) -> Self {
        Self { client, voice }
    }

    /// One attempt. A conflict needs no other, as with statuses.
    pub fn write_finalizers(&self, change: FinalizerChange) -> BoxFuture<'static, Outcome> {
        let api = Api::<GatewayClass>::all(self.client.clone());
        let what = format!("finalizers of GatewayClass {}", change.class);
        let write = async move {
            let metadata = json!({ "resourceVersion": change.resource_version, "finalizers": change.finalizers });
            let patch = Patch::Merge(json!({ "metadata": metadata }));
            let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
            overtaken(api.patch_metadata(&change.class, &params, &patch).await.map(drop))
        };
        attempt(write, what, self.voice.clone()).boxed()
    }

    /// One attempt. Nobody else has a Service of that name, so it is taken over by force.
    pub fn write_service(&self, change: ServiceChange) -> BoxFuture<'static, Outcome> {
        let key = change.key();
        let what = format!("Service {key}");
        let client = self.client.clone();
        let write = async move {
            match change {
                ServiceChange::Set(service) => {
                    let path = Service::url_path(&(), Some(&key.namespace));
                    overtaken(apply(&client, path, &key.name, &*service).await)
                }
                ServiceChange::Delete(_) => {
                    delete(&client, Service::url_path(&(), Some(&key.namespace)), &key.name).await
                }
            }
        };
        attempt(write, what, self.voice.clone()).boxed()
    }

    /// One attempt. A conflict needs no other: the newer version leads to a new status once it arrives.
    pub fn write(&self, change: StatusChange) -> BoxFuture<'static, Outcome> {
        let client = self.client.clone();
        let (kind, what) = (change.kind, format!("status of {} {}", change.kind.as_str(), change.key));
        let write = async move {
            let namespace = Some(&*change.key.namespace).filter(|namespace| !namespace.is_empty());
            let path = match change.kind {
                StatusKind::GatewayClass => GatewayClass::url_path(&(), namespace),
                StatusKind::Gateway => Gateway::url_path(&(), namespace),
                StatusKind::HttpRoute => HTTPRoute::url_path(&(), namespace),
                StatusKind::GrpcRoute => GRPCRoute::url_path(&(), namespace),
                StatusKind::TcpRoute => TCPRoute::url_path(&(), namespace),
                StatusKind::TlsRoute => TLSRoute::url_path(&(), namespace),
                StatusKind::UdpRoute => UDPRoute::url_path(&(), namespace),
                StatusKind::ListenerSet => ListenerSet::url_path(&(), namespace),
                StatusKind::XBackend => XBackend::url_path(&(), namespace),
                StatusKind::XBackendTrafficPolicy => XBackendTrafficPolicy::url_path(&(), namespace),
                StatusKind::XTelemetryPolicy => XTelemetryPolicy::url_path(&(), namespace),
                StatusKind::BackendTlsPolicy => BackendTLSPolicy::url_path(&(), namespace),
                StatusKind::Backend => Backend::url_path(&(), namespace),
            };
            overtaken(write_status(&client, &path, &change).await)
        };
        let rests = matches!(kind, StatusKind::Gateway | StatusKind::ListenerSet);
        attempt(write, what, self.voice.clone())
            .map(move |outcome| if rests && outcome == Outcome::Done { Outcome::Rest(REST) } else { outcome })
            .boxed()
    }
}

/// What an answer to a write may be: nobody reads more of it than whether the write was taken.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Replaces the whole status of the version that it was made from.
async fn write_status(client: &Client, path: &str, change: &StatusChange) -> kube::Result<()> {
    // A test on resourceVersion would be a 422; a replaced one is checked as any other write's is: a 409.
    let patch = (
        Replacement { op: "replace", path: "/metadata/resourceVersion", value: &change.resource_version },
        Replacement { op: "add", path: "/status", value: &change.status },
    );
    let body = serde_json::to_vec(&patch).map_err(kube::Error::SerdeError)?;
    // Names are DNS subdomains: nothing in them needs to be escaped.
    let request = Request::patch(format!("{path}/{}/status?fieldManager={MANAGER}", change.key.name))
        .header(ACCEPT, METADATA)
        .header(CONTENT_TYPE, "application/json-patch+json")
        .body(body);
    send(client, request.map_err(kube::Error::HttpError)?).await
}

/// An operation of a JSON Patch (RFC 6902).
#[derive(Serialize)]
struct Replacement<'a, T> {
    op: &'static str,
    path: &'static str,
    value: &'a T,
}

/// Creates or replaces an object, as far as it is ours.
async fn apply<K: Serialize>(client: &Client, path: String, name: &str, object: &K) -> kube::Result<()> {
    let params = PatchParams::apply(MANAGER).force();
    let request = kube::core::Request::new(path).patch_metadata(name, &params, &Patch::Apply(object));
    send(client, request.map_err(kube::Error::BuildRequest)?).await
}

/// Of the answer only whether it is an error is read.
async fn send(client: &Client, request: Request<Vec<u8>>) -> kube::Result<()> {
    client.request_text(request).await.map(drop)
}

/// Deletes what may be gone already.
async fn delete(client: &Client, path: String, name: &str) -> kube::Result<()> {
    let request = kube::core::Request::new(path).delete(name, &DeleteParams::default());
    match send(client, request.map_err(kube::Error::BuildRequest)?).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        result => result,
    }
}

/// An object that is gone or newer than what was decided on leads to another decision.
fn overtaken(result: kube::Result<()>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        result => result,
    }
}

/// What the result of a write means. What the API refuses for good isn't tried again: another change must come.
async fn attempt(write: impl Future<Output = kube::Result<()>>, what: String, voice: Voice) -> Outcome {
    match tokio::time::timeout(PATIENCE, write).await {
        Ok(Ok(())) => Outcome::Done,
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 400 | 413 | 422) => {
            tracing::error!(%what, reason = %status.message, "refused");
            Outcome::Done
        }
        Ok(Err(error)) => {
            voice.failed(&format!("the write of {what}"), &Failure::from(&error));
            Outcome::Retry
        }
        Err(_) => {
            voice.failed(&format!("the write of {what}"), &Failure::late());
            Outcome::Retry
        }
    }
}
