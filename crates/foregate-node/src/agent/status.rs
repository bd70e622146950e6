//! `status.engine` of GatewayInstances, written as it changes.

use std::collections::BTreeMap;
use std::time::Duration;

use foregate_api::GatewayInstance;
use foregate_api::instance::EngineStatus;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::sync::mpsc;

/// Field manager of what the agent writes.
pub(crate) const MANAGER: &str = "foregate-node";
/// Between two attempts while the API can't be reached.
const RETRY: Duration = Duration::from_secs(1);

/// Takes statuses; the newest of an instance is written.
#[derive(Clone, Debug)]
pub(crate) struct Statuses(mpsc::UnboundedSender<(String, EngineStatus)>);

impl Statuses {
    /// Writes until all handles are gone.
    pub(crate) fn start(client: kube::Client) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(write_all(Api::all(client), receiver));
        Self(sender)
    }

    /// An instance's status has changed.
    pub(crate) fn say(&self, instance: &str, status: EngineStatus) {
        // The writer ends with the last handle only.
        let _ = self.0.send((instance.to_owned(), status));
    }
}

async fn write_all(api: Api<GatewayInstance>, mut changes: mpsc::UnboundedReceiver<(String, EngineStatus)>) {
    let mut pending = BTreeMap::new();
    while let Some((instance, status)) = changes.recv().await {
        pending.insert(instance, status);
        while let Ok((instance, status)) = changes.try_recv() {
            pending.insert(instance, status);
        }
        while let Some((instance, status)) = pending.pop_first() {
            if write(&api, &instance, &status).await {
                continue;
            }
            tokio::time::sleep(RETRY).await;
            pending.entry(instance).or_insert(status);
            while let Ok((instance, status)) = changes.try_recv() {
                pending.insert(instance, status);
            }
        }
    }
}

/// Returns whether it is done with.
async fn write(api: &Api<GatewayInstance>, instance: &str, status: &EngineStatus) -> bool {
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match api.patch_status(instance, &params, &Patch::Merge(patch(status))).await {
        Ok(_) => true,
        Err(kube::Error::Api(answer)) if (400..500).contains(&answer.code) => {
            if answer.code != 404 {
                tracing::warn!(instance, error = %answer.message, "the API refuses the engine's status");
            }
            true
        }
        Err(error) => {
            tracing::debug!(instance, %error, "the engine's status can't be written; trying again");
            false
        }
    }
}

/// A merge patch keeps what it doesn't name: what is empty is named.
fn patch(status: &EngineStatus) -> serde_json::Value {
    json!({ "status": { "engine": {
        "state": status.state,
        "name": status.name,
        "pid": status.pid,
        "restarts": status.restarts,
        "message": (!status.message.is_empty()).then_some(&status.message),
        "since": status.since,
    } } })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use foregate_api::instance::EngineState;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn what_is_over_is_taken_back() {
        let since = Time("2026-11-21T00:00:00Z".parse().unwrap());
        let status = EngineStatus {
            state: EngineState::Running,
            name: "builtin".into(),
            pid: None,
            restarts: 0,
            message: String::new(),
            since,
        };
        let engine = &patch(&status)["status"]["engine"];
        assert!(engine["pid"].is_null() && engine["message"].is_null());
        assert!(engine.as_object().unwrap().contains_key("message"));
        let read: EngineStatus = {
            let mut set = engine.clone();
            set.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            serde_json::from_value(set).unwrap()
        };
        assert_eq!(read, status);
    }
}
