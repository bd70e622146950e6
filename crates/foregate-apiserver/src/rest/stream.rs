//! watch: the initial state, then events, then bookmarks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::body::Body;
use super::negotiate::View;
use super::op::{Op, set_version, show};
use super::read::Selection;
use super::table;
use crate::core::parse;
use crate::error::ApiError;
use crate::store::{Event, EventKind, Meta, Object};
use crate::watch::{Log, Reader};

/// Events taken from the log at once.
const CHUNK: usize = 128;
/// Between bookmarks.
const BOOKMARK: Duration = Duration::from_secs(30);
/// How long a watch lasts when the client doesn't say.
const TIMEOUT: Duration = Duration::from_secs(1800);
/// How long to wait for a revision that was read but whose events are still being published.
const CATCH_UP: Duration = Duration::from_secs(3);

struct Watch {
    op: Op,
    selection: Selection,
    log: Arc<Log>,
    bell: watch::Receiver<u64>,
    /// Everything up to here was delivered.
    cursor: u64,
    reader: Reader,
    initial: VecDeque<Object>,
    /// Whether the end of the initial state is still to be announced.
    announce: bool,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    /// Tables name their columns once.
    headed: bool,
    over: bool,
}

/// GET with `watch=true`.
pub(crate) async fn watch(op: Op) -> Result<Response<Body>, ApiError> {
    let watch = begin(op).await?;
    let frames = stream::unfold(watch, |mut watch| async move {
        let bytes = watch.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Frame::data(bytes)), watch))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

async fn begin(op: Op) -> Result<Watch, ApiError> {
    let selection = Selection::of(&op)?;
    let asked = op.query.number("resourceVersion")?.unwrap_or(0);
    let send_initial = op.query.get("sendInitialEvents");
    if send_initial.is_some() && op.query.get("resourceVersionMatch") != Some("NotOlderThan") {
        return Err(ApiError::bad_request(
            "sendInitialEvents: resourceVersionMatch must be NotOlderThan when sendInitialEvents is set",
        ));
    }
    let with_initial = match send_initial {
        Some("true") => true,
        Some(_) => false,
        None => asked == 0,
    };
    let log = op.core.hub.log(&op.kind.storage);
    let bell = log.bell();
    reach(&op, asked).await?;
    let mut initial = VecDeque::new();
    let mut cursor = asked;
    if with_initial || asked == 0 {
        let namespace = op.target.namespace.as_deref().or((!op.kind.namespaced).then_some(""));
        let list = op.core.store.list(&op.kind.storage, namespace, 0)?;
        cursor = list.revision;
        if with_initial {
            for object in list.items {
                if selection.takes(&object)? {
                    initial.push_back(object);
                }
            }
        }
    }
    let now = Instant::now();
    let timeout =
        op.query.number("timeoutSeconds")?.map_or(TIMEOUT, Duration::from_secs).min(Duration::from_secs(86_400));
    let bookmarks = op.query.flag("allowWatchBookmarks");
    Ok(Watch {
        announce: send_initial == Some("true") && bookmarks,
        bookmarks,
        next_bookmark: now + BOOKMARK,
        deadline: now + timeout,
        headed: false,
        over: false,
        selection,
        reader: log.reader(cursor),
        log,
        bell,
        cursor,
        initial,
        op,
    })
}

async fn cancelled(token: Option<CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}

