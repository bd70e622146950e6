//! Connections as they are.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Pair;
use super::resources::{chain, cluster, listener};
use super::servers::{LIMIT, echo, reset, rest, serve, some};
use crate::side::closed_port;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections() {
    let mut pair = Pair::start().await;
    let ends_first = serve(|mut stream| async move {
        let _ = stream.write_all(b"bye").await;
        let _ = stream.shutdown().await;
        let heard = rest(&mut stream).await;
        assert_eq!(heard, "more (end)");
    });
    let resets = serve(|mut stream| async move {
        let _ = stream.write_all(b"x").await;
        some(&mut stream, 1).await;
        reset(stream);
    });
    let closes = serve(|stream| async move { drop(stream) });
    let (a, b) = (echo("a").await, echo("b").await);
    let dead = closed_port();
    let targets = [
        ("a", "cluster: a"),
        ("ends-first", "cluster: ends-first"),
        ("resets", "cluster: resets"),
        ("closes", "cluster: closes"),
        ("dead", "cluster: dead"),
        ("empty", "cluster: empty"),
        ("unknown", "cluster: unknown"),
        ("second", "cluster: half-dead, max_connect_attempts: 8"),
        ("weighted", "weighted_clusters: { clusters: [{ name: a, weight: 1 }, { name: b, weight: 3 }] }"),
        ("partly", "weighted_clusters: { clusters: [{ name: a, weight: 1 }, { name: unknown, weight: 1 }] }"),
        ("idle", "cluster: a, idle_timeout: 2s"),
        ("short", "cluster: a, max_downstream_connection_duration: 2s"),
        ("full", "cluster: full"),
    ];
    let full = "circuit_breakers: { thresholds: [{ max_connections: 1 }] }";
    let mut resources = vec![
        cluster("a", &[a], ""),
        cluster("b", &[b], ""),
        cluster("ends-first", &[ends_first.await], ""),
        cluster("resets", &[resets.await], ""),
        cluster("closes", &[closes.await], ""),
        cluster("dead", &[dead], ""),
        cluster("empty", &[], ""),
        cluster("half-dead", &[dead, b], ""),
        cluster("full", &[a], full),
    ];
    for (at, (name, options)) in (0..).zip(targets) {
        resources.push(listener(name, pair.port(at), &chain(name, "", options)));
    }
    pair.set(&resources).await;
    let at = |name: &str| u16::try_from(targets.iter().position(|(own, _)| *own == name).unwrap()).unwrap();

    pair.compare("echo, then the client has said all", at("a"), None, async |to| {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        stream.shutdown().await.unwrap();
        rest(&mut stream).await
    })
    .await;
    pair.compare("the endpoint speaks first", at("a"), None, async |to| {
        some(&mut TcpStream::connect(to).await.unwrap(), 1).await
    })
    .await;
    pair.compare("megabytes", at("a"), None, async |to| {
        let (mut read, mut write) = TcpStream::connect(to).await.unwrap().into_split();
        let sent = "0123456789".repeat(400_000);
        let writing = async {
            write.write_all(sent.as_bytes()).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let (got, ()) = tokio::join!(rest(&mut read), writing);
        format!("{} {}", got.len(), got == format!("a{sent}! (end)"))
    })
    .await;
    pair.compare("the endpoint has said all, the client speaks on", at("ends-first"), None, async |to| {
        let mut stream = TcpStream::connect(to).await.unwrap();
        let said = rest(&mut stream).await;
        stream.write_all(b"more").await.unwrap();
        said
    })
    .await;
    pair.compare("the endpoint resets", at("resets"), None, async |to| {
        let mut stream = TcpStream::connect(to).await.unwrap();
        some(&mut stream, 1).await;
        stream.write_all(b"y").await.unwrap();
        rest(&mut stream).await
    })
    .await;
    for name in ["closes", "dead", "empty", "unknown", "idle", "short"] {
        pair.compare(name, at(name), None, async |to| rest(&mut TcpStream::connect(to).await.unwrap()).await).await;
    }
    for turn in 0..6 {
        pair.compare(&format!("another endpoint {turn}"), at("second"), None, async |to| {
            some(&mut TcpStream::connect(to).await.unwrap(), 1).await
        })
        .await;
    }
    for (name, first) in [("weighted", "b"), ("partly", "a")] {
        pair.compare(name, at(name), None, async |to| {
            let mut hits = 0;
            for _ in 0..200 {
                let said = some(&mut TcpStream::connect(to).await.unwrap(), 1).await;
                hits += usize::from(said == first);
            }
            let share = if name == "weighted" { 150 } else { 100 };
            format!("about {share}: {}", hits.abs_diff(share) < 45)
        })
        .await;
    }
    pair.compare("one connection at a time", at("full"), None, async |to| {
        let mut one = TcpStream::connect(to).await.unwrap();
        some(&mut one, 1).await;
        let other = rest(&mut TcpStream::connect(to).await.unwrap()).await;
        one.shutdown().await.unwrap();
        format!("{other} {}", rest(&mut one).await)
    })
    .await;
    pair.finish(18);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_of_connections() {
    let (told, ends) = std::sync::mpsc::channel();
    let port = serve(move |mut stream| {
        let told = told.clone();
        async move {
            let _ = stream.write_all(b"x").await;
            let _ = told.send(rest(&mut stream).await);
        }
    })
    .await;
    let mut pair = Pair::start().await;
    pair.set(&[cluster("a", &[port], ""), listener("a", pair.port(0), &chain("a", "", "cluster: a"))]).await;
    let ends = std::sync::Mutex::new(ends);
    // One side after the other, as the endpoint doesn't know whose a connection is.
    let turn = tokio::sync::Mutex::new(());
    for how in ["reset", "close", "half"] {
        pair.compare(how, 0, None, async |to| {
            let _turn = turn.lock().await;
            let mut stream = TcpStream::connect(to).await.unwrap();
            some(&mut stream, 1).await;
            // What a reset overtakes is lost, or isn't.
            if how != "reset" {
                stream.write_all(b"last words").await.unwrap();
            }
            match how {
                "reset" => reset(stream),
                "close" => drop(stream),
                _ => {
                    stream.shutdown().await.unwrap();
                    rest(&mut stream).await;
                }
            }
            tokio::task::block_in_place(|| ends.lock().unwrap().recv_timeout(LIMIT)).unwrap_or_default()
        })
        .await;
    }
    pair.finish(3);
}
