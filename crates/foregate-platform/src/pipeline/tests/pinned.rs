use foregate_api::claim::ListenerProtocol;
use foregate_xds::ResourceKind;

use super::engines::{route, serving};
use super::*;
use crate::keeper::{Book, Rebuilt};
use crate::testing::{self, TEXTS, listener};

pub(super) fn pin(world: &mut World, revision: Option<&str>) {
    let proxy: GatewayProxy = world.read(Kind::Proxy, "web").unwrap();
    let proxy = edited(&proxy, |proxy| proxy.spec.pinned_revision = revision.map(str::to_owned));
    world.put(Some(Kind::Proxy), proxy, Observation::Proxy);
}

impl World {
    /// Hands what was said for revisions over, and the answers back.
    pub(super) fn keep(&mut self, book: &mut Book) {
        while !self.records.is_empty() {
            for record in std::mem::take(&mut self.records) {
                if let Some(answer) = book.take(record, TEXTS) {
                    let now = self.now;
                    self.pipeline.take(Input::Rebuilt(answer), now, clock());
                }
            }
            self.settle();
        }
    }

    /// What is published of a gateway, but for endpoints and secrets.
    pub(super) fn steady(&self) -> Vec<(String, Vec<u8>)> {
        let flows = |kind| matches!(kind, ResourceKind::ClusterLoadAssignment | ResourceKind::Secret);
        let all = self.cache.dump("tenant-default/web").into_iter().filter(|it| !flows(it.id.kind));
        all.map(|it| (format!("{:?}", it.id), it.body.to_vec())).collect()
    }

    pub(super) fn message(&self, kind: &str) -> String {
        let status = self.status("web");
        crate::conditions::find(&status.conditions, kind).map(|it| it.message.clone()).unwrap_or_default()
    }

    pub(super) fn named(&self, name: &str) -> Option<foregate_xds::Resource> {
        self.cache.dump("tenant-default/web").into_iter().find(|it| format!("{:?}", it.id) == name)
    }
}

/// A route to a backend.
pub(super) fn to_backend(name: &str, host: &str, backend: &str) -> foregate_api::GatewayRoute {
    let mut route = route(name, host);
    let rule = json!({ "matches": [{}], "backends": [{ "backend": backend, "weight": 1 }] });
    route.spec.rules = vec![serde_json::from_value(rule).unwrap()];
    route
}

pub(super) fn backend(name: &str) -> foregate_api::GatewayBackend {
    let spec = json!({ "origin": testing::origin("Service", name, "2026-01-01T00:00:00Z"), "port": 80 });
    let mut backend = foregate_api::GatewayBackend::new(name, serde_json::from_value(spec).unwrap());
    backend.metadata.namespace = Some("tenant-default".into());
    backend.metadata.uid = Some(format!("backend-{name}"));
    backend.metadata.generation = Some(1);
    backend
}

