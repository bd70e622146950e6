//! Datagrams that are passed on as they are.

use std::net::SocketAddr;

use foregate_envoy::ResourceKind;
use foregate_xds::client::ClientResource;
use tokio::net::{TcpStream, UdpSocket};

use super::client::{LIMIT, LONG};
use super::resources::{endpoints, resource};
use super::rig::{Rig, until};
use super::tcp::{echo, tcp_listener, tcp_proxy};
use crate::{AccessLog, EngineOptions, LogFormat};

fn udp_listener(name: &str, port: u16, cluster: &str, extra: &str) -> ClientResource {
    let yaml = format!(
        r#"
name: {name}
address: {{ socket_address: {{ protocol: UDP, address: 127.0.0.1, port_value: {port} }} }}
udp_listener_config: {{ downstream_socket_config: {{ max_rx_datagram_size: 9000 }} }}
listener_filters:
- name: envoy.filters.udp_listener.udp_proxy
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig
    stat_prefix: x
    upstream_socket_config: {{ max_rx_datagram_size: 9000 }}
    {extra}
    matcher:
      on_no_match:
        action:
          name: route
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.Route
            cluster: {cluster}
"#
    );
    resource(ResourceKind::Listener, name, &yaml)
}

/// An endpoint that answers with its name, the port that it was asked from, and what it was asked.
async fn answering(name: &'static str) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let mut answer = format!("{name} {} ", from.port()).into_bytes();
            answer.extend_from_slice(&buffer[..length]);
            let _ = socket.send_to(&answer, from).await;
        }
    });
    port
}

/// A client, known by its port.
async fn client(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(to).await.unwrap();
    socket
}

