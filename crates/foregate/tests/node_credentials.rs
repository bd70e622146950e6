//! A node's credential: renewed by its agent, exchanged while it runs, revoked alone.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use foregate_api::{GatewayNode, credential};
use harness::{Foregate, condition, eventually};
use kube::{Api, Client, ResourceExt};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use serde_json::Value;

const DAY: Duration = Duration::from_secs(86_400);

/// `foregate node VERB n1` on the platform's machine.
fn node(platform: &Path, verb: &[&str], credential: &Path) {
    let mut command = Command::new(harness::binary());
    command.arg("node").arg(verb[0]).arg("n1").args(&verb[1..]).arg("--data-dir").arg(platform);
    let output = command.arg("--output").arg(credential).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn read(path: &Path) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Puts a certificate into a credential of which a tenth of the validity is left.
fn age(platform: &Path, path: &Path, object: &GatewayNode) {
    let key = std::fs::read_to_string(platform.join("pki/ca.key")).unwrap();
    let mut authority = CertificateParams::default();
    authority.distinguished_name = DistinguishedName::new();
    authority.distinguished_name.push(DnType::CommonName, "foregate-ca");
    let authority = Issuer::new(authority, KeyPair::from_pem(&key).unwrap());
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (field, value) in [
        (DnType::CommonName, format!("{}n1", foregate_api::node::NODE_USER)),
        (DnType::OrganizationName, foregate_api::node::NODES_GROUP.to_owned()),
        (DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 57683, 2]), credential::uid(&object.uid().unwrap(), 0)),
    ] {
        params.distinguished_name.push(field, value);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let now = SystemTime::now();
    (params.not_before, params.not_after) = ((now - 9 * DAY).into(), (now + DAY).into());
    let key = KeyPair::generate().unwrap();
    let mut credential = read(path);
    credential["certificate"] = params.signed_by(&key, &authority).unwrap().pem().into();
    credential["key"] = key.serialize_pem().into();
    std::fs::write(path, credential.to_string()).unwrap();
}

async fn until_ready(client: &Client, expected: &str) {
    let nodes: Api<GatewayNode> = Api::all(client.clone());
    eventually(&format!("the node's Ready is {expected}"), || async {
        let node = serde_json::to_value(nodes.get("n1").await.ok()?).ok()?;
        let (status, ..) = condition(&node, "/status/conditions", "Ready")?;
        (status == expected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_is_renewed_in_its_file_and_a_revoked_one_is_exchanged_there() {
    let [platform_dir, node_dir, files] = [0; 3].map(|_| tempfile::tempdir().unwrap());
    let flags = ["--api-listen", "127.0.0.1:0", "--xds-listen", "127.0.0.1:0", "--address-pool", "127.166.1.0/24"];
    let mut platform = Foregate::launch("platform", platform_dir.path(), &flags);
    platform.wait_ready();
    let client = platform.client().await;
    let nodes: Api<GatewayNode> = Api::all(client.clone());
    let file = files.path().join("n1.yaml");
    node(platform_dir.path(), &["add", "--valid-for", "30d"], &file);
    let object = nodes.get("n1").await.unwrap();
    assert_eq!(object.spec.credential_seconds, Some(30 * 86_400));
    age(platform_dir.path(), &file, &object);
    let old = read(&file);

    let flags = ["--workers", "1", "--credential", file.to_str().unwrap()];
    let mut agent = Foregate::launch("node", node_dir.path(), &flags);
    agent.wait_line("the node's credential is renewed");
    let renewed = read(&file);
    assert!(renewed["key"] != old["key"] && renewed["certificate"] != old["certificate"]);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    until_ready(&client, "True").await;

    // One that is revoked is refused on both ports, and whoever puts another in its place needs no restart.
    let next = files.path().join("next.yaml");
    node(platform_dir.path(), &["renew", "--revoke"], &next);
    assert_eq!(nodes.get("n1").await.unwrap().spec.credential_seconds, Some(30 * 86_400), "as before");
    until_ready(&client, "False").await;
    std::fs::rename(&next, &file).unwrap();
    agent.wait_line("the node has another credential");
    until_ready(&client, "True").await;
}

#[test]
fn users_are_called_alike_on_both_ports() {
    assert_eq!(foregate_api::node::NODE_USER, foregate_xds::tls::NODE_USER);
    assert_eq!(foregate_api::node::NODES_GROUP, foregate_xds::tls::NODES_GROUP);
}
