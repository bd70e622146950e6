//! A copy of a request's head that is rarely needed: bytes in a buffer that is used again, not a second header map.

use http::header::HeaderMap;
use http::{HeaderName, HeaderValue, Method, Request, Uri};

/// A head that can be built again.
#[derive(Default)]
pub(super) struct SavedHead {
    method: Method,
    uri: Uri,
    /// Per header: length of name and value, 4 bytes each, then both.
    text: Vec<u8>,
}

impl SavedHead {
    /// Copies a head into a buffer.
    pub(super) fn save(mut text: Vec<u8>, method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        text.clear();
        for (name, value) in headers {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            // Heads are smaller than 8 MiB.
            text.extend_from_slice(&(name.len() as u32).to_le_bytes());
            text.extend_from_slice(&(value.len() as u32).to_le_bytes());
            text.extend_from_slice(name);
            text.extend_from_slice(value);
        }
        Self { method: method.clone(), uri: uri.clone(), text }
    }

    /// The head, onto a request.
    pub(super) fn restore<B>(&self, request: &mut Request<B>) {
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.clear();
        let mut rest = &*self.text;
        while let Some((name, value, after)) = next(rest) {
            if let (Ok(name), Ok(value)) = (HeaderName::from_lowercase(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
            rest = after;
        }
    }

    /// The buffer, for the next one.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.text
    }
}

fn next(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name_length, text) = text.split_first_chunk::<4>()?;
    let (value_length, text) = text.split_first_chunk::<4>()?;
    let (name, text) = text.split_at_checked(u32::from_le_bytes(*name_length) as usize)?;
    let (value, text) = text.split_at_checked(u32::from_le_bytes(*value_length) as usize)?;
    Some((name, value, text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_head_comes_back_as_it_was() {
        let mut headers = HeaderMap::new();
        headers.append("host", HeaderValue::from_static("a"));
        headers.append("x-two", HeaderValue::from_static("1"));
        headers.append("x-two", HeaderValue::from_bytes(b"\xff").unwrap());
        headers.append("x-empty", HeaderValue::from_static(""));
        let uri: Uri = "/x?y".parse().unwrap();
        let saved = SavedHead::save(vec![1, 2, 3], &Method::PUT, &uri, &headers);
        let mut request = Request::new(());
        request.headers_mut().insert("old", HeaderValue::from_static("gone"));
        saved.restore(&mut request);
        assert_eq!((request.method(), request.uri()), (&Method::PUT, &uri));
        assert_eq!(request.headers(), &headers);
    }
}
