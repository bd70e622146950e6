//! Host names: which listener owns a domain, and which of two is more specific.

use std::cmp::Reverse;

/// The name that stands for every host.
pub(crate) const ANY: &str = "*";

/// Precedence of a route's own host name in the Gateway API's order: exact before wildcard before none, longer before
/// shorter. Smaller comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostRank(u8, Reverse<u16>);

impl HostRank {
    pub(crate) fn of(hostname: &str) -> Self {
        let kind = match hostname {
            "" | ANY => 2,
            name if name.starts_with("*.") => 1,
            _ => 0,
        };
        Self(kind, Reverse(u16::try_from(hostname.len()).unwrap_or(u16::MAX)))
    }
}

/// Whether every host that `domain` stands for is one of `pattern`'s.
pub(crate) fn covers(pattern: &str, domain: &str) -> bool {
    if pattern == ANY || pattern == domain {
        return true;
    }
    // `*.example.com` covers `a.example.com`, `b.a.example.com` and `*.a.example.com`, not `example.com`.
    pattern.strip_prefix('*').is_some_and(|suffix| {
        let host = domain.strip_prefix('*').unwrap_or(domain);
        host.len() > suffix.len() && host.ends_with(suffix)
    })
}

/// The most specific of the listeners' host names that covers a domain: the listeners with that name own it (GEP-3567,
/// feature GatewayHTTPListenerIsolation).
pub(crate) fn owner<'a>(hostnames: impl IntoIterator<Item = &'a str>, domain: &str) -> Option<&'a str> {
    hostnames.into_iter().filter(|pattern| covers(pattern, domain)).min_by_key(|pattern| HostRank::of(pattern))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn covers_by_whole_labels() {
        for (pattern, domain, expected) in [
            ("*", "a.com", true),
            ("*", "*", true),
            ("*", "*.com", true),
            ("a.com", "a.com", true),
            ("a.com", "b.com", false),
            ("*.a.com", "b.a.com", true),
            ("*.a.com", "c.b.a.com", true),
            ("*.a.com", "*.a.com", true),
            ("*.a.com", "*.b.a.com", true),
            ("*.b.a.com", "*.a.com", false),
            ("*.a.com", "a.com", false),
            ("*.a.com", "ba.com", false),
            ("a.com", "*.a.com", false),
            ("a.com", "*", false),
        ] {
            assert_eq!(covers(pattern, domain), expected, "{pattern} over {domain}");
        }
    }

    #[test]
    fn the_most_specific_listener_owns_a_domain() {
        let listeners = ["*", "*.com", "*.example.com", "a.example.com"];
        for (domain, expected) in [
            ("a.example.com", "a.example.com"),
            ("b.example.com", "*.example.com"),
            ("*.example.com", "*.example.com"),
            ("example.com", "*.com"),
            ("example.org", "*"),
            ("*", "*"),
        ] {
            assert_eq!(owner(listeners, domain), Some(expected), "{domain}");
        }
        assert_eq!(owner(["a.com"], "b.com"), None);
    }

    #[test]
    fn exact_before_wildcard_before_none_and_longer_before_shorter() {
        let order = ["long.example.com", "a.example.com", "*.long.example.com", "*.example.com", "*"];
        assert!(order.windows(2).all(|pair| HostRank::of(pair[0]) < HostRank::of(pair[1])));
    }
}
