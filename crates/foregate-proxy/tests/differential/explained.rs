//! `explain` against the request itself.

use foregate_translate::explain::{Gateway, Outcome};

use super::case::Case;
use super::compare::Observed;

/// Where `explain` says something else than what happened.
pub fn check(gateway: &Gateway, port: u16, case: &Case, happened: &Observed) -> Vec<String> {
    let Some(mut request) = case.request.clone() else { return Vec::new() };
    let Some(reply) = happened.replies.first() else { return vec![format!("{}: no answer", case.name)] };
    request.port = Some(port);
    let said = gateway.explain(&request);
    let mut wrong = Vec::new();
    let mut differ = |what: &str, said: String, was: String| {
        if said != was {
            wrong.push(format!("{}: {what}: explain says {said}, it is {was}", case.name));
        }
    };
    let route = said.route.as_ref().map(|route| route.name.clone());
    differ("route", format!("{route:?}"), format!("{:?}", reply.header("x-route").map(str::to_owned)));
    if let Some(status) = said.status() {
        differ("status", status.to_string(), reply.status.to_string());
    }
    match &said.outcome {
        Outcome::Redirect { location, .. } => {
            differ("location", location.clone(), reply.header("location").unwrap_or_default().to_owned());
        }
        Outcome::Forward(forward) if said.status().is_none() => {
            if let (Some(seen), [only]) = (happened.upstream.first(), forward.backends.as_slice()) {
                differ("backend", only.backend().to_owned(), seen.backend.clone());
                let path = seen.line.split(' ').nth(1).unwrap_or_default().to_owned();
                differ("path", forward.path.clone(), path);
                let host = seen.headers.iter().find(|(name, _)| name == "host").map(|(_, value)| value.clone());
                let said = only.host.clone().unwrap_or_else(|| forward.host.clone());
                differ("host", said, host.unwrap_or_default());
            }
        }
        _ => {}
    }
    wrong
}
