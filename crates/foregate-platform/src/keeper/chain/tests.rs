#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
use foregate_envoy::{ResourceId, ResourceKind};

use super::*;
use crate::testing::origin;

const PROXY: &str = "web";

fn proxy() -> ProxyRef {
    ProxyRef { namespace: "t".into(), name: PROXY.into() }
}

/// Steps from one version of `name` to another; the body is the version's text.
fn change(name: &str, old: Option<&str>, new: Option<&str>) -> foregate_translate::ResourceChange {
    foregate_translate::ResourceChange {
        id: ResourceId::new(ResourceKind::VirtualHost, name),
        old: old.map(|text| text.as_bytes().to_vec().into()),
        old_version: old.map(Arc::from),
        old_needs: Arc::default(),
        new_version: new.map(Arc::from),
    }
}

fn step(changes: Vec<foregate_translate::ResourceChange>) -> Step {
    Step {
        proxy: proxy(),
        uid: Some("uid".into()),
        baseline: false,
        causes: vec![origin("HTTPRoute", "a", "2026-01-01T00:00:00Z")],
        changes,
        refusals: vec![],
    }
}

fn text(_: &str, body: &[u8]) -> Option<String> {
    String::from_utf8(body.to_vec()).ok()
}

/// Writes what is due; returns what was written.
fn write(chain: &mut Chain, now: Instant) -> Vec<ConfigRevision> {
    let drafts = chain.drafts(&proxy(), Timestamp::UNIX_EPOCH, text);
    let written = drafts.iter().map(|draft| draft.revision.clone()).collect();
    drafts.into_iter().for_each(|draft| chain.written(draft, now));
    written
}

#[test]
fn the_first_is_due_at_once_and_the_next_gathers_for_a_second() {
    let (mut chain, start) = (Chain::default(), Instant::now());
    assert_eq!(chain.due(), None);
    chain.absorb(step(vec![change("a", None, Some("1"))]), start);
    assert!(chain.due().unwrap() <= start);
    assert_eq!(write(&mut chain, start).len(), 1);
    for (old, new) in [("1", "2"), ("2", "3")] {
        chain.absorb(step(vec![change("a", Some(old), Some(new))]), start);
    }
    chain.absorb(step(vec![change("b", None, Some("1"))]), start);
    assert_eq!(chain.due(), Some(start + INTERVAL));
    let written = write(&mut chain, start);
    let [revision] = written.as_slice() else { panic!("{written:#?}") };
    assert_eq!((revision.spec.number, revision.spec.parent.as_deref()), (2, Some("web-1")));
    assert_eq!(revision.spec.causes.len(), 1);
    let a = &revision.spec.changes[0];
    assert_eq!(
        (a.old.as_deref(), a.old_version.as_deref(), a.new_version.as_deref()),
        (Some("1"), Some("1"), Some("3"))
    );
    assert_eq!(revision.spec.change_count, 2);
    assert_eq!(chain.due(), None);
}

#[test]
fn there_and_back_again_is_nothing() {
    let (mut chain, start) = (Chain::default(), Instant::now());
    chain.absorb(step(vec![change("a", None, Some("1"))]), start);
    write(&mut chain, start);
    chain.absorb(step(vec![change("a", Some("1"), Some("2")), change("b", None, Some("1"))]), start);
    chain.absorb(step(vec![change("a", Some("2"), Some("1")), change("b", Some("1"), None)]), start);
    assert_eq!(chain.due(), None);
}

#[test]
fn a_start_that_changes_nothing_writes_nothing_and_one_that_does_begins_anew() {
    let (mut before, start) = (Chain::default(), Instant::now());
    before.absorb(step(vec![change("a", None, Some("1")), change("b", None, Some("1"))]), start);
    before.absorb(step(vec![change("b", Some("1"), Some("2"))]), start);
    let last = write(&mut before, start).pop().unwrap();

    let baseline = |versions: &[(&str, &str)]| {
        let mut chain = Chain::default();
        chain.recall(&last);
        let changes = versions.iter().map(|(name, version)| change(name, None, Some(version))).collect();
        chain.absorb(Step { baseline: true, ..step(changes) }, start);
        chain
    };
    let mut same = baseline(&[("b", "2"), ("a", "1")]);
    assert_eq!(same.due(), None);
    same.absorb(step(vec![change("a", Some("1"), None)]), start);
    assert_eq!(write(&mut same, start)[0].spec.parent.as_deref(), Some("web-1"));

    let mut other = baseline(&[("b", "3"), ("a", "1")]);
    assert!(other.due().is_some());
    let cut = write(&mut other, start);
    assert_eq!((cut[0].spec.number, &cut[0].spec.parent, cut[0].spec.changes.len()), (2, &None, 0));
    assert_eq!(other.due(), None);
}

#[test]
fn ten_and_the_pinned_one_stay() {
    let (mut chain, start) = (Chain::default(), Instant::now());
    for number in 0..14u32 {
        let (old, new) = (number.to_string(), (number + 1).to_string());
        chain.pin(Some("web-2".to_owned()), None);
        chain.absorb(step(vec![change("a", Some(&old), Some(&new))]), start);
        write(&mut chain, start);
    }
    assert_eq!(chain.take_surplus(), ["web-1", "web-3", "web-4"]);
    assert_eq!(chain.take_surplus(), Vec::<String>::new());
    assert_eq!(chain.names().len(), 11);
}

#[test]
fn a_step_of_several_parts_counts_once_and_goes_as_a_whole() {
    let (mut chain, start) = (Chain::default(), Instant::now());
    let large = "x".repeat(700_000);
    let change = |name, old: &str, new: &str| foregate_translate::ResourceChange {
        old_version: Some(old.into()),
        ..change(name, Some(&large), Some(new))
    };
    for number in 0..11u32 {
        let (old, new) = (number.to_string(), (number + 1).to_string());
        chain.absorb(step(vec![change("a", &old, &new), change("b", &old, &new)]), start);
        assert_eq!(write(&mut chain, start).len(), 2);
        let surplus = chain.take_surplus();
        assert_eq!(surplus, if number == 10 { vec!["web-1", "web-2"] } else { vec![] });
    }
    assert_eq!(chain.names().len(), 20);
}

#[test]
fn what_is_too_large_for_one_object_becomes_several() {
    let (mut chain, start) = (Chain::default(), Instant::now());
    let large = "x".repeat(400_000);
    let change = |name| foregate_translate::ResourceChange {
        old_version: Some("old".into()),
        ..change(name, Some(&large), Some("new"))
    };
    chain.absorb(step(["a", "b", "c", "d", "e"].map(change).to_vec()), start);
    let written = write(&mut chain, start);
    assert_eq!(written.iter().map(|revision| revision.spec.changes.len()).collect::<Vec<_>>(), [2, 2, 1]);
    assert!(written.iter().all(|revision| serde_json::to_string(revision).unwrap().len() < 1_500_000));
    assert_eq!(written[2].spec.parent.as_deref(), Some("web-2"));
    assert!(written[0].annotations().is_empty() && written[2].annotations().contains_key(DIGEST));
}

#[test]
fn failures_wait_and_lose_nothing() {
    let (mut chain, start) = (Chain::default(), Instant::now());
    chain.absorb(step(vec![change("a", None, Some("1"))]), start);
    chain.failed(start);
    assert_eq!(chain.due(), Some(start + INTERVAL * 2));
    chain.skip_number(start);
    let written = write(&mut chain, start);
    assert_eq!((written[0].spec.number, written[0].spec.changes.len()), (2, 1));
}
