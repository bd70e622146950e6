//! Labels and annotations of a Gateway's infrastructure on what is made for it.

use foregate_api::Address;
use foregate_api::claim::ClaimInfrastructure;

use super::*;
use crate::testing;

impl World {
    /// Labels and annotations `team` and `note` of everything that is made for the gateway.
    fn handed(&self) -> Vec<(Option<String>, Option<String>)> {
        let of = |meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
            let label = meta.labels.as_ref().and_then(|labels| labels.get("team").cloned());
            (label, meta.annotations.as_ref().and_then(|all| all.get("example.com/note").cloned()))
        };
        let proxy: GatewayProxy = self.read(Kind::Proxy, "web").unwrap();
        let address: Address = self.read(Kind::Address, self.names(Kind::Address)[0]).unwrap();
        let instance: GatewayInstance = self.read(Kind::Instance, "tenant-default.web.local").unwrap();
        vec![of(&proxy.metadata), of(&address.metadata), of(&instance.metadata)]
    }
}

fn claim(generation: i64, team: Option<&str>, note: Option<&str>) -> GatewayClaim {
    let mut claim = testing::claim("web", "2026-01-01T00:00:00Z");
    claim.metadata.generation = Some(generation);
    let pair = |key: &str, value: Option<&str>| value.map(|value| (key.to_owned(), value.to_owned())).into_iter();
    let mut given = ClaimInfrastructure {
        labels: pair("team", team).collect(),
        annotations: pair("example.com/note", note).collect(),
    };
    given.labels.insert(crate::bind::MANAGED_BY.to_owned(), "somebody".to_owned());
    claim.spec.infrastructure = Some(given);
    claim
}

#[test]
fn they_come_follow_and_go() {
    let mut world = World::new("127.100.0.0/24");
    let all = |team: Option<&str>, note: Option<&str>| vec![(team.map(Into::into), note.map(Into::into)); 3];
    world.claim(&claim(1, Some("shop"), Some("one")));
    assert_eq!(world.handed(), all(Some("shop"), Some("one")));
    assert!(!world.writes.iter().any(|write| write.starts_with("metadata ")), "they are made with them");

    world.claim(&claim(2, Some("search"), None));
    assert_eq!(world.handed(), all(Some("search"), None));
    world.claim(&edited(&testing::claim("web", "2026-01-01T00:00:00Z"), |it| it.metadata.generation = Some(3)));
    assert_eq!(world.handed(), all(None, None));
    assert_eq!(world.writes.iter().filter(|write| write.starts_with("metadata ")).count(), 6);

    let proxy: GatewayProxy = world.read(Kind::Proxy, "web").unwrap();
    assert_eq!(proxy.labels()[crate::bind::MANAGED_BY], crate::bind::MANAGER, "what it says here isn't handed on");
    assert!(proxy.annotations().is_empty(), "{:?}", proxy.annotations());
    world.unclaim("web");
    assert!(world.names(Kind::Proxy).is_empty());
}
