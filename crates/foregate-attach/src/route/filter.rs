//! Filters.

use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{
    HttpCorsFilter, HttpHeader, HttpHeaderFilter, HttpPathModifier, HttpPathModifierType, HttpRequestMirrorFilter,
    HttpRequestRedirectFilter, RouteFilter, RouteFilterType,
};
use foregate_api::route::{
    Cors, Header, HeaderEdit, PathEdit, PathMatchKind, Redirect, Rewrite, RouteFilter as EffectiveFilter, RouteMatch,
};

use super::kind::RouteKind;
use super::parse::From;
use crate::backend::Target;
use crate::external_auth::{self, ParsedAuth};
use crate::problem::Problem;

/// How long a preflight's answer is kept where the user doesn't say it, in seconds (HTTPCORSFilter.maxAge).
const CORS_MAX_AGE: u32 = 5;

/// A filter whose backend, if it has one, isn't resolved yet.
#[derive(Debug)]
pub(crate) enum ParsedFilter {
    Plain(EffectiveFilter),
    Mirror { target: Target, numerator: u32, denominator: u32 },
    Auth(Box<ParsedAuth>),
}

impl ParsedFilter {
    /// The backend that it names.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Plain(_) => None,
            Self::Mirror { target, .. } => Some(target),
            Self::Auth(auth) => Some(&auth.target),
        }
    }
}

pub(crate) fn parse(filter: &RouteFilter, from: From<'_>, path: &str) -> Result<ParsedFilter, Problem> {
    use RouteFilterType as Type;
    if from.kind == RouteKind::Grpc
        && matches!(filter.kind, Type::RequestRedirect | Type::UrlRewrite | Type::Cors | Type::ExternalAuth)
    {
        return Err(unsupported(format!("{path}.type: a GRPCRoute has no filter {:?}", filter.kind)));
    }
    let missing = |field: &str| unsupported(format!("{path}.{field}: its type says that it is set, and it isn't"));
    let plain = match filter.kind {
        RouteFilterType::RequestHeaderModifier => {
            let edit = filter.request_header_modifier.as_ref().ok_or_else(|| missing("requestHeaderModifier"))?;
            EffectiveFilter::RequestHeaders(header_edit(edit))
        }
        RouteFilterType::ResponseHeaderModifier => {
            let edit = filter.response_header_modifier.as_ref().ok_or_else(|| missing("responseHeaderModifier"))?;
            EffectiveFilter::ResponseHeaders(header_edit(edit))
        }
        RouteFilterType::RequestRedirect => {
            let redirect = filter.request_redirect.as_ref().ok_or_else(|| missing("requestRedirect"))?;
            EffectiveFilter::Redirect(parse_redirect(redirect, path)?)
        }
        RouteFilterType::UrlRewrite => {
            let rewrite = filter.url_rewrite.as_ref().ok_or_else(|| missing("urlRewrite"))?;
            let edit = rewrite.path.as_ref().map(|p| path_edit(p, &format!("{path}.urlRewrite.path"))).transpose()?;
            EffectiveFilter::Rewrite(Rewrite { hostname: rewrite.hostname.clone(), path: edit })
        }
        RouteFilterType::RequestMirror => {
            let mirror = filter.request_mirror.as_ref().ok_or_else(|| missing("requestMirror"))?;
            return parse_mirror(mirror, from, &format!("{path}.requestMirror"));
        }
        RouteFilterType::Cors => {
            let cors = filter.cors.as_ref().ok_or_else(|| missing("cors"))?;
            EffectiveFilter::Cors(parse_cors(cors, &format!("{path}.cors"))?)
        }
        RouteFilterType::ExtensionRef => {
            let what = filter.extension_ref.as_ref().map(|e| format!("{} {:?}", e.kind, e.name)).unwrap_or_default();
            return Err(unsupported(format!("{path}.extensionRef: {what} isn't a kind of filter that Foregate knows")));
        }
        RouteFilterType::ExternalAuth => {
            let auth = filter.external_auth.as_ref().ok_or_else(|| missing("externalAuth"))?;
            let parsed = external_auth::parse(auth, from.namespace, &format!("{path}.externalAuth"))?;
            return Ok(ParsedFilter::Auth(Box::new(parsed)));
        }
        RouteFilterType::Unknown => {
            return Err(unsupported(format!("{path}.type: not a filter that this version knows")));
        }
    };
    Ok(ParsedFilter::Plain(plain))
}

