//! Engines and nodes.

use foregate_api::GatewayNode;
use foregate_api::node::GatewayNodeSpec;
use k8s_openapi::ByteString;

use super::engines::serving;
use super::*;
use crate::testing;

impl World {
    /// The node agent says how an instance's engine fares.
    pub(super) fn engine(&mut self, instance: &str, state: &str, message: &str) {
        self.version += 1;
        let object = self.objects.get_mut(&(Kind::Instance, instance.to_owned())).unwrap();
        object["status"]["engine"] = json!({
            "state": state, "name": object["spec"]["engine"], "message": message, "since": "2026-01-01T00:00:00Z",
        });
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let instance: GatewayInstance = serde_json::from_value(object.clone()).unwrap();
        self.pipeline.take_now(Observation::Instance(Seen::Set(Arc::new(instance))));
        self.settle();
    }

    fn node(&mut self, name: &str, unschedulable: bool, generation: i64) {
        let mut node = GatewayNode::new(name, GatewayNodeSpec { unschedulable, ..Default::default() });
        node.metadata.uid = Some(name.to_owned());
        node.metadata.generation = Some(generation);
        self.put(None, node, Observation::Node);
    }

    fn programmed(&self) -> (String, String) {
        let status = self.status("web");
        let condition = crate::conditions::find(&status.conditions, "Programmed").unwrap();
        (format!("{} {}", condition.status, condition.reason), condition.message.clone())
    }
}

#[test]
fn an_engine_follows_its_template() {
    let mut world = serving();
    let proxy: GatewayProxy = world.read(Kind::Proxy, "web").unwrap();
    let proxy = edited(&proxy, |proxy| proxy.spec.template.engine = "envoy@1.40.0".into());
    world.put(Some(Kind::Proxy), proxy, Observation::Proxy);
    let instance: GatewayInstance = world.read(Kind::Instance, "tenant-default.web.local").unwrap();
    assert_eq!(instance.spec.engine, "envoy@1.40.0");
    assert_eq!(world.writes.iter().filter(|it| it.starts_with("engine ")).count(), 1);
}

#[test]
fn an_engine_that_is_missing_or_dies_is_told_and_its_return_too() {
    let mut world = serving();
    let name = "tenant-default.web.local";
    world.engine(name, "Missing", "envoy@1.40.0 isn't on this node: add it");
    let (programmed, message) = world.programmed();
    assert_eq!(programmed, "False NoResources");
    assert_eq!(message, "no instance of the gateway runs: on node local: envoy@1.40.0 isn't on this node: add it");
    assert_eq!(world.status("web").instances.ready, 0);
    let instance: GatewayInstance = world.read(Kind::Instance, name).unwrap();
    assert!(!instance.status.unwrap().ready);
    let proxy: GatewayProxy = world.read(Kind::Proxy, "web").unwrap();
    assert!(proxy.status.unwrap().conditions.iter().any(|it| it.status == "False" && it.message.contains("add it")));

    world.engine(name, "Running", "");
    assert_eq!(world.programmed().0, "True Programmed");
    assert_eq!(world.status("web").instances.ready, 1);
    world.engine(name, "Backoff", "it was stopped by signal 9");
    assert_eq!(world.programmed().0, "False NoResources");
    // What it is about to do isn't known while it reconnects: but this is.
    world.hear(Event::Disconnected(instance_of("local")));
    assert_eq!(world.programmed().0, "False NoResources");
}

fn instance_of(node: &str) -> Instance {
    Instance { node: node.into(), ..instance("web") }
}