async fn answer(socket: &UdpSocket) -> String {
    let mut buffer = vec![0; 65_536];
    let length = tokio::time::timeout(LIMIT, socket.recv(&mut buffer)).await.expect("an answer in time").unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

async fn ask(socket: &UdpSocket, text: &str) -> String {
    socket.send(text.as_bytes()).await.unwrap();
    answer(socket).await
}

/// The port that an endpoint saw.
fn port_in(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap()
}

async fn rig(extra: &str, ports: &[u16]) -> (Rig, SocketAddr) {
    let mut rig = Rig::new().await;
    rig.cluster("c", ports).await;
    rig.set(ResourceKind::Listener, vec![udp_listener("udp-1", 0, "c", extra)]).await;
    let address = rig.address("udp-1");
    (rig, address)
}

#[tokio::test]
async fn datagrams_pass_and_answers_find_their_way() {
    let (rig, address) = rig("", &[answering("a").await]).await;
    let (one, two) = (client(address).await, client(address).await);
    let first = ask(&one, "1").await;
    let second = ask(&two, "2").await;
    assert!(first.starts_with("a ") && first.ends_with(" 1"), "{first}");
    assert!(second.starts_with("a ") && second.ends_with(" 2"), "{second}");
    assert_ne!(port_in(&first), port_in(&second), "each client has its own socket");
    assert_eq!(port_in(&ask(&one, "3").await), port_in(&first), "and keeps it");
    assert!(ask(&one, "").await.ends_with(' '), "nothing is a datagram too");
    let long = "x".repeat(8000);
    assert!(ask(&one, &long).await.ends_with(&long));
    assert_eq!(rig.metric("foregate_proxy_connections_active"), 2.0);
    assert_eq!(rig.metric("foregate_proxy_received_bytes_total"), 8003.0);
    assert_eq!(rig.metric("foregate_proxy_upstream_sent_bytes_total"), 8003.0);
}

#[tokio::test]
async fn clients_that_say_nothing_are_forgotten() {
    let (rig, address) = rig("idle_timeout: 1.5s", &[answering("a").await]).await;
    let one = client(address).await;
    ask(&one, "1").await;
    until("it is forgotten", || rig.metric("foregate_proxy_connections_active") == 0.0).await;
    ask(&one, "2").await;
    assert_eq!(rig.metric("foregate_proxy_upstream_connections_total"), 2.0, "it has a new socket");
}

#[tokio::test]
async fn a_client_moves_when_its_endpoint_is_gone() {
    let (a, b) = (answering("a").await, answering("b").await);
    let (mut rig, address) = rig("", &[a]).await;
    let one = client(address).await;
    assert!(ask(&one, "1").await.starts_with("a "));
    rig.set(ResourceKind::ClusterLoadAssignment, vec![endpoints("c", &[b])]).await;
    let moved = async { while !ask(&one, "2").await.starts_with("b ") {} };
    tokio::time::timeout(LIMIT, moved).await.unwrap();
    until("the first is over", || rig.metric("foregate_proxy_connections_active") == 1.0).await;
}

#[tokio::test]
async fn who_has_an_endpoint_keeps_it_when_the_listener_changes() {
    let (a, b) = (answering("a").await, answering("b").await);
    let (mut rig, address) = rig("", &[a]).await;
    rig.cluster("d", &[b]).await;
    let one = client(address).await;
    assert!(ask(&one, "1").await.starts_with("a "));
    rig.set(ResourceKind::Listener, vec![udp_listener("udp-1", 0, "d", "")]).await;
    assert!(ask(&client(address).await, "2").await.starts_with("b "));
    assert!(ask(&one, "3").await.starts_with("a "));
}

#[tokio::test]
async fn sessions_are_bounded() {
    let port = answering("a").await;
    let mut rig = Rig::with(EngineOptions { workers: 1, max_connections: 4, ..EngineOptions::default() }).await;
    rig.cluster("c", &[port]).await;
    rig.set(ResourceKind::Listener, vec![udp_listener("udp-1", 0, "c", "idle_timeout: 3s")]).await;
    let address = rig.address("udp-1");
    let clients = [client(address).await, client(address).await, client(address).await];
    ask(&clients[0], "1").await;
    ask(&clients[1], "2").await;
    clients[2].send(b"3").await.unwrap();
    until("it is dropped", || rig.metric("foregate_proxy_unconnected_total") == 1.0).await;
    until("there is room again", || rig.metric("foregate_proxy_connections_active") == 0.0).await;
    assert!(ask(&clients[2], "4").await.ends_with(" 4"), "the third one had no answer before");
}

#[tokio::test]
async fn datagrams_to_nobody_are_dropped() {
    // Takes datagrams of nobody but itself, and nobody else gets its port.
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    closed.connect(closed.local_addr().unwrap()).unwrap();
    let (mut rig, address) = rig("", &[closed.local_addr().unwrap().port()]).await;
    let one = client(address).await;
    for text in ["1", "2", "3"] {
        one.send(text.as_bytes()).await.unwrap();
    }
    until("they are sent", || rig.metric("foregate_proxy_received_bytes_total") == 3.0).await;
    rig.set(ResourceKind::Listener, vec![udp_listener("udp-1", 0, "nobody", "")]).await;
    client(address).await.send(b"4").await.unwrap();
    until("it is counted", || rig.metric("foregate_proxy_unconnected_total") == 1.0).await;
    // Longer than the listener takes.
    one.send(&[b'x'; 9001]).await.unwrap();
    until("it is counted", || rig.metric("foregate_proxy_unmatched_total") == 1.0).await;
    // Later there is somebody, and the socket has survived it all.
    rig.cluster("nobody", &[answering("a").await]).await;
    assert!(ask(&client(address).await, "5").await.starts_with("a "));
}

#[tokio::test]
async fn one_port_of_both_kinds() {
    let (mut rig, address) = rig("", &[answering("a").await]).await;
    rig.cluster("t", &[echo("t").await]).await;
    let listener = format!("\n- name: plain{}", tcp_proxy("cluster: t"));
    rig.set(ResourceKind::Listener, vec![tcp_listener("tcp-1", &listener)]).await;
    let tcp = rig.address("tcp-1");
    rig.set(ResourceKind::Listener, vec![udp_listener("udp-2", tcp.port(), "c", "")]).await;
    assert!(ask(&client(tcp).await, "1").await.starts_with("a "));
    assert!(TcpStream::connect(tcp).await.is_ok());
    assert!(ask(&client(address).await, "2").await.starts_with("a "));
    let refusal = rig.send(super::resources::response(
        ResourceKind::Listener,
        vec![udp_listener("udp-3", tcp.port(), "c", "")],
        &[],
    ));
    let refusal = refusal.await.unwrap_err();
    assert!(refusal.contains("listener udp-2 of gateway instance gw/local has it already"), "{refusal}");
}

#[tokio::test]
async fn a_listener_that_goes_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let access_log = AccessLog::File(path.clone(), LogFormat::Json);
    let mut rig = Rig::with(EngineOptions { workers: 2, access_log, drain: LONG, ..EngineOptions::default() }).await;
    let port = answering("a").await;
    rig.cluster("c", &[port]).await;
    rig.set(ResourceKind::Listener, vec![udp_listener("udp-1", 0, "c", "")]).await;
    let one = client(rig.address("udp-1")).await;
    ask(&one, "ping").await;
    rig.remove(ResourceKind::Listener, &["udp-1"]).await;
    until("it is closed", || rig.metric("foregate_proxy_upstream_connections_active") == 0.0).await;
    tokio::time::timeout(LIMIT, rig.engine.shutdown(LONG)).await.unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(line["listener"], "udp-1");
    assert_eq!(line["bytes_in"], 4);
    assert_eq!(line["upstream"], format!("127.0.0.1:{port}"));
}
