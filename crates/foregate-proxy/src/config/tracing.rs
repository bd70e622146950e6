//! `HttpConnectionManager.Tracing` with Envoy's OpenTelemetry tracer: which requests become spans, and what they say.

use std::sync::Arc;

use foregate_envoy::pb::envoy::config::core::v3 as core;
use foregate_envoy::pb::envoy::config::trace::v3 as trace;
use foregate_envoy::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager as hcm;
use foregate_envoy::pb::envoy::extensions::tracers::opentelemetry::samplers::v3 as samplers;
use foregate_envoy::pb::envoy::r#type::tracing::v3 as tag;
use foregate_envoy::pb::envoy::r#type::v3 as percent;
use http::HeaderName;
use prost::Name;

use super::format::{self, Command, Part, Value};
use super::headers::header_name;
use super::parts::{boolean, number};
use super::refusal::{At, Refusal, nothing_left, unpack};
use super::trace_export::{self, Exporter};
use crate::slots::Interner;

/// The only tracer.
const PROVIDER: &str = "envoy.tracers.opentelemetry";
/// Envoy's: so much of a request's path is told.
const MAX_PATH: u32 = 256;
/// A sampler may wrap another one, which may not wrap a third one that wraps a fourth.
const MAX_DEPTH: usize = 4;

/// How requests are traced.
#[derive(Debug)]
pub(crate) struct Tracing {
    /// Of requests with `x-client-trace-id`, so many are traced whatever `random` says.
    pub(crate) client: Share,
    /// Of all other requests.
    pub(crate) random: Share,
    /// Of what was chosen so, so many are left.
    pub(crate) overall: Share,
    /// Who decides then; none: a parent does, and without one the request is traced.
    pub(crate) sampler: Option<Sampler>,
    /// What spans say besides what they always say.
    pub(crate) tags: Vec<Tag>,
    /// Bytes of the path that are told.
    pub(crate) max_path: usize,
    /// Each try gets a span of its own.
    pub(crate) spawn_upstream_span: bool,
    /// What a request's span is called; none: `ingress`.
    pub(crate) operation: Option<Value>,
    /// What a try's span is called; none: `router CLUSTER egress`.
    pub(crate) upstream_operation: Option<Value>,
    /// Endpoints are told of the trace.
    pub(crate) propagate: bool,
    /// Where spans go; none: nowhere.
    pub(crate) exporter: Option<Arc<Exporter>>,
}

/// A share, in ten-thousandths: the resolution that Envoy has here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share(u32);

impl Share {
    const ALL: Self = Self(10_000);

    /// Whether this one is in it.
    #[inline]
    pub(crate) fn draw(self) -> bool {
        self.0 >= Self::ALL.0 || (self.0 > 0 && rand::random_range(0..Self::ALL.0) < self.0)
    }
}

/// Who decides whether a trace is recorded (OpenTelemetry's samplers).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sampler {
    /// All are.
    AlwaysOn,
    /// As the trace's id says, whatever the parent has decided.
    Ratio {
        /// So many …
        numerator: u32,
        /// … of so many.
        denominator: u32,
    },
    /// As the parent has decided; without one the other sampler decides.
    ParentBased(Box<Self>),
}

impl Sampler {
    /// Whether a trace is recorded, by its id and what the parent has decided.
    pub(crate) fn decide(&self, trace_id: u128, parent: Option<bool>) -> bool {
        match self {
            Self::AlwaysOn => true,
            // As Envoy does it, so that both decide alike: the first half of the id, read from the wrong end.
            Self::Ratio { numerator, denominator } => {
                let half = u64::try_from(trace_id >> 64).unwrap_or_default().swap_bytes();
                half % u64::from(*denominator) < u64::from(*numerator)
            }
            Self::ParentBased(other) => parent.unwrap_or_else(|| other.decide(trace_id, None)),
        }
    }
}

