//! What a policy says, in effective values.

use std::sync::Arc;

use foregate_api::gateway::Fraction;
use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::experimental::{
    Attribute, AttributeSourceType, ParentBasedSampling, TelemetryMode, TracingConfig, XTelemetryPolicySpec,
};
use foregate_api::tracing::{MILLION, StandardAttribute, Tracing, TracingAttribute, TracingValue};

use crate::Key;
use crate::backend::Target;
use crate::problem::Problem;

const PATH: &str = "spec.tracing";

/// How requests are traced, but for who gets the spans.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ParsedTracing {
    pub collector: Target,
    sampling: u32,
    parent_sampling: Option<u32>,
    service_name: Option<String>,
    span_name: Option<String>,
    attributes: Vec<TracingAttribute>,
}

impl ParsedTracing {
    pub fn with(&self, backend: String, gateway: &Key) -> Tracing {
        let own = || format!("{}.{}", gateway.name, gateway.namespace);
        Tracing {
            backend,
            sampling: self.sampling,
            parent_sampling: self.parent_sampling,
            service_name: self.service_name.clone().unwrap_or_else(own),
            span_name: self.span_name.clone(),
            attributes: self.attributes.clone(),
        }
    }
}

/// Reads a policy of namespace `own`.
pub(super) fn tracing(spec: &XTelemetryPolicySpec, own: &Arc<str>) -> Result<Option<ParsedTracing>, Problem> {
    let Some(given) = &spec.tracing else { return Ok(None) };
    match given.mode {
        TelemetryMode::Enabled => enabled(given, own).map(Some),
        TelemetryMode::Disabled | TelemetryMode::ImplementationDefault => Ok(None),
        TelemetryMode::Unknown => Err(unsupported("mode", "not one that this version knows")),
    }
}

fn enabled(given: &TracingConfig, own: &Arc<str>) -> Result<ParsedTracing, Problem> {
    let provider = given.provider.as_ref().ok_or_else(|| invalid("provider", "must be set for mode Enabled"))?;
    if !provider.headers.is_empty() {
        // They would be in claims, in listeners and in revisions: none of these is a Secret.
        let why = "aren't supported: what they say would be kept where no secrets are; let the collector know the \
                   gateway by the certificate of its spec.tls.backend";
        return Err(unsupported("provider.headers", why));
    }
    let sampling = share(given.sampling_rate.as_ref(), "samplingRate")?;
    let parent_sampling = parents(given.parent_based_sampling.as_ref())?;
    if parent_sampling.is_some_and(|parents| parents < sampling) {
        let why = "a smaller share of parents' traces than samplingRate has of new ones isn't supported; make it as \
                   large";
        return Err(unsupported("parentBasedSampling.samplingRate", why));
    }
    let attributes = given.attributes.iter().enumerate();
    let attributes = attributes.map(|(at, attribute)| self::attribute(attribute, &format!("attributes[{at}]")));
    Ok(ParsedTracing {
        collector: Target::new(provider.backend_ref.target(own), own, format!("{PATH}.provider.backendRef")),
        sampling,
        parent_sampling,
        service_name: given.service_name.clone(),
        span_name: given.span_name.clone(),
        attributes: attributes.collect::<Result<_, _>>()?,
    })
}

/// Parents are followed unless they are to be ignored.
fn parents(given: Option<&ParentBasedSampling>) -> Result<Option<u32>, Problem> {
    let Some(given) = given else { return Ok(Some(MILLION)) };
    match given.mode {
        TelemetryMode::Enabled | TelemetryMode::ImplementationDefault => {
            share(given.sampling_rate.as_ref(), "parentBasedSampling.samplingRate").map(Some)
        }
        TelemetryMode::Disabled => Ok(None),
        TelemetryMode::Unknown => Err(unsupported("parentBasedSampling.mode", "not one that this version knows")),
    }
}

/// A share in millionths, rounded; all where nothing is said.
fn share(given: Option<&Fraction>, field: &str) -> Result<u32, Problem> {
    let Some(given) = given else { return Ok(MILLION) };
    let (numerator, denominator) = (u64::from(given.numerator), u64::from(given.denominator.unwrap_or(100)));
    if denominator == 0 || numerator > denominator {
        return Err(invalid(field, &format!("{numerator} of {denominator} isn't a share; the numerator is too large")));
    }
    let millionths = (numerator * u64::from(MILLION) * 2 + denominator) / (denominator * 2);
    Ok(u32::try_from(millionths).unwrap_or(MILLION))
}

fn attribute(given: &Attribute, path: &str) -> Result<TracingAttribute, Problem> {
    let missing = |field: &str| invalid(&format!("{path}.{field}"), "its type says that it is set, and it isn't");
    let value = match given.source_type {
        AttributeSourceType::Literal => {
            TracingValue::Literal(given.literal_value.clone().ok_or_else(|| missing("literalValue"))?)
        }
        AttributeSourceType::Header => {
            TracingValue::Header(given.header_name.clone().ok_or_else(|| missing("headerName"))?.to_ascii_lowercase())
        }
        AttributeSourceType::Attribute => {
            let key = given.attribute_key.as_deref().ok_or_else(|| missing("attributeKey"))?;
            let known = StandardAttribute::of(key);
            TracingValue::Standard(known.ok_or_else(|| {
                let all = StandardAttribute::ALL.map(|(name, _)| name).join(", ");
                let why = format!("{key:?} isn't one that gateways know; they know {all}");
                unsupported(&format!("{path}.attributeKey"), &why)
            })?)
        }
        AttributeSourceType::Unknown => {
            return Err(unsupported(&format!("{path}.sourceType"), "not one that this version knows"));
        }
    };
    Ok(TracingAttribute { name: given.name.clone(), value })
}

