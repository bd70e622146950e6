//! Whether a route takes a request, and every reason why not.

use foregate_envoy::pb::envoy::config::route::v3 as route;
use foregate_envoy::pb::envoy::r#type::matcher::v3 as matcher;
use matcher::string_matcher::MatchPattern;
use route::header_matcher::HeaderMatchSpecifier as Header;
use route::query_parameter_matcher::QueryParameterMatchSpecifier as Query;
use route::route_match::PathSpecifier;

use super::normal::Seen;
use super::read::Gateway;
use super::{Explanation, Part, Reason, Request, RouteChoice, RouteOrigin, describe};

/// A place in a virtual host's list of routes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit<'a> {
    pub index: usize,
    pub route: &'a route::Route,
}

/// The first route that takes a request.
pub(super) fn first<'a>(
    gateway: &Gateway,
    host: &'a route::VirtualHost,
    request: &Request,
    seen: &Seen,
    answer: &mut Explanation,
) -> Option<Hit<'a>> {
    let wanted = Wanted { gateway, request, seen };
    let (index, route) = host.routes.iter().enumerate().find(|(_, route)| wanted.against(route).is_empty())?;
    if let Some(percent) = fraction(route) {
        answer.caveats.push(format!("route {} takes only {percent} % of the requests that match, by lot", route.name));
    }
    answer.route = Some(choice(route));
    Some(Hit { index, route })
}

/// A route as an answer names it.
pub(super) fn choice(route: &route::Route) -> RouteChoice {
    RouteChoice {
        name: route.name.clone(),
        origin: RouteOrigin::parse(&route.name),
        matches: route.r#match.as_ref().map(describe::route_match).unwrap_or_default(),
    }
}

/// The share of requests that a route takes, in percent; none: all.
fn fraction(route: &route::Route) -> Option<f64> {
    let value = route.r#match.as_ref()?.runtime_fraction.as_ref()?.default_value.as_ref()?;
    let percent = super::forward::percent(value);
    (percent < 100.0).then_some(percent)
}

/// A request that is held against routes.
pub(super) struct Wanted<'a> {
    pub gateway: &'a Gateway,
    pub request: &'a Request,
    pub seen: &'a Seen,
}

