//! The head of an upstream request, as every try sends it.

use std::rc::Rc;

use http::header::HeaderMap;
use http::{Method, Request, Uri};

use super::Worker;
use super::body::RequestBody;
use super::saved::SavedHead;

/// A head. A try takes it along, as copying a header map costs; if another try may follow, a flat copy stays behind.
pub(super) struct Prepared {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    saved: Option<SavedHead>,
    /// `uri` and `headers` have been taken along.
    gone: bool,
    worker: Rc<Worker>,
}

impl Prepared {
    pub(super) fn new(method: Method, uri: Uri, headers: HeaderMap, worker: &Rc<Worker>) -> Self {
        Self { method, uri, headers, saved: None, gone: false, worker: Rc::clone(worker) }
    }

    /// The headers, to change them for the next try.
    pub(super) fn headers_mut(&mut self) -> &mut HeaderMap {
        self.bring_back();
        self.forget();
        &mut self.headers
    }

    /// The request for one try; with `keep`, another one can follow.
    pub(super) fn request(&mut self, body: RequestBody, keep: bool) -> Request<RequestBody> {
        self.bring_back();
        if keep && self.saved.is_none() {
            let buffer = self.worker.head_buffer();
            self.saved = Some(SavedHead::save(buffer, &self.method, &self.uri, &self.headers));
        }
        self.gone = true;
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = std::mem::take(&mut self.uri);
        *request.headers_mut() = std::mem::take(&mut self.headers);
        request
    }

    /// Writes the head as HTTP/1.1 has it. It stays here for other tries.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) {
        self.bring_back();
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        for (name, value) in &self.headers {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// What was never sent comes back as it was.
    pub(super) fn unsent(&mut self, uri: Uri, headers: HeaderMap) {
        self.uri = uri;
        self.headers = headers;
        self.gone = false;
    }

    fn bring_back(&mut self) {
        if !std::mem::take(&mut self.gone) {
            return;
        }
        let mut request = Request::new(());
        if let Some(saved) = &self.saved {
            saved.restore(&mut request);
        }
        let (parts, ()) = request.into_parts();
        self.uri = parts.uri;
        self.headers = parts.headers;
    }

    fn forget(&mut self) {
        if let Some(saved) = self.saved.take() {
            self.worker.keep_head_buffer(saved.into_buffer());
        }
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.forget();
    }
}
