//! Any request is answered by what HTTP and the API allow: no panic, no 500, and JSON where JSON is promised.
#![no_main]

use std::sync::OnceLock;

use foregate_apiserver::{Server, ServerOptions};
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::client::Body;

/// What an input is taken apart into: method, media type, path and query, body; a line each.
const METHODS: [Method; 6] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
const MEDIA_TYPES: [&str; 8] = [
    "application/json",
    "application/yaml",
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/vnd.kubernetes.protobuf",
    "text/plain",
];
/// A body of more is refused unread, which needs no fuzzing.
const MAX_INPUT: usize = 16 << 10;

const TYPE_ERROR: &[u8] = b"failed to create typed patch object";

struct Rig {
    runtime: tokio::runtime::Runtime,
    client: kube::Client,
    _dir: tempfile::TempDir,
}

fn rig() -> &'static Rig {
    static RIG: OnceLock<Rig> = OnceLock::new();
    RIG.get_or_init(|| {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = tempfile::tempdir_in(if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" })
            .expect("a directory");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
        let client = runtime.block_on(async {
            let server = Server::open(ServerOptions::new(dir.path())).expect("a store");
            let client = server.client();
            for crd in foregate_api::crds().expect("built-in CRDs") {
                let body = serde_json::to_vec(&crd).expect("JSON");
                let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
                let request = Request::post(path).header("content-type", "application/json").body(Body::from(body));
                client.send(request.expect("a request")).await.expect("an answer");
            }
            client
        });
        Rig { runtime, client, _dir: dir }
    })
}

/// A request, where the input is one that HTTP allows. Watches are left out: they never end.
fn request(input: &[u8]) -> Option<Request<Body>> {
    let (&[method, media_type], rest) = input.split_first_chunk::<2>()?;
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let path = std::str::from_utf8(&rest[..end]).ok().filter(|path| path.starts_with('/'))?;
    if path.contains("watch") {
        return None;
    }
    Request::builder()
        .method(METHODS[usize::from(method) % METHODS.len()].clone())
        .uri(path)
        .header("content-type", MEDIA_TYPES[usize::from(media_type) % MEDIA_TYPES.len()])
        .body(Body::from(rest.get(end + 1..).unwrap_or_default().to_vec()))
        .ok()
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if input.len() > MAX_INPUT {
        return;
    }
    let Some(request) = request(input) else { return };
    let rig = rig();
    rig.runtime.block_on(async {
        let shown = format!("{} {}", request.method(), request.uri());
        let response = rig.client.send(request).await.expect("an answer");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a whole answer").to_bytes();
        // An applied object of wrong types is an internal error to Kubernetes too, in these words.
        let is_type_error = body.windows(TYPE_ERROR.len()).any(|part| part == TYPE_ERROR);
        let text = String::from_utf8_lossy(&body);
        assert!(head.status.as_u16() < 500 || is_type_error, "{shown}: {}: {text}", head.status);
        let media_type = head.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if media_type.starts_with("application/json") {
            serde_json::from_slice::<serde_json::Value>(&body).expect("JSON is JSON");
        }
    });
});
