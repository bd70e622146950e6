//! Responses as endpoints really send them: in pieces, at length, with more than was asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::client::LIMIT;
use super::client2::Client2;
use super::rig::Rig;

/// A server that answers each request with these pieces, one write each; returns how many connections it got.
async fn server(pieces: Vec<Vec<u8>>) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (connections, pieces) = (Arc::new(AtomicUsize::new(0)), Arc::new(pieces));
    let count = connections.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let pieces = pieces.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(1..) = stream.read(&mut buffer).await {
                    for piece in pieces.iter() {
                        if stream.write_all(piece).await.is_err() {
                            return;
                        }
                        tokio::task::yield_now().await;
                    }
                }
            });
        }
    });
    (port, connections)
}

async fn rig(port: u16) -> Rig {
    let mut rig = Rig::with(crate::EngineOptions { workers: 1, ..crate::EngineOptions::default() }).await;
    rig.cluster("a", &[port]).await;
    rig.serve("- { match: { prefix: / }, route: { cluster: a } }").await;
    rig
}

#[tokio::test]
async fn a_response_may_come_byte_by_byte() {
    let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\nx-end: 1\r\n\r\n";
    let (port, connections) = server(text.iter().map(|byte| vec![*byte]).collect()).await;
    let rig = rig(port).await;
    let mut client = rig.client().await;
    for _ in 0..3 {
        let reply = client.get("a", "/").await;
        assert_eq!((reply.status, reply.header("x"), &*reply.body), (200, Some("y"), "hello!"));
    }
    let reply = Client2::to(rig.address("http-1")).await.get("a", "/").await;
    assert_eq!((reply.text(), &reply.trailers.as_ref().unwrap()["x-end"]), ("hello!", &"1".parse().unwrap()));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_nobody_asked_for_reaches_nobody() {
    let twice =
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil".to_vec();
    let later = vec![b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec(), b"HTTP/1.1 408 No\r\n\r\n".to_vec()];
    for pieces in [vec![twice], later] {
        let (port, _) = server(pieces).await;
        let rig = rig(port).await;
        for _ in 0..20 {
            assert_eq!(rig.client().await.get("a", "/").await.body, "ok");
        }
    }
}

#[tokio::test]
async fn long_responses_pass_whole() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
    let mut text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    text.extend_from_slice(&body);
    let (port, connections) = server(vec![text]).await;
    let rig = rig(port).await;
    let mut client = rig.client().await;
    for _ in 0..3 {
        assert!(client.get("a", "/").await.body.as_bytes() == body, "it comes as it was sent");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    let mut two = Client2::to(rig.address("http-1")).await;
    assert!(two.get("a", "/").await.body == body);
}

#[tokio::test]
async fn a_slow_client_slows_the_endpoint() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let part = vec![b'x'; 64 * 1024];
        while stream.write_all(&part).await.is_ok() {
            count.fetch_add(part.len(), Ordering::SeqCst);
        }
    });
    let rig = rig(port).await;
    let mut client = rig.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let stuck = async {
        loop {
            let before = sent.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(100)).await;
            if before > 0 && sent.load(Ordering::SeqCst) == before {
                return before;
            }
        }
    };
    let held = tokio::time::timeout(LIMIT, stuck).await.expect("the endpoint has to wait");
    assert!(held < 32 << 20, "{held} bytes are on their way");
    drop(client);
    super::rig::until("the endpoint's connection ends with the client's", || {
        rig.metric("foregate_proxy_upstream_connections_active") == 0.0
    })
    .await;
}
