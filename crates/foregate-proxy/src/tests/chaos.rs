//! Pools under endpoints that come and go as they like: whatever the order, no request is lost, and nothing stays behind.

use bytes::Bytes;
use foregate_envoy::ResourceKind;
use h2::Reason;
use h2::server::{Builder, Connection};
use http::Response;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::backend2::{Backend2, echo};
use super::client::LIMIT;
use super::resources::{eds_cluster, endpoints};
use super::rig::{Rig, until};
use super::upstream2::options;

/// What an endpoint does with a request; as the request's path.
const WISHES: [&str; 6] = ["/ok", "/slow", "/refuse", "/reset", "/last", "/early"];

/// A connection of HTTP/2 on which every request gets what it wishes.
async fn wishes2(stream: TcpStream, streams: u32) {
    let handshake = Builder::new().max_concurrent_streams(streams).handshake(stream).await;
    let Ok(mut connection): Result<Connection<TcpStream, Bytes>, _> = handshake else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        match request.uri().path() {
            "/refuse" => respond.send_reset(Reason::REFUSED_STREAM),
            "/reset" => respond.send_reset(Reason::CANCEL),
            "/early" => drop(respond.send_response(Response::new(()), true)),
            path => {
                if path == "/last" {
                    connection.graceful_shutdown();
                }
                let slow = path == "/slow";
                tokio::spawn(async move {
                    if slow {
                        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    }
                    echo(request, respond).await;
                });
            }
        }
    }
}

/// The same of HTTP/1.1; what is only HTTP/2's is an ordinary request.
async fn wishes1(mut stream: TcpStream) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            let whole = buffer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
            let body = if buffer.starts_with(b"POST") { 4 } else { 0 };
            if let Some(end) = whole.map(|end| end + body).filter(|end| buffer.len() >= *end) {
                break end;
            }
            if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
                return;
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        let path = head.split(' ').nth(1).unwrap_or_default();
        match path {
            "/reset" => return,
            "/slow" => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            _ => {}
        }
        let close = if path == "/last" { "connection: close\r\n" } else { "" };
        let text = format!("HTTP/1.1 200 OK\r\n{close}content-length: 2\r\n\r\nok");
        // Without a word of it, the next request finds a closed connection.
        if stream.write_all(text.as_bytes()).await.is_err() || matches!(path, "/last" | "/early") {
            return;
        }
    }
}

async fn run(http2: bool, streams: u32, wishes: &[(&'static str, bool)]) {
    let backend = Backend2::raw(move |_, stream| async move {
        if http2 { wishes2(stream, streams).await } else { wishes1(stream).await }
    })
    .await;
    let cluster = if http2 { options("explicit_http_config: { http2_protocol_options: {} }") } else { String::new() };
    let mut rig = Rig::with(crate::EngineOptions { workers: 1, ..crate::EngineOptions::default() }).await;
    rig.set(ResourceKind::Cluster, vec![eds_cluster("a", &cluster)]).await;
    rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("a", &[backend.port()])]).await;
    rig.serve("- { match: { prefix: / }, route: { cluster: a } }").await;
    let asks = wishes.iter().map(|(wish, body)| {
        let rig = &rig;
        async move {
            let mut client = rig.client().await;
            let (method, body) = if *body { ("POST", "body") } else { ("GET", "") };
            (wish, body, client.ask(method, "a", wish, &[], body).await.status)
        }
    });
    let all = tokio::time::timeout(LIMIT, futures::future::join_all(asks)).await.expect("every request is answered");
    for (wish, body, status) in all {
        let fits = match (*wish, http2) {
            ("/refuse" | "/reset", true) | ("/reset", false) => status == 503,
            // Only a request that may have been seen, and mustn't be seen twice, may fail by a connection's end.
            (_, false) => status == 200 || (status == 503 && !body.is_empty()),
            (_, true) => status == 200,
        };
        assert!(fits, "{wish} with {body:?} got {status} (http2: {http2})");
    }
    for gauge in ["foregate_proxy_requests_active", "foregate_proxy_connections_active"] {
        until("nothing stays behind", || rig.metric(gauge) == 0.0).await;
    }
    rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("a", &[])]).await;
    until("no connection stays", || rig.metric("foregate_proxy_upstream_connections_active") == 0.0).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn no_request_is_lost_and_nothing_stays(
        http2 in any::<bool>(),
        streams in 1_u32..5,
        wishes in prop::collection::vec((select(&WISHES[..]), any::<bool>()), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(http2, streams, &wishes));
    }
}
