//! A gateway's template, parsed once per generation.

use foregate_api::GatewayTemplate;
use foregate_api::template::GatewayTemplateSpec;
use foregate_template::Template;
use serde_json::Value;

use crate::Problem;

/// The stock GatewayTemplate as a manifest: what a new platform starts with.
pub const fn default_template_yaml() -> &'static str {
    include_str!("../templates/default.yaml")
}

/// The stock GatewayTemplate. It has no namespace.
#[allow(clippy::expect_used, reason = "compiled in; a test reads it")]
pub fn default_template() -> GatewayTemplate {
    // By way of a value: reading YAML into each type would be code of its own.
    let value: Value = serde_saphyr::from_str(default_template_yaml()).expect("the stock template is YAML");
    serde_json::from_value(value).expect("the stock template is a GatewayTemplate")
}

/// The templates of one gateway.
#[derive(Debug)]
pub(crate) struct Templates {
    pub spec: GatewayTemplateSpec,
    pub parsed: Result<Parsed, Problem>,
}

/// Parsed templates.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub listener: Template,
    pub clusters: Option<Template>,
    pub virtual_host_patch: Option<Template>,
    pub route_patch: Option<Template>,
    /// `.values`.
    pub values: Value,
}

impl Templates {
    pub(crate) fn new(spec: &GatewayTemplateSpec) -> Self {
        Self { spec: spec.clone(), parsed: Parsed::new(spec) }
    }
}

impl Parsed {
    fn new(spec: &GatewayTemplateSpec) -> Result<Self, Problem> {
        let envoy = &spec.envoy;
        Ok(Self {
            listener: parse("listener", &envoy.listener)?,
            clusters: parse_some("clusters", envoy.clusters.as_deref())?,
            virtual_host_patch: parse_some("virtualHostPatch", envoy.virtual_host_patch.as_deref())?,
            route_patch: parse_some("routePatch", envoy.route_patch.as_deref())?,
            values: spec.values.clone().unwrap_or_else(|| Value::Object(serde_json::Map::new())),
        })
    }
}

fn parse_some(name: &str, text: Option<&str>) -> Result<Option<Template>, Problem> {
    text.filter(|text| !text.trim().is_empty()).map(|text| parse(name, text)).transpose()
}

fn parse(name: &str, text: &str) -> Result<Template, Problem> {
    Template::parse(name, text)
        .map_err(|error| Problem::template(format!("spec.template.envoy.{name}"), error.to_string()))
}
