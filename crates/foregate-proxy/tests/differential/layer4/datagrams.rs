//! Datagrams.

use std::net::SocketAddr;

use tokio::net::UdpSocket;

use super::Pair;
use super::resources::cluster;
use super::servers::{LIMIT, udp_echo};
use crate::side::closed_port;

fn listener(name: &str, port: u16, cluster: &str, options: &str) -> String {
    let matcher = match cluster.starts_with('{') {
        true => cluster.to_owned(),
        false => format!("{{ on_no_match: {} }}", to(cluster)),
    };
    format!(
        "# listener\nname: {name}\naddress: {{ socket_address: {{ protocol: UDP, address: ADDRESS, port_value: {port} }} }}\n\
         udp_listener_config: {{ downstream_socket_config: {{ max_rx_datagram_size: 9000 }} }}\n\
         listener_filters: [{{ name: envoy.filters.udp_listener.udp_proxy, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig, stat_prefix: x, \
         upstream_socket_config: {{ max_rx_datagram_size: 9000, prefer_gro: false }}, {options} matcher: {matcher} }} }}]\n"
    )
}

fn to(cluster: &str) -> String {
    format!(
        "{{ action: {{ name: route, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.Route, cluster: {cluster} }} }} }}"
    )
}

async fn client(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((to.ip(), 0)).await.unwrap();
    socket.connect(to).await.unwrap();
    socket
}

/// Clients of each side, whose ports are those of the other side's: shares go by ports.
async fn twins(sides: [SocketAddr; 2], count: usize) -> Vec<[UdpSocket; 2]> {
    let mut all = Vec::new();
    while all.len() < count {
        let one = client(sides[0]).await;
        let Ok(other) = UdpSocket::bind((sides[1].ip(), one.local_addr().unwrap().port())).await else { continue };
        other.connect(sides[1]).await.unwrap();
        all.push([one, other]);
    }
    all
}

/// The next datagram.
async fn answer(socket: &UdpSocket) -> String {
    let mut buffer = vec![0; 65_536];
    match tokio::time::timeout(LIMIT, socket.recv(&mut buffer)).await {
        Ok(Ok(length)) if length > 100 => format!("{length} bytes"),
        Ok(Ok(length)) => String::from_utf8_lossy(&buffer[..length]).into_owned(),
        _ => "nothing".to_owned(),
    }
}

/// Sends some, and then one that is answered for sure: what comes before its answer is all that comes.
async fn until_marked(socket: &UdpSocket, datagrams: &[Vec<u8>]) -> String {
    for datagram in datagrams {
        socket.send(datagram).await.unwrap();
    }
    socket.send(b"mark").await.unwrap();
    let mut all = Vec::new();
    loop {
        let next = answer(socket).await;
        let last = next.ends_with("mark") || next == "nothing";
        all.push(next);
        if last {
            return all.join(", ");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams() {
    let mut pair = Pair::start().await;
    let (a, b, c) = (udp_echo("a").await, udp_echo("b").await, udp_echo("c").await);
    let share = |threshold: u32| {
        format!(
            "{{ predicate: {{ single_predicate: {{ input: {{ name: port, typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.SourcePortInput }} }}, custom_match: {{ \
             name: share, typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.matching.input_matchers.consistent_hashing.v3.ConsistentHashing, \
             threshold: {threshold}, modulo: 100 }} }} }} }}, on_match: {} }}",
            to(if threshold == 60 { "a" } else { "c" })
        )
    };
    let weighted =
        format!("{{ matcher_list: {{ matchers: [{}, {}] }}, on_no_match: {} }}", share(60), share(40), to("b"));
    let resources = [
        cluster("a", &[a], ""),
        cluster("b", &[b], ""),
        cluster("c", &[c], ""),
        cluster("dead", &[closed_port()], ""),
        cluster("empty", &[], ""),
        cluster("full", &[a], "circuit_breakers: { thresholds: [{ max_connections: 1 }] }"),
        listener("a", pair.port(0), "a", ""),
        listener("dead", pair.port(1), "dead", ""),
        listener("empty", pair.port(2), "empty", ""),
        listener("unknown", pair.port(3), "unknown", ""),
        listener("weighted", pair.port(4), &weighted, ""),
        listener("full", pair.port(5), "full", ""),
    ];
    pair.set(&resources).await;
    for (case, datagrams) in [
        ("one", vec![b"one".to_vec()]),
        ("some", vec![b"1".to_vec(), b"2".to_vec(), b"3".to_vec()]),
        ("an empty one", vec![Vec::new()]),
        ("a long one", vec![vec![b'x'; 8000]]),
        ("one that is too long", vec![vec![b'x'; 9001]]),
        ("an answer that is too long", vec![vec![b'x'; 8999]]),
    ] {
        pair.compare(case, 0, None, async |to| until_marked(&client(to).await, &datagrams).await).await;
    }
    // Whoever isn't answered is known by a later one that is: of another listener, as here each has its own.
    for (case, at) in [("dead", 1), ("empty", 2), ("unknown", 3)] {
        pair.compare(case, at, None, async |to| {
            let socket = client(to).await;
            for _ in 0..3 {
                let _ = socket.send(b"x").await;
            }
            let marker = client(SocketAddr::new(to.ip(), to.port() - at)).await;
            let mark = until_marked(&marker, &[]).await;
            let mut buffer = [0; 16];
            format!("{mark} {}", socket.try_recv(&mut buffer).is_ok())
        })
        .await;
    }
    let sides = pair.addresses(4);
    for twins in twins(sides, 60).await {
        pair.compare("weighted", 4, None, async |to| {
            let socket = &twins[usize::from(to != sides[0])];
            socket.send(b"x").await.unwrap();
            answer(socket).await
        })
        .await;
    }
    pair.compare("one session at a time", 5, None, async |to| {
        let (one, two) = (client(to).await, client(to).await);
        let first = until_marked(&one, &[]).await;
        two.send(b"x").await.unwrap();
        let again = until_marked(&one, &[]).await;
        let mut buffer = [0; 16];
        format!("{first} {again} {}", two.try_recv(&mut buffer).is_ok())
    })
    .await;
    pair.finish(70);
}
