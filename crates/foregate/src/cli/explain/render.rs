//! Answers for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use foregate_translate::UNRESOLVED_CLUSTER;
use foregate_translate::explain::{Explanation, Forward, NearMiss, Outcome, RouteChoice, Scheme, Share};

use super::Answer;
use crate::cli::output::count;
use crate::cli::table::{BAD, DIM, GOOD, HEADING, STRONG, WARN, styled, width, wrap};

/// Width of the labels.
const LABEL: usize = 16;

/// A growing text of labelled lines.
struct Page {
    out: String,
    room: usize,
}

impl Page {
    /// A line with a label; what is too long wraps under itself.
    fn line(&mut self, label: &str, text: &str, style: anstyle::Style) {
        let mut label = label;
        for part in wrap(text, self.room.saturating_sub(LABEL)) {
            // Writing to a string can't fail.
            let _ = writeln!(self.out, "{DIM}{label:<LABEL$}{DIM:#}{style}{part}{style:#}");
            label = "";
        }
    }

    fn more(&mut self, text: &str) {
        self.line("", text, anstyle::Style::new());
    }
}

/// The whole answer.
pub fn answer(answer: &Answer, near: usize) -> String {
    let explanation = &answer.explanation;
    let mut page = Page { out: String::new(), room: width().unwrap_or(160).min(160) };
    decisions(&mut page, answer);
    outcome(&mut page, explanation, &answer.backends);
    for caveat in &explanation.caveats {
        page.line("  but", caveat, WARN);
    }
    for (other, does) in &answer.others {
        page.line("  or", &format!("by gateway {other}, if the client dials it: {does}"), anstyle::Style::new());
    }
    misses(&mut page, explanation, near);
    page.out
}

fn decisions(page: &mut Page, answer: &Answer) {
    let explanation = &answer.explanation;
    let request = &explanation.request;
    let url = match request.scheme {
        Scheme::Http | Scheme::Https => {
            format!("{} {}://{}{}", request.method, request.scheme.as_str(), request.host, request.path)
        }
        Scheme::Tls | Scheme::Tcp | Scheme::Udp => format!("{}://{}", request.scheme.as_str(), request.host),
    };
    let _ = writeln!(page.out, "{}", styled(STRONG, url));
    let plain = anstyle::Style::new();
    if let Some(listener) = &explanation.listener {
        page.line("  gateway", &answer.gateway, plain);
        let names = match listener.server_names.as_slice() {
            [] => String::new(),
            names => format!(", for {}", names.join(", ")),
        };
        page.line("  listener", &format!("{} on {}{names}", listener.name, listener.addresses.join(", ")), plain);
    }
    if let Some(seen) = &explanation.seen {
        let path = seen.query.as_ref().map_or_else(|| seen.path.clone(), |query| format!("{}?{query}", seen.path));
        if path != request.path {
            page.line("  path", &format!("{path} in its normal form"), plain);
        }
    }
    if let Some(host) = &explanation.virtual_host {
        let others = match host.others.as_slice() {
            [] => String::new(),
            others => format!(", more specific than {}", others.join(", ")),
        };
        page.line("  host", &format!("{}{others}", host.domain), plain);
    }
    if let Some(route) = &explanation.route {
        page.line("  route", &name(route), STRONG);
        page.more(&route.matches);
    }
}

fn outcome(page: &mut Page, explanation: &Explanation, backends: &BTreeMap<String, String>) {
    match &explanation.outcome {
        Outcome::NoListener { reason } => page.line("  refused", reason, BAD),
        Outcome::NoFilterChain { reason } => page.line("  closed", reason, BAD),
        Outcome::Refused { status, reason } => page.line("  answer", &format!("{status}: {reason}"), BAD),
        Outcome::NotFound { reason } => page.line("  answer", &format!("404: {reason}"), BAD),
        Outcome::Redirect { status, location } => page.line("  answer", &format!("{status} to {location}"), GOOD),
        Outcome::Respond { status, reason } => {
            let style = if *status >= 500 { BAD } else { GOOD };
            page.line("  answer", &format!("{status}: {reason}"), style);
        }
        Outcome::Forward(forward) => forwarded(page, explanation, forward, backends),
        Outcome::Carry { backends: shares, ends_tls } => carried(page, shares, *ends_tls, backends),
    }
}

fn carried(page: &mut Page, shares: &[Share], ends_tls: bool, backends: &BTreeMap<String, String>) {
    for (at, share) in shares.iter().enumerate() {
        let name = backends.get(share.backend()).cloned().unwrap_or_else(|| share.backend().to_owned());
        let percent = if shares.len() > 1 { format!("{:.0} % ", share.percent) } else { String::new() };
        let (what, style) = match share.endpoints.len() {
            0 if share.cluster == UNRESOLVED_CLUSTER => ("a backend that doesn't exist: closed".to_owned(), BAD),
            0 => (format!("{name}: no endpoints, closed"), BAD),
            1..4 => (format!("{name} at {}", share.endpoints.join(", ")), GOOD),
            some => (format!("{name} at {}", count(some, "endpoint")), GOOD),
        };
        page.line(if at == 0 { "  sent to" } else { "" }, &format!("{percent}{what}"), style);
    }
    if shares.is_empty() {
        page.line("  closed", "the route has no backend", BAD);
    }
    if ends_tls {
        page.more("TLS ends at the gateway");
    }
}

