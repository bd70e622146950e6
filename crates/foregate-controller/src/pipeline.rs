//! Watches in, decisions, writes out.

use std::sync::Arc;

use foregate_api::envoy_gateway::Backend;
use foregate_api::gateway::experimental::{XBackend, XBackendTrafficPolicy};
use foregate_api::gateway::{
    BackendTLSPolicy, GRPCRoute, Gateway, GatewayClass, HTTPRoute, ListenerSet, ReferenceGrant, TCPRoute, TLSRoute,
    UDPRoute,
};
use foregate_api::{GatewayBackend, GatewayClaim, GatewayEndpointSlice, GatewayRoute};
use foregate_attach::{Attach, Input, Output, Settings, TargetEvent, TargetId};
use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, Client};
use tokio::sync::{SetOnce, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::dispatch::Batch;
use crate::served::Served;
use crate::source::{Fed, follow};
use crate::{ControllerError, dispatch, write};

/// Inputs that are decided on together at most; more wait their turn, so that a flood doesn't starve the writes.
const BATCH: usize = 512;
/// Inputs that may wait before the watches are made to.
const BACKLOG: usize = 4096;
/// Writes that run at once.
const WRITES: usize = 32;

/// API versions whose kinds may be missing.
const OPTIONAL: &[&str] = &[
    "gateway.networking.k8s.io/v1",
    "gateway.networking.x-k8s.io/v1alpha1",
    "gateway.envoyproxy.io/v1alpha1",
    "certificates.k8s.io/v1",
];

/// Runs a controller until shutdown. `workload` is the API that users write to, `platform` the one that takes derived
/// objects; in `foregate up` they are the same.
///
/// `caught_up` is set once `platform` has all that follows from what `workload` had at the start: everything was
/// listed and decided on, and every derived object that was missing, different or too many was written or deleted.
/// What can't be written doesn't hold it up: one attempt counts.
///
/// # Errors
/// When a watch ends for good.
pub async fn run(
    workload: Client,
    platform: Client,
    settings: Settings,
    caught_up: Arc<SetOnce<()>>,
    shutdown: CancellationToken,
) -> Result<(), ControllerError> {
    let default = settings.default_target.clone();
    let tenant = default.map(|target| target.tenant_namespace).unwrap_or_default();
    let (feed, inputs) = mpsc::channel(BACKLOG);
    let served = tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        served = Served::ask(&workload, OPTIONAL) => served,
    };
    let mut watches = start_watches(&workload, &platform, &served, &tenant, &feed);
    let kinds = watches.len();
    let wants_pods = Arc::new(SetOnce::new());
    watches.spawn(follow_pods(workload.clone(), wants_pods.clone(), feed.clone()));
    let health = foregate_attach::Health::Good { missing_templates: std::collections::BTreeSet::new() };
    for event in [TargetEvent::Listed, TargetEvent::Checked(health)] {
        let _ = feed.send(Fed::Input(Input::Target(TargetId::DEFAULT, event))).await;
    }
    drop(feed);

    let (derived, derived_jobs) = mpsc::unbounded_channel();
    let (statuses, status_jobs) = mpsc::unbounded_channel();
    let (finalizers, finalizer_jobs) = mpsc::unbounded_channel();
    let (services, service_jobs) = mpsc::unbounded_channel();
    let mut writers = JoinSet::new();
    let target = write::Platform::new(platform, &tenant);
    writers.spawn(dispatch::run(derived_jobs, WRITES, shutdown.clone(), move |_, change| target.write(change)));
    let target = write::Workload::new(workload);
    let (classes, infrastructure) = (target.clone(), target.clone());
    writers.spawn(dispatch::run(status_jobs, WRITES, shutdown.clone(), move |_, change| target.write(change)));
    let write_finalizers = move |_, change| classes.write_finalizers(change);
    writers.spawn(dispatch::run(finalizer_jobs, WRITES, shutdown.clone(), write_finalizers));
    let write_service = move |_, change| infrastructure.write_service(change);
    writers.spawn(dispatch::run(service_jobs, WRITES, shutdown.clone(), write_service));

    let mut caught_up = Some(caught_up);
    let decide = decide(Attach::new(settings), kinds, inputs, &wants_pods, |output: Output| {
        // The writers end at shutdown only; what would have been written is derived again by the next start.
        let jobs = output.derived.into_values().flatten().map(write::derived_job).collect();
        let _ = derived.send(Batch { jobs, tried: caught_up.take() });
        let _ = statuses.send(output.statuses.into_iter().map(write::status_job).collect::<Vec<_>>().into());
        let _ = finalizers.send(output.finalizers.into_iter().map(write::finalizer_job).collect::<Vec<_>>().into());
        let _ = services.send(output.services.into_iter().map(write::service_job).collect::<Vec<_>>().into());
    });
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = decide => Ok(()),
        Some(ended) = watches.join_next() => ended.unwrap_or(Ok(())),
    }
}

