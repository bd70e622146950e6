//! Connections that are passed on as they are, with and without TLS.

use std::net::SocketAddr;
use std::time::Duration;

use foregate_envoy::ResourceKind;
use foregate_xds::client::ClientResource;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::client::{Client, LIMIT, LONG};
use super::resources::{eds_cluster, endpoints, resource, shell};
use super::rig::{Rig, until};
use super::tls::{certificate, chain, connect, routes, secret};
use crate::{AccessLog, EngineOptions, LogFormat};

/// A filter of a chain that passes connections on.
pub(super) fn tcp_proxy(options: &str) -> String {
    format!(
        r#"
  filters:
  - name: envoy.filters.network.tcp_proxy
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
      stat_prefix: x
      {options}
"#
    )
}

/// A chain without a match.
fn plain(options: &str) -> String {
    format!("\n- name: plain{}", tcp_proxy(options))
}

/// A chain for TLS with these names, which it doesn't terminate.
fn passed(name: &str, names: &str, options: &str) -> String {
    format!(
        "\n- name: {name}\n  filter_chain_match: {{ transport_protocol: tls, server_names: {names} }}{}",
        tcp_proxy(options)
    )
}

/// A chain that terminates TLS and passes on what is in it.
fn terminated(name: &str, names: &str, options: &str) -> String {
    let http = chain(name, names, "s");
    let head = http.split("  filters:").next().unwrap().replace("alpn_protocols: [http/1.1]", "alpn_protocols: []");
    format!("{}{}", head.trim_end(), tcp_proxy(options))
}

pub(super) fn tcp_listener(name: &str, chains: &str) -> ClientResource {
    let yaml = format!(
        "name: {name}\naddress: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}\nfilter_chains:{chains}"
    );
    resource(ResourceKind::Listener, name, &yaml)
}

/// An endpoint that says its name, and then everything that it hears, until it hears no more; returns its port.
pub(super) async fn echo(name: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(name.as_bytes()).await?;
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await?;
                write.write_all(b"!").await?;
                write.shutdown().await
            });
        }
    });
    port
}

/// Everything until the end, or the kind of the error.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Result<String, std::io::ErrorKind> {
    let mut all = Vec::new();
    let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut all)).await.expect("an end in time");
    read.map(|_| String::from_utf8(all).unwrap()).map_err(|error| error.kind())
}

/// A port where nobody listens, as long as the socket is kept.
pub(super) fn closed_port() -> (socket2::Socket, u16) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (socket, port)
}

async fn exactly(stream: &mut (impl AsyncRead + Unpin), text: &str) {
    let mut all = vec![0; text.len()];
    tokio::time::timeout(LIMIT, stream.read_exact(&mut all)).await.expect("in time").unwrap();
    assert_eq!(String::from_utf8_lossy(&all), text);
}

/// An engine that passes everything on to one endpoint.
async fn rig(options: &str, ports: &[u16]) -> (Rig, SocketAddr) {
    let mut rig = Rig::new().await;
    rig.cluster("c", ports).await;
    rig.set(ResourceKind::Listener, vec![tcp_listener("tcp-1", &plain(options))]).await;
    let address = rig.address("tcp-1");
    (rig, address)
}

#[tokio::test]
async fn bytes_pass_and_each_half_is_closed_for_itself() {
    let (rig, address) = rig("cluster: c", &[echo("a").await]).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    exactly(&mut client, "a").await;
    client.write_all(b"ping").await.unwrap();
    exactly(&mut client, "ping").await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await.unwrap(), "!", "the endpoint speaks on after the client has closed its half");
    until("it is counted", || rig.metric("foregate_proxy_connections_active") == 0.0).await;
    assert_eq!(rig.metric("foregate_proxy_received_bytes_total"), 4.0);
    assert_eq!(rig.metric("foregate_proxy_sent_bytes_total"), 6.0);
    assert_eq!(rig.metric("foregate_proxy_upstream_sent_bytes_total"), 4.0);
    assert_eq!(rig.metric("foregate_proxy_upstream_received_bytes_total"), 6.0);
    assert_eq!(rig.metric("foregate_proxy_upstream_connections_total"), 1.0);
}