fn forwarded(page: &mut Page, explanation: &Explanation, forward: &Forward, backends: &BTreeMap<String, String>) {
    for (at, share) in forward.backends.iter().enumerate() {
        let name = backends.get(share.backend()).cloned().unwrap_or_else(|| share.backend().to_owned());
        let percent = if forward.backends.len() > 1 { format!("{:.0} % ", share.percent) } else { String::new() };
        let (what, style) = match (share.status, share.endpoints.len()) {
            (Some(500), _) => ("a backend that doesn't exist: answers 500".to_owned(), BAD),
            (Some(status), _) => (format!("{name}: no endpoints, answers {status}"), BAD),
            (None, 1..4) => (format!("{name} at {}", share.endpoints.join(", ")), GOOD),
            (None, some) => (format!("{name} at {}", count(some, "endpoint")), GOOD),
        };
        page.line(if at == 0 { "  sent to" } else { "" }, &format!("{percent}{what}"), style);
        let host = share.host.iter().map(|host| format!("Host: {host}"));
        for change in host.chain(share.request_headers.iter().map(ToString::to_string)) {
            page.more(&format!("  {change}"));
        }
    }
    let request = &explanation.request;
    if forward.path != request.path || forward.host != request.host {
        page.line(
            "  as",
            &format!("{} {}, Host: {}", request.method, forward.path, forward.host),
            anstyle::Style::new(),
        );
    }
    let listed = [("  request", &forward.request_headers), ("  response", &forward.response_headers)];
    for (label, changes) in listed {
        for (at, change) in changes.iter().enumerate() {
            page.line(if at == 0 { label } else { "" }, &change.to_string(), anstyle::Style::new());
        }
    }
    for (cluster, percent) in &forward.mirrors {
        let backend = cluster.rsplit_once('/').map_or(cluster.as_str(), |(backend, _)| backend);
        let name = backends.get(backend).map_or(backend, String::as_str);
        page.line("  copied to", &format!("{name} ({percent} %)"), anstyle::Style::new());
    }
    let mut limits = Vec::new();
    if forward.timeout_millis > 0 {
        limits.push(format!("{} ms in all", forward.timeout_millis));
    }
    if forward.retries > 0 {
        limits.push(format!(
            "up to {} more",
            count(usize::try_from(forward.retries).unwrap_or(0), "try").replace("trys", "tries")
        ));
    }
    if !limits.is_empty() {
        page.line("  limits", &limits.join(", "), anstyle::Style::new());
    }
}

fn misses(page: &mut Page, explanation: &Explanation, near: usize) {
    let shown: Vec<&NearMiss> = explanation.near_misses.iter().take(near).collect();
    if shown.is_empty() {
        return;
    }
    let _ = writeln!(page.out, "\n{}", styled(HEADING, "Why not another"));
    for miss in &shown {
        let (name, matches) = (name(&miss.route), &miss.route.matches);
        if 4 + name.chars().count() + matches.chars().count() <= page.room {
            let _ = writeln!(page.out, "  {name}  {}", styled(DIM, matches));
        } else {
            let _ = writeln!(page.out, "  {name}");
            for part in wrap(matches, page.room.saturating_sub(4)) {
                let _ = writeln!(page.out, "    {}", styled(DIM, part));
            }
        }
        for reason in &miss.reasons {
            for (at, part) in wrap(&reason.text, page.room.saturating_sub(6)).iter().enumerate() {
                let _ = writeln!(page.out, "    {} {part}", if at == 0 { "-" } else { " " });
            }
        }
    }
    let more = explanation.near_misses.len() - shown.len();
    if more > 0 {
        let hint = format!("  and {} further away (--near N shows them)", count(more, "route"));
        let _ = writeln!(page.out, "{}", styled(DIM, hint));
    }
}

fn name(route: &RouteChoice) -> String {
    route.origin.as_ref().map_or_else(|| route.name.clone(), ToString::to_string)
}

/// What happens, in a few words.
pub fn in_short(answer: &Explanation) -> String {
    match (&answer.outcome, &answer.route) {
        (Outcome::NoListener { reason } | Outcome::NoFilterChain { reason }, _) => reason.clone(),
        (Outcome::Refused { status, .. }, _) => status.to_string(),
        (Outcome::NotFound { .. }, _) => "404".to_owned(),
        (_, Some(route)) => name(route),
        (_, None) => "answered".to_owned(),
    }
}
