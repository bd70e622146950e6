//! Host names of listeners and routes.

use foregate_api::route::RouteHostname;

/// The name that stands for every host.
pub(crate) const ANY: &str = "*";

/// The host names that a route serves on a listener: for each of the route's names its intersection with the
/// listener's. None if they have nothing in common.
///
/// `*.example.com` takes any number of labels, and not `example.com` itself.
pub(crate) fn intersect(listener: Option<&str>, route: &[String]) -> Vec<RouteHostname> {
    let listener = listener.unwrap_or(ANY);
    if route.is_empty() {
        return vec![RouteHostname { effective: listener.to_ascii_lowercase(), original: ANY.to_owned() }];
    }
    let mut names: Vec<RouteHostname> = Vec::with_capacity(route.len());
    for original in route {
        if let Some(effective) = narrower(listener, original) {
            let effective = effective.to_ascii_lowercase();
            if !names.iter().any(|n| n.effective == effective && n.original.eq_ignore_ascii_case(original)) {
                names.push(RouteHostname { effective, original: original.to_ascii_lowercase() });
            }
        }
    }
    names
}

/// The narrower of two names, if one contains the other.
fn narrower<'a>(a: &'a str, b: &'a str) -> Option<&'a str> {
    if contains(a, b) {
        Some(b)
    } else if contains(b, a) {
        Some(a)
    } else {
        None
    }
}

/// Whether every host of `inner` is one of `outer`.
fn contains(outer: &str, inner: &str) -> bool {
    if outer == ANY || outer.eq_ignore_ascii_case(inner) {
        return true;
    }
    let Some(suffix) = outer.strip_prefix('*') else { return false };
    let inner = inner.strip_prefix('*').unwrap_or(inner);
    inner
        .len()
        .checked_sub(suffix.len())
        .and_then(|at| Some((at, inner.get(at..)?)))
        .is_some_and(|(at, end)| at > 0 && end.eq_ignore_ascii_case(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intersections() {
        for (listener, route, expected) in [
            (None, &[][..], &[("*", "*")][..]),
            (Some("a.example.com"), &[], &[("a.example.com", "*")]),
            (Some("*.example.com"), &[], &[("*.example.com", "*")]),
            (None, &["a.example.com"], &[("a.example.com", "a.example.com")]),
            (Some("a.example.com"), &["A.Example.com"], &[("a.example.com", "a.example.com")]),
            (Some("a.example.com"), &["b.example.com"], &[]),
            (Some("*.example.com"), &["a.b.example.com"], &[("a.b.example.com", "a.b.example.com")]),
            (Some("*.example.com"), &["example.com"], &[]),
            (Some("*.example.com"), &["notexample.com"], &[]),
            (Some("a.example.com"), &["*.example.com"], &[("a.example.com", "*.example.com")]),
            (Some("*.example.com"), &["*.example.com"], &[("*.example.com", "*.example.com")]),
            (Some("*.example.com"), &["*.b.example.com"], &[("*.b.example.com", "*.b.example.com")]),
            (Some("*.b.example.com"), &["*.example.com"], &[("*.b.example.com", "*.example.com")]),
            (Some("*.a.example.com"), &["*.b.example.com"], &[]),
            (
                Some("*.example.com"),
                &["a.example.com", "a.test", "*.com"],
                &[("a.example.com", "a.example.com"), ("*.example.com", "*.com")],
            ),
        ] {
            let route: Vec<String> = route.iter().map(|&r| r.to_owned()).collect();
            let names = intersect(listener, &route);
            let names: Vec<_> = names.iter().map(|n| (n.effective.as_str(), n.original.as_str())).collect();
            assert_eq!(names, expected, "{listener:?} {route:?}");
        }
    }

    /// Whether a host is one of a name's, by labels.
    fn is_of(host: &str, name: &str) -> bool {
        let host: Vec<&str> = host.split('.').collect();
        match name.strip_prefix("*.") {
            Some(rest) => {
                let rest: Vec<&str> = rest.split('.').collect();
                host.len() > rest.len() && host.ends_with(&rest)
            }
            None => name == ANY || host == name.split('.').collect::<Vec<_>>(),
        }
    }

    proptest::proptest! {
        #[test]
        fn an_intersection_holds_the_hosts_of_both(
            listener in "(\\*\\.)?[ab](\\.[ab]){0,2}",
            route in "(\\*\\.)?[ab](\\.[ab]){0,2}",
            host in "[ab](\\.[ab]){0,4}",
        ) {
            let names = intersect(Some(&listener), std::slice::from_ref(&route));
            let in_both = is_of(&host, &listener) && is_of(&host, &route);
            proptest::prop_assert_eq!(names.iter().any(|n| is_of(&host, &n.effective)), in_both);
        }
    }
}
