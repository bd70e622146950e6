//! get and list.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use http::{Response, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::body::Body;
use super::negotiate::View;
use super::op::{Op, set_version, show};
use super::selector::{Fields, Labels};
use super::table;
use crate::core::parse;
use crate::error::ApiError;
use crate::store::{Key, Meta, Object, Snapshot};

/// How long a paged list can be continued.
const PAGE_AGE: Duration = Duration::from_secs(120);
/// Paged lists that are continued at the same time.
const PAGES: usize = 64;

/// The moments that paged lists are read at: all pages of a list show the same one.
#[derive(Default)]
pub(crate) struct Pages(Mutex<VecDeque<Moment>>);

struct Moment {
    since: Instant,
    snapshot: Snapshot,
    /// Lists of this moment whose last page was not asked for yet. A moment keeps the store from reusing space, so
    /// it is let go as soon as nobody needs it.
    lists: usize,
}

impl Pages {
    /// A list begins, whose next pages will be asked for.
    fn begin(&self, snapshot: &Snapshot) {
        let mut pages = self.0.lock();
        if let Some(known) = pages.iter_mut().find(|m| m.snapshot.revision == snapshot.revision) {
            known.lists += 1;
            return;
        }
        pages.push_back(Moment { since: Instant::now(), snapshot: snapshot.clone(), lists: 1 });
        while pages.len() > PAGES {
            pages.pop_front();
        }
    }

    /// A list has given its last page.
    fn end(&self, revision: u64) {
        let mut pages = self.0.lock();
        if let Some(known) = pages.iter_mut().find(|m| m.snapshot.revision == revision) {
            known.lists -= 1;
        }
        pages.retain(|m| m.lists > 0);
    }

    fn find(&self, revision: u64) -> Option<Snapshot> {
        self.0.lock().iter().find(|m| m.snapshot.revision == revision).map(|m| m.snapshot.clone())
    }

    /// Lets go of lists that no one continued.
    pub fn trim(&self) {
        self.0.lock().retain(|m| m.since.elapsed() < PAGE_AGE);
    }
}

/// GET of one object.
pub(crate) fn get(op: &Op) -> Result<Response<Body>, ApiError> {
    let object = op.core.store.get(&op.key())?.ok_or_else(|| op.missing())?;
    op.answer(StatusCode::OK, &object, &[])
}

/// What a list or watch selects.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub labels: Labels,
    pub fields: Fields,
}

impl Selection {
    /// From a request's parameters. A name in the path selects it alone.
    pub fn of(op: &Op) -> Result<Self, ApiError> {
        let labels = Labels::parse(op.query.get("labelSelector"))?;
        let mut fields = Fields::parse(op.query.get("fieldSelector"), &op.kind.selectable)?;
        if let Some(name) = &op.target.name {
            fields.name = Some(name.clone());
        }
        Ok(Self { labels, fields })
    }

    /// Whether it takes an object.
    pub fn takes(&self, object: &Object) -> Result<bool, ApiError> {
        if self.fields.name.as_deref().is_some_and(|name| name != &*object.key.name) {
            return Ok(false);
        }
        if self.labels.is_empty() && !self.fields.needs_object() {
            return Ok(true);
        }
        if !self.labels.is_empty() {
            let meta = Meta::read(&object.bytes).map_err(|e| ApiError::internal(e.to_string()))?;
            if !self.labels.matches(&meta.labels) {
                return Ok(false);
            }
        }
        Ok(!self.fields.needs_object() || self.fields.matches(&parse(object)?))
    }
}

