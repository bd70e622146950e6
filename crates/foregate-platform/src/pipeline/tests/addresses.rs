use super::*;
use crate::testing;

fn claim(name: &str, day: u8) -> GatewayClaim {
    testing::claim(name, &format!("2026-01-{day:02}T00:00:00Z"))
}

#[test]
fn an_exhausted_pool_says_so_and_heals_the_eldest_first() {
    let mut world = World::new("127.100.0.1-127.100.0.2");
    for (name, day) in [("a", 1), ("b", 2), ("d", 4), ("c", 3)] {
        world.claim(&claim(name, day));
    }
    for name in ["c", "d"] {
        assert_eq!(world.condition(name, "Programmed"), "False AddressNotAssigned");
        let message = world.status(name).conditions[1].message.clone();
        assert_eq!(
            message,
            "AddressPool default is exhausted (all 2 addresses are in use): add a range to it or free one"
        );
    }
    world.unclaim("a");
    assert_eq!(world.status("c").addresses, ["127.100.0.1"]);
    assert_eq!(world.condition("c", "Programmed"), "False NoResources");
    assert_eq!(world.condition("d", "Programmed"), "False AddressNotAssigned");

    let pool = edited(&*pool_of(""), |pool| pool.spec.ranges = vec!["127.100.0.1-127.100.0.9".into()]);
    world.put(Some(Kind::Pool), pool, Observation::Pool);
    assert_eq!(world.status("d").addresses, ["127.100.0.3"]);
}

#[test]
fn a_name_that_is_taken_unseen_is_passed_over() {
    let mut world = World::new("127.100.0.0/24");
    world.hidden = vec!["127.100.0.1".into(), "127.100.0.2".into()];
    world.claim(&claim("web", 1));
    assert_eq!(world.status("web").addresses, ["127.100.0.3"]);
}

#[test]
fn requested_addresses() {
    for (asked, range, reason, addresses) in [
        (&["127.100.0.7"][..], "127.100.0.0/24", "NoResources", &["127.100.0.7"][..]),
        (&["127.100.0.9", "127.100.0.8"], "127.100.0.0/24", "NoResources", &["127.100.0.9", "127.100.0.8"]),
        (&["2001:DB8:0::7"], "2001:db8::/64", "NoResources", &["2001:db8::7"]),
        (&["127.100.1.7"], "127.100.0.0/24", "AddressNotUsable", &[]),
        (&["web.example"], "127.100.0.0/24", "AddressNotUsable", &[]),
        (&["127.100.0.1"], "127.100.0.0/24", "AddressNotUsable", &[]),
        (&["127.100.0.1", "127.100.0.5"], "127.100.0.0/24", "AddressNotUsable", &["127.100.0.5"]),
    ] {
        let mut world = World::new(range);
        world.claim(&claim("first", 1));
        let mut wish = claim("web", 2);
        wish.spec.addresses = asked.iter().map(|&text| text.to_owned()).collect();
        world.claim(&wish);
        assert_eq!(world.condition("web", "Programmed"), format!("False {reason}"), "{asked:?}");
        assert_eq!(world.status("web").addresses, addresses, "{asked:?}");
    }
}

#[test]
fn a_requested_address_is_got_when_it_becomes_free() {
    let mut world = World::new("127.100.0.0/24");
    world.claim(&claim("first", 1));
    let mut wish = claim("web", 2);
    wish.spec.addresses = vec!["127.100.0.1".into()];
    world.claim(&wish);
    assert_eq!(world.condition("web", "Programmed"), "False AddressNotUsable");
    world.unclaim("first");
    assert_eq!(world.status("web").addresses, ["127.100.0.1"]);
}

/// As the conformance test GatewayStaticAddresses does.
#[test]
fn a_request_heals_when_what_cannot_be_used_is_taken_out_of_it() {
    let asking = |addresses: &[&str]| {
        edited(&claim("web", 2), |claim| {
            claim.spec.addresses = addresses.iter().map(|&text| text.to_owned()).collect();
        })
    };
    for unusable in ["203.0.113.1", "127.100.0.1"] {
        let mut world = World::new("127.100.0.0/24");
        world.claim(&claim("first", 1));
        world.claim(&asking(&[unusable, "127.100.0.7"]));
        assert_eq!(world.condition("web", "Programmed"), "False AddressNotUsable", "{unusable}");
        world.claim(&asking(&["127.100.0.7"]));
        world.connect("web");
        assert_eq!(world.condition("web", "Programmed"), "True Programmed", "{unusable}");
        assert_eq!(world.status("web").addresses, ["127.100.0.7"], "{unusable}");
    }
    let mut world = World::new("127.100.0.0/24");
    world.claim(&asking(&["203.0.113.1"]));
    assert_eq!(world.condition("web", "Programmed"), "False AddressNotUsable");
    world.claim(&asking(&[]));
    world.connect("web");
    assert_eq!(world.condition("web", "Programmed"), "True Programmed");
    assert_eq!(world.status("web").addresses, ["127.100.0.1"]);
}

#[test]
fn an_address_that_is_asked_for_later_replaces_the_old_one_once_it_is_there() {
    let mut world = World::new("127.100.0.0/24");
    world.claim(&claim("web", 1));
    let wish = edited(&claim("web", 1), |claim| claim.spec.addresses = vec!["127.100.0.9".into()]);
    world.claim(&wish);
    assert_eq!(world.status("web").addresses, ["127.100.0.9"]);
    assert_eq!(world.names(Kind::Address), ["127.100.0.9"]);
    let at = |verb: &str| world.writes.iter().rposition(|write| write.starts_with(verb)).unwrap();
    assert!(at("create Address 127.100.0.9") < at("delete Address 127.100.0.1"));
}

#[test]
fn a_claim_that_shares_has_no_say_in_addresses() {
    let mut world = World::new("127.100.0.0/24");
    let mut elder = claim("elder", 1);
    let mut younger = claim("younger", 2);
    elder.spec.sharing_key = Some("web".into());
    younger.spec.sharing_key = Some("web".into());
    younger.spec.listeners[0].port = 8081;
    younger.spec.addresses = vec!["127.100.0.9".into()];
    world.claim(&elder);
    world.claim(&younger);
    assert_eq!(world.condition("younger", "Programmed"), "False AddressNotUsable");
    assert_eq!(world.condition("elder", "Programmed"), "False NoResources");
}

#[test]
fn ranges_that_cannot_be_read_are_named() {
    let mut world = World::new("127.100.0.0-24");
    world.claim(&claim("web", 1));
    let message = world.status("web").conditions[1].message.clone();
    assert!(message.contains("correct its ranges; ignored: `127.100.0.0-24` is neither a CIDR"), "{message}");
}
