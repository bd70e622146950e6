//! A request to both sides, and what is different.

use std::time::Duration;

use super::backend::Seen;
use super::case::Case;
use super::side::Side;
use super::wire::{LIMIT, Reply, SILENCE, exchange};
use super::{frames, http2};

/// What Envoy doesn't answer, and keeps the connection: all are in the list of differences.
const SILENT: [&str; 3] = ["GET error.test /answers x-do=raw=HTTP/1.1 99 Low||||", "upgrade of POST", "CR only"];

/// What one side made of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    pub replies: Vec<Reply>,
    pub upstream: Vec<Seen>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub case: String,
    /// `status`, `header server`, `upstream header x-y`, …
    pub what: String,
    pub envoy: String,
    pub engine: String,
    /// Neither asked a backend: the answers are the proxies' own.
    pub own: bool,
}

/// Sends a case's bytes to one side.
pub async fn observe(side: &Side, case: &Case) -> Observed {
    side.log.lock().clear();
    let is_silent = side.name == "Envoy" && SILENT.contains(&&*case.name);
    let replies = exchange(side.address, case, if is_silent { SILENCE } else { LIMIT }).await;
    observed(side, case, replies).await
}

/// Sends a case's request to one side in HTTP/2; none: it can't be said in it.
pub async fn observe_http2(side: &Side, case: &Case) -> Option<Observed> {
    let request = http2::request(case)?;
    side.log.lock().clear();
    let reply = http2::exchange(side.address, request, case).await;
    Some(observed(side, case, vec![reply]).await)
}

/// Sends a case's frames of HTTP/2 to one side.
pub async fn observe_frames(side: &Side, case: &Case, patience: Duration) -> Observed {
    side.log.lock().clear();
    let reply = frames::exchange(side.address, case, patience).await;
    observed(side, case, vec![reply]).await
}

async fn observed(side: &Side, case: &Case, mut replies: Vec<Reply>) -> Observed {
    let copies = async {
        while side.log.lock().len() < case.upstream {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let all = tokio::time::timeout(LIMIT, copies).await;
    assert!(all.is_ok(), "{}: {}: the backends don't get {} requests", side.name, case.name, case.upstream);
    let mut upstream = side.log.lock().clone();
    for reply in &mut replies {
        // Differs from second to second.
        reply.headers.retain(|(name, _)| name != "date");
    }
    for seen in &mut upstream {
        for (name, value) in &mut seen.headers {
            // Random; that it is there is compared.
            if name == "x-request-id" && value.len() == 36 {
                *value = "random".to_owned();
            }
        }
    }
    upstream.sort_by(|a, b| (&a.backend, &a.line).cmp(&(&b.backend, &b.line)));
    Observed { replies, upstream }
}

/// Everything in which two observations differ.
pub fn differences(case: &Case, envoy: &Observed, engine: &Observed) -> Vec<Difference> {
    let mut all = Vec::new();
    let own = envoy.upstream.is_empty() && engine.upstream.is_empty();
    let mut differ = |what: String, envoy: String, engine: String| {
        if envoy != engine {
            all.push(Difference { case: case.name.clone(), what, envoy, engine, own });
        }
    };
    differ("answers".into(), envoy.replies.len().to_string(), engine.replies.len().to_string());
    for (envoy, engine) in envoy.replies.iter().zip(&engine.replies) {
        differ("status".into(), envoy.status.to_string(), engine.status.to_string());
        differ("version".into(), envoy.version.clone(), engine.version.clone());
        differ("interim".into(), format!("{:?}", envoy.interim), format!("{:?}", engine.interim));
        differ("body".into(), text(&envoy.body), text(&engine.body));
        differ("trailers".into(), format!("{:?}", envoy.trailers), format!("{:?}", engine.trailers));
        differ("cut".into(), envoy.cut.to_string(), engine.cut.to_string());
        headers("header", &envoy.headers, &engine.headers, &mut differ);
    }
    differ("upstream requests".into(), envoy.upstream.len().to_string(), engine.upstream.len().to_string());
    for (envoy, engine) in envoy.upstream.iter().zip(&engine.upstream) {
        differ("upstream backend".into(), envoy.backend.clone(), engine.backend.clone());
        differ("upstream line".into(), envoy.line.clone(), engine.line.clone());
        differ("upstream body".into(), text(&envoy.body), text(&engine.body));
        differ("upstream trailers".into(), format!("{:?}", envoy.trailers), format!("{:?}", engine.trailers));
        headers("upstream header", &envoy.headers, &engine.headers, &mut differ);
    }
    all
}

fn headers(
    what: &str,
    envoy: &[(String, String)],
    engine: &[(String, String)],
    differ: &mut impl FnMut(String, String, String),
) {
    let mut names: Vec<&String> = envoy.iter().chain(engine).map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    let of = |all: &[(String, String)], name: &str| {
        let values: Vec<&String> = all.iter().filter(|(n, _)| n == name).map(|(_, value)| value).collect();
        format!("{values:?}")
    };
    for name in names {
        differ(format!("{what} {name}"), of(envoy, name), of(engine, name));
    }
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.char_indices().nth(200) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], bytes.len()),
        None => text.into_owned(),
    }
}
