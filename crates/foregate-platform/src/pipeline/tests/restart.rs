use super::*;
use crate::testing;

/// Another platform process, on the same objects.
pub(super) fn restarted(before: &World) -> World {
    let mut world = World::empty();
    world.objects = before.objects.clone();
    world.version = before.version;
    fn all<K: DeserializeOwned>(world: &World, kind: Kind) -> Seen<K> {
        let of_kind = world.objects.iter().filter(|((of, _), _)| *of == kind);
        Seen::All(of_kind.map(|(_, object)| Arc::new(serde_json::from_value(object.clone()).unwrap())).collect())
    }
    let first = [
        Observation::Pool(all(&world, Kind::Pool)),
        Observation::Template(Seen::All(vec![template()])),
        Observation::Claim(all(&world, Kind::Claim)),
        Observation::Proxy(all(&world, Kind::Proxy)),
        Observation::Address(all(&world, Kind::Address)),
        Observation::Instance(all(&world, Kind::Instance)),
        Observation::Route(all(&world, Kind::Route)),
        Observation::Backend(all(&world, Kind::Backend)),
        Observation::Node(Seen::All(vec![])),
        Observation::Slice(Seen::All(vec![])),
    ];
    first.into_iter().for_each(|observation| world.pipeline.take_now(observation));
    assert!(world.pipeline.step(world.now, clock()).writes.is_empty());
    assert!(world.group("web").is_empty(), "nothing is published before the last list is here");
    world.pipeline.take_now(Observation::Secret(Seen::All(vec![])));
    world.settle();
    world
}

pub(super) fn running() -> World {
    let mut world = World::new("127.100.0.1-127.100.0.2");
    for (name, day) in [("web", 1), ("other", 2), ("hungry", 3)] {
        world.claim(&testing::claim(name, &format!("2026-01-{day:02}T00:00:00Z")));
    }
    world.connect("web");
    world
}

#[test]
fn nothing_is_written_when_nothing_has_changed() {
    let before = running();
    assert_eq!(before.condition("web", "Programmed"), "True Programmed");
    let mut after = restarted(&before);
    assert_eq!(after.writes, Vec::<String>::new());
    assert_eq!(after.group("web"), before.group("web"));
    // The engine comes back, first without and then with all acknowledged.
    after.connect("web");
    assert_eq!(after.writes, Vec::<String>::new());
    assert_eq!(after.objects, before.objects);
    let steps =
        |world: &World| world.records.iter().all(|record| matches!(record, Record::Step(step) if step.baseline));
    assert!(steps(&after) && !steps(&before));
}

#[test]
fn an_engine_that_does_not_come_back_is_told_of_after_a_while() {
    let mut after = restarted(&running());
    after.now += Duration::from_secs(9);
    after.settle();
    assert_eq!(after.condition("web", "Programmed"), "True Programmed");
    after.now += Duration::from_secs(1);
    after.settle();
    assert_eq!(after.condition("web", "Programmed"), "False NoResources");
}

#[test]
fn what_has_changed_meanwhile_is_caught_up_with() {
    let mut before = running();
    before.objects.remove(&(Kind::Claim, "other".into()));
    let mut after = restarted(&before);
    assert_eq!(after.names(Kind::Proxy), ["hungry", "web"]);
    assert_eq!(after.status("hungry").addresses, ["127.100.0.2"]);
    after.connect("hungry");
    assert_eq!(after.condition("hungry", "Programmed"), "True Programmed");
}
