//! The template that serves on while the present one can't.
//!
//! The translator holds on to it, but only in memory. So that a restart doesn't take a gateway down whose template
//! nobody can use, the status keeps it until the template changes again, and after a start the translator is told of it
//! first.

use std::sync::Arc;

use foregate_api::GatewayProxy;
use foregate_api::proxy::LastGood;
use foregate_api::template::GatewayTemplateSpec;
use foregate_translate::{Change, Input as Translate};
use kube::ResourceExt as _;
use xxhash_rust::xxh3::xxh3_64;

use super::refusal::REFUSED;

/// For the status: what serves instead of `present`, for the `problem` that it has.
pub(crate) fn told(good: &GatewayTemplateSpec, present: &GatewayTemplateSpec, problem: &str) -> Option<LastGood> {
    let template = serde_json::to_string(good).ok()?;
    let refusal = problem.strip_prefix(REFUSED).map(str::to_owned);
    Some(LastGood { template, instead_of: hash(present)?, refusal })
}

/// The template that the status remembers, if it is still the present one that it stands in for.
pub(crate) fn remembered(proxy: &GatewayProxy) -> Option<(GatewayTemplateSpec, &LastGood)> {
    let last = proxy.status.as_ref()?.last_good.as_ref()?;
    let template = serde_json::from_str(&last.template).ok()?;
    (hash(&proxy.spec.template)? == last.instead_of).then_some((template, last))
}

/// What the translator has to know before and after it is told of `proxy` for the first time, so that `good` serves.
pub(crate) fn around(
    proxy: &GatewayProxy,
    good: &GatewayTemplateSpec,
    last: &LastGood,
) -> (Translate, Option<Translate>) {
    let generation = proxy.metadata.generation.unwrap_or_default();
    let mut before = proxy.clone();
    before.spec.template = good.clone();
    before.metadata.generation = Some(generation - 1);
    let refused = last.refusal.clone().map(|message| Translate::Quarantine {
        uid: proxy.uid().unwrap_or_default().into(),
        generation,
        message,
    });
    (Translate::Proxy(Change::Set(Arc::new(before))), refused)
}

fn hash(template: &GatewayTemplateSpec) -> Option<String> {
    let text = serde_json::to_vec(template).ok()?;
    Some(format!("{:016x}", xxh3_64(&text)))
}
