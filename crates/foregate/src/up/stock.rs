//! Copies of earlier stock templates, renewed at the start: those that nobody has edited.

use foregate_api::template::GatewayTemplateSpec;
use foregate_api::{GatewayProxy, GatewayTemplate};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::UpError;

/// Field manager of what this module writes.
const MANAGER: &str = "foregate-up";

/// Gives GatewayTemplates and GatewayProxies the present stock template where they have an earlier one, and says which
/// gateways have another Envoy configuration than their GatewayTemplate. To be called before anything is published.
///
/// # Errors
/// When the API refuses something.
pub async fn renew(client: &Client) -> Result<(), UpError> {
    let mut templates = list::<GatewayTemplate>(client).await?;
    for template in &mut templates {
        if let Some(renewed) = foregate_translate::renewed_stock(&template.spec) {
            write(client, template, change(&template.spec, &renewed)).await?;
            template.spec = renewed;
        }
    }
    for proxy in list::<GatewayProxy>(client).await? {
        if let Some(renewed) = foregate_translate::renewed_stock(&proxy.spec.template) {
            write(client, &proxy, json!({ "template": change(&proxy.spec.template, &renewed) })).await?;
            continue;
        }
        let (namespace, name) = (proxy.namespace(), &proxy.spec.template_name);
        let template = templates.iter().find(|it| it.namespace() == namespace && it.name_any() == *name);
        if template.is_some_and(|template| !is_same(&template.spec, &proxy.spec.template)) {
            let proxy = format!("{}/{}", namespace.unwrap_or_default(), proxy.name_any());
            tracing::info!(
                "GatewayProxy {proxy} has an Envoy configuration of its own, other than that of its GatewayTemplate \
                 {name}, and keeps it; `foregate renew {proxy}` gives it the template's"
            );
        }
    }
    Ok(())
}

/// Whether two templates have the same Envoy configuration.
pub fn is_same(a: &GatewayTemplateSpec, b: &GatewayTemplateSpec) -> bool {
    a.envoy == b.envoy && a.values == b.values
}

/// The merge patch that gives a template another one's Envoy configuration.
pub fn change(from: &GatewayTemplateSpec, to: &GatewayTemplateSpec) -> Value {
    json!({
        "envoy": replacing(&json!(from.envoy), json!(to.envoy)),
        "values": replacing(&json!(from.values), json!(to.values)),
    })
}

/// What isn't named in a merge patch stays: what is to go has to be.
fn replacing(from: &Value, mut to: Value) -> Value {
    if let (Value::Object(from), Value::Object(to)) = (from, &mut to) {
        for (field, old) in from {
            let new = to.remove(field).unwrap_or_default();
            to.insert(field.clone(), replacing(old, new));
        }
    }
    to
}

async fn list<K>(client: &Client) -> Result<Vec<K>, UpError>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let listed = Api::<K>::all(client.clone()).list(&ListParams::default()).await;
    let failed = |source| UpError::Seed { what: format!("{}s", K::kind(&())), source: Box::new(source) };
    Ok(listed.map_err(failed)?.items)
}

async fn write<K>(client: &Client, object: &K, spec: Value) -> Result<(), UpError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let what = format!("{} {namespace}/{name}", K::kind(&()));
    let api = Api::<K>::namespaced(client.clone(), &namespace);
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let change = json!({ "metadata": { "resourceVersion": object.resource_version() }, "spec": spec });
    match api.patch(&name, &params, &Patch::Merge(&change)).await {
        Ok(_) => tracing::info!("{what} had the stock template of an earlier version, and has the present one now"),
        // Somebody is at it: the next start looks again.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        Err(source) => return Err(UpError::Seed { what, source: Box::new(source) }),
    }
    Ok(())
}
