use foregate_api::claim::ListenerProtocol;

use super::*;
use crate::testing::{self, listener};

fn claim(name: &str) -> GatewayClaim {
    testing::claim(name, "2026-01-01T00:00:00Z")
}

#[test]
fn a_claim_gets_proxy_address_and_instance_and_is_programmed_once_acknowledged() {
    let mut world = World::new("127.100.0.0/24");
    world.claim(&claim("web"));
    assert_eq!(world.names(Kind::Proxy), ["web"]);
    assert_eq!(world.names(Kind::Address), ["127.100.0.1"]);
    assert_eq!(world.names(Kind::Instance), ["tenant-default.web.local"]);
    assert_eq!(world.condition("web", "Bound"), "True Bound");
    assert_eq!(world.condition("web", "Programmed"), "False NoResources");
    assert_eq!(world.status("web").addresses, ["127.100.0.1"]);
    assert!(world.group("web").contains(&"Listener http-8080".to_owned()), "{:?}", world.group("web"));

    world.hear(Event::Connected(instance("web")));
    world.wait();
    assert_eq!(world.condition("web", "Programmed"), "False Pending");
    world.acknowledge("web");
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
    let status = world.status("web");
    assert_eq!((status.instances.connected, status.instances.ready), (1, 1));
    assert_eq!(status.listeners.len(), 1);
    let proxy: GatewayProxy = world.read(Kind::Proxy, "web").unwrap();
    let status = proxy.status.unwrap();
    assert_eq!(
        (status.listeners.len(), status.claims, status.addresses),
        (1, vec!["web".into()], vec!["127.100.0.1".into()])
    );
}

#[test]
fn a_new_listener_is_programmed_when_it_is_acknowledged() {
    let mut world = World::new("127.100.0.0/24");
    world.claim(&claim("web"));
    world.connect("web");
    let edited = edited(&claim("web"), |claim| {
        claim.spec.listeners.push(listener("more", 8081, ListenerProtocol::Http, None));
        claim.spec.origin.generation = 2;
    });
    world.claim(&edited);
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
    assert_eq!(world.status("web").observed_generation, 1, "it is still about the old one");
    world.wait();
    assert_eq!(world.condition("web", "Programmed"), "False Pending");
    assert_eq!((world.status("web").observed_generation, world.status("web").origin_generation), (2, 2));
    world.acknowledge("web");
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
}

#[test]
fn a_missing_template_is_named_and_heals() {
    let mut world = World::empty();
    world.start_with("127.100.0.0/24", vec![]);
    world.claim(&claim("web"));
    assert_eq!(world.condition("web", "Bound"), "False TemplateNotFound");
    assert!(world.names(Kind::Proxy).is_empty());
    world.put(None, GatewayTemplate::clone(&template()), Observation::Template);
    assert_eq!(world.condition("web", "Bound"), "True Bound");
}

#[test]
fn claims_with_a_key_share_and_the_last_one_out_removes_all() {
    let mut world = World::new("127.100.0.0/24");
    let mut elder = claim("elder");
    let mut younger = testing::claim("younger", "2026-02-01T00:00:00Z");
    for claim in [&mut elder, &mut younger] {
        claim.spec.sharing_key = Some("web".into());
    }
    younger.spec.listeners.push(listener("own", 8081, ListenerProtocol::Http, None));
    world.claim(&younger);
    world.claim(&elder);
    let proxies = world.names(Kind::Proxy).iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(proxies.len(), 1);
    assert_eq!(world.names(Kind::Address).len(), 1);
    world.connect(&proxies[0]);
    assert_eq!(world.condition("elder", "Programmed"), "True Programmed");
    let conflicted: Vec<_> = world
        .status("younger")
        .listeners
        .iter()
        .map(|entry| (entry.name.clone(), crate::conditions::find(&entry.conditions, "Conflicted").is_some()))
        .collect();
    assert_eq!(conflicted, [("http".to_owned(), true), ("own".to_owned(), false)]);

    world.unclaim("elder");
    world.acknowledge(&proxies[0]);
    assert!(world.status("younger").listeners.iter().all(|entry| entry.conditions.len() == 1), "the conflict is over");
    assert_eq!(world.names(Kind::Proxy).len(), 1);

    world.unclaim("younger");
    assert!(world.names(Kind::Proxy).is_empty());
    assert!(world.names(Kind::Instance).is_empty());
    assert_eq!(world.names(Kind::Address).len(), 1, "an engine still listens on it");
    world.hear(Event::Disconnected(instance(&proxies[0])));
    assert!(world.names(Kind::Address).is_empty());
    assert!(world.group(&proxies[0]).is_empty());
    assert!(world.pipeline.gateways.is_empty());
    assert!(matches!(world.records.last(), Some(Record::Gone(_))));
}

