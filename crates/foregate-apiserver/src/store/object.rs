//! What the store holds and what an event carries.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::Key;

/// A stored object: its JSON, shared with everyone who shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Where it is.
    pub key: Key,
    /// Its `metadata.resourceVersion`.
    pub revision: u64,
    /// Its JSON.
    pub bytes: Bytes,
}

/// An entry of `metadata.ownerReferences`, as far as garbage collection needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRef {
    /// UID of the owner.
    pub uid: Arc<str>,
    /// Whether foreground deletion of the owner waits for this object.
    pub blocks: bool,
}

/// What selectors and garbage collection ask of an object, taken from it once, at its write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// `metadata.uid`
    pub uid: Arc<str>,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
    /// `metadata.ownerReferences`
    pub owners: Vec<OwnerRef>,
    /// `metadata.finalizers`
    pub finalizers: Vec<String>,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// What the kind's field selectors may ask for, by path.
    pub fields: BTreeMap<String, String>,
}

impl Meta {
    /// Reads it from an object's JSON, and nothing else of it.
    ///
    /// # Errors
    /// When that isn't the JSON of an object.
    pub fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        let head: Head = serde_json::from_slice(json)?;
        let meta = head.metadata;
        let owner = |o: HeadOwner| OwnerRef { uid: o.uid.into(), blocks: o.block_owner_deletion.unwrap_or(false) };
        Ok(Self {
            uid: meta.uid.into(),
            labels: meta.labels.unwrap_or_default(),
            owners: meta.owner_references.unwrap_or_default().into_iter().map(owner).collect(),
            finalizers: meta.finalizers.unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            fields: BTreeMap::new(),
        })
    }

    /// Reads it from an object.
    pub fn of(object: &Value) -> Self {
        let meta = &object["metadata"];
        let text = |v: &Value| v.as_str().map(str::to_owned);
        Self {
            uid: meta["uid"].as_str().unwrap_or_default().into(),
            labels: meta["labels"]
                .as_object()
                .map(|m| m.iter().filter_map(|(k, v)| Some((k.clone(), text(v)?))).collect())
                .unwrap_or_default(),
            owners: meta["ownerReferences"]
                .as_array()
                .map(|list| list.iter().filter_map(owner).collect())
                .unwrap_or_default(),
            finalizers: meta["finalizers"]
                .as_array()
                .map(|list| list.iter().filter_map(text).collect())
                .unwrap_or_default(),
            deleting: meta["deletionTimestamp"].is_string(),
            fields: BTreeMap::new(),
        }
    }
}

fn owner(value: &Value) -> Option<OwnerRef> {
    Some(OwnerRef {
        uid: value["uid"].as_str()?.into(),
        blocks: value["blockOwnerDeletion"].as_bool().unwrap_or(false),
    })
}

#[derive(Deserialize)]
struct Head {
    metadata: HeadMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadMeta {
    #[serde(default)]
    uid: String,
    labels: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<HeadOwner>>,
    finalizers: Option<Vec<String>>,
    deletion_timestamp: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadOwner {
    uid: String,
    block_owner_deletion: Option<bool>,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It is new.
    Added,
    /// It was changed.
    Modified,
    /// It is gone; the event carries its last state.
    Deleted,
}

impl EventKind {
    /// Its name in a watch.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One committed write.
#[derive(Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The object as it is now (for a deletion: as it was, with the deletion's revision).
    pub object: Object,
    /// What selectors ask of it.
    pub meta: Arc<Meta>,
    /// The same of the state before; none for a new object.
    pub old: Option<Arc<Meta>>,
}

/// Stands in `metadata.resourceVersion` until the writer knows the revision. Random, so that no user's object can
/// hold it by chance or on purpose.
static PLACEHOLDER: LazyLock<String> = LazyLock::new(|| format!("revision-{}", uuid::Uuid::new_v4().simple()));

/// An object that is ready to be written, except for its revision.
#[derive(Debug)]
pub struct Draft {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Draft {
    /// Serialises an object; its `metadata.resourceVersion` is replaced.
    ///
    /// # Errors
    /// When `object` has no `metadata` object.
    pub fn new(object: &mut Value) -> Result<Self, DraftError> {
        let meta = object.get_mut("metadata").and_then(Value::as_object_mut).ok_or(DraftError)?;
        meta.insert("resourceVersion".into(), Value::String(PLACEHOLDER.clone()));
        let mut before = serde_json::to_vec(object).map_err(|_| DraftError)?;
        let at = memchr::memmem::find(&before, PLACEHOLDER.as_bytes()).ok_or(DraftError)?;
        let after = before.split_off(at + PLACEHOLDER.len());
        before.truncate(at);
        Ok(Self { before, after })
    }

    /// Its size in bytes, but for the revision's digits.
    pub fn len(&self) -> usize {
        self.before.len() + self.after.len()
    }

    /// Whether it is empty; it never is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The final JSON.
    pub fn finish(&self, revision: u64) -> Bytes {
        let digits = revision.to_string();
        let mut out = Vec::with_capacity(self.len() + digits.len());
        out.extend_from_slice(&self.before);
        out.extend_from_slice(digits.as_bytes());
        out.extend_from_slice(&self.after);
        Bytes::from(out)
    }
}

/// An object without `metadata`.
#[derive(Debug, thiserror::Error)]
#[error("an object without metadata can't be stored")]
pub struct DraftError;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_draft_gets_its_revision_and_nothing_else_changes() {
        let mut object = json!({"metadata": {"name": "a", "resourceVersion": "7"}, "data": {"resourceVersion": "x"}});
        let draft = Draft::new(&mut object).unwrap();
        let back: Value = serde_json::from_slice(&draft.finish(42)).unwrap();
        assert_eq!(back, json!({"metadata": {"name": "a", "resourceVersion": "42"}, "data": {"resourceVersion": "x"}}));
        assert!(Draft::new(&mut json!({})).is_err());
    }

    #[test]
    fn meta_reads_what_is_there() {
        let object = json!({"metadata": {"uid": "u", "labels": {"a": "b"}, "finalizers": ["f"],
            "ownerReferences": [{"uid": "o", "blockOwnerDeletion": true}], "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let meta = Meta::of(&object);
        assert_eq!(Meta::read(object.to_string().as_bytes()).unwrap(), meta);
        assert_eq!(meta.owners, vec![OwnerRef { uid: "o".into(), blocks: true }]);
        assert!(meta.deleting);
        assert_eq!(meta.labels["a"], "b");
    }
}
