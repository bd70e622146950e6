//! Shares: which clusters an action sends to, and what is answered for those that don't exist.

use foregate_envoy::pb::envoy::config::route::v3::route_action::{ClusterNotFoundResponseCode, ClusterSpecifier};
use foregate_envoy::pb::envoy::config::route::v3::weighted_cluster::{ClusterWeight, cluster_weight};
use foregate_envoy::pb::envoy::config::route::v3::{RouteAction, WeightedCluster};

use super::common::uint32;
use super::{filters, headers};
use crate::UNRESOLVED_CLUSTER;
use crate::ir::Destination;

/// One cluster by name; several, or one with changes of its own, by weight. An unresolved share goes to a cluster that
/// never exists.
pub(super) fn apply(action: &mut RouteAction, destinations: &[Destination], unresolved_status: u16) {
    let code = match unresolved_status {
        503 => ClusterNotFoundResponseCode::ServiceUnavailable,
        // Resolution lets nothing else through.
        _ => ClusterNotFoundResponseCode::InternalServerError,
    };
    action.cluster_not_found_response_code = code as i32;
    action.cluster_specifier = Some(match destinations {
        [alone] if is_plain(alone) => ClusterSpecifier::Cluster(name(alone)),
        several => ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: several.iter().map(weight).collect(),
            ..Default::default()
        }),
    });
}

fn name(destination: &Destination) -> String {
    destination.cluster.as_deref().unwrap_or(UNRESOLVED_CLUSTER).to_owned()
}

fn is_plain(destination: &Destination) -> bool {
    let Destination { hostname, request_headers: request, response_headers: response, .. } = destination;
    let empty = |edit: &crate::ir::Headers| edit.set.is_empty() && edit.add.is_empty() && edit.remove.is_empty();
    hostname.is_none() && empty(request) && empty(response)
}

fn weight(destination: &Destination) -> ClusterWeight {
    let mut per_filter = filters::PerFilter::new();
    if let Some(session) = &destination.session {
        filters::keep(session, &mut per_filter);
    }
    ClusterWeight {
        typed_per_filter_config: per_filter,
        name: name(destination),
        weight: Some(uint32(destination.weight)),
        request_headers_to_add: headers::to_add(&destination.request_headers),
        request_headers_to_remove: destination.request_headers.remove.clone(),
        response_headers_to_add: headers::to_add(&destination.response_headers),
        response_headers_to_remove: destination.response_headers.remove.clone(),
        host_rewrite_specifier: destination
            .hostname
            .clone()
            .map(cluster_weight::HostRewriteSpecifier::HostRewriteLiteral),
        ..Default::default()
    }
}