#[test]
fn a_pinned_gateway_holds_until_it_is_unpinned() {
    let mut world = serving();
    world.route(&route("a", "a.example"));
    world.acknowledge("web");
    let mut book = Book::default();
    world.keep(&mut book);
    let latest = book.written.last().unwrap().name_any();
    pin(&mut world, Some(&latest));
    world.keep(&mut book);
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
    let step = world.records.iter().find_map(|it| if let Record::Step(step) = it { Some(step) } else { None }).unwrap();
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

#[test]
fn an_older_revision_is_published_and_its_endpoints_are_the_present_ones() {
    let (mut world, mut book) = (serving(), Book::default());
    world.put(Some(Kind::Backend), backend("blue"), Observation::Backend);
    world.put(Some(Kind::Backend), backend("green"), Observation::Backend);
    world.route(&to_backend("a", "a.example", "blue"));
    world.acknowledge("web");
    world.keep(&mut book);
    let then = (book.written.last().unwrap().name_any(), world.steady());
    world.route(&edited(&to_backend("a", "a.example", "green"), |_| {}));
    world.route(&to_backend("b", "b.example", "green"));
    world.acknowledge("web");
    world.keep(&mut book);
    let present = world.steady();
    assert_ne!(present, then.1);
    let (blue, green) = endpoints_of(&world, "blue");
    assert!(!blue && green);

    pin(&mut world, Some(&then.0));
    world.keep(&mut book);
    assert_eq!(world.steady(), then.1);
    assert_eq!(endpoints_of(&world, "blue"), (true, false), "what it needs and nothing else");
    assert_eq!(world.condition("web", "Pinned"), "True Pinned");
    world.acknowledge("web");
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
    let rollback = book.written.last().unwrap();
    assert_eq!(rollback.spec.causes[0].kind, "GatewayProxy");
    assert!(rollback.spec.changes.iter().any(|it| it.name == "http-8080/b.example" && it.new_version.is_none()));
    let route = world.named("VirtualHost http-8080/a.example").unwrap();
    assert!(route.needs.iter().any(|id| id.kind == ResourceKind::Cluster), "in order: {:?}", route.needs);

    // Its backend goes: empty endpoints, and the status says so; it comes again: all is well.
    let gone = backend("blue");
    world.objects.remove(&(Kind::Backend, "blue".to_owned()));
    world.pipeline.take_now(Observation::Backend(Seen::Gone(Arc::new(gone))));
    world.settle();
    assert_eq!(world.steady(), then.1);
    assert_eq!(world.condition("web", "Pinned"), "True Incomplete");
    assert!(world.message("Pinned").contains("answered with 503"), "{}", world.message("Pinned"));
    world.put(Some(Kind::Backend), backend("blue"), Observation::Backend);
    assert_eq!(world.condition("web", "Pinned"), "True Pinned");

    pin(&mut world, None);
    world.keep(&mut book);
    assert_eq!(world.steady(), present);
    assert_eq!(world.condition("web", "Pinned"), "absent");
}

/// Whether there are endpoints of a backend, and of any other.
fn endpoints_of(world: &World, backend: &str) -> (bool, bool) {
    let all = world.group("web");
    let (ours, others): (Vec<_>, Vec<_>) = all
        .iter()
        .filter_map(|name| name.strip_prefix("ClusterLoadAssignment "))
        .partition(|name| name.starts_with(&format!("{backend}/")));
    (!ours.is_empty(), !others.is_empty())
}

#[test]
fn a_listener_that_was_not_there_yet_waits() {
    let (mut world, mut book) = (serving(), Book::default());
    world.keep(&mut book);
    let then = (book.written.last().unwrap().name_any(), world.steady());
    let claim = edited(&testing::claim("web", "2026-01-01T00:00:00Z"), |claim| {
        claim.spec.listeners.push(listener("more", 8081, ListenerProtocol::Http, None));
    });
    world.claim(&claim);
    world.acknowledge("web");
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
    world.keep(&mut book);
    pin(&mut world, Some(&then.0));
    world.keep(&mut book);
    world.acknowledge("web");
    assert_eq!(world.steady(), then.1);
    assert_eq!(world.condition("web", "Programmed"), "False Pending");
    assert!(world.message("Programmed").contains("unpin it"));
    // Back to what is held: it is served.
    world.claim(&edited(&testing::claim("web", "2026-01-01T00:00:00Z"), |claim| {
        claim.metadata.generation = Some(7);
    }));
    world.acknowledge("web");
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
}

#[test]
fn a_revision_that_is_gone_changes_nothing_and_says_so() {
    let (mut world, mut book) = (serving(), Book::default());
    world.route(&route("a", "a.example"));
    world.acknowledge("web");
    world.keep(&mut book);
    let before = world.steady();
    pin(&mut world, Some("web-99"));
    world.keep(&mut book);
    assert_eq!(world.steady(), before);
    assert_eq!(world.condition("web", "Pinned"), "True RevisionNotFound");
    let message = world.message("Pinned");
    assert!(message.contains("web-99 isn't kept") && message.contains("stays as it is"), "{message}");
    world.route(&route("b", "b.example"));
    assert_eq!(world.steady(), before, "held all the same");
    pin(&mut world, None);
    world.keep(&mut book);
    assert!(world.group("web").contains(&"VirtualHost http-8080/b.example".to_owned()));
}

#[test]
fn what_an_engine_refuses_of_an_old_revision_is_said() {
    let (mut world, mut book) = (serving(), Book::default());
    world.route(&route("a", "a.example"));
    world.keep(&mut book);
    let then = book.written.last().unwrap().name_any();
    let path = json!({ "type": "Exact", "value": "/new" });
    world.route(&edited(&route("a", "a.example"), |route| {
        route.spec.origin.generation = 2;
        route.spec.rules[0].matches = vec![serde_json::from_value(json!({ "path": path })).unwrap()];
    }));
    world.keep(&mut book);
    pin(&mut world, Some(&then));
    world.keep(&mut book);
    let host = world.named("VirtualHost http-8080/a.example").unwrap();
    assert!(host.owners.is_empty());
    world.hear(Event::Nacked {
        instance: instance("web"),
        id: host.id,
        version: host.version,
        owners: host.owners,
        message: "too old for me".into(),
    });
    assert_eq!(world.condition("web", "Pinned"), "True Incomplete");
    assert!(world.message("Pinned").contains("too old for me"));
}

#[test]
fn a_restart_goes_on_with_the_pinned_revision_and_tells_engines_nothing_before() {
    let (mut world, mut book) = (serving(), Book::default());
    world.route(&route("a", "a.example"));
    world.acknowledge("web");
    world.keep(&mut book);
    let then = (book.written.last().unwrap().name_any(), world.steady());
    world.route(&route("b", "b.example"));
    world.keep(&mut book);
    pin(&mut world, Some(&then.0));
    world.keep(&mut book);
    assert_eq!(world.steady(), then.1);

    let mut after = super::restart::restarted(&world);
    assert!(after.group("web").is_empty(), "nobody knows yet what it is to serve");
    let asks = |world: &World| {
        let ask = |it: &Record| if let Record::Ask(ask) = it { Some(ask.revision.clone()) } else { None };
        world.records.iter().filter_map(ask).collect::<Vec<_>>()
    };
    assert_eq!((asks(&after), after.serving), (vec![then.0.clone()], 0));
    // The book has what was published as its last step: the same as what is pinned.
    let resources = Ok(then.1.iter().map(|(name, body)| content(name, body)).collect());
    let answer = Rebuilt { proxy: proxy_ref(&Key::new("tenant-default", "web")), revision: then.0, resources };
    let now = after.now;
    after.pipeline.take(Input::Rebuilt(answer), now, clock());
    after.settle();
    assert_eq!(after.steady(), then.1);
    let baseline = |it: &Record| matches!(it, Record::Step(step) if step.baseline);
    assert!(after.records.iter().any(baseline));
    after.connect("web");
    assert_eq!(after.condition("web", "Programmed"), "True Programmed");
}

pub(super) fn content(name: &str, body: &[u8]) -> (foregate_xds::ResourceId, crate::keeper::Content) {
    let (kind, name) = name.split_once(' ').unwrap();
    let kind = ResourceKind::ALL.into_iter().find(|it| format!("{it:?}") == kind).unwrap();
    let id = foregate_xds::ResourceId::new(kind, name);
    let version = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(body)).into();
    let body = body.to_vec().into();
    let old = foregate_xds::Resource { id: id.clone(), version, body, needs: [].into(), owners: [].into() };
    (id, crate::keeper::Content::Old(old))
}

