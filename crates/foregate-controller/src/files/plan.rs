//! What is to be done so that the API has what the files say. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::document::ObjectKey;
use super::rank::rank;

/// An object that is in the API because of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Which file.
    pub file: PathBuf,
    /// What it said.
    pub hash: String,
    /// The object's UID.
    pub uid: String,
    /// Nobody else made it: it may be deleted.
    pub owned: bool,
}

/// What a file says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// These objects, with their hashes.
    Good(BTreeMap<ObjectKey, String>),
    /// It can't be taken: what it said before stays. These are the objects that it names, as far as it can be read.
    Kept(BTreeSet<ObjectKey>),
}

/// What is to be done, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Objects to be applied, each with its file.
    pub put: Vec<(ObjectKey, PathBuf)>,
    /// Objects to be deleted.
    pub delete: Vec<ObjectKey>,
    /// Objects that stay, though no file says so any more: somebody else made them.
    pub leave: Vec<ObjectKey>,
}

/// An object that a file can't have, because another has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Duplicate {
    pub file: PathBuf,
    pub key: ObjectKey,
    pub holder: PathBuf,
}

/// Objects that several files say, and which of them can't have it: it stays with the file that has it, or goes to the
/// first by name.
pub(crate) fn duplicates(known: &BTreeMap<ObjectKey, Known>, files: &BTreeMap<PathBuf, View>) -> Vec<Duplicate> {
    let mut by_key: BTreeMap<&ObjectKey, Vec<&PathBuf>> = BTreeMap::new();
    for (file, view) in files {
        if let View::Good(objects) = view {
            objects.keys().for_each(|key| by_key.entry(key).or_default().push(file));
        }
    }
    let mut found = Vec::new();
    for (key, wanting) in by_key {
        let had_by = known.get(key).map(|known| &known.file);
        let keeps = |file: &&PathBuf| matches!(files.get(*file), Some(View::Kept(_)));
        let holder = had_by.filter(|file| wanting.contains(file) || keeps(file)).or(wanting.first().copied());
        let Some(holder) = holder else { continue };
        let others = wanting.into_iter().filter(|file| *file != holder);
        found.extend(others.map(|file| Duplicate { file: file.clone(), key: key.clone(), holder: holder.clone() }));
    }
    found
}

