//! Names in TLS, and who shows which certificate.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Pair;
use super::people::{Authority, Identity, connect, handshake};
use super::resources::{chain, cluster, http_chain, listener, names, quoted, terminating};
use super::servers::{echo, rest, some, tls_echo};

/// What comes of asking for a name, and saying something.
async fn ask(to: SocketAddr, name: &str, shown: Option<&Identity>) -> String {
    let Some(mut stream) = connect(to, name, shown).await else { return "no handshake".to_owned() };
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let _ = stream.flush().await;
    if name.starts_with("ended") {
        return some(&mut stream, 9).await;
    }
    let text = rest(&mut stream).await;
    // Of an answer only what it says.
    text.rsplit("\r\n").next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_choose_chains() {
    let ca = Authority::new();
    let own = ca.named("proxy.test");
    let mut pair = Pair::start().await;
    let mut resources = vec![cluster("inner", &[echo("inner").await], "")];
    for name in ["exact", "wild", "deep", "rest"] {
        resources.push(cluster(name, &[tls_echo(name, &own).await], ""));
    }
    let named = [
        chain("exact", &names("a.example.com"), "cluster: exact"),
        chain("wild", &names("\"*.example.com\""), "cluster: wild"),
        chain("deep", &names("\"*.deep.example.com\", other.test"), "cluster: deep"),
        chain("ended", &(names("ended.example.com") + &terminating(&own, "", "")), "cluster: inner"),
        http_chain("web", &(names("web.example.com, \"*.web.example.com\"") + &terminating(&own, "", ""))),
    ]
    .concat();
    let all = [named.clone(), http_chain("other-web", &terminating(&own, "", ""))].concat();
    let plain = [named.clone(), chain("rest", "", "cluster: rest")].concat();
    let only_tls =
        [named.clone(), chain("rest", "  filter_chain_match: { transport_protocol: tls }\n", "cluster: rest")];
    for (at, chains) in (0..).zip([named, all, plain, only_tls.concat()]) {
        resources.push(listener(&format!("l{at}"), pair.port(at), &chains));
    }
    pair.set(&resources).await;
    for at in 0..4 {
        for name in [
            "a.example.com",
            "A.EXAMPLE.com",
            "b.example.com",
            "c.b.example.com",
            "x.deep.example.com",
            "deep.example.com",
            "example.com",
            "ended.example.com",
            "web.example.com",
            "x.web.example.com",
            "other.test",
            "x.other.test",
            "nobody.test",
            "192.0.2.1",
        ] {
            pair.compare(&format!("{at} {name}"), at, None, async |to| ask(to, name, None).await).await;
        }
        let hello: &[u8] = &[22, 3, 1, 0, 200, 1, 0, 0, 196];
        let too_long = [&[22, 3, 1, 64, 0, 1, 1, 0, 0][..], &[0; 100]].concat();
        for (what, bytes) in [
            ("nothing", &b""[..]),
            ("no TLS", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
            ("a beginning", hello),
            ("garbage", &[22, 3, 1, 0, 5, 1, 0, 0, 1, 0]),
            ("another message", &[22, 3, 1, 0, 4, 2, 0, 0, 0]),
            ("too long", &too_long),
        ] {
            pair.compare(&format!("{at} {what}"), at, None, async |to| {
                let mut stream = TcpStream::connect(to).await.unwrap();
                let _ = stream.write_all(bytes).await;
                let _ = stream.shutdown().await;
                let said = rest(&mut stream).await;
                // How a connection ends that nobody wants is no matter; an alert of TLS begins with 21.
                let closed = said.starts_with(" (") || said.starts_with('\u{15}');
                if closed { "closed".to_owned() } else { said }
            })
            .await;
        }
    }
    pair.compare("in pieces", 0, None, async |to| {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (near, far) = tokio::io::duplex(1 << 16);
        let (mut from, mut back) = tokio::io::split(far);
        let (mut read, mut write) = stream.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut read, &mut back).await });
        tokio::spawn(async move {
            let mut byte = [0];
            while tokio::io::AsyncReadExt::read_exact(&mut from, &mut byte).await.is_ok() {
                write.write_all(&byte).await?;
            }
            Ok::<_, std::io::Error>(())
        });
        match handshake(near, "a.example.com", None).await {
            Some(mut stream) => rest(&mut stream).await,
            None => "no handshake".to_owned(),
        }
    })
    .await;
    pair.finish(80);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_clients() {
    let (ca, other) = (Authority::new(), Authority::new());
    let own = ca.named("proxy.test");
    let mut pair = Pair::start().await;
    let trusted =
        |more: &str| format!("validation_context: {{ trusted_ca: {{ inline_string: {} }} {more} }}", quoted(&ca.pem));
    let any = trusted(", trust_chain_verification: ACCEPT_UNTRUSTED");
    let named = trusted(", match_typed_subject_alt_names: [{ san_type: DNS, matcher: { exact: client.test } }]");
    let mut resources = vec![cluster("inner", &[echo("inner").await], "")];
    let required = "require_client_certificate: true,";
    let kinds = [
        ("", String::new()),
        (required, trusted("")),
        ("", trusted("")),
        (required, any.clone()),
        ("", any),
        (required, named),
    ];
    for (at, (more, common)) in (0..).zip(&kinds) {
        resources.push(listener(
            &format!("w{at}"),
            pair.port(at),
            &http_chain("web", &terminating(&own, more, common)),
        ));
        let chain = chain("bytes", &terminating(&own, more, common), "cluster: inner");
        resources.push(listener(&format!("t{at}"), pair.port(10 + at), &chain));
    }
    pair.set(&resources).await;
    let people = [None, Some(ca.named("client.test")), Some(ca.named("else.test")), Some(other.named("client.test"))];
    for at in 0..kinds.len() as u16 {
        for (who, shown) in people.iter().enumerate() {
            let case = format!("{at} {who}");
            let shown = shown.as_ref();
            pair.compare(&case, at, None, async |to| ask(to, "proxy.test", shown).await).await;
            pair.compare(&format!("{case} bytes"), 10 + at, None, async |to| {
                let Some(mut stream) = connect(to, "proxy.test", shown).await else { return "no handshake".to_owned() };
                some(&mut stream, 5).await
            })
            .await;
        }
    }
    pair.finish(40);
}
