//! Virtual hosts by domain: exact, then the longest wildcard suffix, then the longest wildcard prefix, then `*`.

use std::sync::Arc;

use crate::config::vhost::VirtualHost;
use crate::persistent::TextMap;

/// Virtual hosts by domain, as `envoy.config.route.v3.VirtualHost.domains` orders them.
#[derive(Clone, Default)]
pub(crate) struct Domains {
    exact: TextMap<VirtualHost>,
    /// `*.example.com` under `.example.com`.
    suffixes: TextMap<VirtualHost>,
    /// How many suffixes there are of which length, longest first.
    suffix_lengths: Vec<(usize, usize)>,
    /// `example.*` under `example.`.
    prefixes: TextMap<VirtualHost>,
    prefix_lengths: Vec<(usize, usize)>,
    any: Option<Arc<VirtualHost>>,
}

enum Kind<'a> {
    Any,
    Exact(&'a str),
    Suffix(&'a str),
    Prefix(&'a str),
}

fn kind(domain: &str) -> Kind<'_> {
    if domain == "*" {
        Kind::Any
    } else if let Some(suffix) = domain.strip_prefix('*') {
        Kind::Suffix(suffix)
    } else if let Some(prefix) = domain.strip_suffix('*') {
        Kind::Prefix(prefix)
    } else {
        Kind::Exact(domain)
    }
}

impl Domains {
    /// The virtual host of a host, both in lower case.
    pub(crate) fn find(&self, host: &str) -> Option<&Arc<VirtualHost>> {
        if let Some(found) = self.exact.get(host) {
            return Some(found);
        }
        // A wildcard stands for at least one character.
        for (length, _) in &self.suffix_lengths {
            if *length < host.len()
                && let Some(suffix) = host.get(host.len() - length..)
                && let Some(found) = self.suffixes.get(suffix)
            {
                return Some(found);
            }
        }
        for (length, _) in &self.prefix_lengths {
            if *length < host.len()
                && let Some(prefix) = host.get(..*length)
                && let Some(found) = self.prefixes.get(prefix)
            {
                return Some(found);
            }
        }
        self.any.as_ref()
    }

    /// Who has a domain now.
    pub(crate) fn get(&self, domain: &str) -> Option<&Arc<VirtualHost>> {
        match kind(domain) {
            Kind::Any => self.any.as_ref(),
            Kind::Exact(name) => self.exact.get(name),
            Kind::Suffix(suffix) => self.suffixes.get(suffix),
            Kind::Prefix(prefix) => self.prefixes.get(prefix),
        }
    }

    /// Gives a domain (in lower case) to a virtual host, or to nobody.
    pub(crate) fn set(&mut self, domain: &str, host: Option<Arc<VirtualHost>>) {
        match kind(domain) {
            Kind::Any => self.any = host,
            Kind::Exact(name) => self.exact = self.exact.with(name, host),
            Kind::Suffix(suffix) => set_wildcard(&mut self.suffixes, &mut self.suffix_lengths, suffix, host),
            Kind::Prefix(prefix) => set_wildcard(&mut self.prefixes, &mut self.prefix_lengths, prefix, host),
        }
    }
}

fn set_wildcard(
    map: &mut TextMap<VirtualHost>,
    lengths: &mut Vec<(usize, usize)>,
    part: &str,
    host: Option<Arc<VirtualHost>>,
) {
    let before = map.len();
    *map = map.with(part, host);
    let at = lengths.iter().position(|(length, _)| *length <= part.len()).unwrap_or(lengths.len());
    let known = lengths.get(at).is_some_and(|(length, _)| *length == part.len());
    if map.len() > before {
        if known {
            lengths[at].1 += 1;
        } else {
            lengths.insert(at, (part.len(), 1));
        }
    } else if map.len() < before && known {
        lengths[at].1 -= 1;
        if lengths[at].1 == 0 {
            lengths.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn host(name: &str) -> Arc<VirtualHost> {
        Arc::new(VirtualHost::named(name))
    }

    fn found<'a>(domains: &'a Domains, name: &str) -> Option<&'a str> {
        domains.find(name).map(|h| &*h.name)
    }

    #[test]
    fn the_most_specific_domain_wins() {
        let mut domains = Domains::default();
        for domain in ["*", "*.example.com", "*.a.example.com", "a.example.com", "*-bar.example.com", "example.*"] {
            domains.set(domain, Some(host(domain)));
        }
        for (name, want) in [
            ("a.example.com", "a.example.com"),
            ("b.a.example.com", "*.a.example.com"),
            ("c.b.a.example.com", "*.a.example.com"),
            ("b.example.com", "*.example.com"),
            ("foo-bar.example.com", "*-bar.example.com"),
            ("example.com", "example.*"),
            (".example.com", "*"),
            ("other", "*"),
            ("", "*"),
        ] {
            assert_eq!(found(&domains, name), Some(want), "{name}");
        }
        domains.set("*.a.example.com", None);
        assert_eq!(found(&domains, "b.a.example.com"), Some("*.example.com"));
        domains.set("*", None);
        assert_eq!(found(&domains, "other"), None);
    }

    fn naive<'a>(all: &'a [String], name: &str) -> Option<&'a str> {
        let wildcard = |strip: fn(&str) -> Option<&str>, hit: fn(&str, &str) -> bool| {
            all.iter()
                .filter(|d| *d != "*")
                .filter(|d| strip(d).is_some_and(|part| name.len() > part.len() && hit(name, part)))
                .max_by_key(|d| d.len())
        };
        all.iter()
            .find(|d| *d == name)
            .or_else(|| wildcard(|d| d.strip_prefix('*'), |n, p| n.ends_with(p)))
            .or_else(|| wildcard(|d| d.strip_suffix('*').filter(|p| !p.starts_with('*')), |n, p| n.starts_with(p)))
            .or_else(|| all.iter().find(|d| *d == "*"))
            .map(String::as_str)
    }

    proptest! {
        #[test]
        fn same_answer_as_a_scan(
            all in prop::collection::btree_set("[*]?[ab]{0,2}[.][ab]{0,2}|[ab]{1,2}[.][*]|[*]", 0..20),
            name in "[ab.]{0,7}",
        ) {
            let all: Vec<String> = all.into_iter().collect();
            let mut domains = Domains::default();
            for domain in &all {
                domains.set(domain, Some(host("gone")));
                domains.set(domain, None);
                domains.set(domain, Some(host(domain)));
            }
            prop_assert_eq!(found(&domains, &name), naive(&all, &name));
        }
    }
}
