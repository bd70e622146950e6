//! Listeners and routes of connections and datagrams.

use foregate_api::GatewayRoute;
use foregate_api::claim::ListenerProtocol::{Tcp, Udp};
use foregate_api::route::{Attachment, RouteBackend, RouteHostname, RouteProtocol, RouteRule};

use super::pinned::backend;
use super::*;
use crate::testing::{self, listener};

/// DNS, over both transports of one port.
fn published() -> World {
    let mut world = World::new("127.100.0.0/24");
    let mut claim = testing::claim("web", "2026-01-01T00:00:00Z");
    claim.spec.listeners = vec![listener("dns", 53, Udp, None), listener("dns-tcp", 53, Tcp, None)];
    world.claim(&claim);
    world
}

fn serving() -> World {
    let mut world = published();
    for name in ["one", "two"] {
        world.put(None, backend(name), Observation::Backend);
    }
    world.connect("web");
    world
}

fn route(name: &str, listener: &str, protocol: RouteProtocol, to: &str) -> GatewayRoute {
    let mut route = engines::route(name, "*");
    let hostnames = vec![RouteHostname { effective: "*".into(), original: "*".into() }];
    route.spec.protocol = protocol;
    route.spec.attachments = vec![Attachment { claim: "web".into(), listener: listener.into(), hostnames }];
    let backend = RouteBackend { backend: Some(to.into()), weight: 1, filters: Vec::new() };
    route.spec.rules = vec![RouteRule { backends: vec![backend], ..Default::default() }];
    route
}

fn programmed(world: &World) -> Vec<(String, String)> {
    let listeners = world.status("web").listeners.into_iter();
    listeners.map(|it| (it.name, it.conditions[0].status.clone())).collect()
}

fn version(world: &World, name: &str) -> Arc<str> {
    world.named(&format!("Listener {name}")).unwrap().version
}

#[test]
fn a_port_has_both_transports_and_each_its_own_refusals() {
    let both = |dns: &str, tcp: &str| vec![("dns".to_owned(), dns.to_owned()), ("dns-tcp".to_owned(), tcp.to_owned())];
    for (refused, expected) in [
        (&[][..], both("True", "True")),
        (&["udp-53"], both("False", "True")),
        (&["tcp-53"], both("True", "False")),
        (&["tcp-53", "udp-53"], both("False", "False")),
    ] {
        let mut world = published();
        world.hear(Event::Connected(instance("web")));
        for name in refused {
            world.refuse(name, "cannot bind 127.100.0.1:53: address in use");
        }
        world.acknowledge("web");
        assert_eq!(programmed(&world), expected, "{refused:?}");
        let gateway = if refused.len() < 2 { "True Programmed" } else { "False Invalid" };
        assert_eq!(world.condition("web", "Programmed"), gateway, "{refused:?}");
    }
}

#[test]
fn a_refused_route_of_connections_is_held_back_and_the_port_serves_on() {
    for (name, protocol, resource) in [("dns", RouteProtocol::Udp, "udp-53"), ("dns-tcp", RouteProtocol::Tcp, "tcp-53")]
    {
        let mut world = serving();
        let good = route("r", name, protocol, "one");
        world.route(&good);
        world.acknowledge("web");
        let served = version(&world, resource);
        let worse = edited(&good, |route| {
            route.spec.origin.generation = 2;
            route.spec.rules[0].backends[0].backend = Some("two".into());
        });
        world.route(&worse);
        assert_ne!(version(&world, resource), served);
        world.refuse(resource, "no such thing");
        world.acknowledge("web");
        assert_eq!(world.objection("r").as_deref(), Some("the engine refused it: no such thing"));
        assert_eq!(version(&world, resource), served, "the last good one serves on");
        assert!(programmed(&world).iter().all(|(_, status)| status == "True"), "{:?}", programmed(&world));
        world.route(&edited(&worse, |route| {
            route.spec = good.spec.clone();
            route.spec.origin.generation = 3;
        }));
        assert_eq!(world.objection("r"), None);
    }
}
