//! WebSockets: after a 101 from the endpoint, bytes go both ways until one side closes.

use std::rc::Rc;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONNECTION, HeaderMap, UPGRADE};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

use super::connection::Order;
use super::forward::Job;
use super::io::Watched;
use super::pool::Lease;
use super::single::Upgraded;
use super::stream::{Phase, StreamState};

/// A connection whose endpoint has agreed to another protocol.
pub(super) struct Pending {
    upstream: oneshot::Receiver<Upgraded>,
}

/// Asks an endpoint for another protocol.
pub(super) fn ask(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// The endpoint agrees: the client's connection is joined to its when the response is written.
pub(super) fn accept(job: &Job<'_>, headers: &mut HeaderMap, lease: Lease, stream: &Rc<StreamState>) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    stream.enter(Phase::Response);
    if let Some(upstream) = lease.into_upgraded() {
        job.session.upgrade(Pending { upstream });
    }
}

/// Joins two connections, until one side closes or neither says anything for too long.
pub(super) async fn splice(stream: &Rc<StreamState>, mut client: Watched, early: Bytes, pending: Pending) {
    stream.enter(Phase::Response);
    let state = &stream.connection;
    let Ok(parts) = pending.upstream.await else { return };
    let mut upstream = parts.io.into_inner();
    if client.write_all(&parts.read_buf).await.is_err() || upstream.write_all(&early).await.is_err() {
        return;
    }
    let mut copying = std::pin::pin!(tokio::io::copy_bidirectional(&mut client, &mut upstream));
    let ended = std::future::poll_fn(|cx| match state.take_order(cx) {
        Some(Order::Kill | Order::Timeout) => std::task::Poll::Ready(None),
        // A drain waits for its end, as for any request under way.
        _ => Future::poll(copying.as_mut(), cx).map(Some),
    });
    if let Some(Err(error)) = ended.await {
        tracing::debug!(client = %state.remote, %error, "an upgraded connection broke");
    }
}