/// A Gateway's claim and its ListenerSet's, which share by the former's name.
fn with_set() -> (GatewayClaim, GatewayClaim) {
    let (mut gateway, mut set) = (claim("web"), testing::claim("extra", "2025-01-01T00:00:00Z"));
    set.spec.origin.kind = "ListenerSet".into();
    set.spec.listeners = vec![listener("more", 8081, ListenerProtocol::Http, None)];
    for claim in [&mut gateway, &mut set] {
        claim.spec.sharing_key = Some("web".into());
    }
    (gateway, set)
}

#[test]
fn a_listener_set_waits_for_its_gateway_and_goes_before_it() {
    let mut world = World::new("127.100.0.0/24");
    let (gateway, set) = with_set();
    world.claim(&set);
    assert!(world.names(Kind::Proxy).is_empty(), "it makes none of its own");
    world.wait();
    assert_eq!(world.condition("extra", "Bound"), "False Pending");
    world.claim(&gateway);
    assert_eq!(world.names(Kind::Proxy), ["web"]);
    world.connect("web");
    for name in ["web", "extra"] {
        assert_eq!(world.condition(name, "Programmed"), "True Programmed");
        assert_eq!(world.status(name).addresses, ["127.100.0.1"]);
    }
    world.unclaim("extra");
    world.acknowledge("web");
    assert!(!world.group("web").contains(&"Listener http-8081".to_owned()), "{:?}", world.group("web"));
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
}

#[test]
fn a_gateway_that_goes_first_leaves_its_listener_set_served() {
    let mut world = World::new("127.100.0.0/24");
    let (gateway, set) = with_set();
    world.claim(&gateway);
    world.claim(&set);
    world.connect("web");
    world.unclaim("web");
    world.acknowledge("web");
    assert_eq!(world.condition("extra", "Programmed"), "True Programmed");
    assert_eq!(world.names(Kind::Address), ["127.100.0.1"]);
    world.unclaim("extra");
    assert!(world.names(Kind::Proxy).is_empty());
}

#[test]
fn a_claim_whose_key_changes_moves() {
    let mut world = World::new("127.100.0.0/24");
    let (gateway, set) = with_set();
    world.claim(&edited(&gateway, |it| it.spec.sharing_key = None));
    world.connect("web");
    let address = world.status("web").addresses;
    world.claim(&gateway);
    assert_eq!(world.status("web").addresses, address, "its own name for a key changes nothing");
    let other = testing::claim("other", "2026-02-01T00:00:00Z");
    world.claim(&other);
    world.connect("other");
    world.claim(&set);
    world.acknowledge("web");
    assert_eq!(world.status("extra").addresses, ["127.100.0.1"]);
    world.claim(&edited(&set, |it| it.spec.sharing_key = Some("other".into())));
    world.acknowledge("web");
    world.acknowledge("other");
    assert_eq!(world.status("extra").addresses, ["127.100.0.2"]);
    assert_eq!(world.condition("extra", "Programmed"), "True Programmed");
    assert!(!world.group("web").contains(&"Listener http-8081".to_owned()));
    assert!(world.group("other").contains(&"Listener http-8081".to_owned()));
}

#[test]
fn what_the_first_claim_wants_of_its_gateway_is_its_gateways() {
    let mut world = World::new("127.100.0.0/24");
    let (gateway, set) = with_set();
    let infrastructure = foregate_api::claim::ClaimInfrastructure {
        labels: [("team".to_owned(), "a".to_owned())].into(),
        annotations: BTreeMap::new(),
    };
    let wanting = edited(&gateway, |claim| {
        claim.spec.backend_client_certificate = Some("client".into());
        claim.spec.infrastructure = Some(infrastructure.clone());
    });
    world.claim(&wanting);
    world.claim(&set);
    world.connect("web");
    let status = |world: &World| world.read::<GatewayProxy>(Kind::Proxy, "web").unwrap().status.unwrap();
    assert_eq!(status(&world).backend_client_certificate.as_deref(), Some("client"));
    assert_eq!(status(&world).infrastructure, Some(infrastructure));
    world.claim(&edited(&wanting, |it| it.spec.backend_client_certificate = None));
    world.wait();
    assert_eq!(status(&world).backend_client_certificate, None);
}

