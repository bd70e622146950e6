//! `status.engine` of GatewayInstances, written as it changes.

use std::collections::BTreeMap;
use std::time::Duration;

use foregate_api::GatewayInstance;
use foregate_api::instance::EngineStatus;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Field manager of what the agent writes.
pub(crate) const MANAGER: &str = "foregate-node";
/// The first pause before a write is tried again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

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

/// A status that isn't written yet.
#[derive(Debug)]
struct Pending {
    status: EngineStatus,
    due: Instant,
    failures: u32,
}

/// What came of a write.
#[derive(Debug, PartialEq, Eq)]
enum Written {
    /// It is there, or its object isn't any more.
    Done,
    /// To be tried again.
    Failed(String),
}

async fn write_all(api: Api<GatewayInstance>, mut changes: mpsc::UnboundedReceiver<(String, EngineStatus)>) {
    let mut pending = BTreeMap::new();
    loop {
        let next = pending.iter().min_by_key(|(_, entry): &(&String, &Pending)| entry.due);
        let next = next.map(|(instance, entry)| (instance.clone(), entry.due));
        let due = async {
            match &next {
                Some((_, due)) => tokio::time::sleep_until(*due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            change = changes.recv() => match change {
                Some((instance, status)) => take(&mut pending, instance, status),
                None => break,
            },
            () = due => if let Some((instance, _)) = next {
                attempt(&api, &mut pending, &instance).await;
            },
        }
    }
    for (instance, entry) in pending {
        write(&api, &instance, &entry.status).await;
    }
}

/// A newer status takes the place of what wasn't written, and doesn't hurry.
fn take(pending: &mut BTreeMap<String, Pending>, instance: String, status: EngineStatus) {
    match pending.get_mut(&instance) {
        Some(entry) => entry.status = status,
        None => drop(pending.insert(instance, Pending { status, due: Instant::now(), failures: 0 })),
    }
}

async fn attempt(api: &Api<GatewayInstance>, pending: &mut BTreeMap<String, Pending>, instance: &str) {
    let Some(entry) = pending.get_mut(instance) else { return };
    match write(api, instance, &entry.status).await {
        Written::Done => drop(pending.remove(instance)),
        Written::Failed(error) => {
            entry.due = Instant::now() + FIRST_PAUSE.saturating_mul(1 << entry.failures.min(10)).min(LONGEST_PAUSE);
            entry.failures += 1;
            // A node may hear of a new instance before it has been allowed to write its status: that is no news.
            if entry.failures == 5 {
                tracing::warn!(instance, error, "the engine's status can't be written; it is tried again and again");
            }
        }
    }
}

async fn write(api: &Api<GatewayInstance>, instance: &str, status: &EngineStatus) -> Written {
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match api.patch_status(instance, &params, &Patch::Merge(patch(status))).await {
        Ok(_) => Written::Done,
        Err(kube::Error::Api(answer)) if answer.code == 404 => Written::Done,
        Err(kube::Error::Api(answer)) => Written::Failed(answer.message.clone()),
        Err(error) => Written::Failed(error.to_string()),
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
    use std::sync::Arc;

    use foregate_api::instance::EngineState;
    use http_body_util::{BodyExt, Full};
    use hyper::body::Bytes;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use parking_lot::Mutex;

    use super::*;

    fn running(restarts: u32) -> EngineStatus {
        EngineStatus {
            state: EngineState::Running,
            name: "builtin".into(),
            pid: None,
            restarts,
            message: String::new(),
            since: Time("2026-11-21T00:00:00Z".parse().unwrap()),
        }
    }

    /// What reached an API that answers first with `codes`, one after another, then with 200: path's end, restarts, code.
    type Heard = Arc<Mutex<Vec<(String, u64, u16)>>>;

    fn api(codes: &[u16]) -> (kube::Client, Heard) {
        let (heard, left) = (Heard::default(), Arc::new(Mutex::new(codes.to_vec())));
        let log = heard.clone();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let (log, left) = (log.clone(), left.clone());
            async move {
                let name = request.uri().path().split('/').nth_back(1).unwrap_or_default().to_owned();
                let body = request.into_body().collect().await?.to_bytes();
                let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
                let restarts = body["status"]["engine"]["restarts"].as_u64().unwrap();
                let mut left = left.lock();
                let code = if left.is_empty() { 200 } else { left.remove(0) };
                log.lock().push((name.clone(), restarts, code));
                let answer = match code {
                    200 => json!({ "apiVersion": "foregate.dev/v1alpha1", "kind": "GatewayInstance",
                        "metadata": { "name": name }, "spec": { "proxy": { "namespace": "t", "name": "web" }, "node": "a" } }),
                    _ => {
                        json!({ "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "message": "no" })
                    }
                };
                let body = Full::new(Bytes::from(answer.to_string()));
                Ok::<_, kube::Error>(http::Response::builder().status(code).body(body).unwrap())
            }
        });
        (kube::Client::new(service, "default"), heard)
    }

    async fn until(heard: &Heard, enough: usize) -> Vec<(String, u64, u16)> {
        let wait = async {
            while heard.lock().len() < enough {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
        heard.lock().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_at_first_is_written_later_and_keeps_nobody_waiting() {
        // 403: the instance is so new that its node may not write it yet.
        for code in [401, 403, 409, 429, 500, 503] {
            let (client, heard) = api(&[code, code]);
            let statuses = Statuses::start(client);
            statuses.say("web.a", running(1));
            let said = |restarts, code| ("web.a".to_owned(), restarts, code);
            assert_eq!(until(&heard, 3).await, [said(1, code), said(1, code), said(1, 200)]);
        }
        let (client, heard) = api(&[403]);
        let statuses = Statuses::start(client);
        statuses.say("web.a", running(1));
        until(&heard, 1).await;
        statuses.say("web.a", running(2));
        statuses.say("zoo.a", running(3));
        let names: Vec<_> = until(&heard, 3).await.into_iter().map(|(name, restarts, _)| (name, restarts)).collect();
        assert_eq!(names, [("web.a".to_owned(), 1), ("zoo.a".to_owned(), 3), ("web.a".to_owned(), 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_gone_is_not_tried_again() {
        let (client, heard) = api(&[404]);
        let statuses = Statuses::start(client);
        statuses.say("web.a", running(1));
        until(&heard, 1).await;
        statuses.say("zoo.a", running(2));
        drop(statuses);
        until(&heard, 2).await;
        tokio::time::sleep(LONGEST_PAUSE * 2).await;
        assert_eq!(heard.lock().len(), 2);
    }

    #[test]
    fn what_is_over_is_taken_back() {
        let status = running(0);
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
