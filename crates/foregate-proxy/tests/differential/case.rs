//! One request of the suite.

use foregate_translate::explain;

/// What is sent, and how many answers it has.
#[derive(Clone, Debug, Default)]
pub struct Case {
    pub name: String,
    pub bytes: Vec<u8>,
    pub replies: usize,
    pub head: bool,
    /// Requests that backends get in all, where that isn't over with the answer: copies.
    pub upstream: usize,
    /// The same for `explain`; none where the bytes are no request that could be written down otherwise.
    pub request: Option<explain::Request>,
    /// The body of `request`.
    pub body: String,
    /// Its trailers, in HTTP/2.
    pub trailers: Vec<(&'static str, &'static str)>,
}

/// Bytes as they are.
pub fn raw(name: &str, bytes: impl AsRef<[u8]>) -> Case {
    Case { name: name.to_owned(), bytes: bytes.as_ref().to_vec(), replies: 1, ..Case::default() }
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
    let (bytes, head, request) = (text.into_bytes(), method == "HEAD", Some(request));
    Case { name, bytes, replies: 1, head, request, body: body.to_owned(), ..Case::default() }
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

    /// The answer has no body.
    pub fn head(mut self, head: bool) -> Self {
        self.head = head;
        self
    }

    pub fn upstream(mut self, requests: usize) -> Self {
        self.upstream = requests;
        self
    }
}