#[test]
fn an_operators_own_proxy_stays() {
    let mut world = World::new("127.100.0.0/24");
    world.claim(&claim("web"));
    let mut proxy: GatewayProxy = world.read(Kind::Proxy, "web").unwrap();
    proxy.labels_mut().clear();
    world.put(Some(Kind::Proxy), edited(&proxy, |_| {}), Observation::Proxy);
    world.unclaim("web");
    assert_eq!(world.names(Kind::Proxy), ["web"]);
    assert_eq!(world.names(Kind::Address), ["127.100.0.1"]);
}

#[test]
fn a_deleted_proxy_is_made_again_with_the_same_address() {
    let mut world = World::new("127.100.0.0/24");
    world.claim(&claim("first"));
    world.claim(&claim("web"));
    let proxy: GatewayProxy = world.read(Kind::Proxy, "web").unwrap();
    world.objects.remove(&(Kind::Proxy, "web".to_owned()));
    world.pipeline.take_now(Observation::Proxy(Seen::Gone(Arc::new(proxy))));
    world.settle();
    assert_eq!(world.names(Kind::Proxy), ["first", "web"]);
    assert_eq!(world.status("web").addresses, ["127.100.0.2"]);
    assert!(world.group("web").contains(&"Listener http-8080".to_owned()));
}

#[test]
fn an_edit_of_the_proxys_template_is_published() {
    let mut world = World::new("127.100.0.0/24");
    world.claim(&claim("web"));
    world.connect("web");
    let proxy: GatewayProxy = world.read(Kind::Proxy, "web").unwrap();
    let broken = edited(&proxy, |proxy| proxy.spec.template.envoy.listener = "{{ .nothing }".into());
    world.put(Some(Kind::Proxy), broken.clone(), Observation::Proxy);
    assert_eq!(world.condition("web", "Programmed"), "False Invalid");
    assert!(world.group("web").contains(&"Listener http-8080".to_owned()), "the last good one serves on");
    world.put(Some(Kind::Proxy), edited(&broken, |it| it.spec = proxy.spec.clone()), Observation::Proxy);
    world.acknowledge("web");
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
}

#[test]
fn a_creation_that_fails_is_told_and_tried_again() {
    let mut world = World::new("127.100.0.0/24");
    world.failing = vec!["quota exceeded", "quota exceeded"];
    let claim = claim("web");
    world.objects.insert((Kind::Claim, "web".into()), json!(claim));
    world.pipeline.take_now(Observation::Claim(Seen::Set(Arc::new(claim))));
    for _ in 0..3 {
        let effects = world.pipeline.step(world.now, clock());
        for (target, write) in effects.writes {
            let outcome = world.carry_out(&target, &write);
            let now = world.now;
            world.pipeline.take(Input::Done(target, write, outcome), now, clock());
        }
        world.now += Duration::from_millis(20);
    }
    assert_eq!(world.condition("web", "Bound"), "False Pending");
    assert_eq!(world.status("web").conditions[0].message, "the gateway can't be created: quota exceeded");
    world.settle();
    assert_eq!(world.condition("web", "Bound"), "True Bound");
    assert!(world.pipeline.failures.is_empty());
}

#[test]
fn a_listener_that_is_taken_at_once_costs_one_write_of_the_claim() {
    let mut world = World::new("127.100.0.0/24");
    world.claim(&claim("web"));
    world.connect("web");
    let writes = world.writes.len();
    let edited = edited(&claim("web"), |claim| {
        claim.spec.listeners.push(listener("more", 8081, ListenerProtocol::Http, None));
    });
    world.claim(&edited);
    world.acknowledge("web");
    world.wait();
    assert_eq!(world.writes[writes..], ["status Claim web", "status Proxy web"]);
    assert_eq!(world.status("web").observed_generation, 2);
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
}