#[tokio::test]
async fn what_nobody_reads_is_not_gathered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_rig, address) = rig("cluster: c", &[listener.local_addr().unwrap().port()]).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let (mut endpoint, _) = listener.accept().await.unwrap();
    // Until the client can't send any more: the kernel's buffers and the engine's one are full.
    let block: Vec<u8> = (0..=255).cycle().take(1 << 16).collect();
    let mut sent = 0;
    while let Ok(Ok(count)) = tokio::time::timeout(Duration::from_millis(300), client.write(&block[sent % 256..])).await
    {
        sent += count;
        assert!(sent < 256 << 20, "nothing holds the client back");
    }
    client.shutdown().await.unwrap();
    let mut got = Vec::new();
    tokio::time::timeout(LIMIT, endpoint.read_to_end(&mut got)).await.unwrap().unwrap();
    assert_eq!(got.len(), sent);
    assert!(got.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at % 256), "in the order sent");
}

#[tokio::test]
async fn resets_are_told_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_rig, address) = rig("cluster: c", &[listener.local_addr().unwrap().port()]).await;
    let reset = |stream: TcpStream| socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();

    let client = TcpStream::connect(address).await.unwrap();
    let (mut endpoint, _) = listener.accept().await.unwrap();
    reset(client);
    assert_eq!(rest(&mut endpoint).await, Err(std::io::ErrorKind::ConnectionReset));

    let mut client = TcpStream::connect(address).await.unwrap();
    let (mut endpoint, _) = listener.accept().await.unwrap();
    // Whoever resets before the engine has seen the connection hasn't let it in.
    endpoint.write_all(b"x").await.unwrap();
    exactly(&mut client, "x").await;
    reset(endpoint);
    assert_eq!(rest(&mut client).await, Err(std::io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn connections_without_an_endpoint_are_closed() {
    let (_kept, dead) = closed_port();
    for (options, ports) in [("cluster: c", &[dead][..]), ("cluster: c", &[]), ("cluster: nobody", &[])] {
        let (rig, address) = rig(options, ports).await;
        assert_eq!(rest(&mut TcpStream::connect(address).await.unwrap()).await.unwrap(), "");
        until("it is counted", || rig.metric("foregate_proxy_unconnected_total") == 1.0).await;
    }
}

#[tokio::test]
async fn other_endpoints_are_tried() {
    let (_kept, dead) = closed_port();
    let (_rig, address) = rig("cluster: c\n      max_connect_attempts: 2", &[dead, echo("b").await]).await;
    for _ in 0..4 {
        exactly(&mut TcpStream::connect(address).await.unwrap(), "b").await;
    }
}

#[tokio::test]
async fn idle_and_old_connections_are_closed() {
    for option in ["idle_timeout: 1.5s", "max_downstream_connection_duration: 1.5s"] {
        let (_rig, address) = rig(&format!("cluster: c\n      {option}"), &[echo("a").await]).await;
        assert_eq!(rest(&mut TcpStream::connect(address).await.unwrap()).await.unwrap(), "a", "{option}");
    }
}

#[tokio::test]
async fn weights_share_connections() {
    let mut rig = Rig::new().await;
    rig.cluster("a", &[echo("a").await]).await;
    rig.cluster("b", &[echo("b").await]).await;
    let options =
        "weighted_clusters: { clusters: [{ name: a, weight: 1 }, { name: b, weight: 1 }, { name: none, weight: 1 }] }";
    rig.set(ResourceKind::Listener, vec![tcp_listener("tcp-1", &plain(options))]).await;
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..60 {
        let mut client = TcpStream::connect(rig.address("tcp-1")).await.unwrap();
        client.shutdown().await.unwrap();
        *seen.entry(rest(&mut client).await.unwrap()).or_insert(0) += 1;
    }
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["", "a!", "b!"], "{seen:?}");
}

/// One port: two names are passed on, one is terminated and passed on, one is HTTPS, the rest is closed.
async fn mixed(last: &str) -> (Rig, SocketAddr) {
    let mut rig = Rig::new().await;
    for name in ["exact", "wild"] {
        rig.cluster(name, &[tls_echo(name).await]).await;
    }
    rig.cluster("inner", &[echo("inner").await]).await;
    let chains = [
        passed("exact", "[a.example.com]", "cluster: exact"),
        passed("wild", "[\"*.example.com\"]", "cluster: wild"),
        terminated("inner", "[inner.example.com]", "cluster: inner"),
        chain("web", "[web.example.com]", "s"),
        last.to_owned(),
    ];
    rig.set(ResourceKind::Listener, vec![tcp_listener("tls-1", &chains.concat())]).await;
    rig.set(ResourceKind::RouteConfiguration, vec![shell("web")]).await;
    rig.set(ResourceKind::VirtualHost, vec![routes("web")]).await;
    rig.set(ResourceKind::Secret, vec![secret("s", &certificate(&["inner.example.com"]))]).await;
    let address = rig.address("tls-1");
    (rig, address)
}

/// An endpoint that terminates TLS and says its name and the name that it was asked for.
async fn tls_echo(name: &'static str) -> u16 {
    use rustls_pki_types::pem::PemObject;
    let own = certificate(&[name]);
    let chain = rustls_pki_types::CertificateDer::from_pem_slice(own.chain.as_bytes()).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![chain], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let asked = stream.get_ref().1.server_name().unwrap_or("-").to_owned();
                let _ = stream.write_all(format!("{name} {asked}").as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    port
}

#[tokio::test]
async fn names_choose_who_gets_a_connection() {
    let (rig, address) = mixed("").await;
    for (name, want) in [
        ("a.example.com", "exact a.example.com"),
        ("A.Example.com", "exact a.example.com"),
        ("b.example.com", "wild b.example.com"),
        ("c.b.example.com", "wild c.b.example.com"),
    ] {
        let mut stream = connect(address, name).await.unwrap();
        assert_eq!(rest(&mut stream).await.unwrap().to_ascii_lowercase(), want);
    }
    let mut inner = connect(address, "inner.example.com").await.unwrap();
    exactly(&mut inner, "inner").await;
    inner.write_all(b"ping").await.unwrap();
    exactly(&mut inner, "ping").await;
    inner.shutdown().await.unwrap();
    assert_eq!(rest(&mut inner).await.unwrap(), "!");
    let mut web = Client::over(connect(address, "web.example.com").await.unwrap());
    assert_eq!(web.get("web.example.com", "/").await.body, "web");
    // Nobody's: no name, another name, no TLS at all.
    assert!(connect(address, "other.test").await.is_err());
    assert!(connect(address, "192.0.2.1").await.is_err());
    let mut http = TcpStream::connect(address).await.unwrap();
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(matches!(rest(&mut http).await.as_deref(), Ok("") | Err(std::io::ErrorKind::ConnectionReset)));
    until("they are counted", || rig.metric("foregate_proxy_unmatched_total") == 3.0).await;
}

#[tokio::test]
async fn a_chain_without_names_takes_the_rest() {
    let (mut rig, address) = mixed(&format!("\n- name: rest{}", tcp_proxy("cluster: rest"))).await;
    rig.cluster("rest", &[echo("rest").await]).await;
    let mut http = TcpStream::connect(address).await.unwrap();
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    exactly(&mut http, "restGET / HTTP/1.1\r\n\r\n").await;
    let mut stream = connect(address, "a.example.com").await.unwrap();
    assert_eq!(rest(&mut stream).await.unwrap(), "exact a.example.com");
}

#[tokio::test]
async fn odd_beginnings_of_tls() {
    let (_rig, address) = mixed("").await;
    let closed = async |parts: &[&[u8]]| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        for part in parts {
            stream.set_nodelay(true).unwrap();
            let _ = stream.write_all(part).await;
            tokio::task::yield_now().await;
        }
        matches!(rest(&mut stream).await.as_deref(), Ok("") | Err(std::io::ErrorKind::ConnectionReset))
    };
    assert!(closed(&[&[22, 3, 1, 0, 5, 1, 0, 0, 1, 0]]).await, "garbage");
    assert!(closed(&[&[22, 3, 1, 64, 0, 1, 1, 0, 0]]).await, "longer than any");
    assert!(closed(&[&[22, 3, 1, 0, 1, 1].repeat(4000)]).await, "many records that say little");
    // One that ends, or goes half, in the middle of it.
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(&[22, 3, 1, 0, 200, 1]).await.unwrap();
    half.shutdown().await.unwrap();
    assert!(matches!(rest(&mut half).await.as_deref(), Ok("") | Err(std::io::ErrorKind::ConnectionReset)));
}

#[tokio::test]
async fn a_client_hello_in_pieces() {
    let (_rig, address) = mixed("").await;
    let (near, far) = tokio::io::duplex(1 << 16);
    let (mut from, mut to) = tokio::io::split(far);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    tokio::spawn(async move {
        let (mut read, mut write) = stream.split();
        let slowly = async {
            let mut byte = [0];
            while from.read_exact(&mut byte).await.is_ok() && write.write_all(&byte).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(slowly, tokio::io::copy(&mut read, &mut to)).1
    });
    let mut tls = super::tls::connect_over(near, "a.example.com").await.unwrap();
    assert_eq!(rest(&mut tls).await.unwrap(), "exact a.example.com");
}

#[tokio::test]
async fn a_slow_client_hello_has_its_time() {
    let mut rig = Rig::new().await;
    let listener = format!("{}\nlistener_filters_timeout: 0.2s", passed("a", "[a]", "cluster: c"));
    rig.set(ResourceKind::Listener, vec![tcp_listener("tls-1", &listener)]).await;
    let mut stream = TcpStream::connect(rig.address("tls-1")).await.unwrap();
    // On a busy machine it may be over already.
    let _ = stream.write_all(&[22, 3, 1]).await;
    assert!(matches!(rest(&mut stream).await.as_deref(), Ok("") | Err(std::io::ErrorKind::ConnectionReset)));
}

#[tokio::test]
async fn a_changed_chain_keeps_connections() {
    let options = EngineOptions { workers: 1, drain: Duration::from_millis(500), ..EngineOptions::default() };
    let mut rig = Rig::with(options).await;
    let (a, b) = (echo("a").await, echo("b").await);
    rig.set(ResourceKind::Cluster, vec![eds_cluster("a", ""), eds_cluster("b", "")]).await;
    rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("a", &[a]), endpoints("b", &[b])]).await;
    rig.set(ResourceKind::Secret, vec![secret("s", &certificate(&["o"]))]).await;
    let send = |chains: &[String]| vec![tcp_listener("tcp-1", &chains.concat())];
    let other = terminated("other", "[o]", "cluster: b");
    rig.set(ResourceKind::Listener, send(&[plain("cluster: a"), other])).await;
    let address = rig.address("tcp-1");
    let mut old = TcpStream::connect(address).await.unwrap();
    old.write_all(b"x").await.unwrap();
    exactly(&mut old, "ax").await;
    let mut gone = connect(address, "o").await.unwrap();
    exactly(&mut gone, "b").await;
    // One chain changes, the other one goes: its connections get the drain's time.
    rig.set(ResourceKind::Listener, send(&[plain("cluster: b")])).await;
    let mut new = TcpStream::connect(address).await.unwrap();
    new.write_all(b"y").await.unwrap();
    exactly(&mut new, "by").await;
    let _ = rest(&mut gone).await;
    // It is over, and who went elsewhere long ago isn't concerned.
    old.write_all(b"still").await.unwrap();
    exactly(&mut old, "still").await;
    old.shutdown().await.unwrap();
    assert_eq!(rest(&mut old).await.unwrap(), "!");
}

