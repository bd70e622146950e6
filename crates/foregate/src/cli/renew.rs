//! `foregate renew`: a gateway gets the Envoy configuration that its GatewayTemplate has now.

use std::process::ExitCode;

use clap::Args;
use foregate_api::{GatewayProxy, GatewayTemplate};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::api::{ApiArgs, block_on};
use super::error::Ended;
use super::gateway;
use crate::up::stock::{change, is_same};

/// Flags of `foregate renew`.
#[derive(Args, Debug)]
pub struct RenewArgs {
    /// NAMESPACE/NAME of a Gateway or of a GatewayProxy.
    #[arg(value_name = "GATEWAY")]
    gateway: String,
    #[command(flatten)]
    api: ApiArgs,
}

/// `foregate renew`: what was edited in the gateway's copy of Envoy configuration and values is lost; engine, replicas and
/// pool stay.
///
/// # Errors
/// When there is no such gateway, or no such template any more.
pub fn run(args: &RenewArgs) -> Ended {
    block_on(async {
        let api = args.api.connect().await?;
        let name = gateway::find(&api, &args.gateway).await?;
        let namespace = &name.proxy.namespace;
        let proxies: Api<GatewayProxy> = Api::namespaced(api.client.clone(), namespace);
        let proxy = proxies.get(&name.proxy.name).await.map_err(|error| api.explain(error, "reading the gateway"))?;
        let templates: Api<GatewayTemplate> = Api::namespaced(api.client.clone(), namespace);
        let template = templates.get(&proxy.spec.template_name).await;
        let template = template.map_err(|error| api.explain(error, "reading the gateway's template"))?;
        let from = format!("GatewayTemplate {namespace}/{}", proxy.spec.template_name);
        if is_same(&template.spec, &proxy.spec.template) {
            anstream::println!("{} has the Envoy configuration of {from}; nothing changes", name.display());
            return Ok(ExitCode::SUCCESS);
        }
        let version = &proxy.metadata.resource_version;
        let patch = json!({
            "metadata": { "resourceVersion": version }, "spec": { "template": change(&proxy.spec.template, &template.spec) },
        });
        let params = PatchParams { field_manager: Some("foregate-cli".to_owned()), ..PatchParams::default() };
        let patched = proxies.patch(&name.proxy.name, &params, &Patch::Merge(patch)).await;
        patched.map_err(|error| api.explain(error, "changing the gateway"))?;
        anstream::println!("{} has the Envoy configuration of {from} now", name.display());
        Ok(ExitCode::SUCCESS)
    })
}