/// An attribute of spans.
#[derive(Debug)]
pub(crate) struct Tag {
    /// What it is called.
    pub(crate) name: String,
    /// What it says.
    pub(crate) value: TagValue,
}

/// What an attribute says. Without a value there is no attribute.
#[derive(Debug)]
pub(crate) enum TagValue {
    /// The same for all.
    Literal(String),
    /// A header of the request, or something else where there is none.
    Header(HeaderName, String),
    /// What a format says.
    Format(Value),
}

/// Compiles `tracing`. Without a provider there is none.
pub(crate) fn compile(mut message: hcm::Tracing, clusters: &mut Interner) -> Result<Option<Tracing>, Refusal> {
    let share = |value: Option<percent::Percent>, field: &str| match value {
        None => Ok(Share::ALL),
        Some(percent) if (0.0..=100.0).contains(&percent.value) => Ok(Share((percent.value * 100.0).round() as u32)),
        Some(_) => Err(Refusal::field(field, "must be from 0 to 100")),
    };
    let Some(provider) = message.provider.take() else { return Ok(None) };
    let (sampler, exporter) = self::provider(provider, clusters).at("provider")?;
    let mut tags = Vec::new();
    for (index, tag) in std::mem::take(&mut message.custom_tags).into_iter().enumerate() {
        tags.push(custom_tag(tag).at(format_args!("custom_tags[{index}]"))?);
    }
    let tracing = Tracing {
        client: share(message.client_sampling.take(), "client_sampling")?,
        random: share(message.random_sampling.take(), "random_sampling")?,
        overall: share(message.overall_sampling.take(), "overall_sampling")?,
        sampler,
        tags,
        max_path: number(&mut message.max_path_tag_length).unwrap_or(MAX_PATH) as usize,
        spawn_upstream_span: boolean(&mut message.spawn_upstream_span).unwrap_or(false),
        operation: operation(std::mem::take(&mut message.operation)).at("operation")?,
        upstream_operation: operation(std::mem::take(&mut message.upstream_operation)).at("upstream_operation")?,
        propagate: !std::mem::take(&mut message.no_context_propagation),
        exporter: exporter.map(Arc::new),
    };
    nothing_left(&message)?;
    Ok(Some(tracing))
}

fn operation(text: String) -> Result<Option<Value>, Refusal> {
    if text.is_empty() { Ok(None) } else { value(&text).map(Some) }
}

/// A format for spans. They are made when the response's headers are gone.
fn value(text: &str) -> Result<Value, Refusal> {
    let value = format::compile(text.as_bytes())?;
    if let Value::Format(parts) = &value
        && parts.iter().any(|part| matches!(part, Part::Command(Command::Response(..), _)))
    {
        return Err(Refusal::unsupported("%RESP%"));
    }
    Ok(value)
}

fn custom_tag(mut message: tag::CustomTag) -> Result<Tag, Refusal> {
    use tag::custom_tag::Type;
    let name = std::mem::take(&mut message.tag);
    if name.is_empty() {
        return Err(Refusal::field("tag", "must not be empty"));
    }
    let value = match message.r#type.take() {
        Some(Type::Literal(literal)) => TagValue::Literal(literal.value),
        Some(Type::RequestHeader(header)) => {
            let name = header_name(&header.name).at("request_header.name")?;
            TagValue::Header(name, header.default_value)
        }
        Some(Type::Value(text)) => TagValue::Format(value(&text).at("value")?),
        Some(Type::Environment(_)) => return Err(Refusal::unsupported("environment")),
        Some(Type::Metadata(_)) => return Err(Refusal::unsupported("metadata")),
        None => return Err(Refusal::new("must say what its value is")),
    };
    Ok(Tag { name, value })
}

