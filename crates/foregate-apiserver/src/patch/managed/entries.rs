//! The entries of `metadata.managedFields`, read and written.

use serde_json::{Map, Value, json};

use super::super::fields::Set;
use super::Writer;

/// One manager in one version, operation and subresource.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) apply: bool,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: Option<String>,
    pub(super) set: Set,
    /// The entry as it was stored, as long as its set is the same.
    stored: Option<Value>,
}

/// All entries of one object.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries(pub(super) Vec<Entry>);

/// Managers that update, apart from those that apply. The oldest are summed up beyond this.
const UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";

impl Entry {
    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
        let apply = match value.get("operation").and_then(Value::as_str) {
            Some("Apply") => true,
            Some("Update") => false,
            _ => return None,
        };
        Some(Self {
            manager: text("manager"),
            apply,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: value.get("time").and_then(Value::as_str).map(str::to_string),
            set: Set::from_fields_v1(value.get("fieldsV1")?),
            stored: Some(value.clone()),
        })
    }

    pub(super) fn new(writer: &Writer<'_>, apply: bool) -> Self {
        Self {
            manager: writer.manager.to_string(),
            apply,
            api_version: writer.api_version.to_string(),
            subresource: writer.subresource.unwrap_or_default().to_string(),
            time: Some(writer.now.to_string()),
            set: Set::default(),
            stored: None,
        }
    }

    /// Whether this is the entry of the writer's own writes.
    pub(super) fn is_of(&self, writer: &Writer<'_>, apply: bool) -> bool {
        self.manager == writer.manager
            && self.apply == apply
            // An applier stays the same one when it goes to another version.
            && (apply || self.api_version == writer.api_version)
            && self.subresource == writer.subresource.unwrap_or_default()
    }

    /// Gives it another set; the stored form is dropped if that is a change.
    pub(super) fn set(&mut self, set: Set) {
        if self.set != set {
            self.set = set;
            self.stored = None;
        }
    }

    /// Gives it another version.
    pub(super) fn set_version(&mut self, api_version: &str) {
        if self.api_version != api_version {
            self.api_version = api_version.to_string();
            self.stored = None;
        }
    }

    /// Gives it another time.
    pub(super) fn touch(&mut self, now: &str) {
        if self.time.as_deref() != Some(now) {
            self.time = Some(now.to_string());
            self.stored = None;
        }
    }

    /// As conflicts show it.
    pub(super) fn shown(&self) -> String {
        let mut out = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            out.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if !self.apply {
            out.push_str(&format!(" using {}", self.api_version));
        }
        out
    }

    fn write(self) -> Value {
        if let Some(stored) = self.stored {
            return stored;
        }
        let operation = if self.apply { "Apply" } else { "Update" };
        let mut map = Map::new();
        map.insert("manager".into(), self.manager.into());
        map.insert("operation".into(), operation.into());
        map.insert("apiVersion".into(), self.api_version.into());
        if let Some(time) = self.time {
            map.insert("time".into(), time.into());
        }
        map.insert("fieldsType".into(), "FieldsV1".into());
        map.insert("fieldsV1".into(), self.set.to_fields_v1());
        if !self.subresource.is_empty() {
            map.insert("subresource".into(), self.subresource.into());
        }
        Value::Object(map)
    }

    fn order(&self) -> (bool, &Option<String>, &str, &str, &str) {
        (!self.apply, &self.time, &self.manager, &self.api_version, &self.subresource)
    }
}

impl Entries {
    /// The entries of an object; what can't be read is left out.
    pub(super) fn of(object: Option<&Value>) -> Self {
        let list = object.and_then(|object| object.pointer("/metadata/managedFields")).and_then(Value::as_array);
        Self(list.into_iter().flatten().filter_map(Entry::read).collect())
    }

    /// Puts the entries into the object.
    pub(super) fn store(mut self, object: &mut Value, writer: &Writer<'_>) {
        self.0.retain(|entry| !entry.set.is_empty());
        self.cap(writer);
        self.0.sort_by(|a, b| a.order().cmp(&b.order()));
        let Some(object) = object.as_object_mut() else { return };
        let metadata = object.entry("metadata").or_insert_with(|| json!({}));
        let Some(metadata) = metadata.as_object_mut() else { return };
        if self.0.is_empty() {
            metadata.remove("managedFields");
        } else {
            metadata.insert("managedFields".into(), self.0.into_iter().map(Entry::write).collect());
        }
    }

    /// Sums up the oldest updaters when there are too many.
    fn cap(&mut self, writer: &Writer<'_>) {
        let mut updaters: Vec<usize> = (0..self.0.len()).filter(|at| !self.0[*at].apply).collect();
        if updaters.len() <= UPDATERS {
            return;
        }
        updaters.sort_by(|a, b| self.0[*a].time.cmp(&self.0[*b].time).then(a.cmp(b)));
        let mut ancient = Entry::new(&Writer { manager: ANCIENT, subresource: None, ..*writer }, false);
        let mut old: Vec<usize> = updaters[..=updaters.len() - UPDATERS].to_vec();
        old.sort_unstable();
        for at in old.into_iter().rev() {
            let entry = self.0.remove(at);
            ancient.set = ancient.set.union(&entry.set);
            ancient.time = entry.time;
        }
        self.0.push(ancient);
    }
}

/// Takes out what nobody owns: identity, and what the write's endpoint doesn't change.
pub(super) fn strip(set: &mut Set, writer: &Writer<'_>) {
    const IDENTITY: &[&str] = &[
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "name",
        "namespace",
        "resourceVersion",
        "selfLink",
        "uid",
    ];
    set.remove_field("apiVersion");
    set.remove_field("kind");
    set.edit_field("metadata", |metadata| {
        metadata.member = false;
        for name in IDENTITY {
            metadata.children.remove_field(name);
        }
    });
    match writer.subresource {
        None if writer.has_status => set.remove_field("status"),
        Some("status") => set.keep_field("status"),
        _ => {}
    }
}
