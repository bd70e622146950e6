//! Refusals of what another engine has taken: they withdraw nothing, and are told.

use super::engines::{route, serving};
use super::*;
use crate::testing;

const INSTANCE: &str = "tenant-default.web.local";
const HOST: &str = "http-8080/a.example";

fn of(node: &str) -> Instance {
    Instance { node: node.into(), ..instance("web") }
}

impl World {
    fn refused_by(&mut self, node: &str, name: &str, message: &str) {
        let resource = self.cache.dump("tenant-default/web").into_iter().find(|it| &*it.id.name == name).unwrap();
        self.hear(Event::Nacked {
            instance: of(node),
            id: resource.id,
            version: resource.version,
            owners: resource.owners,
            message: message.into(),
        });
    }

    fn applied_by(&mut self, node: &str) {
        let applied = self.pipeline.gateways[&proxy_ref(&Key::new("tenant-default", "web"))].sequence;
        self.hear(Event::Progress { instance: of(node), applied });
    }

    fn switch(&mut self, engine: &str) {
        let proxy: GatewayProxy = self.read(Kind::Proxy, "web").unwrap();
        let proxy = edited(&proxy, |proxy| proxy.spec.template.engine = engine.into());
        self.put(Some(Kind::Proxy), proxy, Observation::Proxy);
    }

    fn versions(&self) -> Vec<(foregate_xds::ResourceId, Arc<str>)> {
        self.cache.dump("tenant-default/web").into_iter().map(|it| (it.id, it.version)).collect()
    }

    fn ready(&self, node: &str) -> bool {
        let name = format!("tenant-default.web.{node}");
        self.read::<GatewayInstance>(Kind::Instance, &name).unwrap().status.unwrap().ready
    }

    fn says(&self) -> [String; 2] {
        let said = |conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]| {
            let condition = crate::conditions::find(conditions, "Programmed").unwrap();
            format!("{} {}", condition.status, condition.message)
        };
        let proxy: GatewayProxy = self.read(Kind::Proxy, "web").unwrap();
        [said(&self.status("web").conditions), said(&proxy.status.unwrap().conditions)]
    }

    /// Another listener template, as the one that brings a filter.
    fn template_changes(&mut self, prefix: &str) {
        let proxy: GatewayProxy = self.read(Kind::Proxy, "web").unwrap();
        let proxy = edited(&proxy, |proxy| {
            let listener = &mut proxy.spec.template.envoy.listener;
            *listener = listener.replacen("stat_prefix: ", &format!("stat_prefix: {prefix}-"), 1);
        });
        self.put(Some(Kind::Proxy), proxy, Observation::Proxy);
    }
}

/// Runs on an Envoy, with a template that came later than the gateway, and a route.
fn on_envoy() -> World {
    let mut world = serving();
    world.switch("envoy@1.40.0");
    world.engine(INSTANCE, "Running", "");
    world.route(&route("a", "a.example"));
    world.template_changes("with-filter");
    world.acknowledge("web");
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
    world
}

#[test]
fn a_newcomer_takes_nothing_from_the_engine_that_serves() {
    for (name, in_time) in [("http-8080", true), (HOST, true), (HOST, false)] {
        let mut world = on_envoy();
        world.switch("builtin");
        if in_time {
            world.applied_by("local");
        }
        let served = world.versions();
        world.refused_by("local", name, "no such filter");
        world.applied_by("local");
        assert_eq!(world.versions(), served, "{name}: nothing is withdrawn, nothing is as it was before");
        assert!(world.ready("local"), "{name}: the old engine serves");
        for said in world.says() {
            for part in ["True ", "builtin refuses", name, "no such filter", "envoy@1.40.0 serves on", "`engine` back"]
            {
                assert!(said.contains(part), "{name}: {part}: {said}");
            }
        }
        let instance: GatewayInstance = world.read(Kind::Instance, INSTANCE).unwrap();
        assert_eq!(instance.status.unwrap().last_nack.unwrap().resources, [name]);

        world.switch("envoy@1.40.0");
        let served = world.versions();
        world.applied_by("local");
        for said in world.says() {
            assert_eq!(said, "True every connected instance serves it", "{name}");
        }
        assert_eq!(world.versions(), served);
    }
}

#[test]
fn what_a_newcomer_refuses_can_still_be_changed() {
    let mut world = on_envoy();
    world.switch("builtin");
    world.refused_by("local", "http-8080", "no such filter");
    world.applied_by("local");
    world.template_changes("stricter");
    let stricter = world.versions();
    world.refused_by("local", "http-8080", "no such filter");
    world.applied_by("local");
    assert_eq!(world.versions(), stricter, "it refused the one before, too");
    assert!(world.says()[0].contains("builtin refuses"), "{:?}", world.says());
    world.template_changes("without");
    world.applied_by("local");
    assert_eq!(world.says()[0], "True every connected instance serves it");
    // From here on a refusal is about what is new.
    let good = world.versions();
    world.template_changes("bad");
    world.refused_by("local", "http-8080", "no such thing");
    assert_eq!(world.versions(), good, "the last good one is back");
}

#[test]
fn after_a_start_nobody_has_to_have_said_what_the_old_engine_has() {
    let mut world = World::new("127.100.0.0/24");
    world.claim(&testing::claim("web", "2026-01-01T00:00:00Z"));
    world.engine(INSTANCE, "Running", "");
    world.route(&route("a", "a.example"));
    world.switch("envoy@1.40.0");
    let served = world.versions();
    world.hear(Event::Connected(of("local")));
    world.refused_by("local", HOST, "no such filter");
    world.applied_by("local");
    assert_eq!(world.versions(), served);
    // The newcomer serves in spite of it: now the route is to blame, or the host is lost with all that is in it.
    world.engine(INSTANCE, "Running", "");
    assert!(!world.group("web").contains(&format!("VirtualHost {HOST}")), "{:?}", world.group("web"));
    let route: GatewayRoute = world.read(Kind::Route, "a").unwrap();
    assert!(route.status.unwrap().conditions[0].message.contains("no such filter"));
}

#[test]
fn one_of_two_nodes_refuses_what_the_other_has_taken() {
    let mut world = World::empty();
    world.pipeline.options.nodes = vec!["local".into(), "other".into()];
    let mut two = (*template()).clone();
    two.spec.replicas = 2;
    world.start_with("127.100.0.0/24", vec![Arc::new(two)]);
    world.claim(&testing::claim("web", "2026-01-01T00:00:00Z"));
    world.route(&route("a", "a.example"));
    for node in ["local", "other"] {
        world.hear(Event::Connected(of(node)));
        world.applied_by(node);
    }
    assert_eq!(world.status("web").instances.ready, 2);
    // Its engine has started anew, where something is missing that was there.
    world.hear(Event::Disconnected(of("other")));
    world.hear(Event::Connected(of("other")));
    let served = world.versions();
    world.refused_by("other", HOST, "no such file");
    world.applied_by("other");
    assert_eq!(world.versions(), served);
    assert_eq!((world.ready("local"), world.ready("other")), (true, false));
    assert_eq!(world.status("web").instances.ready, 1);
    for said in world.says() {
        assert!(said.starts_with("True ") && said.contains("on node other") && said.contains("no such file"), "{said}");
    }
    let resource = world.cache.dump("tenant-default/web").into_iter().find(|it| &*it.id.name == HOST).unwrap();
    world.hear(Event::Recovered { instance: of("other"), id: resource.id, version: resource.version });
    assert!(world.ready("other"));
    assert_eq!(world.says()[0], "True every connected instance serves it");
}
