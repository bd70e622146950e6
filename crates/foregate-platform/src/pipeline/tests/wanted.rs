use foregate_api::GatewayBackend;
use foregate_xds::ResourceKind;

use super::engines::serving;
use super::pinned::{backend, content, pin, to_backend};
use super::*;
use crate::keeper::{Book, Rebuilt};
use crate::pipeline::wanted::DERIVED_WITHIN;

const BLUE: &str = "local-blue-80";
const GREEN: &str = "local-green-80";

/// A gateway whose route has moved from blue to green, with what was published at blue and now.
struct Moved {
    world: World,
    book: Book,
    revision: String,
    then: Vec<(String, Vec<u8>)>,
    now: Vec<(String, Vec<u8>)>,
}

fn moved() -> Moved {
    let (mut world, mut book) = (serving(), Book::default());
    for name in [BLUE, GREEN] {
        world.put(Some(Kind::Backend), backend(name), Observation::Backend);
    }
    world.route(&to_backend("a", "a.example", BLUE));
    world.acknowledge("web");
    world.keep(&mut book);
    let (revision, then) = (book.written.last().unwrap().name_any(), world.steady());
    world.route(&edited(&to_backend("a", "a.example", GREEN), |_| {}));
    world.acknowledge("web");
    world.keep(&mut book);
    let now = world.steady();
    assert_ne!(then, now);
    Moved { world, book, revision, then, now }
}

fn lose(world: &mut World, name: &str) {
    let object: GatewayBackend = world.read(Kind::Backend, name).unwrap();
    world.objects.remove(&(Kind::Backend, name.to_owned()));
    world.pipeline.take_now(Observation::Backend(Seen::Gone(Arc::new(object))));
    world.settle();
}

fn slice() -> GatewayEndpointSlice {
    let spec = json!({
        "origin": crate::testing::origin("EndpointSlice", "blue-1", "2026-01-01T00:00:00Z"),
        "serviceUid": format!("uid-{BLUE}"),
        "ports": [{ "name": "", "port": 9000 }],
        "endpoints": [{ "addresses": ["10.0.0.1"], "ready": true, "serving": true, "terminating": false }],
    });
    let mut slice = GatewayEndpointSlice::new("local-blue-1", serde_json::from_value(spec).unwrap());
    slice.metadata.namespace = Some("tenant-default".into());
    slice
}

#[test]
fn what_a_revision_needs_is_wanted_and_waited_for() {
    let Moved { mut world, mut book, revision, then, now } = moved();
    lose(&mut world, BLUE);
    assert!(world.status("web").wanted_backends.is_empty());
    pin(&mut world, Some(&revision));
    world.keep(&mut book);
    assert_eq!(world.steady(), now, "nobody is sent to endpoints that aren't known");
    assert_eq!(world.condition("web", "Pinned"), "True Pending");
    assert!(world.message("Pinned").contains("of 1 backend(s)"), "{}", world.message("Pinned"));
    assert_eq!(world.status("web").wanted_backends, [BLUE, GREEN], "green still serves");

    let mut blue = backend(BLUE);
    blue.spec.endpoint_slices = vec!["local-blue-1".into()];
    world.put(Some(Kind::Backend), blue, Observation::Backend);
    assert_eq!(world.steady(), now, "its slice is missing");
    world.put(None, slice(), Observation::Slice);
    assert_eq!(world.steady(), then);
    assert_eq!(world.condition("web", "Pinned"), "True Pinned");
    assert_eq!(world.status("web").wanted_backends, [BLUE]);
    let all = world.cache.dump("tenant-default/web");
    let endpoints = all.iter().find(|it| it.id.kind == ResourceKind::ClusterLoadAssignment).unwrap();
    assert!(endpoints.body.windows(8).any(|it| it == b"10.0.0.1"), "with its endpoints from the first moment");

    // It is wanted as long as it is held, whatever routes name.
    world.route(&edited(&to_backend("b", "b.example", BLUE), |_| {}));
    assert_eq!(world.status("web").wanted_backends, [BLUE]);
    pin(&mut world, None);
    assert!(world.status("web").wanted_backends.is_empty());
    assert_eq!(world.condition("web", "Pinned"), "absent");
}

