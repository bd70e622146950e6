//! Certificates over TLS: whom they let in, and for how long.

use std::net::{SocketAddr, TcpListener};

use foregate_api::credential::{CertificateRequest, CertificateRequestStatus};
use foregate_apiserver::auth::ca;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::*;
use crate::certificates::{self, Credential};
use crate::cluster::add;

/// Serves a platform's API on a free port of the loopback address.
fn serve(platform: &Platform) -> SocketAddr {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = platform.server.clone();
    tokio::spawn(async move { server.serve(listener, CancellationToken::new()).await });
    address
}

async fn credential(platform: &Platform, cluster: &str) -> Credential {
    certificates::ask::<WorkloadCluster>(&platform.admin, Some(TENANT), cluster).await.unwrap()
}

async fn client(address: SocketAddr, authority: &str, Credential { signed, key }: &Credential) -> Client {
    use base64::Engine;
    let encode = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
    let kubeconfig = json!({
        "current-context": "p", "contexts": [{ "name": "p", "context": { "cluster": "p", "user": "p" } }],
        "clusters": [{ "name": "p", "cluster": { "server": format!("https://{address}"),
            "certificate-authority-data": encode(authority) } }],
        "users": [{ "name": "p", "user": { "client-certificate-data": encode(&signed.certificate),
            "client-key-data": encode(key) } }],
    });
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

#[tokio::test]
async fn a_certificate_is_good_for_the_cluster_that_it_was_made_for() {
    let platform = platform().await;
    let address = serve(&platform);
    platform.add("edge").await;
    let first = credential(&platform, "edge").await;
    let old = client(address, &first.signed.certificate_authority, &first).await;
    assert_eq!(post(&old, "gatewaybackends", &derived("gatewaybackends", "edge", UID)).await, 201);
    let list = path("gatewaybackends", TENANT);
    let watch = Request::get(format!("{list}?watch=true&resourceVersion=1")).body(Vec::new().into()).unwrap();
    let watch = old.send(watch).await.unwrap();
    assert_eq!(watch.status(), 200);

    platform.remove("edge").await;
    let ended = tokio::time::timeout(PATIENCE, watch.into_body().collect());
    let _ = ended.await.expect("the watch of a revoked credential ends");
    let (code, answer) = send(&old, Method::GET, &list, "", &Value::Null).await;
    assert_eq!(code, 401);
    assert!(answer["message"].as_str().unwrap().contains("default/edge that was removed"), "{answer}");
    assert_eq!(answer["details"]["causes"][0]["reason"], "OwnerRemoved");

    // Of the same name is not the same.
    platform.add("edge").await;
    assert_eq!(get(&old, &list).await, 401);
    let second = credential(&platform, "edge").await;
    let new = client(address, &second.signed.certificate_authority, &second).await;
    assert_eq!(get(&new, &list).await, 200);
}

#[tokio::test]
async fn a_raised_generation_revokes_what_was_before() {
    let platform = platform().await;
    let address = serve(&platform);
    platform.add("edge").await;
    let first = credential(&platform, "edge").await;
    let second = credential(&platform, "edge").await;
    let list = path("gatewaybackends", TENANT);
    let mut clients = Vec::new();
    for credential in [&first, &second] {
        clients.push(client(address, &credential.signed.certificate_authority, credential).await);
        assert_eq!(get(clients.last().unwrap(), &list).await, 200, "one renewed doesn't end the other");
    }
    let raise = kube::api::Patch::Merge(json!({ "spec": { "credentialGeneration": 1 } }));
    platform.clusters().patch("edge", &Default::default(), &raise).await.unwrap();
    for client in &clients {
        let (code, answer) = send(client, Method::GET, &list, "", &Value::Null).await;
        assert_eq!((code, &answer["details"]["causes"][0]["reason"]), (401, &json!("CredentialRevoked")), "{answer}");
    }
    let third = credential(&platform, "edge").await;
    assert_eq!(get(&client(address, &third.signed.certificate_authority, &third).await, &list).await, 200);
}

#[tokio::test]
async fn another_platform_is_neither_trusted_nor_trusting() {
    let (platform, other) = (platform().await, self::platform().await);
    let (address, elsewhere) = (serve(&platform), serve(&other));
    platform.add("edge").await;
    other.add("edge").await;
    let own = credential(&platform, "edge").await;
    let foreign = credential(&other, "edge").await;
    let request = || Request::get(path("gatewaybackends", TENANT)).body(Vec::new().into()).unwrap();
    for (address, authority, credential) in [
        // The platform isn't the one that the parameters say.
        (elsewhere, &own.signed.certificate_authority, &own),
        // It is, and doesn't know the credential.
        (address, &own.signed.certificate_authority, &foreign),
    ] {
        let client = client(address, authority, credential).await;
        assert!(client.send(request()).await.is_err(), "no handshake");
    }
    let good = client(address, &own.signed.certificate_authority, &own).await;
    assert_eq!(good.send(request()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_address_that_no_controller_would_trust_is_pointed_out() {
    let (platform, other) = (platform().await, self::platform().await);
    let url = format!("https://{}", serve(&platform));
    let distrusted = async |url: &str, of: &Platform| add::distrusted(url, of.server.ca_certificate()).await;
    assert_eq!(distrusted(&url, &platform).await, None);
    assert!(distrusted(&url, &other).await.is_some(), "another authority's");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("https://{}", silent.local_addr().unwrap());
    drop(silent);
    assert_eq!(distrusted(&nobody, &platform).await, None, "it may be reached from elsewhere");
}

#[tokio::test]
async fn only_administrators_are_given_certificates_and_only_of_what_is_there() {
    let platform = platform().await;
    let edge = platform.as_cluster(&platform.add("edge").await);
    let (_, public_key) = ca::key_pair().unwrap();
    let of = |path: &str| format!("/apis/foregate.dev/v1alpha1/{path}/certificate");
    let wish = |key: &str| json!(CertificateRequest::new(key.to_owned()));
    let good = wish(&public_key);
    let path = of("namespaces/tenant-default/workloadclusters/edge");
    for (client, path, wish, expected) in [
        (&platform.admin, path.clone(), good.clone(), 201),
        (&platform.admin, of("namespaces/tenant-default/workloadclusters/none"), good.clone(), 404),
        (&platform.admin, of("namespaces/tenant-other/workloadclusters/edge"), good.clone(), 404),
        (&platform.admin, of("workloadclusters/edge"), good.clone(), 404),
        (&platform.admin, of("namespaces/tenant-default/gatewayclaims/edge"), good.clone(), 405),
        (&platform.admin, of("gatewaynodes/none"), good.clone(), 404),
        (&platform.admin, path.clone(), wish("x"), 400),
        (&platform.admin, path.clone(), json!({ "publicKey": public_key }), 400),
        (&platform.admin, path.clone(), json!([]), 400),
        // Its own, and nobody else's.
        (&edge, path.clone(), good.clone(), 201),
        (&edge, of("namespaces/tenant-default/workloadclusters/core"), good.clone(), 403),
        (&edge, of("gatewaynodes/none"), good.clone(), 403),
    ] {
        let (code, answer) = send(client, Method::POST, &path, "application/json", &wish).await;
        assert_eq!(code, expected, "{path} {answer}");
    }
    assert_eq!(get(&platform.admin, &path).await, 404, "nothing is kept to be read");
}

#[tokio::test]
async fn how_long_a_credential_is_good_is_the_platforms_to_say() {
    let platform = platform().await;
    let edge = platform.as_cluster(&platform.add("edge").await);
    let seconds = async || {
        let before = jiff::Timestamp::now();
        let made = certificates::ask::<WorkloadCluster>(&edge, Some(TENANT), "edge").await.unwrap();
        let status = platform.clusters().get("edge").await.unwrap().status.unwrap();
        let CertificateRequestStatus { expiration_timestamp, .. } = made.signed;
        assert_eq!(status.credential_expires.unwrap().0.as_second(), expiration_timestamp.0.as_second());
        assert!(status.credential_issued.unwrap().0 >= before - Duration::from_secs(1));
        expiration_timestamp.0.as_second() - before.as_second()
    };
    assert!((7_776_000..7_776_060).contains(&seconds().await), "90 days");
    let hours = kube::api::Patch::Merge(json!({ "spec": { "credentialSeconds": 7_200 } }));
    platform.clusters().patch("edge", &Default::default(), &hours).await.unwrap();
    assert!((7_200..7_260).contains(&seconds().await));
    for bad in [0, 60, 400_000_000] {
        let bad = kube::api::Patch::Merge(json!({ "spec": { "credentialSeconds": bad } }));
        assert!(platform.clusters().patch("edge", &Default::default(), &bad).await.is_err());
    }
}
