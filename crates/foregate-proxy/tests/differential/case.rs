//! One request of the suite.

use foregate_translate::explain;

/// What is sent, and how many answers it has.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub bytes: Vec<u8>,
    pub replies: usize,
    pub head: bool,
    /// Requests that backends get in all, where that isn't over with the answer: copies.
    pub upstream: usize,
    /// The same for `explain`; none where the bytes are no request that could be written down otherwise.
    pub request: Option<explain::Request>,
}

/// Bytes as they are.
pub fn raw(name: &str, bytes: impl AsRef<[u8]>) -> Case {
    let bytes = bytes.as_ref().to_vec();
    Case { name: name.to_owned(), bytes, replies: 1, head: false, upstream: 0, request: None }
}

/// A request in HTTP/1.1.
pub fn ask(method: &str, host: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Case {
    let mut text = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n");
    let mut name = format!("{method} {host} {target}");
    for (header, value) in headers {
        text.push_str(&format!("{header}: {value}\r\n"));
        name.push_str(&format!(" {header}={value}"));
    }
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    let request = explain::Request {
        host: host.to_owned(),
        method: method.to_owned(),
        path: target.to_owned(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..explain::Request::default()
    };
    let name = name.chars().take(120).collect();
    Case { name, bytes: text.into_bytes(), replies: 1, head: method == "HEAD", upstream: 0, request: Some(request) }
}

pub fn get(host: &str, target: &str) -> Case {
    ask("GET", host, target, &[], "")
}

impl Case {
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Several answers on the connection.
    pub fn replies(mut self, replies: usize) -> Self {
        self.replies = replies;
        self
    }

    pub fn upstream(mut self, requests: usize) -> Self {
        self.upstream = requests;
        self
    }
}
