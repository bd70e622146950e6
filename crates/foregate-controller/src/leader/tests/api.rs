//! As much of an API as an election needs: one Lease, with its watches.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Bytes;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// The Lease, with its version; clones are the same.
#[derive(Clone, Default)]
pub struct Leases {
    stored: Arc<watch::Sender<Option<Value>>>,
    requests: Arc<AtomicUsize>,
    refused: Arc<watch::Sender<String>>,
}

impl Leases {
    pub fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        Client::new(service, "system")
    }

    /// From now on one replica's writes fail.
    pub fn refuse(&self, identity: &str) {
        self.refused.send_replace(identity.to_owned());
    }

    /// How many there were.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    async fn answer(&self, request: Request<Body>) -> Response<Answer> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let query = request.uri().query().unwrap_or_default().to_owned();
        match *request.method() {
            Method::GET if query.contains("watch=true") => self.watch(&query),
            Method::GET => {
                let stored = self.stored.borrow().clone();
                let version = stored.as_ref().map_or(0, version);
                let items: Vec<Value> = stored.into_iter().collect();
                json_response(200, &json!({ "metadata": { "resourceVersion": version.to_string() }, "items": items }))
            }
            _ => {
                let bytes = request.into_body().collect().await.unwrap().to_bytes();
                self.write(serde_json::from_slice(&bytes).unwrap())
            }
        }
    }

    fn write(&self, mut lease: Value) -> Response<Answer> {
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        if !holder.is_empty() && *self.refused.borrow() == holder {
            return json_response(500, &status(500));
        }
        let known = self.stored.borrow().as_ref().map_or(0, version);
        let given = lease["metadata"]["resourceVersion"].as_str().and_then(|it| it.parse().ok()).unwrap_or(0_u64);
        if known != given {
            return json_response(409, &status(409));
        }
        lease["metadata"]["resourceVersion"] = json!((known + 1).to_string());
        lease["metadata"]["uid"] = json!("u");
        // It is one that can be read.
        let _: Lease = serde_json::from_value(lease.clone()).unwrap();
        self.stored.send_replace(Some(lease.clone()));
        json_response(200, &lease)
    }

    fn watch(&self, query: &str) -> Response<Answer> {
        let from =
            query.split('&').find_map(|it| it.strip_prefix("resourceVersion=")?.parse::<u64>().ok()).unwrap_or(0);
        let mut last = from;
        let events = WatchStream::new(self.stored.subscribe()).filter_map(move |lease| {
            let new = lease.filter(|lease| version(lease) > last);
            let kind = if last == 0 { "ADDED" } else { "MODIFIED" };
            last = new.as_ref().map_or(last, version);
            let event = new.map(|lease| format!("{}\n", json!({ "type": kind, "object": lease })));
            std::future::ready(event.map(|text| Ok::<_, Infallible>(http_body::Frame::data(text.into_bytes().into()))))
        });
        Response::new(StreamBody::new(events).boxed_unsync())
    }
}

fn version(lease: &Value) -> u64 {
    lease["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn status(code: u16) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no", "reason": "no" })
}

fn json_response(code: u16, body: &Value) -> Response<Answer> {
    Response::builder().status(code).body(Full::from(body.to_string()).boxed_unsync()).unwrap()
}
