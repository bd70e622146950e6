//! The kinds that are read in the workload cluster.

use std::sync::Arc;

use foregate_api::GatewayClassParameters;
use foregate_api::envoy_gateway::Backend;
use foregate_api::gateway::experimental::{XBackend, XBackendTrafficPolicy};
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
use crate::lean;
use crate::served::Served;
use crate::source::{Fed, Followed, once};
use crate::voice::Voice;

/// Follows them, but for Secrets and ConfigMaps, which are read as they are named ([`crate::named`]). Each says once that it was listed; one that the cluster doesn't serve was. Pods are many: they are read
/// only once something selects some (`wants_pods`), and nothing waits for them.
pub fn follow(
    client: &Client,
    served: &watch::Receiver<Served>,
    feed: &mpsc::Sender<Fed>,
    voice: &Voice,
    wants_pods: Arc<SetOnce<()>>,
) -> JoinSet<Result<(), ControllerError>> {
    let mut watches = JoinSet::new();
    macro_rules! followed {
        ($kind:ty, $input:expr, $served:expr) => {
            Followed {
                api: Api::<Lean<$kind>>::all(client.clone()),
                kind: stringify!($kind),
                config: watcher::Config::default(),
                served: $served,
                input: $input,
                is_kept: true,
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
    follow_if_served!(GatewayClass, Input::GatewayClass);
    follow_if_served!(GatewayClassParameters, Input::Parameters);
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
    follow_if_served!(ReferenceGrant, Input::ReferenceGrant);
    let pods = Followed {
        api: Api::<Lean<Pod>>::all(client.clone()),
        kind: "Pod",
        config: watcher::Config::default(),
        served: Served::has::<Pod>,
        input: Input::Pod,
        is_kept: false,
        is_missing_if_forbidden: false,
        voice: voice.clone(),
        listed: || None,
    };
    let (seen, fed) = (served.clone(), feed.clone());
    watches.spawn(async move {
        if fed.send(Fed::Listed).await.is_ok() {
            wants_pods.wait().await;
        }
        pods.run_while_served(seen, fed).await
    });
    follow_if_served!(ClusterTrustBundle, Input::ClusterTrustBundle);
    follow!(Service, |change| Input::Service(lean::lean(change, lean::service)));
    follow!(EndpointSlice, |change| Input::EndpointSlice(lean::lean(change, lean::slice)));
    follow!(Namespace, Input::Namespace);
    watches
}
