use foregate_api::GatewayRoute;
use foregate_api::route::{Attachment, GatewayRouteSpec, RouteHostname, RouteMatch, RouteRule};

use super::*;
use crate::testing::{self, origin};

pub(super) fn route(name: &str, host: &str) -> GatewayRoute {
    let hostname = RouteHostname { effective: host.into(), original: host.into() };
    let spec = GatewayRouteSpec {
        protocol: foregate_api::route::RouteProtocol::Http,
        origin: origin("HTTPRoute", name, "2026-01-01T00:00:00Z"),
        attachments: vec![Attachment { claim: "web".into(), listener: "http".into(), hostnames: vec![hostname] }],
        rules: vec![RouteRule { matches: vec![RouteMatch::default()], ..Default::default() }],
    };
    let mut route = GatewayRoute::new(name, spec);
    route.metadata.namespace = Some("tenant-default".into());
    route.metadata.uid = Some(format!("route-{name}"));
    route.metadata.generation = Some(1);
    route
}

impl World {
    pub(super) fn route(&mut self, route: &GatewayRoute) {
        let mut route = route.clone();
        route.status = self.read::<GatewayRoute>(Kind::Route, &route.name_any()).and_then(|route| route.status);
        self.version += 1;
        route.metadata.resource_version = Some(self.version.to_string());
        self.objects.insert((Kind::Route, route.name_any()), json!(route));
        self.pipeline.take_now(Observation::Route(Seen::Set(Arc::new(route))));
        self.settle();
    }

    /// What is said against a route.
    pub(super) fn objection(&self, route: &str) -> Option<String> {
        let status = self.read::<GatewayRoute>(Kind::Route, route)?.status?;
        Some(status.conditions.first()?.message.clone())
    }

    pub(super) fn refuse(&mut self, name: &str, message: &str) {
        let resource = self.cache.dump("tenant-default/web").into_iter().find(|it| &*it.id.name == name).unwrap();
        self.hear(Event::Nacked {
            instance: instance("web"),
            id: resource.id,
            version: resource.version,
            owners: resource.owners,
            message: message.into(),
        });
    }
}

pub(super) fn serving() -> World {
    let mut world = World::new("127.100.0.0/24");
    world.claim(&testing::claim("web", "2026-01-01T00:00:00Z"));
    world.connect("web");
    world
}

#[test]
fn a_route_changes_no_status_and_is_published_in_the_same_step() {
    let mut world = serving();
    let writes = world.writes.len();
    let mut route = route("a", "a.example");
    route.metadata.resource_version = Some("9000".into());
    world.pipeline.take_now(Observation::Route(Seen::Set(Arc::new(route))));
    assert!(world.pipeline.step(world.now, clock()).writes.is_empty());
    assert!(world.group("web").contains(&"VirtualHost http-8080/a.example".to_owned()), "{:?}", world.group("web"));
    world.acknowledge("web");
    assert_eq!(world.writes.len(), writes);
}

#[test]
fn a_refused_route_is_held_back_and_told_until_its_next_generation() {
    let mut world = serving();
    world.route(&route("good", "good.example"));
    world.route(&route("bad", "bad.example"));
    world.acknowledge("web");
    let version = |world: &World, name: &str| {
        world.cache.dump("tenant-default/web").into_iter().find(|it| &*it.id.name == name).map(|it| it.version)
    };
    let good_one = version(&world, "http-8080/bad.example");
    let worse = edited(&route("bad", "bad.example"), |route| {
        route.spec.origin.generation = 2;
        route.spec.rules.push(RouteRule {
            matches: vec![RouteMatch::default()],
            request_timeout_millis: Some(7),
            ..Default::default()
        });
        route.spec.rules.swap(0, 1);
    });
    world.route(&worse);
    assert_ne!(version(&world, "http-8080/bad.example"), good_one);
    world.refuse("http-8080/bad.example", "no such thing");
    assert_eq!(world.objection("bad").as_deref(), Some("the engine refused it: no such thing"));
    assert_eq!(version(&world, "http-8080/bad.example"), good_one, "the last good one serves on");
    assert_eq!(world.objection("good"), None);
    let instance: GatewayInstance = world.read(Kind::Instance, "tenant-default.web.local").unwrap();
    assert_eq!(instance.status.unwrap().last_nack.unwrap().resources, ["http-8080/bad.example"]);

    let healed = edited(&worse, |route| {
        route.spec.origin.generation = 3;
        route.spec.rules.remove(0);
    });
    world.route(&healed);
    assert_eq!(world.objection("bad"), None);
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
    let refused = world.records.iter().any(|record| matches!(record, Record::Step(step) if !step.refusals.is_empty()));
    assert!(refused, "it is written down");
}

