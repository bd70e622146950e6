use super::restart::{restarted, running};
use super::*;

#[test]
fn an_empty_platform_serves_at_once() {
    let mut world = World::new("127.100.0.0/24");
    assert_eq!(world.serving, 1);
    world.claim(&crate::testing::claim("web", "2026-01-01T00:00:00Z"));
    world.connect("web");
    assert_eq!(world.serving, 1, "said once");
}

#[test]
fn every_gateway_of_before_is_waited_for() {
    let before = running();
    let mut after = restarted(&before);
    after.hear(Event::Connected(instance("web")));
    after.connect("other");
    // The pool is exhausted: it has nothing to listen on, but its engine is told so.
    after.connect("hungry");
    assert_eq!(after.serving, 0, "connected isn't applied");
    after.acknowledge("web");
    assert_eq!(after.serving, 1);
}

#[test]
fn what_a_crash_has_lost_is_made_first() {
    for kept in 0..3 {
        let mut before = running();
        // What derives from the claim was written in this order; the end is what is lost.
        let lost = [Kind::Proxy, Kind::Address, Kind::Instance].into_iter().skip(kept);
        for kind in lost {
            before.objects.retain(|(of, _), _| *of != kind);
        }
        let mut after = restarted(&before);
        assert_eq!(after.serving, 0);
        for proxy in ["web", "other", "hungry"] {
            assert_eq!(after.serving, 0, "{proxy} is missing");
            after.connect(proxy);
        }
        assert_eq!(after.serving, 1);
        assert_eq!(after.names(Kind::Instance).len(), 3);
    }
}

#[test]
fn a_gateway_that_goes_is_not_waited_for() {
    let before = running();
    let mut after = restarted(&before);
    after.connect("web");
    after.connect("other");
    assert_eq!(after.serving, 0);
    after.unclaim("hungry");
    assert_eq!(after.serving, 1);
}

#[test]
fn an_engine_that_does_not_run_is_not_waited_for() {
    let before = running();
    let mut after = restarted(&before);
    after.connect("web");
    after.connect("other");
    assert_eq!(after.serving, 0);
    after.engine("tenant-default.hungry.local", "Backoff", "it dies again and again");
    assert_eq!(after.serving, 1);
}
