//! GatewayClassParameters: what a class's `parametersRef` leads to.

use std::collections::BTreeSet;
use std::sync::Arc;

use foregate_api::cluster::{check_name, tenant_namespace};
use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{GatewayClass, ParametersReference};
use foregate_api::{Change, GROUP, GatewayClassParameters, GatewayClassParametersSpec};

use crate::grants::Reference;
use crate::problem::Problem;
use crate::refs::Dependent;
use crate::target::Connection;
use crate::{Attach, Key, certificate};

const KIND: &str = "GatewayClassParameters";

/// The objects that a class's parameters are made of.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Named {
    parameters: Option<Key>,
    pub secret: Option<Key>,
}

impl Attach {
    pub(crate) fn take_parameters(&mut self, change: Change<GatewayClassParameters>) {
        let (key, new) = match change {
            Change::Set(object) => (Key::of(&object.metadata), Some(object)),
            Change::Gone(key) => (key, None),
        };
        self.dirty.classes.extend(self.index.parameters_classes.of(&key).cloned());
        match new {
            Some(object) => self.world.parameters.insert(key, object),
            None => self.world.parameters.remove(&key),
        };
    }

    /// What a class's parameters are made of, as far as that is known.
    pub(crate) fn parameters_of(&self, class: &GatewayClass) -> Named {
        let Some(reference) = &class.spec.parameters_ref else { return Named::default() };
        let parameters = key(reference).ok();
        let object = parameters.as_ref().and_then(|key| self.world.parameters.get(key));
        let secret = object.map(|object| credentials(object));
        Named { parameters, secret }
    }

    pub(crate) fn index_parameters(&mut self, class: &Arc<str>, old: &Named, new: &Named) {
        if old == new {
            return;
        }
        self.index.parameters_classes.replace(class, &old.parameters, &new.parameters);
        self.index.secret_classes.replace(class, &old.secret, &new.secret);
        let pair = |named: &Named| {
            let (parameters, secret) = (named.parameters.as_ref()?, named.secret.as_ref()?);
            Some((secret.namespace.clone(), parameters.namespace.clone()))
        };
        self.index.grants.replace(&Dependent::Class(class.clone()), &pair(old), &pair(new));
    }

    /// How the target of a class is reached, and which template its gateways are made from.
    pub(crate) fn connection(&self, class: &GatewayClass) -> Result<(Connection, Arc<str>), Problem> {
        let invalid = |message: String| Problem::new(reason::INVALID_PARAMETERS, message);
        let Some(reference) = &class.spec.parameters_ref else { return Err(invalid("no parameters".to_owned())) };
        let key = key(reference).map_err(|why| invalid(format!("spec.parametersRef: {why}")))?;
        let Some(object) = self.world.parameters.get(&key) else {
            return Err(invalid(format!(
                "spec.parametersRef: GatewayClassParameters {key} doesn't exist; `foregate cluster add` on the \
                 platform's side prints one"
            )));
        };
        let at = |field: &str, why: String| invalid(format!("{field} of GatewayClassParameters {key}: {why}"));
        let spec = &object.spec;
        check_name(&spec.cluster).map_err(|why| at("spec.cluster", why.to_owned()))?;
        let secret = credentials(object);
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
                (Ok(()), Some(pair)) => Ok(pair),
                (usable, _) => Err(format!("Secret {secret}: {}", usable.err().unwrap_or_default())),
            },
        };
        let pair = pair.map_err(|why| at("spec.credentialsRef", why))?;
        check_whose(&pair.certificate, spec)
            .map_err(|why| at("spec.credentialsRef", format!("Secret {secret}: {why}")))?;
        certificate::check_roots(&spec.platform.ca_certificates)
            .map_err(|why| at("spec.platform.caCertificates", why))?;
        let connection = Connection {
            url: spec.platform.url.clone(),
            ca_certificates: spec.platform.ca_certificates.clone(),
            certificate: pair.certificate.clone(),
            key: pair.key.clone(),
            namespace: tenant_namespace(&spec.tenant),
            cluster: spec.cluster.clone(),
            templates: BTreeSet::from([spec.template.clone()]),
        };
        Ok((connection, spec.template.as_str().into()))
    }
}

/// Whether a credential is for the tenant and the cluster that parameters name: the platform would forbid all else.
fn check_whose(certificate: &[u8], spec: &GatewayClassParametersSpec) -> Result<(), String> {
    match certificate::credential_of(certificate) {
        Some((tenant, cluster)) if (&tenant, &cluster) != (&spec.tenant, &spec.cluster) => Err(format!(
            "the credential is for {tenant}/{cluster} (its certificate's common name), spec.tenant/spec.cluster say \
             {}/{}",
            spec.tenant, spec.cluster
        )),
        _ => Ok(()),
    }
}

/// What a reference leads to; or why it can't lead anywhere.
fn key(reference: &ParametersReference) -> Result<Key, String> {
    if reference.group != GROUP || reference.kind != KIND {
        let (kind, name, group) = (&reference.kind, &reference.name, &reference.group);
        return Err(format!(
            "{kind} {name:?} of group {group:?} isn't a kind of parameters that Foregate knows; name a \
             GatewayClassParameters of group foregate.dev"
        ));
    }
    match reference.namespace.as_deref() {
        Some(namespace) if !namespace.is_empty() => Ok(Key::new(namespace, reference.name.as_str())),
        _ => Err("it needs the namespace of the GatewayClassParameters".to_owned()),
    }
}

/// The Secret with the credential.
fn credentials(object: &GatewayClassParameters) -> Key {
    let reference = &object.spec.credentials_ref;
    let own = object.metadata.namespace.as_deref().unwrap_or_default();
    Key::new(reference.namespace.as_deref().filter(|n| !n.is_empty()).unwrap_or(own), reference.name.as_str())
}