/// What follows. `stays`: whether what a file that isn't there said stays all the same.
pub(crate) fn plan(
    known: &BTreeMap<ObjectKey, Known>,
    files: &BTreeMap<PathBuf, View>,
    stays: impl Fn(&Path) -> bool,
) -> Plan {
    let mut plan = Plan::default();
    let mut wanted = BTreeSet::new();
    for (file, view) in files {
        match view {
            View::Good(objects) => {
                for (key, hash) in objects {
                    wanted.insert(key);
                    if known.get(key).is_none_or(|known| known.file != *file || known.hash != *hash) {
                        plan.put.push((key.clone(), file.clone()));
                    }
                }
            }
            View::Kept(named) => wanted.extend(named),
        }
    }
    for (key, known) in known.iter().filter(|(key, _)| !wanted.contains(key)) {
        let kept = match files.get(&known.file) {
            Some(View::Kept(_)) => true,
            Some(View::Good(_)) => false,
            None => stays(&known.file),
        };
        match (kept, known.owned) {
            (true, _) => {}
            (false, true) => plan.delete.push(key.clone()),
            (false, false) => plan.leave.push(key.clone()),
        }
    }
    plan.put.sort_by_cached_key(|(key, _)| (rank(key), key.clone()));
    plan.delete.sort_by_cached_key(|key| (std::cmp::Reverse(rank(key)), key.clone()));
    plan
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> ObjectKey {
        let (kind, name) = text.split_once(' ').unwrap();
        ObjectKey { group: String::new(), kind: kind.into(), namespace: String::new(), name: name.into() }
    }

    fn known(entries: &[(&str, &str, &str)]) -> BTreeMap<ObjectKey, Known> {
        let known = |file: &str, hash: &str| Known {
            file: file.into(),
            hash: hash.trim_end_matches('!').into(),
            uid: String::new(),
            owned: !hash.ends_with('!'),
        };
        entries.iter().map(|(object, file, hash)| (key(object), known(file, hash))).collect()
    }

    fn good(objects: &[(&str, &str)]) -> View {
        View::Good(objects.iter().map(|(object, hash)| (key(object), (*hash).to_owned())).collect())
    }

    fn kept(objects: &[&str]) -> View {
        View::Kept(objects.iter().map(|object| key(object)).collect())
    }

    fn files(entries: Vec<(&str, View)>) -> BTreeMap<PathBuf, View> {
        entries.into_iter().map(|(file, view)| (file.into(), view)).collect()
    }

    fn shown(plan: &Plan) -> String {
        let put = plan.put.iter().map(|(key, file)| format!("+{key}@{}", file.display()));
        let delete = plan.delete.iter().map(|key| format!("-{key}"));
        let leave = plan.leave.iter().map(|key| format!("~{key}"));
        put.chain(delete).chain(leave).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn plans() {
        type Case<'a> = (&'a str, Vec<(&'a str, &'a str, &'a str)>, Vec<(&'a str, View)>, &'a str);
        let cases: Vec<Case<'_>> = vec![
            ("new", vec![], vec![("a", good(&[("Service x", "1")]))], "+Service x@a"),
            ("same", vec![("Service x", "a", "1")], vec![("a", good(&[("Service x", "1")]))], ""),
            ("changed", vec![("Service x", "a", "1")], vec![("a", good(&[("Service x", "2")]))], "+Service x@a"),
            ("removed", vec![("Service x", "a", "1")], vec![("a", good(&[]))], "-Service x"),
            ("file gone", vec![("Service x", "a", "1")], vec![], "-Service x"),
            ("somebody else's", vec![("Service x", "a", "1!")], vec![], "~Service x"),
            ("moved", vec![("Service x", "a", "1")], vec![("b", good(&[("Service x", "1")]))], "+Service x@b"),
            ("in a broken file", vec![("Service x", "a", "1")], vec![("a", kept(&[]))], ""),
            (
                "moved to a broken file",
                vec![("Service x", "a", "1")],
                vec![("a", good(&[])), ("b", kept(&["Service x"]))],
                "",
            ),
            ("not there for now", vec![("Service x", "away/a", "1")], vec![], ""),
            (
                "order",
                vec![("Service old", "a", "1"), ("Gateway old", "a", "1")],
                vec![("a", good(&[("HTTPRoute r", "1"), ("Gateway g", "1"), ("Namespace n", "1"), ("Odd o", "1")]))],
                "+Namespace n@a +Odd o@a +Gateway g@a +HTTPRoute r@a -Gateway old -Service old",
            ),
        ];
        for (name, before, now, expected) in cases {
            let plan = plan(&known(&before), &files(now), |file| file.starts_with("away"));
            assert_eq!(shown(&plan), expected, "{name}");
        }
    }

    #[test]
    fn who_has_an_object_keeps_it() {
        let both = || files(vec![("a", good(&[("Service x", "1")])), ("b", good(&[("Service x", "1")]))]);
        let losers = |known: &BTreeMap<ObjectKey, Known>, files: &BTreeMap<PathBuf, View>| {
            duplicates(known, files).into_iter().map(|it| (it.file, it.holder)).collect::<Vec<_>>()
        };
        assert_eq!(losers(&known(&[]), &both()), [("b".into(), "a".into())]);
        assert_eq!(losers(&known(&[("Service x", "b", "1")]), &both()), [("a".into(), "b".into())]);
        let broken = files(vec![("a", kept(&[])), ("b", good(&[("Service x", "1")]))]);
        assert_eq!(losers(&known(&[("Service x", "a", "1")]), &broken), [("b".into(), "a".into())]);
        assert_eq!(losers(&known(&[("Service x", "gone", "1")]), &files(vec![("b", good(&[("Service x", "1")]))])), []);
    }

    proptest! {
        /// Carrying a plan out leads to what the files say, and then there is nothing to do.
        #[test]
        fn a_plan_leads_there(
            before in prop::collection::btree_map("[a-d]", ("[xyz]", "[12]", any::<bool>()), 0..5),
            now in prop::collection::btree_map("[xyz]", prop::collection::btree_map("[a-d]", "[12]", 0..4), 0..3),
        ) {
            let key = |name: &String| ObjectKey { group: String::new(), kind: "Service".into(), namespace: String::new(), name: name.clone() };
            let mut known: BTreeMap<ObjectKey, Known> = before
                .iter()
                .map(|(name, (file, hash, owned))| {
                    (key(name), Known { file: file.into(), hash: hash.clone(), uid: String::new(), owned: *owned })
                })
                .collect();
            let mut files: BTreeMap<PathBuf, View> = now
                .iter()
                .map(|(file, objects)| {
                    (file.into(), View::Good(objects.iter().map(|(name, hash)| (key(name), hash.clone())).collect()))
                })
                .collect();
            // One that can't be taken keeps what it had, which another may want.
            loop {
                let found = duplicates(&known, &files);
                if found.is_empty() { break; }
                found.into_iter().for_each(|it| drop(files.insert(it.file, View::Kept(BTreeSet::new()))));
            }
            let done = plan(&known, &files, |_| false);
            for (key, file) in &done.put {
                let Some(View::Good(objects)) = files.get(file) else { panic!("of no good file") };
                let owned = known.get(key).is_none_or(|known| known.owned);
                known.insert(key.clone(), Known { file: file.clone(), hash: objects[key].clone(), uid: String::new(), owned });
            }
            for key in done.delete.iter().chain(&done.leave) {
                known.remove(key);
            }
            prop_assert_eq!(plan(&known, &files, |_| false), Plan::default());
            for (file, view) in &files {
                if let View::Good(objects) = view {
                    for (key, hash) in objects {
                        prop_assert_eq!((&known[key].file, &known[key].hash), (file, hash));
                    }
                }
            }
        }
    }
}
