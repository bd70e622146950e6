//! What all parts of the server share.

use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::auth::Auth;
use crate::error::ApiError;
use crate::registry::{Kind, Registry};
use crate::rest;
use crate::store::{Draft, Durability, Key, Meta, Object, ReadError, Store, Write, WriteError};
use crate::watch::Hub;

/// The largest object that is stored, in bytes: a request's largest body, and its managed fields.
const LIMIT: usize = 2 << 20;

/// What all parts of the server share.
pub(crate) struct Core {
    pub store: Store,
    pub hub: Arc<Hub>,
    pub registry: Arc<Registry>,
    pub auth: Auth,
    pub admission: crate::admission::Admission,
    pub namespaces: Arc<crate::namespaces::Namespaces>,
    pub collector: Arc<crate::gc::Collector>,
    pub pages: crate::rest::Pages,
    pub stop: CancellationToken,
    pub metrics: crate::metrics::Metrics,
    pub extras: crate::extra::Extras,
}

/// An object with its JSON read.
pub(crate) struct Live {
    pub object: Object,
    pub value: Value,
    pub meta: Arc<Meta>,
}

impl Core {
    /// The object at `key`.
    pub fn read(&self, key: &Key) -> Result<Option<Live>, ApiError> {
        let Some(object) = self.store.get(key)? else { return Ok(None) };
        let value = parse(&object)?;
        let meta = self.meta(key, &value);
        Ok(Some(Live { object, value, meta }))
    }

    /// What selectors ask of an object, its kind's own fields among it.
    fn meta(&self, key: &Key, value: &Value) -> Arc<Meta> {
        let mut meta = Meta::of(value);
        let kinds = self.registry.kinds();
        let (group, plural) = key.resource.split_once('/').unwrap_or_default();
        let versions = kinds.groups.get(group).into_iter().flat_map(|g| g.values());
        for path in versions.filter_map(|v| v.get(plural)).flat_map(|k| &k.selectable) {
            if !meta.fields.contains_key(path) {
                meta.fields.insert(path.clone(), rest::field(value, path));
            }
        }
        Arc::new(meta)
    }

    /// Writes `value` at `key`; `live` is what is there now.
    pub async fn put(
        &self,
        key: Key,
        live: Option<&Live>,
        value: &mut Value,
        durability: Durability,
    ) -> Result<Object, WriteError> {
        self.write(key, live, value, durability, false).await
    }

    /// Removes the object at `live`; `value` is its last state.
    pub async fn erase(&self, live: &Live, value: &mut Value, durability: Durability) -> Result<Object, WriteError> {
        self.write(live.object.key.clone(), Some(live), value, durability, true).await
    }

    async fn write(
        &self,
        key: Key,
        live: Option<&Live>,
        value: &mut Value,
        durability: Durability,
        delete: bool,
    ) -> Result<Object, WriteError> {
        let meta = self.meta(&key, value);
        let draft = Draft::new(value).map_err(|e| WriteError::Failed(e.to_string()))?;
        if draft.len() > LIMIT && !delete {
            return Err(WriteError::TooLarge { size: draft.len(), limit: LIMIT });
        }
        let write = Write {
            key,
            expect: live.map(|l| l.object.revision),
            draft,
            delete,
            meta,
            old: live.map(|l| l.meta.clone()),
            durability,
        };
        self.store.write(write).await
    }
}

/// Reads the JSON of a stored object.
pub(crate) fn parse(object: &Object) -> Result<Value, ApiError> {
    serde_json::from_slice(&object.bytes).map_err(|e| damaged(object, &e))
}

/// The answer when a stored object can't be read.
pub(crate) fn damaged(object: &Object, error: &serde_json::Error) -> ApiError {
    ApiError::internal(format!("the stored object {} is damaged: {error}", object.key.name))
}

/// The answer to a write that the store did not do.
pub(crate) fn refuse(kind: &Kind, name: &str, error: &WriteError) -> ApiError {
    match error {
        WriteError::Exists => ApiError::already_exists(&kind.group, &kind.plural, name),
        WriteError::Missing => ApiError::not_found(&kind.group, &kind.plural, name),
        WriteError::Changed { .. } => ApiError::modified(&kind.group, &kind.plural, name),
        WriteError::TooLarge { .. } => {
            ApiError::new(http::StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", error.to_string())
        }
        WriteError::Full { .. } => {
            ApiError::new(http::StatusCode::INSUFFICIENT_STORAGE, "InsufficientStorage", error.to_string())
        }
        WriteError::Failed(_) => ApiError::internal(error.to_string()),
        WriteError::Closed => stopping(),
    }
}

fn stopping() -> ApiError {
    let mut error =
        ApiError::new(http::StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "the server is shutting down");
    error.details.retry_after = Some(1);
    error
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Closed => stopping(),
            ReadError::Failed(_) => Self::internal(error.to_string()),
        }
    }
}

/// Now, as Kubernetes writes it.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
