//! Services that a revision sends to and that are gone for good.
//!
//! Endpoints aren't in revisions. What no route names now is derived again for a revision that is held, but only from the
//! very Service, or Backend, of then: one that was made again under its name is another one.

use std::collections::{BTreeMap, BTreeSet};

use foregate_api::LOCAL_CLUSTER;
use foregate_api::envoy_gateway::Backend;
use foregate_platform::revisions::{Kept, Named};
use foregate_translate::explain::RouteOrigin;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use serde_json::Value;

use super::{Chain, in_words};
use crate::cli::error::CliError;
use crate::cli::output::count;

/// Refuses a revision that sends to what is gone. What other workload clusters have can't be seen from here: of theirs
/// the gateway's status says it.
pub async fn check(chain: &Chain, revision: &str, kept: &BTreeMap<Named, Kept>) -> Result<(), CliError> {
    let texts = |kind: &'static str| {
        let of_kind = kept.iter().filter(move |(id, _)| id.kind() == kind);
        of_kind.filter_map(|(id, kept)| Some((&*id.name, serde_json::from_str::<Value>(kept.text.as_deref()?).ok()?)))
    };
    // Clusters with host names of their own need nothing.
    let lacking = texts("Cluster").filter(|(name, cluster)| cluster["type"] == "EDS" && chain.backends.lacks(name));
    let lacking: Vec<&str> = lacking.map(|(name, _)| name).filter(|name| is_local(name)).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let there = derivable(chain).await?;
    let is_gone = |name: &&&str| name.rsplit_once('/').is_some_and(|(backend, _)| !there.contains(backend));
    let gone: Vec<&str> = lacking.iter().filter(is_gone).copied().collect();
    if gone.is_empty() {
        return Ok(());
    }
    // Whose they are the revision's routes tell.
    let routes = texts("VirtualHost").flat_map(|(_, host)| host["routes"].as_array().cloned().unwrap_or_default());
    let named = routes.filter(|route| {
        let action = route["route"].to_string();
        gone.iter().any(|cluster| action.contains(cluster))
    });
    let owners: BTreeSet<String> = named
        .filter_map(|route| RouteOrigin::parse(route["name"].as_str()?))
        .map(|it| format!("{} {}/{}", it.kind, it.namespace, it.name))
        .collect();
    let owners: Vec<String> = owners.into_iter().collect();
    let message = format!(
        "at {}, {} of {} would answer 503: {} gone, or made anew since",
        in_words(revision),
        count(gone.len(), "Service"),
        owners.join(", "),
        if gone.len() == 1 { "it is" } else { "they are" },
    );
    Err(CliError::failed(message, "change the routes instead, or go back to the rest of it with --force"))
}

fn is_local(cluster: &str) -> bool {
    cluster.strip_prefix(LOCAL_CLUSTER).is_some_and(|rest| rest.starts_with('-'))
}

/// Names of all GatewayBackends that can be derived from what the API has.
async fn derivable(chain: &Chain) -> Result<BTreeSet<String>, CliError> {
    let ports = |service: Service| {
        let uid = service.uid().unwrap_or_default();
        let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
        ports.into_iter().map(move |port| format!("{LOCAL_CLUSTER}-{uid}-{}", port.port))
    };
    let mut names: Vec<String> = chain.api.list::<Service>().await?.into_iter().flat_map(ports).collect();
    let backends = chain.api.list::<Backend>().await?;
    names.extend(backends.iter().map(|it| format!("{LOCAL_CLUSTER}-{}", it.uid().unwrap_or_default())));
    Ok(names.into_iter().flat_map(|name| [format!("{name}-grpc"), name]).collect())
}
