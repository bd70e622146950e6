use foregate_api::claim::ListenerProtocol;

use super::engines::{route, serving};
use super::*;
use crate::testing::{self, listener};

fn pin(world: &mut World, revision: Option<&str>) {
    let proxy: GatewayProxy = world.read(Kind::Proxy, "web").unwrap();
    let proxy = edited(&proxy, |proxy| proxy.spec.pinned_revision = revision.map(str::to_owned));
    world.put(Some(Kind::Proxy), proxy, Observation::Proxy);
}

#[test]
fn a_pinned_gateway_holds_until_it_is_unpinned() {
    let mut world = serving();
    world.route(&route("a", "a.example"));
    world.acknowledge("web");
    pin(&mut world, Some("web-1"));
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
    assert_eq!(world.condition("web", "Pinned"), "True Pinned");
    let held = world.group("web");
    let records = world.records.len();

    world.route(&route("b", "b.example"));
    let claim = edited(&testing::claim("web", "2026-01-01T00:00:00Z"), |claim| {
        claim.spec.listeners.push(listener("more", 8081, ListenerProtocol::Http, None));
    });
    world.claim(&claim);
    assert_eq!(world.group("web"), held);
    assert_eq!(world.condition("web", "Programmed"), "False Pending");
    assert_eq!(world.records.len(), records, "nothing was published");

    pin(&mut world, None);
    let now = world.group("web");
    assert!(
        now.contains(&"VirtualHost http-8080/b.example".to_owned()) && now.contains(&"Listener http-8081".to_owned())
    );
    assert!(held.iter().all(|name| now.contains(name)));
    world.acknowledge("web");
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
    assert_eq!(world.condition("web", "Pinned"), "absent");
    let Some(Record::Step(step)) = world.records.last() else { panic!("nothing was written down") };
    assert!(step.changes.iter().any(|change| &*change.id.name == "http-8081" && change.old.is_none()));
}

#[test]
fn a_pinned_gateway_goes_with_its_last_claim() {
    let mut world = serving();
    pin(&mut world, Some("web-1"));
    world.unclaim("web");
    world.hear(Event::Disconnected(instance("web")));
    assert!(world.group("web").is_empty());
    assert!(world.pipeline.gateways.is_empty());
}
