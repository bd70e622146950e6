#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
use super::*;
use crate::testing;

fn known(connected: u32, ready: u32, applied: u64) -> Serving {
    Serving::Known { counts: InstanceCounts { desired: 1, connected, ready }, applied }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000).unwrap()
}

/// All is well.
fn facts<'a>(claim: &'a GatewayClaim, addresses: &'a [String]) -> ClaimFacts<'a> {
    ClaimFacts {
        claim,
        binding: Binding::Bound("web".into()),
        addresses,
        unmet: None,
        listeners: vec![ListenerFacts { name: "http".into(), conflict: None, refused: None, expired: None }],
        template_problem: None,
        published: Some(3),
        serving: known(1, 1, 3),
        pinned: None,
        wanted: Some(vec![]),
        serves: true,
        engines: &[],
        dissent: &[],
    }
}

fn condition(status: &GatewayClaimStatus, kind: &str) -> (String, String) {
    let condition = find(&status.conditions, kind).unwrap();
    (condition.status.clone(), condition.reason.clone())
}

#[test]
fn programmed_only_when_all_holds() {
    let claim = testing::claim("web", "2026-01-01T00:00:00Z");
    let addresses = vec!["127.100.0.1".to_owned()];
    let good = facts(&claim, &addresses);
    let unmet = Unmet { reason: "AddressNotUsable", message: "192.0.2.1 is in use".into() };
    let conflict = Conflict::Hostname { port: 80, hostname: "a.example".into(), by: "listener x".into() };
    let refused = |conflict: Option<Conflict>, refused: Option<&str>| {
        vec![ListenerFacts { name: "http".into(), conflict, refused: refused.map(str::to_owned), expired: None }]
    };
    let cases: Vec<(&str, ClaimFacts<'_>, (&str, &str))> = vec![
        ("all is well", good.clone(), ("True", "Programmed")),
        ("ahead of it", ClaimFacts { serving: known(1, 1, 9), ..good.clone() }, ("True", "Programmed")),
        ("creating", ClaimFacts { binding: Binding::Creating(None), ..good.clone() }, ("False", "Pending")),
        (
            "no template",
            ClaimFacts { binding: Binding::TemplateMissing("x".into()), ..good.clone() },
            ("False", "Pending"),
        ),
        ("no address", ClaimFacts { addresses: &[], ..good.clone() }, ("False", "AddressNotAssigned")),
        ("unmet", ClaimFacts { unmet: Some(&unmet), ..good.clone() }, ("False", "AddressNotUsable")),
        ("bad template", ClaimFacts { template_problem: Some("line 3"), ..good.clone() }, ("False", "Invalid")),
        ("no listener", ClaimFacts { listeners: vec![], ..good.clone() }, ("False", "Invalid")),
        ("conflict", ClaimFacts { listeners: refused(Some(conflict), None), ..good.clone() }, ("False", "Invalid")),
        ("refused", ClaimFacts { listeners: refused(None, Some("port in use")), ..good.clone() }, ("False", "Invalid")),
        ("unpublished", ClaimFacts { published: None, ..good.clone() }, ("False", "Pending")),
        ("nobody", ClaimFacts { serving: known(0, 0, 0), ..good.clone() }, ("False", "NoResources")),
        ("not ready", ClaimFacts { serving: known(1, 0, 0), ..good.clone() }, ("False", "Pending")),
        ("not acknowledged", ClaimFacts { serving: known(2, 1, 2), ..good.clone() }, ("False", "Pending")),
        ("uncertain and new", ClaimFacts { serving: Serving::Uncertain, ..good.clone() }, ("False", "Pending")),
    ];
    for (name, facts, (status, reason)) in cases {
        let got = claim_status(&facts, now());
        assert_eq!(condition(&got, "Programmed"), (status.into(), reason.into()), "{name}");
        assert_eq!(got.observed_generation, 1, "{name}");
        assert_eq!(got.proxy.is_some(), matches!(facts.binding, Binding::Bound(_)), "{name}");
    }
}

#[test]
fn what_was_true_stays_while_it_is_uncertain() {
    let mut claim = testing::claim("web", "2026-01-01T00:00:00Z");
    let addresses = vec!["127.100.0.1".to_owned()];
    claim.status = Some(claim_status(&facts(&claim.clone(), &addresses), now()));
    let later = Timestamp::from_second(2_000).unwrap();
    let uncertain = claim_status(&ClaimFacts { serving: Serving::Uncertain, ..facts(&claim, &addresses) }, later);
    assert_eq!(Some(&uncertain), claim.status.as_ref());
    claim.metadata.generation = Some(2);
    let changed = claim_status(&ClaimFacts { serving: Serving::Uncertain, ..facts(&claim, &addresses) }, later);
    assert_eq!(condition(&changed, "Programmed"), ("False".into(), "Pending".into()));
}

#[test]
fn one_bad_listener_leaves_the_others() {
    let claim = testing::claim("web", "2026-01-01T00:00:00Z");
    let addresses = vec!["127.100.0.1".to_owned()];
    let conflict = Conflict::Protocol { port: 80, wanted: "HTTP", held: "TCP", by: "listener x".into() };
    let listeners = vec![
        ListenerFacts { name: "good".into(), conflict: None, refused: None, expired: None },
        ListenerFacts { name: "bad".into(), conflict: Some(conflict), refused: None, expired: None },
    ];
    let status = claim_status(&ClaimFacts { listeners, ..facts(&claim, &addresses) }, now());
    assert_eq!(condition(&status, "Programmed").0, "True");
    let said = find(&status.conditions, "Programmed").unwrap().message.clone();
    assert!(said.ends_with("can't be served: bad"), "the gateway's own condition names it: {said}");
    let of = |name: &str, kind: &str| {
        let listener = status.listeners.iter().find(|listener| listener.name == name).unwrap();
        find(&listener.conditions, kind).map(|found| (found.status.clone(), found.reason.clone()))
    };
    assert_eq!(of("good", "Programmed"), Some(("True".into(), "Programmed".into())));
    assert_eq!(of("good", "Conflicted"), None);
    assert_eq!(of("bad", "Programmed"), Some(("False".into(), "Invalid".into())));
    assert_eq!(of("bad", "Conflicted"), Some(("True".into(), "ProtocolConflict".into())));
}