/// Whether the filters of one place can be used together, and with the matches.
pub(crate) fn compatible(filters: &[ParsedFilter], matches: &[RouteMatch], path: &str) -> Result<(), Problem> {
    let (mut redirect, mut rewrite) = (None, None);
    for filter in filters {
        match filter {
            ParsedFilter::Plain(EffectiveFilter::Redirect(r)) => redirect = Some(r.path.as_ref()),
            ParsedFilter::Plain(EffectiveFilter::Rewrite(r)) => rewrite = Some(r.path.as_ref()),
            _ => {}
        }
    }
    if redirect.is_some() && rewrite.is_some() {
        let message = format!("{path}.filters: RequestRedirect and URLRewrite can't be used together");
        return Err(Problem::new(reason::INCOMPATIBLE_FILTERS, message));
    }
    if filters.iter().filter(|filter| matches!(filter, ParsedFilter::Auth(_))).count() > 1 {
        let message =
            format!("{path}.filters: a rule can have one ExternalAuth; one more is for the listener's filters");
        return Err(Problem::new(reason::INCOMPATIBLE_FILTERS, message));
    }
    let edit = redirect.or(rewrite).flatten();
    let by_prefix = |m: &RouteMatch| m.path.as_ref().is_none_or(|p| p.kind == PathMatchKind::PathPrefix);
    if matches!(edit, Some(PathEdit::ReplacePrefixMatch(_))) && !matches.iter().all(by_prefix) {
        let message = format!("{path}.filters: ReplacePrefixMatch needs matches of type PathPrefix");
        return Err(unsupported(message));
    }
    Ok(())
}

fn header_edit(given: &HttpHeaderFilter) -> HeaderEdit {
    let headers = |given: &[HttpHeader]| {
        given.iter().map(|h| Header { name: h.name.clone(), value: h.value.clone() }).collect::<Vec<_>>()
    };
    HeaderEdit { set: headers(&given.set), add: headers(&given.add), remove: given.remove.clone() }
}

fn parse_redirect(given: &HttpRequestRedirectFilter, path: &str) -> Result<Redirect, Problem> {
    let path = format!("{path}.requestRedirect");
    let status_code = given.status_code.unwrap_or(302);
    if !matches!(status_code, 301 | 302 | 303 | 307 | 308) {
        return Err(unsupported(format!("{path}.statusCode: {status_code} isn't one of 301, 302, 303, 307, 308")));
    }
    if let Some(scheme) = given.scheme.as_deref().filter(|s| !matches!(*s, "http" | "https")) {
        return Err(unsupported(format!("{path}.scheme: {scheme:?} isn't http or https")));
    }
    Ok(Redirect {
        scheme: given.scheme.clone(),
        hostname: given.hostname.clone(),
        path: given.path.as_ref().map(|p| path_edit(p, &format!("{path}.path"))).transpose()?,
        port: given.port,
        status_code,
    })
}

fn parse_cors(given: &HttpCorsFilter, path: &str) -> Result<Cors, Problem> {
    for (i, origin) in given.allow_origins.iter().enumerate() {
        let host = origin.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
        if origin != "*" && host.is_none_or(|(_, host)| host.is_empty() || host.contains('/')) {
            let message = format!("{path}.allowOrigins[{i}]: {origin:?} isn't * or like https://example.com");
            return Err(unsupported(message));
        }
    }
    Ok(Cors {
        allow_origins: given.allow_origins.clone(),
        allow_credentials: given.allow_credentials.unwrap_or_default(),
        allow_methods: given.allow_methods.clone(),
        allow_headers: given.allow_headers.clone(),
        expose_headers: given.expose_headers.clone(),
        max_age_seconds: Some(given.max_age.and_then(|age| u32::try_from(age).ok()).unwrap_or(CORS_MAX_AGE)),
    })
}

fn path_edit(given: &HttpPathModifier, path: &str) -> Result<PathEdit, Problem> {
    let missing = |field: &str| unsupported(format!("{path}.{field}: its type says that it is set, and it isn't"));
    match given.kind {
        HttpPathModifierType::ReplaceFullPath => {
            given.replace_full_path.clone().map(PathEdit::ReplaceFullPath).ok_or_else(|| missing("replaceFullPath"))
        }
        HttpPathModifierType::ReplacePrefixMatch => given
            .replace_prefix_match
            .clone()
            .map(PathEdit::ReplacePrefixMatch)
            .ok_or_else(|| missing("replacePrefixMatch")),
        HttpPathModifierType::Unknown => Err(unsupported(format!("{path}.type: not known to this version"))),
    }
}

fn parse_mirror(given: &HttpRequestMirrorFilter, from: From<'_>, path: &str) -> Result<ParsedFilter, Problem> {
    let (numerator, denominator) = match (&given.fraction, given.percent) {
        (Some(fraction), _) => (fraction.numerator, fraction.denominator.unwrap_or(100)),
        (None, percent) => (percent.unwrap_or(100), 100),
    };
    if denominator == 0 || numerator > denominator {
        return Err(unsupported(format!("{path}: {numerator} of {denominator} isn't a share of requests")));
    }
    let own = from.namespace;
    let target = Target::new(given.backend_ref.target(own), own, format!("{path}.backendRef"));
    Ok(ParsedFilter::Mirror { target, numerator, denominator })
}

fn unsupported(message: String) -> Problem {
    Problem::new(reason::UNSUPPORTED_VALUE, message)
}