/// Waits until everything up to `revision` is in the logs: a list may have shown it just before.
async fn reach(op: &Op, revision: u64) -> Result<(), ApiError> {
    let end = Instant::now() + CATCH_UP;
    while op.core.hub.published() < revision {
        if op.core.store.snapshot()?.revision < revision || Instant::now() > end {
            let have = op.core.hub.published();
            return Err(ApiError::expired(format!("unknown resource version: {revision} (current {have})")));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

impl Watch {
    /// The next bytes for the client; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.over {
                return None;
            }
            let mut out = BytesMut::new();
            if let Err(error) = self.fill(&mut out) {
                line(&mut out, "ERROR", error.status().to_string().as_bytes());
                self.over = true;
            }
            if !out.is_empty() {
                return Some(out.freeze());
            }
            if self.undefined() {
                return None;
            }
            let until = if self.bookmarks { self.next_bookmark.min(self.deadline) } else { self.deadline };
            let (stop, revoked) = (self.op.stop.clone(), self.op.revoked.clone());
            tokio::select! {
                rung = self.bell.changed() => if rung.is_err() { return None },
                () = sleep_until(until) => {
                    if Instant::now() >= self.deadline {
                        return None;
                    }
                }
                () = stop.cancelled() => return None,
                () = cancelled(revoked) => return None,
            }
        }
    }

    /// Whether the definition of this kind, or its version, is gone.
    fn undefined(&self) -> bool {
        let kind = &self.op.kind;
        kind.definition.is_some()
            && self.op.core.registry.kinds().get(&kind.group, &kind.version, &kind.plural).is_none()
    }

    /// Writes whatever there is to say now.
    fn fill(&mut self, out: &mut BytesMut) -> Result<(), ApiError> {
        while let Some(object) = self.initial.pop_front() {
            self.say(out, "ADDED", &object)?;
            if out.len() > 1 << 16 {
                return Ok(());
            }
        }
        if std::mem::take(&mut self.announce) {
            self.bookmark(out, self.cursor, true);
            return Ok(());
        }
        // Read before the log: all events up to it are there then.
        let published = self.op.core.hub.published();
        self.bell.mark_unchanged();
        loop {
            let events = self.log.after(self.cursor, CHUNK).map_err(|gone| ApiError::expired(gone.to_string()))?;
            let full = events.len() == CHUNK;
            for event in events {
                self.event(out, &event)?;
                self.cursor = event.object.revision;
            }
            if !full {
                break;
            }
            if out.len() > 1 << 16 {
                return Ok(());
            }
        }
        self.cursor = self.cursor.max(published);
        self.reader.reached(self.cursor);
        if self.bookmarks && Instant::now() >= self.next_bookmark {
            self.bookmark(out, self.cursor, false);
        }
        Ok(())
    }

    fn event(&mut self, out: &mut BytesMut, event: &Event) -> Result<(), ApiError> {
        let key = &event.object.key;
        if self.op.target.namespace.as_deref().is_some_and(|n| n != &*key.namespace)
            || self.selection.fields.name.as_deref().is_some_and(|n| n != &*key.name)
        {
            return Ok(());
        }
        let Selection { labels, fields } = &self.selection;
        let takes = |meta: &Meta| labels.matches(&meta.labels) && fields.fits(key, &meta.fields);
        let now = takes(&event.meta);
        let before = event.old.as_ref().is_some_and(|meta| takes(meta));
        let kind = match (event.kind, before, now) {
            (EventKind::Deleted, true, _) => "DELETED",
            (EventKind::Deleted, false, _) | (_, false, false) => return Ok(()),
            (_, false, true) => "ADDED",
            (_, true, true) => "MODIFIED",
            (_, true, false) => "DELETED",
        };
        self.say(out, kind, &event.object)
    }

    fn say(&mut self, out: &mut BytesMut, kind: &str, object: &Object) -> Result<(), ApiError> {
        match self.op.accept.view {
            View::Object => line(out, kind, &show(&self.op.kind, object)?),
            View::Partial => line(out, kind, &table::partial_json(object)?),
            View::Table => {
                let first = !std::mem::replace(&mut self.headed, true);
                let value = self.value(object)?;
                let revision = object.revision.to_string();
                let rows = std::iter::once(value);
                let table = table::table(&self.op.kind, &self.op.query, rows, &revision, None, first);
                line(out, kind, table.to_string().as_bytes());
            }
        }
        Ok(())
    }

    fn value(&self, object: &Object) -> Result<Value, ApiError> {
        let mut value = parse(object)?;
        set_version(&self.op.kind, &mut value);
        Ok(value)
    }

    fn bookmark(&mut self, out: &mut BytesMut, revision: u64, end: bool) {
        self.next_bookmark = Instant::now() + BOOKMARK;
        let mut meta = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if end {
            meta["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.op.accept.view {
            View::Object => {
                json!({"kind": self.op.kind.kind, "apiVersion": self.op.kind.api_version(), "metadata": meta})
            }
            View::Partial => json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta}),
            View::Table => table::bookmark(&revision.to_string(), &meta),
        };
        line(out, "BOOKMARK", object.to_string().as_bytes());
    }
}

fn line(out: &mut BytesMut, kind: &str, object: &[u8]) {
    out.reserve(object.len() + 40);
    out.put_slice(b"{\"type\":\"");
    out.put_slice(kind.as_bytes());
    out.put_slice(b"\",\"object\":");
    out.put_slice(object);
    out.put_slice(b"}\n");
}
