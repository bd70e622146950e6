//! The GatewayNode: which engines there are, and that the agent runs.

use std::time::Duration;

use foregate_api::GatewayNode;
use foregate_api::node::{GatewayNodeStatus, NodeEngine};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Options;
use super::status::MANAGER;
use crate::engines::{Store, Watch};

/// Between two attempts while the API can't be reached.
const RETRY: Duration = Duration::from_secs(2);

/// Keeps the status of this node's object true until the agent drains.
pub(super) async fn keep(client: Client, options: Options, mut engines: Option<Watch>, drain: CancellationToken) {
    let api: Api<GatewayNode> = Api::all(client);
    loop {
        let found = list(&options.engines);
        match write(&api, &options.node, found).await {
            Ok(()) => tokio::select! {
                () = changed(&mut engines) => {}
                () = drain.cancelled() => return,
            },
            Err(error) => {
                tracing::debug!(%error, "the node's status can't be written; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn changed(engines: &mut Option<Watch>) {
    match engines {
        Some(engines) => engines.changed().await,
        None => std::future::pending().await,
    }
}

fn list(store: &Store) -> Vec<NodeEngine> {
    let builtin = NodeEngine { name: "builtin".to_owned(), sha256: None };
    let added = store.list().unwrap_or_default().into_iter().flatten();
    let added =
        added.map(|engine| NodeEngine { name: engine.name().to_string(), sha256: Some(engine.manifest.sha256) });
    std::iter::once(builtin).chain(added).collect()
}

async fn write(api: &Api<GatewayNode>, name: &str, engines: Vec<NodeEngine>) -> kube::Result<()> {
    let node = match api.get_opt(name).await? {
        Some(node) => node,
        None => {
            let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
            api.create(&params, &GatewayNode::new(name, Default::default())).await?
        }
    };
    let before = node.status.unwrap_or_default();
    let status = GatewayNodeStatus { engines, conditions: ready(before.conditions.clone(), node.metadata.generation) };
    if status == before {
        return Ok(());
    }
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api.patch_status(&node.metadata.name.unwrap_or_default(), &params, &Patch::Merge(json!({ "status": status })))
        .await
        .map(|node| drop(node.name_any()))
}

/// The conditions with `Ready` true.
fn ready(mut conditions: Vec<Condition>, generation: Option<i64>) -> Vec<Condition> {
    let known = conditions.iter_mut().find(|condition| condition.type_ == "Ready");
    match known {
        Some(known) if known.status == "True" => known.observed_generation = generation,
        known => {
            let new = Condition {
                type_: "Ready".to_owned(),
                status: "True".to_owned(),
                reason: "AgentRuns".to_owned(),
                message: "its agent runs".to_owned(),
                observed_generation: generation,
                last_transition_time: Time(jiff::Timestamp::now()),
            };
            match known {
                Some(known) => *known = new,
                None => conditions.push(new),
            }
        }
    }
    conditions
}
