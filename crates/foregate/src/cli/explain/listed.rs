//! Gateways as the platform's objects make them, for who may list objects but not see what engines have.

use std::sync::Arc;

use foregate_api::{Change, GatewayBackend, GatewayEndpointSlice, GatewayProxy, GatewayRoute};
use foregate_translate::{Input, Options, Translator};
use k8s_openapi::api::core::v1::Secret;

use super::{ApiServer, CliError};

/// Lists what translation reads, and translates it. Ports are those of the listeners: where they are bound with an
/// offset, only the platform knows.
///
/// # Errors
/// When objects can't be listed.
pub async fn translate(api: &ApiServer) -> Result<Translator, CliError> {
    fn inputs<K>(objects: Vec<K>, input: fn(Change<K>) -> Input) -> impl Iterator<Item = Input> {
        objects.into_iter().map(move |object| input(Change::Set(Arc::new(object))))
    }
    let mut all: Vec<Input> = Vec::new();
    all.extend(inputs(api.list::<GatewayProxy>().await?, Input::Proxy));
    all.extend(inputs(api.list::<GatewayRoute>().await?, Input::Route));
    all.extend(inputs(api.list::<GatewayBackend>().await?, Input::Backend));
    all.extend(inputs(api.list::<GatewayEndpointSlice>().await?, Input::Slice));
    // Who may not read Secrets sees no listeners that need them.
    all.extend(inputs(api.list::<Secret>().await.unwrap_or_default(), Input::Secret));
    let mut translator = Translator::new(Options::default());
    let _ = translator.apply(all);
    Ok(translator)
}
