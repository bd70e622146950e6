//! GatewayClassParameters: where a GatewayClass's gateways run.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a GatewayClass's `parametersRef` names, in the workload cluster: the platform, who the cluster is there, and
/// which template its gateways are made from. `foregate cluster add` prints one. A Gateway's
/// `infrastructure.parametersRef` may name one with a template and nothing else.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foregate.dev",
    version = "v1alpha1",
    kind = "GatewayClassParameters",
    plural = "gatewayclassparameters",
    singular = "gatewayclassparameters",
    namespaced,
    derive = "PartialEq",
    shortname = "gcparams",
    category = "foregate",
    printcolumn = r#"{"name":"Platform","type":"string","jsonPath":".spec.platform.url"}"#,
    printcolumn = r#"{"name":"Tenant","type":"string","jsonPath":".spec.tenant"}"#,
    printcolumn = r#"{"name":"Template","type":"string","jsonPath":".spec.template"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClassParametersSpec {
    /// The platform's API. A class needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<PlatformEndpoint>,
    /// The Secret with the cluster's credential (see [`CREDENTIAL_KEYS`]). A class needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<CredentialsReference>,
    /// The tenant; its namespace on the platform is `tenant-` and this. A class needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 56))]
    pub tenant: Option<String>,
    /// Name of this workload cluster on the platform: a part of every derived object's name. A class needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub cluster: Option<String>,
    /// The GatewayTemplate, in the tenant's namespace, that gateways are made from.
    #[serde(default = "default_template")]
    pub template: String,
}

/// Data of the Secret that `credentialsRef` names: a client certificate and its key, as PEM.
pub const CREDENTIAL_KEYS: [&str; 2] = ["tls.crt", "tls.key"];

fn default_template() -> String {
    crate::DEFAULT_NAME.to_owned()
}

/// Where a platform's API is, and how it is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlatformEndpoint {
    /// `https://host:port`.
    #[schemars(regex(pattern = r"^https://"))]
    pub url: String,
    /// Certificates that the platform's is verified by, as PEM.
    pub ca_certificates: String,
}

/// A Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsReference {
    /// Its name.
    pub name: String,
    /// Its namespace; none: that of the GatewayClassParameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}