#[test]
fn a_refused_listener_is_told_to_its_claim_and_not_blamed_on_the_template() {
    let mut world = serving();
    world.refuse("http-8080", "address already in use");
    assert_eq!(world.condition("web", "Programmed"), "False Invalid");
    let listener = world.status("web").listeners[0].conditions[0].message.clone();
    assert_eq!(listener, "the engine refused it: address already in use");
    assert!(world.group("web").contains(&"Listener http-8080".to_owned()));
    let proxy: GatewayProxy = world.read(Kind::Proxy, "web").unwrap();
    let conditions = proxy.status.unwrap().conditions;
    assert_eq!(crate::conditions::find(&conditions, "TemplateValid").unwrap().status, "True");
}

#[test]
fn an_engine_that_begins_anew_says_itself_what_it_refuses() {
    let mut world = serving();
    world.refuse("http-8080", "address already in use");
    assert_eq!(world.condition("web", "Programmed"), "False Invalid");
    world.hear(Event::Disconnected(instance("web")));
    world.connect("web");
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
}

#[test]
fn a_lost_stream_is_told_after_the_grace() {
    let mut world = serving();
    world.hear(Event::Disconnected(instance("web")));
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
    world.now += Duration::from_secs(2);
    world.settle();
    assert_eq!(world.condition("web", "Programmed"), "False NoResources");
    world.connect("web");
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
}

/// Plays an engine that refuses the virtual host whenever a route of these names is in it.
fn judge(world: &mut World, host: &str, bad: &[&str]) -> usize {
    for rounds in 0..1_000 {
        let resource = world.cache.dump("tenant-default/web").into_iter().find(|it| &*it.id.name == host).unwrap();
        let is_bad = |uid: &str| bad.iter().any(|name| *uid == *format!("uid-{name}"));
        let refused = resource.owners.iter().any(|owner| is_bad(&owner.uid));
        let applied = world.pipeline.gateways[&proxy_ref(&Key::new("tenant-default", "web"))].sequence;
        if refused {
            world.refuse(host, "no such thing");
        }
        // What the refusal has led to isn't applied yet.
        world.hear(Event::Progress { instance: instance("web"), applied });
        if !refused && world.pipeline.suspects.is_empty() {
            return rounds;
        }
    }
    panic!("the search never ends");
}

#[test]
fn the_culprits_among_many_routes_of_one_host_are_found() {
    let mut world = serving();
    let names: Vec<String> = (0..20).map(|number| format!("r{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let mut route = route(name, "a.example");
        route.spec.rules[0].matches[0].method = Some(format!("M{number}"));
        world.version += 1;
        route.metadata.resource_version = Some(world.version.to_string());
        world.objects.insert((Kind::Route, name.clone()), json!(route));
        world.pipeline.take_now(Observation::Route(Seen::Set(Arc::new(route))));
    }
    world.settle();
    let writes = world.writes.len();
    let rounds = judge(&mut world, "http-8080/a.example", &["r3", "r14"]);
    assert!(rounds <= 20, "{rounds}");
    for name in &names {
        let expected = ["r3", "r14"].contains(&name.as_str()).then_some("the engine refused it: no such thing");
        assert_eq!(world.objection(name).as_deref(), expected, "{name}");
    }
    let routes = world.writes[writes..].iter().filter(|write| write.contains("Route"));
    assert_eq!(routes.count(), 2, "nobody else was accused meanwhile");
    let resource = world.cache.dump("tenant-default/web").into_iter().find(|it| &*it.id.name == "http-8080/a.example");
    assert_eq!(resource.unwrap().owners.len(), 18);
    assert!(world.pipeline.suspects.is_empty());
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
}

#[test]
fn a_listener_whose_port_is_in_use_is_told_until_the_engine_takes_it() {
    let mut world = World::new("127.100.0.0/24");
    world.claim(&testing::claim("web", "2026-01-01T00:00:00Z"));
    world.hear(Event::Connected(instance("web")));
    let listener = world.cache.dump("tenant-default/web").into_iter().find(|it| &*it.id.name == "http-8080").unwrap();
    world.refuse("http-8080", "cannot bind 127.100.0.0:8080: address in use");
    world.acknowledge("web");
    assert_eq!(world.condition("web", "Programmed"), "False Invalid");
    let said = world.status("web").listeners[0].conditions[0].message.clone();
    assert!(said.contains("address in use"), "{said}");
    world.hear(Event::Recovered { instance: instance("web"), id: listener.id, version: listener.version });
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
    assert_eq!(world.status("web").listeners[0].conditions[0].status, "True");
}
