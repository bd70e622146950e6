//! What a fresh platform starts with: CRDs, a pool and a template for the tenant `default`, a GatewayClass.

use foregate_api::{DEFAULT_NAME, DEFAULT_TENANT_NAMESPACE};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::UpError;

/// Field manager of what this module writes.
const MANAGER: &str = "foregate-up";

/// Writes what is missing. What a user has changed since the first start stays as it is.
///
/// # Errors
/// When the API refuses something.
pub async fn seed(client: &Client, config: &crate::config::Config) -> Result<(), UpError> {
    kinds(client).await?;
    // Before anybody can be let in whom it concerns.
    let what = || "the admission policy of workload clusters".to_owned();
    let failed = |source| UpError::Seed { what: what(), source: Box::new(source) };
    crate::cluster::write_policy(client, config.host_local_endpoints).await.map_err(failed)?;
    let pools = Api::<foregate_api::AddressPool>::all(client.clone());
    create(&pools, json!({ "metadata": { "name": DEFAULT_NAME }, "spec": { "ranges": [config.address_pool] } }))
        .await?;
    if let Ok(Some(pool)) = pools.get_opt(DEFAULT_NAME).await {
        tell_of_pool(&pool.spec.ranges, &config.address_pool);
    }
    let mut template = foregate_translate::default_template();
    template.metadata.namespace = Some(DEFAULT_TENANT_NAMESPACE.to_owned());
    template.spec.engine.clone_from(&config.engine);
    let templates = Api::<foregate_api::GatewayTemplate>::namespaced(client.clone(), DEFAULT_TENANT_NAMESPACE);
    create_object(&templates, &template).await?;
    if let Ok(Some(template)) = templates.get_opt(DEFAULT_NAME).await {
        tell_of_engine(&template.spec.engine, &config.engine);
    }
    class(client).await
}

/// Says that an engine which was asked for isn't the one that new gateways get.
fn tell_of_engine(present: &str, wanted: &str) {
    if wanted != present && wanted != crate::config::Config::default().engine {
        tracing::warn!(
            "--engine {wanted} counts at the first start only; gateways of the GatewayTemplate {DEFAULT_NAME} run on \
             {present}, and `kubectl edit gatewaytemplate {DEFAULT_NAME} -n {DEFAULT_TENANT_NAMESPACE}` changes that \
             for new ones"
        );
    }
}

/// Says that a pool which was asked for isn't the one that there is.
fn tell_of_pool(ranges: &[String], wanted: &str) {
    if is_ignored(ranges, wanted) {
        let ranges = ranges.join(", ");
        tracing::warn!(
            "--address-pool {wanted} counts at the first start only; the AddressPool {DEFAULT_NAME} has {ranges}, and \
             `kubectl edit addresspool {DEFAULT_NAME}` changes it"
        );
    }
}

/// Whether somebody has asked for another pool: the default is nobody's wish.
fn is_ignored(ranges: &[String], wanted: &str) -> bool {
    wanted != crate::config::Config::default().address_pool && !ranges.iter().any(|range| range == wanted)
}

/// Writes the CustomResourceDefinitions.
///
/// # Errors
/// When the API refuses one.
pub async fn kinds(client: &Client) -> Result<(), UpError> {
    let damaged =
        |source: foregate_api::crds::CrdError| UpError::Manifest { file: "a CRD", message: source.to_string() };
    let resource = ApiResource::erase::<
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    >(&());
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    for crd in foregate_api::crds::manifests() {
        let crd = crd.map_err(damaged)?;
        let name = crd["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let params = PatchParams::apply(MANAGER).force();
        api.patch_metadata(&name, &params, &Patch::Apply(&crd)).await.map_err(|source| UpError::Seed {
            what: format!("CustomResourceDefinition {name}"),
            source: Box::new(source),
        })?;
    }
    Ok(())
}

/// Writes the GatewayClass, unless it is there.
///
/// # Errors
/// When the API refuses it.
pub async fn class(client: &Client) -> Result<(), UpError> {
    create(
        &Api::<foregate_api::gateway::GatewayClass>::all(client.clone()),
        json!({
            "metadata": { "name": foregate_api::DEFAULT_GATEWAY_CLASS },
            "spec": { "controllerName": foregate_api::CONTROLLER_NAME },
        }),
    )
    .await
}

/// Creates an object from its JSON, unless it is there.
async fn create<K>(api: &Api<K>, object: serde_json::Value) -> Result<(), UpError>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let mut object = object;
    object["apiVersion"] = json!(K::api_version(&()));
    object["kind"] = json!(K::kind(&()));
    let object: K = serde_json::from_value(object)
        .map_err(|source| UpError::Seed { what: K::kind(&()).into_owned(), source: Box::new(source) })?;
    create_object(api, &object).await
}

async fn create_object<K>(api: &Api<K>, object: &K) -> Result<(), UpError>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    match api.create(&params, object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(source) => {
            let what = format!("{} {}", K::kind(&()), object.name_any());
            Err(UpError::Seed { what, source: Box::new(source) })
        }
    }
}

/// Applies one object of any kind.
///
/// # Errors
/// When its kind isn't served, or the API refuses it.
pub async fn apply_dynamic(client: &Client, object: DynamicObject) -> Result<(), UpError> {
    let what = format!("{} {}", object.types.as_ref().map_or("", |types| types.kind.as_str()), object.name_any());
    let fail = |source: kube::Error| UpError::Seed { what: what.clone(), source: Box::new(source) };
    let types = object.types.clone().unwrap_or_default();
    let gvk = kube::core::GroupVersionKind::try_from(&types)
        .map_err(|error| UpError::Manifest { file: "example", message: error.to_string() })?;
    let (resource, _) = kube::discovery::pinned_kind(client, &gvk).await.map_err(fail)?;
    let namespace = object.namespace().unwrap_or_else(|| "default".to_owned());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    let params = PatchParams::apply("foregate-demo").force();
    api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await.map_err(fail)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_missed_by_who_has_asked_for_it() {
        let ranges = ["10.0.0.0/24".to_owned(), "10.0.2.0/24".to_owned()];
        let default = crate::config::Config::default().address_pool;
        for (wanted, ignored) in [("10.0.1.0/24", true), ("10.0.2.0/24", false), (default.as_str(), false)] {
            assert_eq!(is_ignored(&ranges, wanted), ignored, "{wanted}");
        }
    }
}