#[test]
fn what_never_comes_is_not_waited_for_long() {
    let Moved { mut world, mut book, revision, then, now } = moved();
    lose(&mut world, BLUE);
    let start = world.now;
    pin(&mut world, Some(&revision));
    world.keep(&mut book);
    assert_eq!(world.steady(), now);
    assert!(world.pipeline.next_deadline().is_some_and(|at| at <= start + DERIVED_WITHIN));
    world.now = start + DERIVED_WITHIN;
    world.settle();
    assert_eq!(world.steady(), then);
    assert_eq!(world.condition("web", "Pinned"), "True Incomplete");
    assert!(world.message("Pinned").contains("answered with 503"), "{}", world.message("Pinned"));
    assert_eq!(world.status("web").wanted_backends, [BLUE], "should it come after all");
    world.put(Some(Kind::Backend), backend(BLUE), Observation::Backend);
    assert_eq!(world.condition("web", "Pinned"), "True Pinned");
}

/// A route moves on right after the pin: its backend goes and comes again, as a controller learns late that it is wanted.
#[test]
fn endpoints_that_come_again_at_once_were_never_gone() {
    let Moved { mut world, mut book, revision, .. } = moved();
    pin(&mut world, Some(&revision));
    world.keep(&mut book);
    let endpoints = |world: &World| {
        let all = world.cache.dump("tenant-default/web");
        all.into_iter().find(|it| it.id.kind == ResourceKind::ClusterLoadAssignment).unwrap().version
    };
    let mut blue = backend(BLUE);
    blue.spec.endpoint_slices = vec!["local-blue-1".into()];
    world.put(None, slice(), Observation::Slice);
    world.put(Some(Kind::Backend), blue.clone(), Observation::Backend);
    let before = endpoints(&world);
    lose(&mut world, BLUE);
    assert_eq!((endpoints(&world), world.condition("web", "Pinned")), (before.clone(), "True Pinned".into()));
    // Watches of different kinds are independent streams.
    world.pipeline.take_now(Observation::Slice(Seen::Gone(Arc::new(slice()))));
    world.put(Some(Kind::Backend), blue, Observation::Backend);
    assert_eq!(endpoints(&world), before);
    world.put(None, slice(), Observation::Slice);
    world.now += DERIVED_WITHIN;
    world.settle();
    assert_eq!((endpoints(&world), world.condition("web", "Pinned")), (before.clone(), "True Pinned".into()));

    // For good.
    lose(&mut world, BLUE);
    assert_eq!(endpoints(&world), before);
    world.now = world.pipeline.next_deadline().unwrap();
    world.settle();
    assert_ne!(endpoints(&world), before);
    assert_eq!(world.condition("web", "Pinned"), "True Incomplete");
}

#[test]
fn whoever_unpins_waits_for_nothing() {
    let Moved { mut world, mut book, revision, now, .. } = moved();
    lose(&mut world, BLUE);
    pin(&mut world, Some(&revision));
    world.keep(&mut book);
    pin(&mut world, None);
    world.keep(&mut book);
    world.now += DERIVED_WITHIN;
    world.settle();
    assert_eq!(world.steady(), now);
    assert!(world.status("web").wanted_backends.is_empty() && world.pipeline.waiting.is_empty());
}

/// Until a restarted platform knows what a revision needs, what it said before holds; and what was missing then is
/// missing for good.
#[test]
fn a_restart_takes_nothing_back_and_waits_for_nothing_twice() {
    let Moved { mut world, mut book, revision, then, .. } = moved();
    lose(&mut world, BLUE);
    pin(&mut world, Some(&revision));
    world.keep(&mut book);
    world.now += DERIVED_WITHIN;
    world.settle();
    assert_eq!(world.condition("web", "Pinned"), "True Incomplete");

    let mut after = super::restart::restarted(&world);
    assert_eq!(after.status("web").wanted_backends, [BLUE]);
    let cluster = |name: &str| name.starts_with("Cluster ");
    let resources = then.iter().map(|(name, body)| {
        let (id, mut made) = content(name, body);
        if let crate::keeper::Content::Old(old) = &mut made
            && cluster(name)
        {
            old.needs = [foregate_xds::ResourceId::new(ResourceKind::ClusterLoadAssignment, &*id.name)].into();
        }
        (id, made)
    });
    let proxy = proxy_ref(&Key::new("tenant-default", "web"));
    let answer = Rebuilt { proxy, revision, resources: Ok(resources.collect()) };
    let now = after.now;
    after.pipeline.take(Input::Rebuilt(answer), now, clock());
    after.settle();
    assert_eq!(after.steady(), then);
    assert_eq!(after.status("web").wanted_backends, [BLUE]);
}
