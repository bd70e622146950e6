//! The GatewayNode: which engines there are, and that the agent runs.

use std::time::Duration;

use foregate_api::GatewayNode;
use foregate_api::node::{GatewayNodeStatus, NodeEngine};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Options;
use super::status::MANAGER;
use crate::engines::{Store, Watch};

/// How long the agent's end may be held up by what it says of it.
pub(super) const LAST_WORD: Duration = Duration::from_secs(2);
/// Between two attempts while the API can't be reached.
const RETRY: Duration = Duration::from_secs(2);

/// Keeps the status of this node's object true until the agent drains.
pub(super) async fn keep(client: Client, options: Options, mut engines: Option<Watch>, drain: CancellationToken) {
    let api: Api<GatewayNode> = Api::all(client);
    loop {
        let found = list(&options.engines);
        let written = write(&api, &options, found, true).await;
        if let Err(error) = &written {
            tracing::debug!(%error, "the node's status can't be written; trying again");
        }
        let wait = async {
            match written {
                Ok(()) => changed(&mut engines).await,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        };
        tokio::select! {
            () = wait => {}
            () = drain.cancelled() => break,
        }
    }
    if options.says_ready {
        let found = list(&options.engines);
        let written = write(&api, &options, found, false).await;
        let _ = written.inspect_err(|error| tracing::debug!(%error, "that the agent ends can't be written"));
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

async fn write(api: &Api<GatewayNode>, options: &Options, engines: Vec<NodeEngine>, runs: bool) -> kube::Result<()> {
    let name = options.node.as_str();
    let node = match api.get_opt(name).await? {
        Some(node) => node,
        None => {
            let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
            api.create(&params, &GatewayNode::new(name, Default::default())).await?
        }
    };
    let before = node.status.unwrap_or_default();
    let mut status = GatewayNodeStatus { engines, ..before.clone() };
    if options.says_ready {
        status.conditions = ready(status.conditions, node.metadata.generation, runs);
    }
    if status == before {
        return Ok(());
    }
    let patch = match options.says_ready {
        true => json!({ "status": status }),
        // The conditions are the platform's.
        false => json!({ "status": { "engines": status.engines } }),
    };
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api.patch_status(name, &params, &Patch::Merge(patch)).await.map(drop)
}

/// The conditions with `Ready`: whether its agent runs.
fn ready(mut conditions: Vec<Condition>, generation: Option<i64>, runs: bool) -> Vec<Condition> {
    let (status, reason, message) = match runs {
        true => ("True", "AgentRuns", "its agent runs"),
        false => ("False", "AgentAway", "its agent has ended"),
    };
    let known = conditions.iter_mut().find(|condition| condition.type_ == "Ready");
    match known {
        Some(known) if known.status == status => known.observed_generation = generation,
        known => {
            let new = Condition {
                type_: "Ready".to_owned(),
                status: status.to_owned(),
                reason: reason.to_owned(),
                message: message.to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_follows_the_agent() {
        let says = |conditions: &[Condition]| -> Vec<_> {
            conditions.iter().map(|it| (it.type_.clone(), it.status.clone(), it.reason.clone())).collect()
        };
        let mut other = ready(Vec::new(), Some(1), true);
        other.iter_mut().for_each(|it| it.type_ = "Other".to_owned());
        let runs = ready(other.clone(), Some(1), true);
        let ended = ready(runs.clone(), Some(2), false);
        let ready_says = |status: &str, reason: &str| ("Ready".to_owned(), status.to_owned(), reason.to_owned());
        assert_eq!(says(&runs).get(1), Some(&ready_says("True", "AgentRuns")));
        assert_eq!(says(&ended).get(1), Some(&ready_says("False", "AgentAway")));
        assert_eq!((ended.len(), ended.first()), (2, other.first()));
        let again = ready(runs.clone(), Some(2), true);
        assert_eq!(again.get(1).map(|it| &it.last_transition_time), runs.get(1).map(|it| &it.last_transition_time));
    }
}
