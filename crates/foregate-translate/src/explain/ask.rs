//! Who is asked about a request, before it is routed and after. What they say nobody knows beforehand.

use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::config::route::v3 as route;
use foregate_envoy::pb::envoy::extensions::common::matching::v3::ExtensionWithMatcherPerRoute;
use foregate_envoy::pb::envoy::extensions::filters::http::composite::v3::ExecuteFilterAction;
use foregate_envoy::pb::envoy::extensions::filters::http::ext_authz::v3::{ExtAuthz, ext_authz::Services};
use foregate_envoy::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use foregate_envoy::pb::google::protobuf::Any;
use foregate_envoy::pb::xds::r#type::matcher::v3::matcher::on_match::OnMatch;
use prost::{Message, Name};

use super::Explanation;
use crate::UNRESOLVED_CLUSTER;
use crate::envoy::ext_authz::SLOT;

/// Notes the services that a listener asks for a virtual host.
pub(super) fn before_routing(
    manager: &hcm::HttpConnectionManager,
    host: &route::VirtualHost,
    answer: &mut Explanation,
) {
    for filter in &manager.http_filters {
        let Some(hcm::http_filter::ConfigType::TypedConfig(any)) = &filter.config_type else { continue };
        let is_on = match host.typed_per_filter_config.get(&filter.name).map(decoded::<route::FilterConfig>) {
            Some(said) => said.is_some_and(|said| !said.disabled),
            None => !filter.disabled,
        };
        if let Some(asked) = decoded::<ExtAuthz>(any).filter(|_| is_on) {
            let who = who(&asked);
            answer.caveats.push(format!("before the request is routed, {who}"));
        }
    }
}

/// Notes the service that a route asks.
pub(super) fn by_route(route: &route::Route, answer: &mut Explanation) {
    let said = || {
        let said: ExtensionWithMatcherPerRoute = decoded(route.typed_per_filter_config.get(SLOT)?)?;
        let Some(OnMatch::Action(action)) = said.xds_matcher?.on_no_match?.on_match else { return None };
        let run: ExecuteFilterAction = decoded(&action.typed_config?)?;
        decoded::<ExtAuthz>(&run.typed_config?.typed_config?)
    };
    if let Some(asked) = said() {
        answer.caveats.push(who(&asked));
    }
}

fn who(asked: &ExtAuthz) -> String {
    let cluster = match &asked.services {
        Some(Services::GrpcService(service)) => match &service.target_specifier {
            Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(envoy)) => Some((envoy.cluster_name.as_str(), "gRPC")),
            _ => None,
        },
        Some(Services::HttpService(service)) => {
            let upstream = service.server_uri.as_ref().and_then(|uri| uri.http_upstream_type.as_ref());
            upstream.map(|core::http_uri::HttpUpstreamType::Cluster(cluster)| (cluster.as_str(), "HTTP"))
        }
        None => None,
    };
    match cluster {
        Some((UNRESOLVED_CLUSTER, _)) => {
            "a service that isn't there is to be asked whether it may pass: every request is answered 500".to_owned()
        }
        Some((cluster, how)) => {
            format!("{cluster} is asked by {how} whether it may pass: it may change the request, or answer instead")
        }
        None => "a service is asked whether it may pass, and may answer instead".to_owned(),
    }
}

fn decoded<M: Message + Name + Default>(any: &Any) -> Option<M> {
    (any.type_url == M::type_url()).then(|| M::decode(&*any.value).ok()).flatten()
}