/// GET of a collection.
pub(crate) async fn list(op: &Op) -> Result<Response<Body>, ApiError> {
    let selection = Selection::of(op)?;
    let limit = usize::try_from(op.query.number("limit")?.unwrap_or(0)).unwrap_or(usize::MAX);
    let (snapshot, from) = match op.query.get("continue") {
        Some(token) => resume(op, token)?,
        None => (moment(op).await?, None),
    };
    let page = page(op, &snapshot, from, limit, &selection)?;
    match (op.query.get("continue").is_some(), page.next.is_some()) {
        (false, true) => op.core.pages.begin(&snapshot),
        (true, false) => op.core.pages.end(snapshot.revision),
        _ => {}
    }
    let token = page
        .next
        .as_ref()
        .map(|key| URL_SAFE_NO_PAD.encode(json!([snapshot.revision, key.namespace, key.name]).to_string()));
    let revision = snapshot.revision.to_string();
    let bytes = match op.accept.view {
        View::Object => objects(op, &page.items, &revision, token.as_deref())?,
        View::Partial => table::partial_list(&page.items, &revision, token.as_deref())?,
        View::Table => {
            let values = page.items.iter().map(|object| {
                let mut value = parse(object)?;
                set_version(&op.kind, &mut value);
                Ok(value)
            });
            let values: Vec<Value> = values.collect::<Result<_, ApiError>>()?;
            let table = table::table(&op.kind, &op.query, values.into_iter(), &revision, token.as_deref(), true);
            Bytes::from(table.to_string())
        }
    };
    op.finish(StatusCode::OK, bytes, &[])
}

/// The store's state that a list shows, as `resourceVersion` and `resourceVersionMatch` ask.
async fn moment(op: &Op) -> Result<Snapshot, ApiError> {
    let asked = op.query.number("resourceVersion")?.unwrap_or(0);
    let exact = op.query.get("resourceVersionMatch") == Some("Exact");
    let snapshot = op.core.store.snapshot()?;
    if asked > snapshot.revision {
        return Err(ApiError::future_revision(asked, snapshot.revision));
    }
    if exact && asked != snapshot.revision {
        return op.core.pages.find(asked).ok_or_else(|| {
            ApiError::expired(format!("the resourceVersion {asked} is no longer available: list without it"))
        });
    }
    Ok(snapshot)
}

fn resume(op: &Op, token: &str) -> Result<(Snapshot, Option<Key>), ApiError> {
    let bad = || ApiError::bad_request("continue key is not valid");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
    let (revision, namespace, name): (u64, String, String) = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    let snapshot = op.core.pages.find(revision).ok_or_else(|| {
        ApiError::expired("The provided continue parameter is too old to display a consistent list result. Start the list again without it.")
    })?;
    Ok((snapshot, Some(Key::new(&op.kind.storage, &namespace, &name))))
}

struct Page {
    items: Vec<Object>,
    next: Option<Key>,
}

/// Up to `limit` selected objects. Reads on while the selection leaves too few.
fn page(
    op: &Op,
    snapshot: &Snapshot,
    mut from: Option<Key>,
    limit: usize,
    selection: &Selection,
) -> Result<Page, ApiError> {
    let namespace = op.target.namespace.as_deref().or((!op.kind.namespaced).then_some(""));
    let storage: &Arc<str> = &op.kind.storage;
    let mut items = Vec::new();
    loop {
        let list = snapshot.list(storage, namespace, from.as_ref(), limit)?;
        let last = list.items.last().map(|o| o.key.clone());
        for object in list.items {
            if limit > 0 && items.len() == limit {
                return Ok(Page { next: items.last().map(|o: &Object| o.key.clone()), items });
            }
            if selection.takes(&object)? {
                items.push(object);
            }
        }
        if !list.more {
            return Ok(Page { items, next: None });
        }
        if limit > 0 && items.len() == limit {
            return Ok(Page { items, next: last });
        }
        from = last;
    }
}

/// A list, with the objects' own bytes.
pub(super) fn objects(op: &Op, items: &[Object], revision: &str, token: Option<&str>) -> Result<Bytes, ApiError> {
    let mut meta = json!({"resourceVersion": revision});
    if let Some(token) = token {
        meta["continue"] = json!(token);
    }
    let size: usize = items.iter().map(|o| o.bytes.len() + 1).sum();
    let mut out = BytesMut::with_capacity(size + 256);
    let head = format!(
        r#"{{"kind":{},"apiVersion":{},"metadata":{meta},"items":["#,
        json!(op.kind.list_kind),
        json!(op.kind.api_version())
    );
    out.put_slice(head.as_bytes());
    for (i, object) in items.iter().enumerate() {
        if i > 0 {
            out.put_u8(b',');
        }
        out.put_slice(&show(&op.kind, object)?);
    }
    out.put_slice(b"]}");
    Ok(out.freeze())
}
