//! The API that objects go to.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions,
    ValidationDirective,
};
use kube::core::{GroupVersionKind, Status};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use super::document::{Document, ObjectKey};
use super::plan::Known;
use super::{FILES, MANAGER, OWNED, SOURCE, SOURCE_FILE, SOURCE_HASH};

/// Why the API doesn't take an object.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// For what the file says: field and message, at least one.
    Wrong(Vec<(String, String)>),
    /// For no fault of the file: it is tried again.
    Later(String),
}

/// A kind that the API serves.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    resource: ApiResource,
    namespaced: bool,
}

/// The API, and what is known of its kinds.
pub(crate) struct Access {
    client: Client,
    kinds: HashMap<GroupVersionKind, Served>,
}

impl Access {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, kinds: HashMap::new() }
    }

    /// The kind of a document.
    pub(crate) async fn served(&mut self, document: &Document) -> Result<Served, Refusal> {
        let gvk = GroupVersionKind::gvk(&document.key.group, &document.version, &document.key.kind);
        if let Some(known) = self.kinds.get(&gvk) {
            return Ok(known.clone());
        }
        match kube::discovery::pinned_kind(&self.client, &gvk).await {
            Ok((resource, capabilities)) => {
                let served = Served { resource, namespaced: capabilities.scope == Scope::Namespaced };
                self.kinds.insert(gvk, served.clone());
                Ok(served)
            }
            Err(kube::Error::Discovery(_)) => Err(unknown(&gvk)),
            Err(kube::Error::Api(status)) if status.code == 404 => Err(unknown(&gvk)),
            Err(error) => Err(refusal(error)),
        }
    }

    /// All objects that come from files.
    pub(crate) async fn known(&self) -> kube::Result<BTreeMap<ObjectKey, (Known, Served)>> {
        let discovery = Discovery::new(self.client.clone()).run().await?;
        let mut known = BTreeMap::new();
        for (resource, capabilities) in discovery.groups().flat_map(|group| group.recommended_resources()) {
            if !capabilities.supports_operation(verbs::LIST) || !capabilities.supports_operation(verbs::PATCH) {
                continue;
            }
            let served = Served { resource, namespaced: capabilities.scope == Scope::Namespaced };
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &served.resource);
            let labelled = ListParams::default().labels(&format!("{SOURCE}={FILES}"));
            for object in api.list_metadata(&labelled).await?.items {
                if let Some(found) = known_of(&object.metadata) {
                    let key = ObjectKey {
                        group: served.resource.group.clone(),
                        kind: served.resource.kind.clone(),
                        namespace: object.metadata.namespace.clone().unwrap_or_default(),
                        name: object.name_any(),
                    };
                    known.insert(key, (found, served.clone()));
                }
            }
        }
        Ok(known)
    }

    /// Lets the API try an object, without effect.
    pub(crate) async fn check(&self, served: &Served, document: &Document) -> Result<(), Refusal> {
        let parameters = PatchParams { dry_run: true, ..parameters() };
        let api = self.api(served, &document.key);
        api.patch(&document.key.name, &parameters, &Patch::Apply(&document.value)).await.map(drop).map_err(refusal)
    }

    /// Applies an object. `owned`: whether we made it; none: that is to be found out.
    pub(crate) async fn put(
        &self,
        served: &Served,
        document: &Document,
        file: PathBuf,
        owned: Option<bool>,
    ) -> Result<Known, Refusal> {
        let api = self.api(served, &document.key);
        let owned = match owned {
            Some(owned) => owned,
            None => {
                let there = api.get_metadata_opt(&document.key.name).await.map_err(refusal)?;
                there.is_none_or(|object| known_of(&object.metadata).is_some_and(|known| known.owned))
            }
        };
        let mut value = document.value.clone();
        let name = file.to_string_lossy().into_owned();
        mark(&mut value, "labels", SOURCE, FILES);
        mark(&mut value, "annotations", SOURCE_FILE, &name);
        mark(&mut value, "annotations", SOURCE_HASH, &document.hash);
        mark(&mut value, "annotations", OWNED, if owned { "true" } else { "false" });
        let written = api.patch(&document.key.name, &parameters(), &Patch::Apply(&value)).await.map_err(refusal)?;
        Ok(Known { file, hash: document.hash.clone(), uid: written.uid().unwrap_or_default(), owned })
    }

    /// Deletes an object that we made; one of that name that somebody else made meanwhile stays.
    pub(crate) async fn delete(&self, served: &Served, key: &ObjectKey, uid: &str) -> Result<(), Refusal> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.api(served, key).delete(&key.name, &parameters).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(refusal(error)),
        }
    }

    /// Takes our marks from an object that somebody else made.
    pub(crate) async fn leave(&self, served: &Served, key: &ObjectKey) -> Result<(), Refusal> {
        let nothing = json!({ SOURCE_FILE: null, SOURCE_HASH: null, OWNED: null });
        let patch = json!({ "metadata": { "labels": { SOURCE: null }, "annotations": nothing } });
        match self.api(served, key).patch(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(refusal(error)),
        }
    }

    /// Makes a namespace, unless it is there. Unless a file says it too, it stays. Answers whether it was made.
    pub(crate) async fn namespace(&self, name: &str) -> Result<bool, Refusal> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        if api.get_metadata_opt(name).await.map_err(refusal)?.is_some() {
            return Ok(false);
        }
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        match api.create(&parameters, &namespace).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(refusal(error)),
        }
    }

    fn api(&self, served: &Served, key: &ObjectKey) -> Api<DynamicObject> {
        if served.namespaced {
            Api::namespaced_with(self.client.clone(), &key.namespace, &served.resource)
        } else {
            Api::all_with(self.client.clone(), &served.resource)
        }
    }
}

