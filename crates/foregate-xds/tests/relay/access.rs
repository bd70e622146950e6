//! Who gets what over the xDS port.

use std::sync::Arc;

use foregate_envoy::ResourceKind;
use foregate_xds::tls::{self, NODE_USER, NODES_GROUP};
use foregate_xds::{Client, ClientError, Options};
use rustls::{ClientConfig, RootCertStore};
use tonic::Code;

use crate::resources::{cluster, listener, secret};
use crate::rig::{Authority, GROUP, ID, Platform, instance, set, within};

async fn connect(platform: &Platform, config: Arc<ClientConfig>, id: &str) -> Result<Client, ClientError> {
    let channel = tls::channel(&format!("localhost:{}", platform.address.port()), config).unwrap();
    within(Client::resume_on(channel, id, Default::default())).await
}

/// Subscribes, and returns the status that the stream ends with.
async fn refused(platform: &Platform, config: Arc<ClientConfig>, id: &str) -> tonic::Status {
    let ended = async {
        let mut client = connect(platform, config, id).await?;
        client.subscribe(ResourceKind::Listener, ["*"])?;
        client.next().await
    };
    match within(ended).await.unwrap_err() {
        ClientError::Stream(status) => *status,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_instance_gets_its_own_and_nothing_else() {
    let (authority, other) = (Authority::new(), "tenant-other/gw");
    let platform = Platform::start(&authority, None, Options::default());
    platform.directory.set("tenant-other.gw.n2", instance(other, "n2"));
    platform.cache.apply(other, set([listener("theirs", "r"), secret("their-secret"), cluster("their-cluster", "1")]));
    platform.cache.apply(GROUP, set([listener("mine", "r"), secret("my-secret")]));

    let mut client = connect(&platform, authority.node("n1"), ID).await.unwrap();
    client.subscribe(ResourceKind::Secret, ["their-secret", "my-secret"]).unwrap();
    client.subscribe(ResourceKind::Cluster, ["their-cluster"]).unwrap();
    client.subscribe(ResourceKind::Listener, ["*", "theirs"]).unwrap();
    let (mut got, mut absent) = (Vec::new(), Vec::new());
    while got.len() < 2 || absent.len() < 3 {
        let response = within(client.next()).await.unwrap();
        got.extend(response.set.iter().map(|resource| resource.name.clone()));
        absent.extend(response.removed.clone());
        client.ack(&response).unwrap();
    }
    got.sort();
    absent.sort();
    assert_eq!(got, ["mine", "my-secret"]);
    assert_eq!(absent, ["their-cluster", "their-secret", "theirs"], "answered as what doesn't exist");

    // Another node's instance, and one that doesn't exist, under every name that a node can think of.
    for id in ["tenant-other.gw.n2", "tenant-other/gw", GROUP, "", "*"] {
        let status = refused(&platform, authority.node("n1"), id).await;
        assert_eq!(status.code(), Code::PermissionDenied, "{id:?}: {status}");
    }
    platform.stop().await;
}

#[tokio::test]
async fn only_certificates_of_nodes_are_let_in() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let platform = Platform::start(&authority, None, Options::default());
    platform.cache.apply(GROUP, set([listener("mine", "r")]));
    let mut roots = RootCertStore::empty();
    let ca = rustls::pki_types::pem::PemObject::from_pem_slice(authority.pem.as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = || ClientConfig::builder_with_provider(provider.clone());
    let mut anonymous = builder().with_safe_default_protocol_versions().unwrap().with_root_certificates(roots.clone());
    let mut none = anonymous.clone().with_no_client_auth();
    none.alpn_protocols = vec![b"h2".to_vec()];
    let of = |authority: &Authority, user: &str, group: &str| {
        let (certificate, key) = authority.client(user, group);
        tls::client_config(&platform_ca(), &certificate, &key).unwrap()
    };
    fn platform_ca() -> String {
        CA.with(|ca| ca.borrow().clone())
    }
    thread_local!(static CA: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) });
    CA.with(|ca| ca.borrow_mut().clone_from(&authority.pem));
    let node = format!("{NODE_USER}n1");
    let cases = [
        ("no certificate", Arc::new(none)),
        ("a foreign authority's", of(&foreign, &node, NODES_GROUP)),
        ("a user's", of(&authority, "admin", "system:masters")),
        ("a user's who calls itself a node", of(&authority, &node, "system:masters")),
        ("a node's without a name", of(&authority, NODE_USER, NODES_GROUP)),
    ];
    for (what, config) in cases {
        let status = refused(&platform, config, ID).await;
        assert!(matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled), "{what}: {status}");
    }
    anonymous = builder().with_protocol_versions(&[&rustls::version::TLS12]).unwrap().with_root_certificates(roots);
    let (certificate, key) = authority.client(&node, NODES_GROUP);
    let chain = vec![rustls::pki_types::pem::PemObject::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = rustls::pki_types::pem::PemObject::from_pem_slice(key.as_bytes()).unwrap();
    let mut old = anonymous.with_client_auth_cert(chain, key).unwrap();
    old.alpn_protocols = vec![b"h2".to_vec()];
    assert_eq!(refused(&platform, Arc::new(old), ID).await.code(), Code::Unavailable, "TLS 1.2");

    let mut good = connect(&platform, authority.node("n1"), ID).await.unwrap();
    good.subscribe(ResourceKind::Listener, ["*"]).unwrap();
    assert_eq!(within(good.next()).await.unwrap().set[0].name, "mine");
    platform.stop().await;
}

#[tokio::test]
async fn a_stream_ends_with_its_instance() {
    let authority = Authority::new();
    let platform = Platform::start(&authority, None, Options::default());
    platform.cache.apply(GROUP, set([listener("mine", "r")]));
    let mut client = connect(&platform, authority.node("n1"), ID).await.unwrap();
    client.subscribe(ResourceKind::Listener, ["*"]).unwrap();
    assert_eq!(within(client.next()).await.unwrap().set[0].name, "mine");
    platform.directory.set(ID, instance(GROUP, "n2"));
    let ClientError::Stream(status) = within(client.next()).await.unwrap_err() else { panic!("a status") };
    assert_eq!(status.code(), Code::PermissionDenied);
    platform.stop().await;
}

#[test]
fn addresses_and_certificates_are_checked() {
    let authority = Authority::new();
    for address in ["localhost", "localhost:http", ":7444", "a b:1", "[::1"] {
        let error = tls::channel(address, authority.node("n1")).unwrap_err().to_string();
        assert!(error.contains("HOST:PORT"), "{error}");
    }
    let (certificate, key) = authority.client("a", "b");
    for (ca, certificate, key, expected) in [
        ("", &*certificate, &*key, "the authority's certificate"),
        (&*authority.pem, "", &*key, "refuses"),
        (&*authority.pem, &*certificate, "", "the node's key"),
        (&*authority.pem, &*certificate, &*authority.client("a", "b").1, "refuses"),
    ] {
        let error = tls::client_config(ca, certificate, key).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