#[test]
fn gateways_follow_nodes() {
    let mut world = World::empty();
    world.pipeline.options.nodes.clear();
    world.start_with("127.100.0.0/24", vec![template()]);
    world.claim(&testing::claim("web", "2026-01-01T00:00:00Z"));
    assert!(world.names(Kind::Instance).is_empty());
    let (programmed, message) = world.programmed();
    assert_eq!(programmed, "False NoResources");
    assert!(message.contains("no gateway node that takes instances"), "{message}");

    world.node("a", true, 1);
    assert!(world.names(Kind::Instance).is_empty(), "it takes none");
    world.node("a", false, 2);
    assert_eq!(world.names(Kind::Instance), ["tenant-default.web.a"]);
    world.node("a", true, 3);
    assert_eq!(world.names(Kind::Instance), ["tenant-default.web.a"], "it keeps what it has");

    let mut gone = GatewayNode::new("a", GatewayNodeSpec::default());
    gone.metadata.uid = Some("a".into());
    world.node("b", false, 1);
    world.pipeline.take_now(Observation::Node(Seen::Gone(Arc::new(gone))));
    world.settle();
    assert_eq!(world.names(Kind::Instance), ["tenant-default.web.b"]);
}

#[test]
fn a_broken_template_is_said_once_and_that_the_last_good_serves_on() {
    let mut world = serving();
    let claim = edited(&testing::claim("web", "2026-01-01T00:00:00Z"), |claim| {
        let protocol = foregate_api::claim::ListenerProtocol::Http;
        claim.spec.listeners.push(testing::listener("more", 8081, protocol, None));
    });
    world.claim(&claim);
    world.acknowledge("web");
    let held = world.group("web");
    let proxy: GatewayProxy = world.read(Kind::Proxy, "web").unwrap();
    let broken = edited(&proxy, |proxy| proxy.spec.template.envoy.listener = "{{ fail \"no\" }}".into());
    world.put(Some(Kind::Proxy), broken, Observation::Proxy);
    assert_eq!(world.group("web"), held);
    let (programmed, message) = world.programmed();
    assert_eq!(programmed, "False Invalid");
    assert!(message.ends_with("the last good configuration serves on"), "{message}");
    assert_eq!(message.matches("template \"listener\"").count(), 1, "{message}");
    for listener in world.status("web").listeners {
        assert!(listener.conditions[0].message.contains("see the gateway's own condition"), "{listener:?}");
    }
}

#[test]
fn an_expired_certificate_is_told_when_it_expires() {
    let mut world = World::new("127.100.0.0/24");
    let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(1971, 1, 1);
    let pair = rcgen::KeyPair::generate().unwrap();
    let parts = [("tls.crt", params.self_signed(&pair).unwrap().pem()), ("tls.key", pair.serialize_pem())];
    let mut secret = Secret {
        data: Some(parts.map(|(name, pem)| (name.to_owned(), ByteString(pem.into_bytes()))).into()),
        ..Default::default()
    };
    secret.metadata.name = Some("cert".into());
    secret.metadata.namespace = Some("tenant-default".into());
    world.put(None, secret, Observation::Secret);
    let mut claim = testing::claim("web", "2026-01-01T00:00:00Z");
    let protocol = foregate_api::claim::ListenerProtocol::Https;
    let mut listener = testing::listener("https", 8443, protocol, None);
    listener.tls = serde_json::from_value(json!({ "mode": "Terminate", "certificates": ["cert"] })).unwrap();
    claim.spec.listeners = vec![listener];
    world.claim(&claim);
    world.connect("web");
    assert_eq!(world.programmed().1, "every connected instance serves it");

    // The clock of these tests stands; this one step is later.
    let later: Timestamp = "1971-01-01T00:00:01Z".parse().unwrap();
    let effects = world.pipeline.step(world.now, later);
    let said = effects.writes.iter().find_map(|(target, write)| match write {
        Write::Status { status, .. } if target.kind == Kind::Claim => Some(status.to_string()),
        _ => None,
    });
    let said = said.unwrap_or_default();
    assert!(said.contains("Secret tenant-default/cert expired at 1971-01-01T00:00:00Z: renew it"), "{said}");
    assert!(said.contains("certificates have expired, of listeners: https"), "{said}");
}
