//! The GatewayClaims of Gateways and ListenerSets.

use std::sync::Arc;

use foregate_api::GatewayClaim;
use foregate_api::claim::{ClaimListener, GatewayClaimSpec, ListenerTls, RefusedListener};
use foregate_api::gateway::GATEWAY_GROUP;
use foregate_api::gateway::conditions::reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::certificate::Certificate;
use super::listener::Verdict;
use super::listener_set::Basis;
use super::{ListenerVerdict, ParentId};
use crate::Attach;
use crate::book::metadata;
use crate::output::{Derived, DerivedKind};
use crate::target::{TargetId, TargetState};
use crate::world::{origin, uid};

impl Attach {
    /// Name of the claim of a Gateway or ListenerSet at a target.
    pub(super) fn claim_name(&self, target: TargetId, object: &ObjectMeta) -> Arc<str> {
        self.targets.get(target).name(&uid(object))
    }

    /// Where the claim of a Gateway or ListenerSet is; without one, the default.
    pub(crate) fn target_of(&self, parent: &ParentId) -> TargetId {
        self.claim_targets.get(parent).copied().unwrap_or(TargetId::DEFAULT)
    }

    /// Wants the claim of an accepted Gateway or ListenerSet, and none of others. A Gateway's claim whose listeners all
    /// wait for certificates stays, and with it the address. A ListenerSet's asks for what its Gateway's asks for, so
    /// that whichever is bound first gets it.
    pub(super) fn want_claim(&mut self, parent: &ParentId, object: &ObjectMeta, wanted: Option<(&Verdict, &Basis)>) {
        let target = wanted.map(|(_, basis)| basis.placement.target);
        let before = match target {
            Some(target) => self.claim_targets.insert(parent.clone(), target),
            None => self.claim_targets.remove(parent),
        };
        if let Some(before) = before.filter(|before| Some(*before) != target) {
            let before = self.targets.get_mut(before);
            let name = before.name(&uid(object));
            before.feedback.claim_parents.remove(&name);
            before.book.want((DerivedKind::Claim, name), None);
            // Whatever is attached to it or copied for it is wanted elsewhere, or no more.
            self.mark_routes_of(parent);
            self.dirty.secrets.extend(self.index.secret_users.named_by(parent).cloned());
        }
        let Some((verdict, basis)) = wanted else { return };
        let target = self.targets.get_mut(basis.placement.target);
        let name = target.name(&uid(object));
        target.feedback.claim_parents.insert(name.clone(), parent.clone());
        let wanted = claim(target, parent, object, verdict, basis);
        target.book.want((DerivedKind::Claim, name), Some(wanted));
    }
}

fn claim(target: &TargetState, parent: &ParentId, object: &ObjectMeta, verdict: &Verdict, basis: &Basis) -> Derived {
    let origin = origin(&target.cluster, GATEWAY_GROUP, parent.kind.as_str(), object);
    let metadata = metadata(&target.namespace, &origin.derived_name(), &origin);
    let served = verdict.listeners.iter().filter(|l| l.is_served());
    let spec = GatewayClaimSpec {
        template: basis.placement.template.to_string(),
        sharing_key: Some(basis.sharing_key.to_string()),
        addresses: basis.addresses.clone(),
        backend_client_certificate: basis.client_certificate.as_ref().map(|c| copy_name(target, c)),
        infrastructure: basis.infrastructure.clone(),
        tracing: basis.telemetry.tracing.clone(),
        listeners: served.filter_map(|l| claim_listener(target, l)).collect(),
        refused: verdict.listeners.iter().filter_map(refused).collect(),
        origin,
    };
    Derived::Claim(Arc::new(GatewayClaim { metadata, spec, status: None }))
}

/// What an operator of the platform is told of a listener that the claim doesn't ask for.
fn refused(listener: &ListenerVerdict) -> Option<RefusedListener> {
    if listener.is_served() {
        return None;
    }
    let problem = listener.accepted.as_ref().err().or(listener.conflict.as_ref()).or(listener.references().err());
    let (reason, message) = match problem {
        Some(problem) => (problem.reason, problem.message.as_str()),
        None => (reason::INVALID, "the listener can't be served"),
    };
    let (name, port) = (listener.name.to_string(), listener.port);
    Some(RefusedListener { name, port, reason: reason.to_owned(), message: message.to_owned() })
}

fn claim_listener(target: &TargetState, listener: &ListenerVerdict) -> Option<ClaimListener> {
    let protocol = listener.protocol?;
    Some(ClaimListener {
        name: listener.name.to_string(),
        port: listener.port,
        protocol: protocol.name,
        hostname: listener.hostname.clone(),
        tls: protocol.tls.map(|mode| ListenerTls {
            mode,
            certificates: listener.certificates.iter().map(|c| copy_name(target, c)).collect(),
            client_validation: listener.validation.clone(),
        }),
        filters: listener.filters.effective.clone(),
    })
}

/// Name of the copy of a certificate's Secret.
fn copy_name(target: &TargetState, certificate: &Certificate) -> String {
    target.name(&certificate.uid).to_string()
}
