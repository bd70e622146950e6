use proptest::prelude::*;

use super::engines::{route, serving};
use super::pinned::pin;
use super::*;
use crate::keeper::Book;

#[derive(Clone, Debug)]
enum Deed {
    /// Route, host name, path.
    Route(u8, u8, u8),
    Remove(u8),
    /// A second listener comes or goes.
    Listener(bool),
    Pin(prop::sample::Index),
    Unpin,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        5 => (0u8..4, 0u8..3, 0u8..4).prop_map(|(route, host, path)| Deed::Route(route, host, path)),
        2 => (0u8..4).prop_map(Deed::Remove),
        2 => any::<bool>().prop_map(Deed::Listener),
        1 => any::<prop::sample::Index>().prop_map(Deed::Pin),
        1 => Just(Deed::Unpin),
    ]
}

fn carry_out(world: &mut World, book: &Book, deed: Deed, generation: i64) {
    match deed {
        Deed::Route(name, host, path) => {
            let mut route = route(&format!("r{name}"), &format!("{host}.example"));
            route.metadata.generation = Some(generation);
            route.spec.origin.generation = generation;
            let path = json!({ "path": { "type": "Exact", "value": format!("/{path}") } });
            route.spec.rules[0].matches = vec![serde_json::from_value(path).unwrap()];
            world.route(&route);
        }
        Deed::Remove(name) => {
            let name = format!("r{name}");
            if let Some(route) = world.read::<foregate_api::GatewayRoute>(Kind::Route, &name) {
                world.objects.remove(&(Kind::Route, name));
                world.pipeline.take_now(Observation::Route(Seen::Gone(Arc::new(route))));
                world.settle();
            }
        }
        Deed::Listener(there) => {
            let mut claim = crate::testing::claim("web", "2026-01-01T00:00:00Z");
            claim.metadata.generation = Some(generation);
            if there {
                let protocol = foregate_api::claim::ListenerProtocol::Http;
                claim.spec.listeners.push(crate::testing::listener("more", 8081, protocol, None));
            }
            world.claim(&claim);
        }
        Deed::Pin(which) => {
            let name = which.get(&book.written).name_any();
            pin(world, Some(&name));
        }
        Deed::Unpin => pin(world, None),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// Whatever happens, pins and rollbacks among it: any revision that is kept is, byte for byte, what was published
    /// when it was written, and pinning it publishes that.
    #[test]
    fn every_revision_is_what_was_published(deeds in prop::collection::vec(deed(), 1..14), at in any::<prop::sample::Index>()) {
        let (mut world, mut book) = (serving(), Book::default());
        world.keep(&mut book);
        let mut published = BTreeMap::new();
        for (deed, generation) in deeds.into_iter().zip(2..) {
            carry_out(&mut world, &book, deed, generation);
            world.keep(&mut book);
            world.acknowledge("web");
            if let Some(last) = book.written.last() {
                published.entry(last.name_any()).or_insert_with(|| world.steady());
            }
        }
        let names: Vec<String> = published.keys().cloned().collect();
        let name = at.get(&names);
        pin(&mut world, None);
        world.keep(&mut book);
        pin(&mut world, Some(name));
        world.keep(&mut book);
        prop_assert_eq!(&world.steady(), &published[name], "{}", name);
    }
}
