use foregate_api::claim::{ListenerProtocol, ListenerTls, TlsMode};
use foregate_api::{CLUSTER_LABEL, ORIGIN_ANNOTATION};

use super::*;
use crate::pipeline::copies::GRACE;
use crate::testing::{self, listener};

fn secret(name: &str, is_copy: bool) -> Secret {
    let mut secret = Secret::default();
    secret.metadata.name = Some(name.into());
    secret.metadata.namespace = Some("tenant-default".into());
    secret.metadata.uid = Some(format!("uid-{name}"));
    if is_copy {
        secret.metadata.labels = Some([(CLUSTER_LABEL.to_owned(), "east".to_owned())].into());
        secret.metadata.annotations = Some([(ORIGIN_ANNOTATION.to_owned(), "{}".to_owned())].into());
    }
    secret
}

fn claim(name: &str, certificates: &[&str], client: Option<&str>) -> GatewayClaim {
    let mut claim = testing::claim(name, "2026-01-01T00:00:00Z");
    let mut https = listener("https", 443, ListenerProtocol::Https, None);
    let certificates = certificates.iter().map(|&name| name.to_owned()).collect();
    https.tls = Some(ListenerTls { mode: TlsMode::Terminate, certificates, client_validation: None });
    claim.spec.listeners.push(https);
    claim.spec.backend_client_certificate = client.map(str::to_owned);
    claim
}

/// Lets time pass, and returns which Secrets are deleted meanwhile.
fn deleted_after(world: &mut World, time: Duration) -> Vec<String> {
    let before = world.writes.len();
    world.now += time;
    world.settle();
    let deleted = world.writes.split_off(before).into_iter();
    let mut names: Vec<_> =
        deleted.filter_map(|write| write.strip_prefix("delete Secret ").map(str::to_owned)).collect();
    names.sort();
    names
}

#[test]
fn a_copy_goes_a_while_after_nobody_names_it() {
    let mut world = World::new("127.100.0.0/24");
    for (name, is_copy) in [("a", true), ("b", true), ("client", true), ("never", true), ("own", false)] {
        world.put(None, secret(name, is_copy), Observation::Secret);
    }
    world.claim(&claim("web", &["a", "b"], Some("client")));
    world.claim(&edited(&claim("two", &["b"], None), |it| it.spec.sharing_key = Some("web".into())));
    assert!(deleted_after(&mut world, GRACE / 2).is_empty());
    assert_eq!(deleted_after(&mut world, GRACE / 2), ["never"]);
    // One is let go, the other has somebody else.
    world.claim(&edited(&claim("web", &[], Some("client")), |it| it.metadata.generation = Some(2)));
    assert_eq!(deleted_after(&mut world, GRACE), ["a"]);
    world.unclaim("web");
    // Named anew in time.
    assert!(deleted_after(&mut world, GRACE / 2).is_empty());
    world.claim(&claim("three", &[], Some("client")));
    assert!(deleted_after(&mut world, GRACE * 3).is_empty());
    world.unclaim("three");
    world.unclaim("two");
    assert_eq!(deleted_after(&mut world, GRACE), ["b", "client"]);
}