impl Wanted<'_> {
    /// Why a route doesn't take the request; nothing: it does.
    pub(super) fn against(&self, route: &route::Route) -> Vec<Reason> {
        let Some(asked) = &route.r#match else { return vec![Reason::new(Part::Other, "it matches nothing")] };
        let mut reasons: Vec<Reason> = self.path(asked).into_iter().collect();
        reasons.extend(asked.headers.iter().filter_map(|header| self.header(header)));
        reasons.extend(asked.query_parameters.iter().filter_map(|query| self.query(query)));
        reasons.extend(self.rest(asked));
        if fraction(route).is_some_and(|percent| percent <= 0.0) {
            reasons.push(Reason::new(Part::Other, "it takes 0 % of requests"));
        }
        reasons
    }

    fn path(&self, asked: &route::RouteMatch) -> Option<Reason> {
        let path = self.seen.path.as_str();
        let cased = asked.case_sensitive.as_ref().is_none_or(|it| it.value);
        let fits = match asked.path_specifier.as_ref() {
            Some(PathSpecifier::Prefix(prefix)) => starts(path, prefix, cased),
            Some(PathSpecifier::Path(exact)) => path.len() == exact.len() && starts(path, exact, cased),
            Some(PathSpecifier::PathSeparatedPrefix(prefix)) => {
                starts(path, prefix, cased) && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
            }
            Some(PathSpecifier::SafeRegex(regex)) => self.gateway.full_match(&regex.regex, path),
            Some(PathSpecifier::ConnectMatcher(_)) => self.request.method == "CONNECT",
            Some(PathSpecifier::PathMatchPolicy(_)) | None => {
                return Some(Reason::new(Part::Other, "it matches paths by an extension, which explain doesn't know"));
            }
        };
        (!fits).then(|| {
            let what = asked.path_specifier.as_ref().map(describe::path).unwrap_or_default();
            let hint = match asked.path_specifier.as_ref() {
                Some(PathSpecifier::PathSeparatedPrefix(prefix)) if starts(path, prefix, cased) => {
                    "; prefixes match whole path elements"
                }
                Some(PathSpecifier::Path(exact)) if path.trim_end_matches('/') == exact.trim_end_matches('/') => {
                    "; exact matches count the slash at the end"
                }
                _ => "",
            };
            Reason { near: !hint.is_empty(), ..Reason::new(Part::Path, format!("path {path} isn't {what}{hint}")) }
        })
    }

    fn header(&self, asked: &route::HeaderMatcher) -> Option<Reason> {
        let name = asked.name.as_str();
        let values = match name {
            ":method" => vec![self.request.method.clone()],
            ":path" => vec![self.seen.target()],
            ":scheme" => vec![self.seen.scheme.to_owned()],
            ":authority" => vec![self.seen.authority.clone()],
            other if other.eq_ignore_ascii_case("host") => vec![self.seen.authority.clone()],
            other => self.request.lines(other).map(str::to_owned).collect(),
        };
        if self.header_fits(asked, &values) {
            return None;
        }
        let value = (!values.is_empty()).then(|| values.join(","));
        let part = if name == ":method" { Part::Method } else { Part::Header };
        let wants = describe::header(asked);
        Some(Reason::new(
            part,
            match (name, value) {
                (":method", Some(value)) => format!("method {value} isn't {}", describe::value_of(asked)),
                (_, None) => format!("header {name} is missing; it wants {wants}"),
                (_, Some(value)) => format!("header {name} is {value:?}; it wants {wants}"),
            },
        ))
    }

    /// Lines of one name are looked at one by one, as Envoy does since 1.38: one that fits is enough.
    #[allow(deprecated, reason = "exact_match and its like are still written by patches")]
    fn header_fits(&self, asked: &route::HeaderMatcher, values: &[String]) -> bool {
        let missing_is_empty = asked.treat_missing_header_as_empty;
        if let None | Some(Header::PresentMatch(_)) = &asked.header_match_specifier {
            let wanted = !matches!(asked.header_match_specifier, Some(Header::PresentMatch(false)));
            return ((!values.is_empty() || missing_is_empty) == wanted) != asked.invert_match;
        }
        if values.is_empty() && !missing_is_empty {
            return false;
        }
        let empty = values.is_empty().then_some("");
        let fits = values.iter().map(String::as_str).chain(empty).any(|value| match &asked.header_match_specifier {
            Some(Header::StringMatch(text)) => self.text(text, value),
            Some(Header::RangeMatch(range)) => {
                value.parse::<i64>().is_ok_and(|number| (range.start..range.end).contains(&number))
            }
            Some(Header::ExactMatch(exact)) => value == exact,
            Some(Header::PrefixMatch(prefix)) => value.starts_with(prefix),
            Some(Header::SuffixMatch(suffix)) => value.ends_with(suffix),
            Some(Header::ContainsMatch(part)) => value.contains(part),
            Some(Header::SafeRegexMatch(regex)) => self.gateway.full_match(&regex.regex, value),
            Some(Header::PresentMatch(_)) | None => true,
        });
        fits != asked.invert_match
    }

    fn query(&self, asked: &route::QueryParameterMatcher) -> Option<Reason> {
        let value = self.parameter(&asked.name);
        let fits = match &asked.query_parameter_match_specifier {
            Some(Query::StringMatch(text)) => value.as_ref().is_some_and(|value| self.text(text, value)),
            Some(Query::PresentMatch(present)) => value.is_some() == *present,
            None => value.is_some(),
        };
        (!fits).then(|| {
            let (name, wants) = (&asked.name, describe::query(asked));
            Reason::new(
                Part::Query,
                match value {
                    None => format!("query parameter {name} is missing; it wants {wants}"),
                    Some(value) => format!("query parameter {name} is {value:?}; it wants {wants}"),
                },
            )
        })
    }

    /// The first value of a query parameter, as it is written: Envoy doesn't decode it before it matches.
    fn parameter(&self, name: &str) -> Option<String> {
        self.seen.query.as_deref()?.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| value.to_owned())
        })
    }

    fn text(&self, asked: &matcher::StringMatcher, value: &str) -> bool {
        let lower = |text: &str| if asked.ignore_case { text.to_ascii_lowercase() } else { text.to_owned() };
        let value = lower(value);
        match &asked.match_pattern {
            Some(MatchPattern::Exact(exact)) => value == lower(exact),
            Some(MatchPattern::Prefix(prefix)) => value.starts_with(&lower(prefix)),
            Some(MatchPattern::Suffix(suffix)) => value.ends_with(&lower(suffix)),
            Some(MatchPattern::Contains(part)) => value.contains(&lower(part)),
            Some(MatchPattern::SafeRegex(regex)) => self.gateway.full_match(&regex.regex, &value),
            Some(MatchPattern::Custom(_)) | None => false,
        }
    }

    /// What a route may ask for besides.
    fn rest(&self, asked: &route::RouteMatch) -> Option<Reason> {
        let content = self.request.header("content-type").unwrap_or_default();
        let is_grpc = content == "application/grpc" || content.starts_with("application/grpc+");
        if asked.grpc.is_some() && !is_grpc {
            return Some(Reason::new(Part::Header, "it wants a gRPC request (content-type: application/grpc)"));
        }
        let unknown = [
            ("cookies", !asked.cookies.is_empty()),
            ("tls_context", asked.tls_context.is_some()),
            ("dynamic_metadata", !asked.dynamic_metadata.is_empty()),
            ("filter_state", !asked.filter_state.is_empty()),
        ];
        let (name, _) = unknown.into_iter().find(|(_, asked)| *asked)?;
        Some(Reason::new(Part::Other, format!("it matches by {name}, which explain doesn't know")))
    }
}

fn starts(path: &str, prefix: &str, cased: bool) -> bool {
    let Some(head) = path.as_bytes().get(..prefix.len()) else { return false };
    if cased { head == prefix.as_bytes() } else { head.eq_ignore_ascii_case(prefix.as_bytes()) }
}