/// The one task that owns the decision. Nothing is decided before every kind has been listed, so that nothing is
/// taken for missing that just hasn't been read. The first decision is emitted even if nothing follows from it.
async fn decide(
    mut attach: Attach,
    kinds: usize,
    mut inputs: mpsc::Receiver<Fed>,
    wants_pods: &SetOnce<()>,
    mut emit: impl FnMut(Output),
) {
    let mut first = true;
    let (mut unlisted, mut waiting, mut batch) = (kinds, Vec::new(), Vec::with_capacity(BATCH));
    while inputs.recv_many(&mut batch, BATCH).await > 0 {
        for fed in batch.drain(..) {
            match fed {
                Fed::Input(input) => waiting.push(input),
                // Kinds that are read later on hold nothing up.
                Fed::Listed => unlisted = unlisted.saturating_sub(1),
            }
        }
        if unlisted == 0 {
            let output = attach.apply(waiting.drain(..), &Time(jiff::Timestamp::now()));
            if attach.wants_pods() {
                // It may be set already.
                let _ = wants_pods.set(());
            }
            if std::mem::take(&mut first) || !output.is_empty() {
                tracing::debug!(derived = output.derived.len(), statuses = output.statuses.len(), "decided");
                emit(output);
            }
        }
    }
}

/// Pods are many: they are read only once something selects some.
async fn follow_pods(
    workload: Client,
    wanted: Arc<SetOnce<()>>,
    feed: mpsc::Sender<Fed>,
) -> Result<(), ControllerError> {
    wanted.wait().await;
    follow(Api::<Pod>::all(workload), "Pod", Input::Pod, feed).await
}

fn start_watches(
    workload: &Client,
    platform: &Client,
    served: &Served,
    tenant: &str,
    feed: &mpsc::Sender<Fed>,
) -> JoinSet<Result<(), ControllerError>> {
    let mut watches = JoinSet::new();
    macro_rules! watch {
        ($kind:ty, $client:expr, $input:expr) => {
            watches.spawn(follow(Api::<$kind>::all($client.clone()), stringify!($kind), $input, feed.clone()))
        };
    }
    macro_rules! watch_if_served {
        ($kind:ty, $input:expr) => {
            if served.has::<$kind>() {
                watch!($kind, workload, $input);
            } else {
                tracing::info!("the cluster doesn't serve {}: none is read", stringify!($kind));
            }
        };
    }
    macro_rules! watch_tenant {
        ($kind:ty, $input:expr) => {
            watches.spawn(follow(
                Api::<$kind>::namespaced(platform.clone(), tenant),
                stringify!($kind),
                $input,
                feed.clone(),
            ))
        };
    }
    watch_if_served!(GatewayClass, Input::GatewayClass);
    watch_if_served!(Gateway, Input::Gateway);
    watch_if_served!(HTTPRoute, Input::HttpRoute);
    watch_if_served!(GRPCRoute, Input::GrpcRoute);
    watch_if_served!(TCPRoute, Input::TcpRoute);
    watch_if_served!(TLSRoute, Input::TlsRoute);
    watch_if_served!(UDPRoute, Input::UdpRoute);
    watch_if_served!(ListenerSet, Input::ListenerSet);
    watch_if_served!(Backend, Input::DirectBackend);
    watch_if_served!(BackendTLSPolicy, Input::BackendTlsPolicy);
    watch_if_served!(XBackend, Input::XBackend);
    watch_if_served!(XBackendTrafficPolicy, Input::XBackendTrafficPolicy);
    watch_if_served!(ClusterTrustBundle, Input::ClusterTrustBundle);
    watch_if_served!(ReferenceGrant, Input::ReferenceGrant);
    watch!(Service, workload, Input::Service);
    watch!(EndpointSlice, workload, Input::EndpointSlice);
    watch!(Secret, workload, Input::Secret);
    watch!(ConfigMap, workload, Input::ConfigMap);
    watch!(Namespace, workload, Input::Namespace);
    watch_tenant!(GatewayClaim, |change| Input::Claim(TargetId::DEFAULT, change));
    watch_tenant!(GatewayRoute, |change| Input::Route(TargetId::DEFAULT, change));
    watch_tenant!(GatewayBackend, |change| Input::Backend(TargetId::DEFAULT, change));
    watch_tenant!(GatewayEndpointSlice, |change| Input::Slice(TargetId::DEFAULT, change));
    watches
}
