//! Parameters: what a class's `parametersRef` leads to.

use std::collections::BTreeSet;
use std::sync::Arc;

use foregate_api::class_parameters::PlatformEndpoint;
use foregate_api::cluster::{check_name, tenant_namespace};
use foregate_api::envoy_gateway::{self, EnvoyProxy};
use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{GatewayClass, ParametersReference};
use foregate_api::{Change, GROUP, GatewayClassParameters, GatewayClassParametersSpec};

use crate::grants::Reference;
use crate::problem::Problem;
use crate::refs::Dependent;
use crate::target::Connection;
use crate::{Attach, Key, certificate};

const KIND: &str = "GatewayClassParameters";
const ENVOY_PROXY: &str = "EnvoyProxy";

/// An object with parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ParametersId {
    /// A GatewayClassParameters.
    Own(Key),
    /// An EnvoyProxy of Envoy Gateway's group.
    EnvoyProxy(Key),
}

impl ParametersId {
    /// That of a group and kind; or why there is none.
    pub fn of(group: &str, kind: &str, key: Key) -> Result<Self, String> {
        match (group, kind) {
            (GROUP, KIND) => Ok(Self::Own(key)),
            (envoy_gateway::GROUP, ENVOY_PROXY) => Ok(Self::EnvoyProxy(key)),
            _ => Err(format!(
                "{kind} {:?} of group {group:?} isn't a kind of parameters that Foregate knows; name a \
                 GatewayClassParameters of group foregate.dev, or an EnvoyProxy of group gateway.envoyproxy.io",
                key.name
            )),
        }
    }
}

/// The objects that a class's parameters are made of.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Named {
    pub parameters: Option<ParametersId>,
    pub secret: Option<Key>,
}

/// What a GatewayClassParameters needs to have for a class.
struct Whole<'a> {
    platform: &'a PlatformEndpoint,
    secret: Key,
    tenant: &'a str,
    cluster: &'a str,
}

impl Attach {
    pub(crate) fn take_parameters(&mut self, change: Change<GatewayClassParameters>) {
        let (key, new) = match change {
            Change::Set(object) => (Key::of(&object.metadata), Some(object)),
            Change::Gone(key) => (key, None),
        };
        self.mark_parameters(&ParametersId::Own(key.clone()));
        match new {
            Some(object) => self.world.parameters.insert(key, object),
            None => self.world.parameters.remove(&key),
        };
    }

    pub(crate) fn take_envoy_proxy(&mut self, change: Change<EnvoyProxy>) {
        let (key, new) = match change {
            Change::Set(object) => (Key::of(&object.metadata), Some(object)),
            Change::Gone(key) => (key, None),
        };
        // Envoy Gateway writes its status.
        let old = self.world.envoy_proxies.get(&key);
        if old.map(|old| &old.spec) == new.as_ref().map(|new| &new.spec) {
            return;
        }
        self.mark_parameters(&ParametersId::EnvoyProxy(key.clone()));
        match new {
            Some(object) => self.world.envoy_proxies.insert(key, object),
            None => self.world.envoy_proxies.remove(&key),
        };
    }

    /// Has whoever names parameters looked at again.
    fn mark_parameters(&mut self, id: &ParametersId) {
        self.dirty.classes.extend(self.index.parameters_classes.of(id).cloned());
        self.dirty.gateways.extend(self.index.parameters_gateways.of(id).cloned());
    }

    /// What a class's parameters are made of, as far as that is known.
    pub(crate) fn parameters_of(&self, class: &GatewayClass) -> Named {
        let Some(reference) = &class.spec.parameters_ref else { return Named::default() };
        let parameters = id(reference).ok();
        let object = match &parameters {
            Some(ParametersId::Own(key)) => self.world.parameters.get(key),
            _ => None,
        };
        let secret = object.and_then(|object| credentials(object));
        Named { parameters, secret }
    }

    pub(crate) fn index_parameters(&mut self, class: &Arc<str>, old: &Named, new: &Named) {
        if old == new {
            return;
        }
        self.index.parameters_classes.replace(class, &old.parameters, &new.parameters);
        self.index.secret_classes.replace(class, &old.secret, &new.secret);
        let pair = |named: &Named| match (&named.parameters, &named.secret) {
            (Some(ParametersId::Own(parameters)), Some(secret)) => {
                Some((secret.namespace.clone(), parameters.namespace.clone()))
            }
            _ => None,
        };
        self.index.grants.replace(&Dependent::Class(class.clone()), &pair(old), &pair(new));
    }

