//! What `foregate cluster add` prints: the objects that connect a workload cluster with a platform.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use foregate_api::class_parameters::CREDENTIAL_KEYS;
use serde_json::{Value, json};

use super::ClusterName;
use crate::cli::error::CliError;
use crate::cli::output;

/// What the manifests say.
#[derive(Clone, Debug)]
pub struct Connection<'a> {
    /// Who the cluster is on the platform.
    pub cluster: &'a ClusterName,
    /// The GatewayClass; its parameters have the same name.
    pub class: &'a str,
    /// `controllerName` of the GatewayClass.
    pub controller: &'a str,
    /// Namespace of the parameters and the Secret.
    pub namespace: &'a str,
    /// The GatewayTemplate.
    pub template: &'a str,
    /// The platform's API.
    pub platform_url: &'a str,
    /// The certificate that the platform's own is verified by, PEM.
    pub certificate_authority: &'a str,
}

/// What the Secret with the credential of a class is called.
pub fn credential_name(class: &str) -> String {
    format!("{class}-credential")
}

impl Connection<'_> {
    fn labels(&self) -> Value {
        json!({ "app.kubernetes.io/name": "foregate", "app.kubernetes.io/managed-by": "foregate-cluster-add" })
    }

    /// The Secret with the credential.
    pub fn secret(&self, certificate: &str, key: &str) -> Value {
        let [certificate_key, private_key] = CREDENTIAL_KEYS;
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": credential_name(self.class), "namespace": self.namespace, "labels": self.labels() },
            "type": "kubernetes.io/tls",
            "data": { certificate_key: STANDARD.encode(certificate), private_key: STANDARD.encode(key) },
        })
    }

    /// The namespace, which the Secret needs.
    pub fn namespace(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": self.namespace, "labels": { "app.kubernetes.io/name": "foregate" } },
        })
    }

    /// GatewayClassParameters and the GatewayClass that names them.
    pub fn class(&self) -> [Value; 2] {
        let parameters = json!({
            "apiVersion": "foregate.dev/v1alpha1", "kind": "GatewayClassParameters",
            "metadata": { "name": self.class, "namespace": self.namespace, "labels": self.labels() },
            "spec": {
                "platform": { "url": self.platform_url, "caCertificates": self.certificate_authority },
                "credentialsRef": { "name": credential_name(self.class) },
                "tenant": self.cluster.tenant, "cluster": self.cluster.name, "template": self.template,
            },
        });
        let class = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": { "name": self.class, "labels": self.labels() },
            "spec": {
                "controllerName": self.controller,
                "parametersRef": {
                    "group": "foregate.dev", "kind": "GatewayClassParameters",
                    "name": self.class, "namespace": self.namespace,
                },
            },
        });
        [parameters, class]
    }
}

/// Several objects as one YAML text, after a comment.
///
/// # Errors
/// When they can't be written as YAML.
pub fn documents(comment: &[&str], objects: &[Value]) -> Result<String, CliError> {
    let mut text: String = comment.iter().map(|line| format!("# {line}\n")).collect();
    for object in objects {
        text.push_str("---\n");
        text.push_str(&output::yaml(object)?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use foregate_api::GatewayClassParameters;
    use foregate_api::gateway::GatewayClass;

    use super::*;

    #[test]
    fn the_class_leads_to_the_credential() {
        let cluster: ClusterName = "shop/edge".parse().unwrap();
        let connection = Connection {
            cluster: &cluster,
            class: "fast",
            controller: foregate_api::CONTROLLER_NAME,
            namespace: "gw",
            template: "big",
            platform_url: "https://p:7443",
            certificate_authority: "CA\n",
        };
        let [parameters, class] = connection.class();
        let secret = connection.secret("C\n", "K\n");
        let parameters: GatewayClassParameters = serde_json::from_value(parameters).unwrap();
        let class: GatewayClass = serde_json::from_value(class).unwrap();
        let reference = class.spec.parameters_ref.unwrap();
        assert_eq!(Some(reference.name), parameters.metadata.name);
        assert_eq!(reference.namespace, parameters.metadata.namespace);
        assert_eq!(secret["metadata"]["name"], parameters.spec.credentials_ref.unwrap().name.as_str());
        let whose = (parameters.spec.tenant.as_deref(), parameters.spec.cluster.as_deref());
        assert_eq!(whose, (Some("shop"), Some("edge")));
        assert_eq!(secret["data"], json!({ "tls.crt": "Qwo=", "tls.key": "Swo=" }));
        let text = documents(&["once"], &[connection.namespace(), secret]).unwrap();
        assert!(text.starts_with("# once\n---\n"), "{text}");
        assert_eq!(text.matches("---\n").count(), 2);
    }
}
