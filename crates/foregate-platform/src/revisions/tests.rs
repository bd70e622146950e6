#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
use foregate_api::revision::{ConfigRevisionSpec, KeptResource, ResourceChange, Snapshot};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use proptest::prelude::*;

use super::*;

const URL: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

/// A resource's content is its version: `v3`.
type State = BTreeMap<String, u32>;

fn version(content: u32) -> String {
    format!("v{content}")
}

fn text(content: u32) -> String {
    format!("{{\"v\":{content}}}")
}

/// The step from one state to the next.
fn step(number: u64, before: &State, after: &State) -> ConfigRevision {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changes = names.into_iter().filter(|name| before.get(*name) != after.get(*name)).map(|name| ResourceChange {
        type_url: URL.into(),
        name: name.clone(),
        old: before.get(name).copied().map(text),
        old_version: before.get(name).copied().map(version),
        old_needs: before.get(name).map(|it| format!("Secret s{it}")).into_iter().collect(),
        new_version: after.get(name).copied().map(version),
    });
    revision(number, (number > 1).then(|| format!("web-{}", number - 1)), changes.collect())
}

fn revision(number: u64, parent: Option<String>, changes: Vec<ResourceChange>) -> ConfigRevision {
    let spec = ConfigRevisionSpec {
        proxy: "web".into(),
        number,
        parent,
        time: MicroTime(Timestamp::UNIX_EPOCH),
        causes: vec![],
        change_count: changes.len() as u32,
        changes,
        refusals: vec![],
        snapshot: None,
    };
    let mut revision = ConfigRevision::new(&format!("web-{number}"), spec);
    revision.annotations_mut().insert(DIGEST.to_owned(), "0".to_owned());
    revision
}

fn versions(state: &State) -> Versions {
    state.iter().map(|(name, content)| (Named::new(URL, name), version(*content))).collect()
}

/// Revisions of a history of states; the first is empty.
fn history(states: &[State]) -> Vec<ConfigRevision> {
    (1..).zip(states.windows(2)).map(|(number, pair)| step(number, &pair[0], &pair[1])).collect()
}

fn check(rebuilt: &BTreeMap<Named, Kept>, expected: &State, now: &State) {
    assert_eq!(
        rebuilt.iter().map(|(id, kept)| (id.clone(), kept.version.clone())).collect::<Versions>(),
        versions(expected)
    );
    for (id, kept) in rebuilt {
        let content = expected[&id.name];
        if now.get(&id.name) == Some(&content) {
            assert_eq!((&kept.text, kept.needs.len()), (&None, 0));
        } else {
            assert_eq!(
                (kept.text.clone(), kept.needs.clone()),
                (Some(text(content)), vec![format!("Secret s{content}")])
            );
        }
    }
}

fn snapshot_of(state: &State, revision_name: &str) -> Vec<ConfigRevision> {
    let resource = |(name, content): (&String, &u32)| KeptResource {
        type_url: URL.into(),
        name: name.clone(),
        version: version(*content),
        text: text(*content),
        needs: vec![format!("Secret s{content}")],
    };
    let parts = parts(revision_name, state.iter().map(resource).collect());
    let object = |part: Snapshot| {
        let mut object = revision(0, None, vec![]);
        object.spec.snapshot = Some(part);
        object
    };
    parts.into_iter().map(object).collect()
}

proptest! {
    /// Whatever has happened since: what was served at a revision is what is rebuilt; with or without its steps, and
    /// whether its objects come in order or not.
    #[test]
    fn rebuilds_what_was_served(
        edits in prop::collection::vec(prop::collection::btree_map("[a-e]", prop::option::of(0u32..4), 0..4), 1..12),
        at in any::<prop::sample::Index>(),
        reverse in any::<bool>(),
    ) {
        let mut states = vec![State::new()];
        for edit in edits {
            let mut state = states.last().unwrap().clone();
            for (name, content) in edit {
                match content {
                    Some(content) => drop(state.insert(name, content)),
                    None => drop(state.remove(&name)),
                }
            }
            states.push(state);
        }
        let mut revisions = history(&states);
        if reverse { revisions.reverse(); }
        let now = states.last().unwrap();
        let number = 1 + at.index(states.len() - 1);
        let name = format!("web-{number}");
        check(&rebuild(&revisions, "web", &versions(now), &name).unwrap(), &states[number], now);
        // With a snapshot alone.
        let alone = snapshot_of(&states[number], &name);
        check(&rebuild(&alone, "web", &versions(now), &name).unwrap(), &states[number], now);
        // A difference, applied, leads from one to the other.
        let text_now = |id: &Named| now.get(&id.name).map(|it| (version(*it), text(*it)));
        let other = 1 + (number * 7) % (states.len() - 1);
        let found = diff(&revisions, "web", text_now, &name, Some(&format!("web-{other}"))).unwrap();
        let mut moved = states[number].clone();
        for ResourceDiff { id, old, new } in found {
            prop_assert_eq!(old.as_ref().map(|side| side.version.clone()), moved.get(&id.name).copied().map(version));
            prop_assert!(old.iter().chain(&new).all(|side| side.text.as_deref().is_some_and(|it| it.contains(&side.version[1..]))));
            match new {
                Some(side) => drop(moved.insert(id.name, side.version[1..].parse().unwrap())),
                None => drop(moved.remove(&id.name)),
            }
        }
        prop_assert_eq!(&moved, &states[other]);
    }
}

