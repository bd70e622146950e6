//! An index over a virtual host's routes: the same answer as looking at one after the other, with less looking.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;
use xxhash_rust::xxh3::Xxh3Builder;

use super::matchers::PathMatch;
use super::request::RequestView;
use crate::config::route::Route;

/// Fewer routes than this are looked at one by one.
const WORTH_AN_INDEX: usize = 12;

type Positions = HashMap<Box<str>, Vec<u32>, Xxh3Builder>;

/// Routes in order, with an index by path when there are many.
#[derive(Default)]
pub(crate) struct Routes {
    routes: Vec<Arc<Route>>,
    index: Option<Index>,
}

#[derive(Default)]
struct Index {
    exact: Positions,
    prefix: Positions,
    /// Distinct lengths of prefixes, shortest first.
    lengths: Vec<usize>,
    /// Expressions, and what doesn't look at case.
    others: Vec<u32>,
}

impl Routes {
    /// Routes in their order.
    pub(crate) fn new(routes: Vec<Arc<Route>>) -> Self {
        let index = (routes.len() >= WORTH_AN_INDEX).then(|| Index::new(&routes));
        Self { routes, index }
    }

    /// All, in order.
    pub(crate) fn all(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The first route that matches.
    pub(crate) fn find(&self, request: &RequestView<'_>) -> Option<&Route> {
        match &self.index {
            None => self.scan(request),
            Some(index) => index.find(&self.routes, request),
        }
    }

    /// One after the other.
    fn scan(&self, request: &RequestView<'_>) -> Option<&Route> {
        self.routes.iter().find(|route| route.matcher.matches(request)).map(|route| &**route)
    }
}

impl Index {
    fn new(routes: &[Arc<Route>]) -> Self {
        let mut index = Self::default();
        for (position, route) in (0_u32..).zip(routes) {
            let matcher = &route.matcher.path;
            match &matcher.kind {
                PathMatch::Exact(path) if matcher.case_sensitive => {
                    index.exact.entry(path.clone()).or_default().push(position);
                }
                PathMatch::Prefix(path) | PathMatch::PathSeparatedPrefix(path) if matcher.case_sensitive => {
                    index.prefix.entry(path.clone()).or_default().push(position);
                }
                _ => index.others.push(position),
            }
        }
        index.lengths = index.prefix.keys().map(|prefix| prefix.len()).collect();
        index.lengths.sort_unstable();
        index.lengths.dedup();
        index
    }

    fn find<'a>(&self, routes: &'a [Arc<Route>], request: &RequestView<'_>) -> Option<&'a Route> {
        let mut lists: SmallVec<[&[u32]; 8]> = SmallVec::new();
        lists.extend(self.exact.get(request.path).map(Vec::as_slice));
        for length in &self.lengths {
            let Some(prefix) = request.path.as_bytes().get(..*length) else { break };
            let Ok(prefix) = std::str::from_utf8(prefix) else { continue };
            lists.extend(self.prefix.get(prefix).map(Vec::as_slice));
        }
        if !self.others.is_empty() {
            lists.push(&self.others);
        }
        // The lists are in order each: always look at the smallest position next.
        loop {
            let next = lists.iter_mut().filter(|list| !list.is_empty()).min_by_key(|list| list[0])?;
            let route = &routes[next[0] as usize];
            *next = &next[1..];
            if route.matcher.matches(request) {
                return Some(route);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use http::{HeaderMap, Method};
    use proptest::prelude::*;

    use super::super::matchers::{PathMatcher, RouteMatcher};
    use super::*;

    fn route(kind: PathMatch, case_sensitive: bool, method: bool) -> Arc<Route> {
        use super::super::matchers::{HeaderCheck, HeaderMatcher, HeaderSource, TextMatch, TextMatcher};
        let post = HeaderMatcher {
            source: HeaderSource::Method,
            check: HeaderCheck::Text(TextMatcher { kind: TextMatch::Exact("POST".into()), ignore_case: false }),
            invert: false,
            missing_is_empty: false,
        };
        Arc::new(Route::for_test(RouteMatcher {
            path: PathMatcher { kind, case_sensitive },
            headers: if method { vec![post] } else { Vec::new() },
            query: Vec::new(),
            fraction: None,
        }))
    }

    prop_compose! {
        fn routes()(parts in prop::collection::vec(
            (0..4, "(/[aAb]{0,2}){1,3}", any::<bool>(), any::<bool>()), 0..60,
        )) -> Vec<Arc<Route>> {
            parts.into_iter().map(|(kind, path, case, method)| route(match kind {
                0 => PathMatch::Exact(path.into()),
                1 => PathMatch::Prefix(path.into()),
                2 => PathMatch::PathSeparatedPrefix(path.trim_end_matches('/').into()),
                _ => PathMatch::Regex(regex::Regex::new(&format!("^(?:{path}.?)$")).unwrap()),
            }, case, method)).collect()
        }
    }

    proptest! {
        #[test]
        fn the_index_answers_as_the_scan(
            routes in routes(),
            paths in prop::collection::vec("(/[aAbc]{0,3}){1,4}", 1..20),
            post in any::<bool>(),
        ) {
            let routes = Routes::new(routes);
            let headers = HeaderMap::new();
            let method = if post { Method::POST } else { Method::GET };
            for path in &paths {
                let request = RequestView {
                    luck: Default::default(),
                    method: &method, authority: "a", scheme: "http", path, query: None, headers: &headers,
                };
                let scanned = routes.scan(&request).map(std::ptr::from_ref);
                let index = Index::new(routes.all());
                let indexed = index.find(routes.all(), &request).map(std::ptr::from_ref);
                prop_assert_eq!(indexed, scanned, "{}", path);
            }
        }
    }
}