    /// How the target of a class is reached that names a GatewayClassParameters, and which template its gateways are made
    /// from.
    pub(crate) fn connection(&self, key: &Key) -> Result<(Connection, Arc<str>), Problem> {
        let invalid = |message: String| Problem::new(reason::INVALID_PARAMETERS, message);
        let Some(object) = self.world.parameters.get(key) else {
            return Err(invalid(format!(
                "spec.parametersRef: GatewayClassParameters {key} doesn't exist; `foregate cluster add` on the \
                 platform's side prints one"
            )));
        };
        let at = |field: &str, why: String| invalid(format!("{field} of GatewayClassParameters {key}: {why}"));
        let spec = &object.spec;
        let Whole { platform, secret, tenant, cluster } = whole(object).map_err(|field| {
            at(field, "a class needs it; without it, parameters are for Gateways of a class that has it".to_owned())
        })?;
        check_name(cluster).map_err(|why| at("spec.cluster", why.to_owned()))?;
        let permitted = self.world.grants.permit(&Reference {
            from_group: GROUP,
            from_kind: KIND,
            from_namespace: &key.namespace,
            to_group: "",
            to_kind: "Secret",
            to: &secret,
        });
        if !permitted {
            let why = format!("no ReferenceGrant in {} lets it name Secret {secret}", secret.namespace);
            return Err(at("spec.credentialsRef", why));
        }
        let pair = match self.world.secrets.get(&secret) {
            None => Err(format!("Secret {secret} doesn't exist")),
            Some(state) => match (state.usable(), &state.pair) {
                (Ok(()), Some(pair)) => Ok((pair, state.version.clone())),
                (usable, _) => Err(format!("Secret {secret}: {}", usable.err().unwrap_or_default())),
            },
        };
        let (pair, secret_version) = pair.map_err(|why| at("spec.credentialsRef", why))?;
        check_whose(&pair.certificate, tenant, cluster)
            .map_err(|why| at("spec.credentialsRef", format!("Secret {secret}: {why}")))?;
        certificate::check_roots(&platform.ca_certificates).map_err(|why| at("spec.platform.caCertificates", why))?;
        let connection = Connection {
            url: platform.url.clone(),
            ca_certificates: platform.ca_certificates.clone(),
            certificate: pair.certificate.clone(),
            key: pair.key.clone(),
            secret: secret.clone(),
            secret_version,
            namespace: tenant_namespace(tenant),
            cluster: cluster.to_owned(),
            templates: BTreeSet::from([spec.template.clone()]),
        };
        Ok((connection, spec.template.as_str().into()))
    }
}

/// What a class needs of its parameters; or the field that isn't there.
fn whole(object: &GatewayClassParameters) -> Result<Whole<'_>, &'static str> {
    let spec = &object.spec;
    Ok(Whole {
        platform: spec.platform.as_ref().ok_or("spec.platform")?,
        secret: credentials(object).ok_or("spec.credentialsRef")?,
        tenant: spec.tenant.as_deref().ok_or("spec.tenant")?,
        cluster: spec.cluster.as_deref().ok_or("spec.cluster")?,
    })
}

/// Whether a credential is for the tenant and the cluster that parameters name: the platform would forbid all else.
fn check_whose(certificate: &[u8], tenant: &str, cluster: &str) -> Result<(), String> {
    match certificate::credential_of(certificate) {
        Some((its_tenant, its_cluster)) if (&*its_tenant, &*its_cluster) != (tenant, cluster) => Err(format!(
            "the credential is for {its_tenant}/{its_cluster} (its certificate's common name), \
             spec.tenant/spec.cluster say {tenant}/{cluster}"
        )),
        _ => Ok(()),
    }
}

/// The fields of a GatewayClassParameters that are for classes only.
pub(crate) fn of_classes(spec: &GatewayClassParametersSpec) -> Option<&'static str> {
    [
        ("spec.platform", spec.platform.is_some()),
        ("spec.credentialsRef", spec.credentials_ref.is_some()),
        ("spec.tenant", spec.tenant.is_some()),
        ("spec.cluster", spec.cluster.is_some()),
    ]
    .into_iter()
    .find_map(|(field, is_there)| is_there.then_some(field))
}

/// What a class's reference leads to; or why it can't lead anywhere.
pub(crate) fn id(reference: &ParametersReference) -> Result<ParametersId, String> {
    let namespace = reference.namespace.as_deref().unwrap_or_default();
    let id = ParametersId::of(&reference.group, &reference.kind, Key::new(namespace, reference.name.as_str()))?;
    if namespace.is_empty() {
        return Err(format!("it needs the namespace of the {}", reference.kind));
    }
    Ok(id)
}

/// The Secret with the credential.
fn credentials(object: &GatewayClassParameters) -> Option<Key> {
    let reference = object.spec.credentials_ref.as_ref()?;
    let own = object.metadata.namespace.as_deref().unwrap_or_default();
    let namespace = reference.namespace.as_deref().filter(|n| !n.is_empty()).unwrap_or(own);
    Some(Key::new(namespace, reference.name.as_str()))
}