#[tokio::test]
async fn a_drain_waits_for_connections() {
    let (rig, address) = rig("cluster: c", &[echo("a").await]).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    exactly(&mut client, "a").await;
    let shutdown = tokio::spawn(rig.engine.shutdown(LONG));
    // New ones are turned away, which shows that it has begun.
    let closed = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(LIMIT, closed).await.unwrap();
    client.write_all(b"ping").await.unwrap();
    exactly(&mut client, "ping").await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await.unwrap(), "!");
    tokio::time::timeout(LIMIT, shutdown).await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_are_logged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let access_log = AccessLog::File(path.clone(), LogFormat::Text);
    let mut rig = Rig::with(EngineOptions { workers: 1, access_log, ..EngineOptions::default() }).await;
    let port = echo("a").await;
    rig.cluster("c", &[port]).await;
    rig.set(ResourceKind::Listener, vec![tcp_listener("tcp-1", &plain("cluster: c"))]).await;
    let mut client = TcpStream::connect(rig.address("tcp-1")).await.unwrap();
    client.write_all(b"ping").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await.unwrap(), "aping!");
    rig.engine.shutdown(LIMIT).await;
    let text = std::fs::read_to_string(path).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    // Time, instance, listener; method, host, path, status, flags; bytes from and to the client.
    assert_eq!(words[1..10], ["gw/local", "tcp-1", "-", "-", "-", "0", "-", "4", "6"], "{text}");
    assert_eq!(words[11], format!("127.0.0.1:{port}"));
}