fn provider(
    mut message: trace::tracing::Http,
    clusters: &mut Interner,
) -> Result<(Option<Sampler>, Option<Exporter>), Refusal> {
    use trace::tracing::http::ConfigType;
    let Some(ConfigType::TypedConfig(any)) = message.config_type.take() else {
        return Err(Refusal::field("typed_config", "must be set"));
    };
    if std::mem::take(&mut message.name) != PROVIDER {
        return Err(Refusal::field("name", format!("only {PROVIDER} is there")));
    }
    nothing_left(&message)?;
    let compiled: Result<_, Refusal> = (|| {
        let mut config: trace::OpenTelemetryConfig = unpack(&any)?;
        let sampler = config.sampler.take().map(|sampler| self::sampler(sampler, 0)).transpose().at("sampler")?;
        Ok((sampler, trace_export::compile(config, clusters)?))
    })();
    compiled.at("typed_config")
}

fn sampler(message: core::TypedExtensionConfig, depth: usize) -> Result<Sampler, Refusal> {
    // Extensions are found by their types; names are for people.
    let any = message.typed_config.ok_or_else(|| Refusal::field("typed_config", "must be set"))?;
    if depth == MAX_DEPTH {
        return Err(Refusal::new("wraps too many others"));
    }
    let compiled = if any.type_url == samplers::AlwaysOnSamplerConfig::type_url() {
        unpack(&any).map(|samplers::AlwaysOnSamplerConfig {}| Sampler::AlwaysOn)
    } else if any.type_url == samplers::TraceIdRatioBasedSamplerConfig::type_url() {
        unpack(&any).and_then(ratio)
    } else {
        unpack(&any).and_then(|mut message: samplers::ParentBasedSamplerConfig| {
            let wrapped = message.wrapped_sampler.take();
            let wrapped = wrapped.ok_or_else(|| Refusal::field("wrapped_sampler", "must be set"))?;
            Ok(Sampler::ParentBased(Box::new(sampler(wrapped, depth + 1).at("wrapped_sampler")?)))
        })
    };
    compiled.at("typed_config")
}

fn ratio(mut message: samplers::TraceIdRatioBasedSamplerConfig) -> Result<Sampler, Refusal> {
    use percent::fractional_percent::DenominatorType as Denominator;
    let share = message.sampling_percentage.take().unwrap_or_default();
    let denominator = match Denominator::try_from(share.denominator) {
        Ok(Denominator::Hundred) => 100,
        Ok(Denominator::TenThousand) => 10_000,
        Ok(Denominator::Million) => 1_000_000,
        Err(_) => return Err(Refusal::field("sampling_percentage.denominator", "isn't a known value")),
    };
    Ok(Sampler::Ratio { numerator: share.numerator, denominator })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samplers_decide() {
        let ratio = |numerator| Sampler::Ratio { numerator, denominator: 100 };
        let half = || Sampler::ParentBased(Box::new(ratio(0)));
        for (sampler, parent, want) in [
            (Sampler::AlwaysOn, Some(false), true),
            (ratio(100), Some(false), true),
            (ratio(0), Some(true), false),
            (half(), Some(true), true),
            (half(), Some(false), false),
            (half(), None, false),
            (Sampler::ParentBased(Box::new(Sampler::AlwaysOn)), None, true),
        ] {
            assert_eq!(sampler.decide(1 << 70, parent), want, "{sampler:?} {parent:?}");
        }
    }

    #[test]
    fn a_ratio_is_kept_and_goes_by_the_first_half_of_the_id() {
        let sampler = Sampler::Ratio { numerator: 250_000, denominator: 1_000_000 };
        let hits = (0..20_000).filter(|_| sampler.decide(rand::random(), None)).count();
        assert!((4_600..5_400).contains(&hits), "{hits}");
        let id = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128;
        assert_eq!(sampler.decide(id, None), sampler.decide(id ^ 0xffff, Some(true)));
    }

    #[test]
    fn shares_are_drawn() {
        assert!(Share::ALL.draw() && !Share(0).draw());
        let hits = (0..20_000).filter(|_| Share(2_500).draw()).count();
        assert!((4_600..5_400).contains(&hits), "{hits}");
    }
}
