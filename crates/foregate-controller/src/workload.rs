//! The kinds that are read in the workload cluster.

use std::sync::Arc;

use foregate_api::GatewayClassParameters;
use foregate_api::envoy_gateway::{Backend, EnvoyProxy};
use foregate_api::gateway::experimental::{XBackend, XBackendTrafficPolicy, XTelemetryPolicy};
use foregate_api::gateway::{
    BackendTLSPolicy, GRPCRoute, Gateway, GatewayClass, HTTPRoute, ListenerSet, ReferenceGrant, TCPRoute, TLSRoute,
    UDPRoute,
};
use foregate_attach::Input;
use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::sync::{SetOnce, mpsc, watch};
use tokio::task::JoinSet;

use crate::ControllerError;
use crate::decode::Lean;
use crate::served::Served;
use crate::source::{Fed, Followed, kept, once, seen};
use crate::unread::{Unread, glimpsed};
use crate::voice::Voice;

/// Kinds of which only the beginning is read.
pub const GLIMPSED: usize = 2;

/// What isn't read from the start.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    /// Set once something selects Pods: they are many, and nothing waits for them.
    pub pods: Arc<SetOnce<()>>,
    /// Set once it is known which Services are named. Each of these kinds then says once that it was listed.
    pub glimpses: Arc<SetOnce<()>>,
}

/// Follows them, but for Secrets and ConfigMaps, which are read as they are named ([`crate::named`]). Each but those of
/// [`Wants`] says once that it was listed; one that the cluster doesn't serve was.
pub fn follow(
    client: &Client,
    served: &watch::Receiver<Served>,
    feed: &mpsc::Sender<Fed>,
    voice: &Voice,
    wants: &Wants,
) -> JoinSet<Result<(), ControllerError>> {
    let mut watches = JoinSet::new();
    macro_rules! followed {
        ($kind:ty, $input:expr, $served:expr) => {
            Followed {
                api: Api::<Lean<$kind>>::all(client.clone()),
                kind: stringify!($kind),
                config: watcher::Config::default(),
                served: $served,
                say: kept($input),
                is_missing_if_forbidden: false,
                voice: voice.clone(),
                listed: once(Fed::Listed),
            }
        };
    }
    macro_rules! follow {
        ($kind:ty, $input:expr) => {
            watches.spawn(followed!($kind, $input, |_| true).run(feed.clone()))
        };
    }
    macro_rules! follow_if_served {
        ($kind:ty, $input:expr, $served:expr) => {
            watches.spawn(followed!($kind, $input, $served).run_while_served(served.clone(), feed.clone()))
        };
        ($kind:ty, $input:expr) => {
            follow_if_served!($kind, $input, Served::has::<$kind>)
        };
    }
    macro_rules! glimpse {
        ($kind:ty) => {
            let followed = Followed {
                api: Api::<Unread<$kind>>::all(client.clone()),
                kind: stringify!($kind),
                config: watcher::Config::default(),
                served: |_| true,
                say: glimpsed::<$kind>,
                is_missing_if_forbidden: false,
                voice: voice.clone(),
                listed: once(Fed::GlimpsesListed),
            };
            let (fed, wants) = (feed.clone(), wants.clone());
            watches.spawn(async move {
                wants.glimpses.wait().await;
                followed.run(fed).await
            });
        };
    }
    follow_if_served!(GatewayClass, Input::GatewayClass);
    follow_if_served!(GatewayClassParameters, Input::Parameters);
    follow_if_served!(EnvoyProxy, Input::EnvoyProxy);
    follow_if_served!(Gateway, Input::Gateway);
    follow_if_served!(ListenerSet, Input::ListenerSet);
    follow_if_served!(HTTPRoute, Input::HttpRoute);
    follow_if_served!(GRPCRoute, Input::GrpcRoute);
    follow_if_served!(TCPRoute, Input::TcpRoute);
    follow_if_served!(TLSRoute, Input::TlsRoute);
    follow_if_served!(UDPRoute, Input::UdpRoute);
    follow_if_served!(Backend, Input::DirectBackend);
    follow_if_served!(BackendTLSPolicy, Input::BackendTlsPolicy);
    follow_if_served!(XBackend, Input::XBackend);
    follow_if_served!(XBackendTrafficPolicy, Input::XBackendTrafficPolicy);
    follow_if_served!(XTelemetryPolicy, Input::XTelemetryPolicy);
    follow_if_served!(ReferenceGrant, Input::ReferenceGrant);
    let pods = Followed {
        api: Api::<Lean<Pod>>::all(client.clone()),
        kind: "Pod",
        config: watcher::Config::default(),
        served: Served::has::<Pod>,
        say: seen(Input::Pod),
        is_missing_if_forbidden: false,
        voice: voice.clone(),
        listed: || None,
    };
    let (served_now, fed, wanted) = (served.clone(), feed.clone(), wants.pods.clone());
    watches.spawn(async move {
        if fed.send(Fed::Listed).await.is_ok() {
            wanted.wait().await;
        }
        pods.run_while_served(served_now, fed).await
    });
    follow_if_served!(ClusterTrustBundle, Input::ClusterTrustBundle);
    glimpse!(Service);
    glimpse!(EndpointSlice);
    follow!(Namespace, Input::Namespace);
    watches
}
