//! Pages of other origins: their questions are answered here, and what they may read is said in responses.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, ORIGIN,
};
use http::{HeaderName, HeaderValue, Method};

use crate::config::cors::CorsPolicy;
use crate::config::per_filter::{PerFilter, Setting};
use crate::routing::request::RequestView;

static REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
static ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// What a request of a page gets.
pub(super) enum Verdict<'a> {
    /// It is none, or nothing is said about it.
    Nothing,
    /// It is answered with these headers, and no endpoint hears of it.
    Answer(HeaderMap),
    /// Its response says that it may be read.
    Readable(Box<Readable<'a>>),
}

/// What a response says.
pub(super) struct Readable<'a> {
    origin: HeaderValue,
    credentials: bool,
    expose: Option<&'a HeaderValue>,
}

impl Readable<'_> {
    /// Says it, whatever the endpoint has said.
    pub(super) fn say(&self, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        if let Some(expose) = self.expose {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }
}

const TRUE: HeaderValue = HeaderValue::from_static("true");

/// What levels say, the most specific one first.
struct Policies<'a>([Option<&'a CorsPolicy>; 3]);

impl<'a> Policies<'a> {
    /// `None`: nothing is said, or the most specific level has turned it off.
    fn of(levels: [&'a PerFilter; 3]) -> Option<Self> {
        let mut policies = [None; 3];
        let mut said = levels.into_iter().filter_map(|level| level.cors.as_deref());
        for place in &mut policies {
            match said.next() {
                Some(Setting::On(policy)) => *place = Some(policy),
                Some(Setting::Off) => break,
                None => {}
            }
        }
        policies[0].map(|_| Self(policies))
    }

    /// The first thing that is said.
    fn first<T>(&self, pick: impl Fn(&'a CorsPolicy) -> Option<T>) -> Option<T> {
        self.0.into_iter().flatten().find_map(pick)
    }

    fn allows(&self, origin: &str) -> bool {
        let origins = self.first(|policy| Some(&policy.origins).filter(|origins| !origins.is_empty()));
        origins.into_iter().flatten().any(|allowed| allowed.matches("*") || allowed.matches(origin))
    }
}

/// Looks at a request that a route forwards; `levels` are route, virtual host and route configuration.
pub(super) fn look<'a>(request: &RequestView<'_>, levels: [&'a PerFilter; 3]) -> Verdict<'a> {
    let Some(policies) = Policies::of(levels) else { return Verdict::Nothing };
    let Some(origin) = request.headers.get(ORIGIN).filter(|origin| !origin.is_empty()) else {
        return Verdict::Nothing;
    };
    if !policies.0[0].and_then(|policy| policy.enabled).is_none_or(|share| share.hit_by(request.luck())) {
        return Verdict::Nothing;
    }
    let allowed = origin.to_str().is_ok_and(|origin| policies.allows(origin));
    let credentials = policies.first(|policy| policy.credentials).unwrap_or(false);
    let asks = request.method == Method::OPTIONS
        && request.headers.get(ACCESS_CONTROL_REQUEST_METHOD).is_some_and(|method| !method.is_empty());
    if asks && (allowed || !policies.first(|policy| policy.forward_others).unwrap_or(true)) {
        let origin = allowed.then_some(origin);
        return Verdict::Answer(answer(&policies, origin, credentials, request.headers));
    }
    if !allowed {
        return Verdict::Nothing;
    }
    let expose = policies.first(|policy| policy.expose.as_ref());
    Verdict::Readable(Box::new(Readable { origin: origin.clone(), credentials, expose }))
}

/// Who may not is told what others may, but not that it may.
fn answer(policies: &Policies<'_>, origin: Option<&HeaderValue>, credentials: bool, asked: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if let Some(expose) = policies.first(|policy| policy.expose.as_ref()) {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }
    if credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
    }
    let lists = [
        (ACCESS_CONTROL_ALLOW_METHODS, policies.first(|p| p.methods.as_ref()), ACCESS_CONTROL_REQUEST_METHOD),
        (ACCESS_CONTROL_ALLOW_HEADERS, policies.first(|p| p.headers.as_ref()), ACCESS_CONTROL_REQUEST_HEADERS),
    ];
    for (name, said, question) in lists {
        match said {
            // Everything: a browser that sends cookies along takes `*` for a name.
            Some(all) if all == "*" => {
                let echoed = asked.get(question).cloned();
                headers.insert(name, echoed.unwrap_or(HeaderValue::from_static("")));
            }
            Some(list) => {
                headers.insert(name, list.clone());
            }
            None => {}
        }
    }
    if let Some(seconds) = policies.first(|policy| policy.max_age.as_ref()) {
        headers.insert(ACCESS_CONTROL_MAX_AGE, seconds.clone());
    }
    let private = policies.first(|policy| policy.private_network).unwrap_or(false);
    if private && asked.get(&REQUEST_PRIVATE_NETWORK).is_some_and(|asks| asks == "true") {
        headers.insert(ALLOW_PRIVATE_NETWORK.clone(), TRUE);
    }
    headers
}