#[test]
fn an_old_revision_whose_texts_leave_something_out_is_not_taken() {
    let (mut world, mut book) = (serving(), Book::default());
    world.route(&route("a", "a.example"));
    world.keep(&mut book);
    let then = book.written.last().unwrap().name_any();
    world.route(&edited(&route("a", "b.example"), |_| {}));
    world.keep(&mut book);
    let before = world.steady();
    for change in book.written.iter_mut().flat_map(|revision| &mut revision.spec.changes) {
        change.old = change.old.take().map(|_| "{\"name\": \"[redacted]\"".to_owned());
    }
    pin(&mut world, Some(&then));
    world.keep(&mut book);
    assert_eq!(world.steady(), before);
    assert!(world.message("Pinned").contains("leaves out what Envoy calls sensitive"), "{}", world.message("Pinned"));
}

#[test]
fn a_start_whose_pinned_revision_is_gone_serves_what_there_is() {
    let (mut world, mut book) = (serving(), Book::default());
    world.route(&route("a", "a.example"));
    world.keep(&mut book);
    pin(&mut world, Some("web-1"));
    world.keep(&mut book);
    let mut after = super::restart::restarted(&world);
    let proxy = proxy_ref(&Key::new("tenant-default", "web"));
    let answer = Rebuilt { proxy, revision: "web-1".into(), resources: Err("ConfigRevision web-1 isn't kept".into()) };
    let now = after.now;
    after.pipeline.take(Input::Rebuilt(answer), now, clock());
    after.settle();
    assert!(after.group("web").contains(&"VirtualHost http-8080/a.example".to_owned()));
    after.connect("web");
    assert_eq!(after.condition("web", "Pinned"), "True RevisionNotFound");
    let held = after.group("web");
    after.route(&route("b", "b.example"));
    assert_eq!(after.group("web"), held, "it takes no changes");
}

