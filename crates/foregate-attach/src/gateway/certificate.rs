//! Certificates that Gateways and ListenerSets name.

use std::sync::Arc;

use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{GATEWAY_GROUP, GatewaySpec, Listener, SecretObjectReference};

use super::ParentId;
use crate::Key;
use crate::grants::Reference;
use crate::problem::Problem;
use crate::world::{World, uid};

/// A Secret with a usable certificate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Certificate {
    pub secret: Key,
    pub uid: String,
}

/// Those of a listener that ends TLS, and what is wrong with the others.
pub(super) fn of_listener(world: &World, owner: &ParentId, listener: &Listener) -> (Vec<Certificate>, Vec<Problem>) {
    let references = references(listener);
    if references.is_empty() {
        let message = format!("tls.certificateRefs: protocol {} needs at least one certificate", listener.protocol);
        return (Vec::new(), vec![Problem::new(reason::INVALID_CERTIFICATE_REF, message)]);
    }
    let (mut usable, mut problems) = (Vec::new(), Vec::new());
    for (i, reference) in references.iter().enumerate() {
        match resolve(world, owner, reference, reason::INVALID_CERTIFICATE_REF) {
            Ok(certificate) if !usable.contains(&certificate) => usable.push(certificate),
            Ok(_) => {}
            Err(problem) => problems.push(problem.at(&format!("tls.certificateRefs[{i}]"))),
        }
    }
    (usable, problems)
}

/// What a Gateway shows to backends (`spec.tls.backend.clientCertificateRef`); none: nothing.
pub(super) fn of_client(world: &World, gateway: &ParentId, spec: &GatewaySpec) -> Option<Result<Certificate, Problem>> {
    let found = resolve(world, gateway, client_reference(spec)?, reason::INVALID_CLIENT_CERTIFICATE_REF);
    Some(found.map_err(|problem| problem.at("spec.tls.backend.clientCertificateRef")))
}

/// The Secret with what a Gateway shows to backends.
pub(super) fn client_secret(spec: &GatewaySpec, own: &Arc<str>) -> Option<Key> {
    client_reference(spec).filter(|r| r.is_secret()).map(|r| secret_key(r, own))
}

fn client_reference(spec: &GatewaySpec) -> Option<&SecretObjectReference> {
    spec.tls.as_ref()?.backend.as_ref()?.client_certificate_ref.as_ref()
}

/// The certificate that a reference leads to. `invalid` is the reason if it leads nowhere.
fn resolve(
    world: &World,
    owner: &ParentId,
    reference: &SecretObjectReference,
    invalid: &'static str,
) -> Result<Certificate, Problem> {
    let invalid = |message: String| Problem::new(invalid, message);
    if !reference.is_secret() {
        let kind = reference.kind.as_deref().unwrap_or("Secret");
        return Err(invalid(format!("{kind} {:?} isn't a Secret of the core group", reference.name)));
    }
    let key = secret_key(reference, &owner.key.namespace);
    permit(world, owner, ("", "Secret"), &key)?;
    let secret = world.secrets.get(&key).ok_or_else(|| invalid(format!("Secret {key} doesn't exist")))?;
    secret.usable().map_err(|why| invalid(format!("Secret {key}: {why}")))?;
    Ok(Certificate { uid: uid(&secret.metadata), secret: key })
}

/// Whether an object may name another one, of the group and kind `to_what`.
pub(super) fn permit(world: &World, owner: &ParentId, to_what: (&str, &str), to: &Key) -> Result<(), Problem> {
    let (to_group, to_kind) = to_what;
    let from_kind = owner.kind.as_str();
    let from_namespace = &*owner.key.namespace;
    let reference = Reference { from_group: GATEWAY_GROUP, from_kind, from_namespace, to_group, to_kind, to };
    if world.grants.permit(&reference) {
        return Ok(());
    }
    let message = format!(
        "{to_kind} {to} is in another namespace, and no ReferenceGrant there lets {from_kind}s of {from_namespace} name it"
    );
    Err(Problem::new(reason::REF_NOT_PERMITTED, message))
}

/// The Secrets that a listener names.
pub(super) fn secrets(listener: &Listener, own: &Arc<str>) -> impl Iterator<Item = Key> {
    references(listener).iter().filter(|r| r.is_secret()).map(|r| secret_key(r, own))
}

fn references(listener: &Listener) -> &[SecretObjectReference] {
    listener.tls.as_ref().map(|tls| tls.certificate_refs.as_slice()).unwrap_or_default()
}

/// What a reference to a Secret names, from namespace `own`.
fn secret_key(reference: &SecretObjectReference, own: &Arc<str>) -> Key {
    let namespace = reference.namespace.as_deref().map_or_else(|| own.clone(), Arc::from);
    Key { namespace, name: reference.name.as_str().into() }
}