impl Served {
    /// The kind that a CustomResourceDefinition defines, with its group and name.
    pub(crate) fn of_crd(crd: &Value) -> Option<((String, String), Self)> {
        let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let (group, kind) = (text("/spec/group")?, text("/spec/names/kind")?);
        let version = text("/spec/versions/0/name")?;
        let resource = ApiResource {
            api_version: format!("{group}/{version}"),
            group: group.clone(),
            version,
            kind: kind.clone(),
            plural: text("/spec/names/plural")?,
        };
        let namespaced = text("/spec/scope")? == "Namespaced";
        Some(((group, kind), Self { resource, namespaced }))
    }

    /// The key of an object of this kind: one without a namespace is in `default`, as with `kubectl`.
    pub(crate) fn complete(&self, key: &mut ObjectKey) {
        if !self.namespaced {
            key.namespace.clear();
        } else if key.namespace.is_empty() {
            "default".clone_into(&mut key.namespace);
        }
    }
}

fn parameters() -> PatchParams {
    let parameters = PatchParams::apply(MANAGER).force();
    PatchParams { field_validation: Some(ValidationDirective::Strict), ..parameters }
}

fn mark(value: &mut Value, field: &str, name: &str, text: &str) {
    if let Some(metadata) = value["metadata"].as_object_mut() {
        let marks = metadata.entry(field).or_insert_with(|| json!({}));
        if marks.is_null() {
            *marks = json!({});
        }
        if let Some(marks) = marks.as_object_mut() {
            marks.insert(name.to_owned(), text.into());
        }
    }
}

fn known_of(metadata: &kube::core::ObjectMeta) -> Option<Known> {
    let of = |name: &str| metadata.annotations.as_ref()?.get(name).cloned();
    Some(Known {
        file: of(SOURCE_FILE)?.into(),
        hash: of(SOURCE_HASH)?,
        uid: metadata.uid.clone()?,
        owned: of(OWNED).is_some_and(|owned| owned == "true"),
    })
}

fn unknown(gvk: &GroupVersionKind) -> Refusal {
    let message = format!(
        "the API serves no kind {} of {}; correct it, or install its CustomResourceDefinition first",
        gvk.kind,
        gvk.api_version()
    );
    Refusal::Wrong(vec![("kind".to_owned(), message)])
}

/// Whose fault an error is.
fn refusal(error: kube::Error) -> Refusal {
    match error {
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 409 | 413 | 415 | 422) => {
            Refusal::Wrong(causes(&status))
        }
        kube::Error::Api(status) => Refusal::Later(status.message.clone()),
        error => Refusal::Later(error.to_string()),
    }
}

/// Fields and messages of a refusal.
fn causes(status: &Status) -> Vec<(String, String)> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let causes: Vec<_> = causes.map(|cause| (cause.field.clone(), cause.message.clone())).collect();
    if !causes.is_empty() {
        return causes;
    }
    // `strict decoding error: unknown field "spec.b", unknown field "spec.c"`
    let unknown = status.message.split("unknown field \"").skip(1).filter_map(|rest| rest.split_once('"'));
    let unknown: Vec<_> =
        unknown.map(|(path, _)| (path.to_owned(), "there is no such field; correct or remove it".to_owned())).collect();
    if unknown.is_empty() { vec![(String::new(), status.message.clone())] } else { unknown }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    #[test]
    fn refusals_are_told_field_by_field() {
        let with_causes = json!({
            "code": 422, "message": "all in one", "details": { "causes": [
                { "field": "spec.a", "message": "Required value" }, { "field": "spec.b[0]", "message": "Too long" },
            ] },
        });
        let unknown = json!({
            "code": 400, "message": "strict decoding error: unknown field \"spec.x\", unknown field \"spec.y[0].z\"",
        });
        let plain = json!({ "code": 403, "message": "no" });
        let fields = |status: Value| {
            let error = kube::Error::Api(Box::new(serde_json::from_value(status).unwrap()));
            let Refusal::Wrong(causes) = refusal(error) else { panic!("it isn't the file's fault") };
            causes.into_iter().map(|(field, _)| field).collect::<Vec<_>>()
        };
        assert_eq!(fields(with_causes), ["spec.a", "spec.b[0]"]);
        assert_eq!(fields(unknown), ["spec.x", "spec.y[0].z"]);
        assert_eq!(fields(plain), [""]);
        let busy = kube::Error::Api(Box::new(serde_json::from_value(json!({ "code": 503 })).unwrap()));
        assert!(matches!(refusal(busy), Refusal::Later(_)));
    }

    #[test]
    fn marks_are_added_where_there_are_none() {
        let mut value = json!({ "metadata": { "name": "a", "labels": null } });
        mark(&mut value, "labels", "a", "b");
        mark(&mut value, "annotations", "c", "d");
        assert_eq!(value["metadata"]["labels"]["a"], "b");
        assert_eq!(value["metadata"]["annotations"]["c"], "d");
    }
}