#[test]
fn a_pinned_gateways_certificate_is_replaced_and_stays_when_its_secret_goes() {
    let mut world = World::new("127.100.0.0/24");
    let secret = |serial: u64| {
        let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.serial_number = Some(serial.into());
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        let pair = rcgen::KeyPair::generate().unwrap();
        let parts = [("tls.crt", params.self_signed(&pair).unwrap().pem()), ("tls.key", pair.serialize_pem())];
        let data = parts.map(|(name, pem)| (name.to_owned(), k8s_openapi::ByteString(pem.into_bytes()))).into();
        let mut secret = Secret { data: Some(data), ..Default::default() };
        secret.metadata.name = Some("cert".into());
        secret.metadata.namespace = Some("tenant-default".into());
        secret.metadata.uid = Some("cert".into());
        secret
    };
    world.put(None, secret(1), Observation::Secret);
    let mut claim = testing::claim("web", "2026-01-01T00:00:00Z");
    let mut https = listener("https", 8443, ListenerProtocol::Https, None);
    https.tls = serde_json::from_value(json!({ "mode": "Terminate", "certificates": ["cert"] })).unwrap();
    claim.spec.listeners = vec![https];
    world.claim(&claim);
    world.connect("web");
    let mut book = Book::default();
    world.keep(&mut book);
    let then = (book.written.last().unwrap().name_any(), world.steady());
    pin(&mut world, Some(&then.0));
    world.keep(&mut book);

    let certificate = |world: &World| world.named("Secret tenant-default/cert").unwrap().version;
    let first = certificate(&world);
    world.put(None, secret(2), Observation::Secret);
    let second = certificate(&world);
    assert_ne!(first, second, "it flows");
    assert_eq!(world.steady(), then.1);
    world.pipeline.take_now(Observation::Secret(Seen::Gone(Arc::new(secret(2)))));
    world.settle();
    assert_eq!(certificate(&world), second, "the last one serves on");
    assert_eq!(world.steady(), then.1);
    assert!(world.message("Pinned").contains("Secret tenant-default/cert isn't there any more"));
    world.put(None, secret(3), Observation::Secret);
    assert_ne!(certificate(&world), second);
    assert_eq!(world.condition("web", "Pinned"), "True Pinned");
}