fn three() -> Vec<State> {
    [&[][..], &[("a", 1)], &[("a", 2)], &[("a", 2), ("b", 1)]]
        .iter()
        .map(|state| state.iter().map(|&(name, content)| (name.to_owned(), content)).collect())
        .collect()
}

#[test]
fn what_is_gone_or_unknown_is_said() {
    let states = three();
    let now = versions(&states[3]);
    let mut revisions = history(&states);
    let error = rebuild(&revisions, "web", &now, "web-9").unwrap_err();
    assert_eq!(error.to_string(), "ConfigRevision web-9 isn't kept (any more); kept are web-1 to web-3");
    assert_eq!(rebuild(&revisions, "other", &now, "web-1").unwrap_err().to_string().matches("none is kept").count(), 1);
    revisions[1].spec.parent = None;
    let error = rebuild(&revisions, "web", &now, "web-1").unwrap_err().to_string();
    assert_eq!(error, "what was served at web-1 can't be told: what changed between web-1 and web-2 isn't known");
    assert!(rebuild(&revisions, "web", &now, "web-2").is_ok());
    assert_eq!(list(&revisions, "web").iter().map(|it| it.cut).collect::<Vec<_>>(), [false, true, false]);
    let ahead = versions(&states[1]);
    let error = rebuild(&revisions, "web", &ahead, "web-2").unwrap_err().to_string();
    assert!(error.contains("Listener b isn't what web-3 made it"), "{error}");
}

#[test]
fn a_part_of_a_step_was_never_served() {
    let states = three();
    let now = versions(&states[3]);
    let mut revisions = history(&states);
    revisions[1].annotations_mut().clear();
    assert_eq!(list(&revisions, "web").iter().map(|it| it.partial).collect::<Vec<_>>(), [false, true, false]);
    let error = rebuild(&revisions, "web", &now, "web-2").unwrap_err().to_string();
    assert_eq!(error, "web-2 is a part of a step that ends with web-3; take web-3, or the revision before web-2");
    check(&rebuild(&revisions, "web", &now, "web-1").unwrap(), &states[1], &states[3]);
}

#[test]
fn a_snapshot_serves_where_steps_are_lost_and_only_whole() {
    let states = three();
    let now = versions(&states[3]);
    let mut revisions = history(&states);
    revisions[1].spec.parent = None;
    let mut parts = snapshot_of(&states[1], "web-1");
    revisions.append(&mut parts);
    check(&rebuild(&revisions, "web", &now, "web-1").unwrap(), &states[1], &states[3]);
    assert_eq!(list(&revisions, "web").len(), 3, "parts of snapshots are no steps");
    if let Some(Snapshot { parts, .. }) = &mut revisions.last_mut().unwrap().spec.snapshot {
        *parts = 2;
    }
    assert!(rebuild(&revisions, "web", &now, "web-1").is_err());
}

#[test]
fn large_snapshots_are_split() {
    let resource = |name: u32| KeptResource {
        type_url: URL.into(),
        name: name.to_string(),
        version: "v".into(),
        text: "\"".repeat(200_000),
        needs: vec![],
    };
    let parts = parts("web-1", (0..5).map(resource).collect());
    assert_eq!(parts.iter().map(|part| part.resources.len()).collect::<Vec<_>>(), [2, 2, 1]);
    assert!(parts.iter().all(|part| part.parts == 3 && serde_json::to_string(part).unwrap().len() < 1_400_000));
}
