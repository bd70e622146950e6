//! When certificates expire, so that a status says so at that moment.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use x509_parser::pem::Pem;

use crate::store::{Changed, Key};

/// Longest time until it is looked again: clocks are set.
const LONGEST: Duration = Duration::from_secs(3600);

/// All certificates.
#[derive(Debug, Default)]
pub(crate) struct Expiries {
    by_secret: HashMap<Key, Timestamp>,
    ahead: BTreeSet<(Timestamp, Key)>,
    /// When it was looked last.
    looked: Option<(Instant, Timestamp)>,
}

impl Expiries {
    /// A Secret is new, changed or gone.
    pub(crate) fn observe(&mut self, changed: &Changed<Secret>) {
        if let Some(old) = self.by_secret.remove(&changed.key) {
            self.ahead.remove(&(old, changed.key.clone()));
        }
        if let Some(at) = changed.new.as_deref().and_then(expiry) {
            self.by_secret.insert(changed.key.clone(), at);
            self.ahead.insert((at, changed.key.clone()));
        }
    }

    /// When the certificate of a Secret expired; none: it hasn't, or it can't be read.
    pub(crate) fn expired(&self, secret: &Key, now: Timestamp) -> Option<Timestamp> {
        self.by_secret.get(secret).copied().filter(|at| *at <= now)
    }

    /// Namespaces of certificates that have expired since it was looked last.
    pub(crate) fn expire(&mut self, now: Instant, clock: Timestamp) -> BTreeSet<String> {
        self.looked = Some((now, clock));
        let mut namespaces = BTreeSet::new();
        while self.ahead.first().is_some_and(|(at, _)| *at <= clock)
            && let Some((_, key)) = self.ahead.pop_first()
        {
            namespaces.insert(key.namespace);
        }
        namespaces
    }

    /// When the next one expires.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let (now, clock) = self.looked?;
        let (at, _) = self.ahead.first()?;
        let left = at.duration_since(clock).try_into().unwrap_or(Duration::ZERO);
        Some(now + left.min(LONGEST))
    }
}

/// When the first of the chain to expire does.
fn expiry(secret: &Secret) -> Option<Timestamp> {
    let chain = secret.data.as_ref()?.get("tls.crt")?;
    let blocks = Pem::iter_from_buffer(&chain.0).flatten().filter(|pem| pem.label == "CERTIFICATE");
    let ends = blocks.filter_map(|pem| pem.parse_x509().ok().map(|it| it.validity().not_after.timestamp()));
    ends.min().and_then(|seconds| Timestamp::from_second(seconds).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use std::sync::Arc;

    use k8s_openapi::ByteString;

    use super::*;

    fn secret(year: i32) -> Secret {
        let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let pair = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&pair).unwrap().pem();
        let data = [("tls.crt".to_owned(), ByteString(pem.into_bytes()))].into();
        Secret { data: Some(data), ..Default::default() }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn told_once_when_its_time_comes_and_not_after_it_is_renewed() {
        let key = Key::new("t", "cert");
        let changed = |year| Changed { key: key.clone(), old: None, new: Some(Arc::new(secret(year))) };
        let (mut expiries, start) = (Expiries::default(), Instant::now());
        expiries.observe(&changed(2030));
        assert!(expiries.expire(start, at("2029-12-31T23:59:30Z")).is_empty());
        assert_eq!(expiries.next_deadline(), Some(start + Duration::from_secs(30)));
        assert_eq!(expiries.expired(&key, at("2029-12-31T23:59:59Z")), None);
        assert_eq!(expiries.expire(start, at("2030-01-01T00:00:00Z")), ["t".to_owned()].into());
        assert!(expiries.expire(start, at("2030-01-01T00:00:01Z")).is_empty(), "once");
        assert_eq!(expiries.expired(&key, at("2030-02-01T00:00:00Z")), Some(at("2030-01-01T00:00:00Z")));
        expiries.observe(&changed(2031));
        assert_eq!(expiries.expired(&key, at("2030-02-01T00:00:00Z")), None);
        assert_eq!(expiries.next_deadline(), Some(start + LONGEST), "clocks are set");
    }

    #[test]
    fn what_is_no_certificate_never_expires() {
        let data = [("tls.crt".to_owned(), ByteString(b"-----BEGIN CERTIFICATE-----\nAAAA\n".to_vec()))].into();
        assert_eq!(expiry(&Secret { data: Some(data), ..Default::default() }), None);
        assert_eq!(expiry(&Secret::default()), None);
    }
}