fn invalid(field: &str, why: &str) -> Problem {
    Problem::new(reason::INVALID, format!("{PATH}.{field}: {why}"))
}

fn unsupported(field: &str, why: &str) -> Problem {
    Problem::new(reason::UNSUPPORTED_VALUE, format!("{PATH}.{field}: {why}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::{Value, json};

    use super::*;

    fn parsed(more: Value) -> Result<Option<ParsedTracing>, Problem> {
        let mut tracing = json!({ "mode": "Enabled", "provider": { "backendRef": { "name": "c", "port": 4317 } } });
        for (name, value) in more.as_object().unwrap() {
            tracing[name] = value.clone();
        }
        super::tracing(&serde_json::from_value(json!({ "tracing": tracing })).unwrap(), &"shop".into())
    }

    #[test]
    fn shares_are_effective() {
        let rate = |numerator: u32, denominator: u32| json!({ "numerator": numerator, "denominator": denominator });
        for (more, expected) in [
            (json!({}), Ok((1_000_000, Some(1_000_000)))),
            (json!({ "samplingRate": { "numerator": 5 } }), Ok((50_000, Some(1_000_000)))),
            (json!({ "samplingRate": rate(1, 3) }), Ok((333_333, Some(1_000_000)))),
            (json!({ "samplingRate": rate(0, 100) }), Ok((0, Some(1_000_000)))),
            (
                json!({ "samplingRate": rate(5, 100), "parentBasedSampling": { "mode": "Enabled", "samplingRate": rate(50, 100) } }),
                Ok((50_000, Some(500_000))),
            ),
            (json!({ "parentBasedSampling": { "mode": "Disabled" } }), Ok((1_000_000, None))),
            (json!({ "parentBasedSampling": {} }), Ok((1_000_000, Some(1_000_000)))),
            (json!({ "samplingRate": rate(150, 100) }), Err((reason::INVALID, "spec.tracing.samplingRate"))),
            (
                json!({ "parentBasedSampling": { "mode": "Enabled", "samplingRate": rate(2, 1) } }),
                Err((reason::INVALID, "spec.tracing.parentBasedSampling.samplingRate")),
            ),
            (
                json!({ "parentBasedSampling": { "mode": "Enabled", "samplingRate": rate(50, 100) } }),
                Err((reason::UNSUPPORTED_VALUE, "spec.tracing.parentBasedSampling.samplingRate")),
            ),
            (
                json!({ "parentBasedSampling": { "mode": "Sometimes" } }),
                Err((reason::UNSUPPORTED_VALUE, "spec.tracing.parentBasedSampling.mode")),
            ),
        ] {
            let shown = parsed(more.clone()).map(|it| it.map(|it| (it.sampling, it.parent_sampling)).unwrap());
            let shown = shown.as_ref().map_err(|p| (p.reason, p.message.split(':').next().unwrap()));
            assert_eq!(shown.copied(), expected, "{more}");
        }
    }

    #[test]
    fn attributes_are_read_and_refused() {
        let attribute = |source: &str, field: &str, value: &str| json!({ "attributes": [{ "name": "a", "sourceType": source, field: value }] });
        for (more, expected) in [
            (attribute("Literal", "literalValue", "v"), Ok(TracingValue::Literal("v".into()))),
            (attribute("Header", "headerName", "X-User"), Ok(TracingValue::Header("x-user".into()))),
            (
                attribute("Attribute", "attributeKey", "url.path"),
                Ok(TracingValue::Standard(StandardAttribute::UrlPath)),
            ),
            (attribute("Header", "literalValue", "v"), Err("spec.tracing.attributes[0].headerName")),
            (
                attribute("Attribute", "attributeKey", "gen_ai.tool.name"),
                Err("spec.tracing.attributes[0].attributeKey"),
            ),
            (attribute("Moon", "literalValue", "v"), Err("spec.tracing.attributes[0].sourceType")),
            (
                json!({ "provider": { "backendRef": { "name": "c" }, "headers": [{ "name": "a", "value": "b" }] } }),
                Err("spec.tracing.provider.headers"),
            ),
            (json!({ "provider": null }), Err("spec.tracing.provider")),
            (json!({ "mode": "Later" }), Err("spec.tracing.mode")),
        ] {
            let shown = parsed(more.clone()).map(|it| it.unwrap().attributes.remove(0).value);
            assert_eq!(
                shown.map_err(|p| p.message),
                expected.map_err(|path| {
                    let message = parsed(more.clone()).unwrap_err().message;
                    assert!(message.starts_with(&format!("{path}: ")), "{message}");
                    message
                }),
                "{more}"
            );
        }
        assert_eq!(parsed(json!({ "mode": "Disabled" })), Ok(None));
        assert_eq!(parsed(json!({ "mode": "ImplementationDefault" })), Ok(None));
    }
}
