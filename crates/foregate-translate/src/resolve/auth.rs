//! External authorization: who is asked, as gateways reach them.

use foregate_api::backend::GatewayBackendSpec;
use foregate_api::external_auth::ExternalAuth;

use super::route::Context;
use crate::ir;

/// A rule's filter.
pub(super) fn resolve(auth: &ExternalAuth, context: &Context<'_>) -> ir::Auth {
    let target = auth.backend.as_deref().and_then(|name| (context.backend)(name));
    let authority = auth.backend.as_deref().and_then(|name| (context.authority)(name));
    with(auth, target.map(|target| target.cluster), authority)
}

/// A filter with what was found for its service.
pub(crate) fn with(auth: &ExternalAuth, cluster: Option<std::sync::Arc<str>>, authority: Option<String>) -> ir::Auth {
    ir::Auth {
        cluster,
        authority: authority.unwrap_or_else(|| "unresolved".to_owned()),
        protocol: auth.protocol.clone(),
        max_body_bytes: auth.max_body_bytes,
    }
}

/// What a service is called: as its certificate says, else by its name and namespace.
pub(crate) fn authority(spec: &GatewayBackendSpec) -> String {
    let by_certificate = spec.tls.as_ref().and_then(|tls| tls.sni.clone());
    by_certificate.unwrap_or_else(|| format!("{}.{}", spec.origin.name, spec.origin.namespace))
}
