//! Getting an engine's file, from a path or a URL, and its hash on the way.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::{Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use sha2::{Digest, Sha256};

use super::StoreError;

/// The largest file that is taken: Envoy has some 100 MiB, with debug symbols several times that.
pub(super) const MAX_BYTES: u64 = 2 << 30;
/// A server that sends nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(30);
/// Redirects that are followed.
const MAX_REDIRECTS: usize = 10;

/// Told about a download: bytes so far, and in all, if that is known.
pub type Progress<'a> = &'a (dyn Fn(u64, Option<u64>) + Sync);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where an engine's file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// On this machine.
    Path(PathBuf),
    /// On a web server, `http` or `https`. TLS is verified with the machine's certificates (`SSL_CERT_FILE`).
    Url(Uri),
}

impl std::str::FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.contains("://") {
            return Ok(Self::Path(text.into()));
        }
        let uri: Uri = text.parse().map_err(|error| format!("{text:?} is no URL: {error}"))?;
        match uri.scheme_str() {
            Some("http" | "https") if uri.host().is_some() => Ok(Self::Url(uri)),
            _ => Err(format!("{text:?}: only http and https are known; for a file give its path")),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Url(uri) => write!(f, "{uri}"),
        }
    }
}

/// A hash in hex.
pub(super) fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of a file, in hex.
pub(super) fn hash(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex(hasher.finalize())),
            count => hasher.update(&chunk[..count]),
        }
    }
}

/// Copies a source to a file; returns its hash in hex. What is hashed is what was copied.
pub(super) async fn fetch(source: &Source, to: &Path, progress: Progress<'_>) -> Result<String, StoreError> {
    let file = |source| StoreError::File { path: to.to_owned(), source };
    let sink = Sink { file: File::create_new(to).map_err(file)?, hasher: Sha256::new(), count: 0 };
    let sink = match source {
        Source::Path(path) => copy(path, sink)
            .map_err(|source| StoreError::File { path: path.clone(), source })?
            .ok_or_else(|| StoreError::TooLarge { from: path.display().to_string(), limit: MAX_BYTES })?,
        Source::Url(url) => download(url, sink, progress)
            .await
            .map_err(|source| StoreError::Download { url: url.to_string(), source })?
            .ok_or_else(|| StoreError::TooLarge { from: url.to_string(), limit: MAX_BYTES })?,
    };
    Ok(hex(sink.hasher.finalize()))
}

struct Sink {
    file: File,
    hasher: Sha256,
    count: u64,
}

impl Sink {
    /// Returns whether there is still room.
    fn take(&mut self, data: &[u8]) -> io::Result<bool> {
        self.count += data.len() as u64;
        self.hasher.update(data);
        self.file.write_all(data)?;
        Ok(self.count <= MAX_BYTES)
    }
}

/// None: it is too large.
fn copy(path: &Path, mut sink: Sink) -> io::Result<Option<Sink>> {
    let mut file = File::open(path)?;
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(Some(sink)),
            count if sink.take(&chunk[..count])? => {}
            _ => return Ok(None),
        }
    }
}

/// None: it is too large.
async fn download(url: &Uri, mut sink: Sink, progress: Progress<'_>) -> Result<Option<Sink>, BoxError> {
    let mut body = get(url).await?;
    let total = body.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    if total.is_some_and(|total: u64| total > MAX_BYTES) {
        return Ok(None);
    }
    while let Some(frame) = tokio::time::timeout(SILENCE, body.frame()).await.map_err(|_| silent())? {
        if let Ok(data) = frame?.into_data()
            && !sink.take(&data)?
        {
            return Ok(None);
        }
        progress(sink.count, total);
    }
    if total.is_some_and(|total| total != sink.count) {
        return Err(format!("it ended after {} bytes", sink.count).into());
    }
    Ok(Some(sink))
}

fn silent() -> BoxError {
    format!("the server sent nothing for {} s", SILENCE.as_secs()).into()
}

/// The answer 200, after redirects. None leads from https to http.
async fn get(url: &Uri) -> Result<Response<Incoming>, BoxError> {
    let connector =
        hyper_rustls::HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let mut url = url.clone();
    for _ in 0..MAX_REDIRECTS {
        let answer = tokio::time::timeout(SILENCE, client.get(url.clone())).await.map_err(|_| silent())??;
        if answer.status() == StatusCode::OK {
            return Ok(answer);
        }
        let location = answer.headers().get("location").filter(|_| answer.status().is_redirection());
        let Some(location) = location else { return Err(format!("the server answers {}", answer.status()).into()) };
        let next = resolve(&url, location.to_str()?)?;
        if url.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
            return Err(format!("it is redirected to {next}, which isn't https").into());
        }
        url = next;
    }
    Err(format!("more than {MAX_REDIRECTS} redirects").into())
}

/// A Location, which may be relative to where it comes from.
fn resolve(from: &Uri, location: &str) -> Result<Uri, BoxError> {
    let to: Uri = location.parse()?;
    if to.scheme().is_some() {
        return Ok(to);
    }
    let mut parts = from.clone().into_parts();
    parts.path_and_query = to.path_and_query().cloned();
    Ok(Uri::from_parts(parts)?)
}
