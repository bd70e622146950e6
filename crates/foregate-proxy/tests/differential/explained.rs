//! `explain` against the request itself.

use foregate_translate::explain::{Gateway, Outcome, Request};

use super::case::Case;
use super::compare::Observed;

/// The request that `explain` is asked about: one that is well-formed, as a URL and a list of headers are.
pub fn question(case: &Case) -> Option<Request> {
    let token = |text: &str| {
        let odd = |byte: u8| !byte.is_ascii_alphanumeric() && !b"!#$%&'*+-.^_`|~".contains(&byte);
        !text.is_empty() && !text.bytes().any(odd)
    };
    let request = case.request.clone()?;
    let hop = |value: &str| value.contains("host") || value.contains("x-forwarded");
    let well_formed = token(&request.method)
        && !request.host.trim().is_empty()
        && !request.path.contains(['"', '<', '>', '`'])
        && request.path.is_ascii()
        && request.headers.iter().all(|(name, value)| token(name) && !(name == "connection" && hop(value)))
        && case.bytes.len() < 60_000;
    well_formed.then_some(request)
}

/// Where `explain` says something else than what happened.
pub fn check(gateway: &Gateway, port: u16, case: &Case, happened: &Observed) -> Vec<String> {
    let Some(mut request) = question(case) else { return Vec::new() };
    let Some(reply) = happened.replies.first() else { return vec![format!("{}: no answer", case.name)] };
    request.port = Some(port);
    let said = gateway.explain(&request);
    let mut wrong = Vec::new();
    let mut differ = |what: &str, said: String, was: String| {
        if said != was {
            wrong.push(format!("{}: {what}: explain says {said}, it is {was}", case.name));
        }
    };
    let caveats = !said.caveats.is_empty();
    let route = said.route.as_ref().map(|route| route.name.clone());
    differ("route", format!("{route:?}"), format!("{:?}", reply.header("x-route").map(str::to_owned)));
    if let Some(status) = said.status() {
        match reply.header("grpc-status") {
            Some(call) => differ("status of the call", grpc_status(status).to_owned(), call.to_owned()),
            None => differ("status", status.to_string(), reply.status.to_string()),
        }
    }
    match &said.outcome {
        Outcome::Redirect { location, .. } => {
            // Well-known ports, which the engine leaves out, mean nothing.
            let plain = |location: &str| location.replacen(":443/", "/", 1).replacen(":80/", "/", 1);
            differ("location", plain(location), plain(reply.header("location").unwrap_or_default()));
        }
        Outcome::Forward(forward) if said.status().is_none() => {
            if let (Some(seen), [only]) = (happened.upstream.first(), forward.backends.as_slice()) {
                differ("backend", only.backend().to_owned(), seen.backend.clone());
                let path = seen.line.split(' ').nth(1).unwrap_or_default().to_owned();
                differ("path", forward.path.clone(), path);
                let host = seen
                    .headers
                    .iter()
                    .find(|(name, _)| name == "host" || name == ":authority")
                    .map(|(_, value)| value.clone());
                let said = only.host.clone().unwrap_or_else(|| forward.host.clone());
                let is = host.unwrap_or_default();
                // Where it depends on the request's headers, it is said that it does.
                if !caveats {
                    differ("host", said, is);
                }
            }
        }
        _ => {}
    }
    wrong
}

/// How clients of gRPC are told a status of HTTP (`doc/http-grpc-status-mapping.md` of gRPC).
fn grpc_status(status: u16) -> &'static str {
    match status {
        400 => "13",
        401 => "16",
        403 => "7",
        404 => "12",
        429 | 502..=504 => "14",
        _ => "2",
    }
}
