//! The GatewayClaim of a Gateway.

use std::sync::Arc;

use foregate_api::GatewayClaim;
use foregate_api::claim::{ClaimListener, GatewayClaimSpec, ListenerTls};
use foregate_api::gateway::{GATEWAY_GROUP, Gateway};

use super::{ListenerVerdict, Verdict, address};
use crate::book::metadata;
use crate::output::{Derived, DerivedKind};
use crate::world::{origin, uid};
use crate::{Attach, Key};

impl Attach {
    /// Name of a Gateway's claim.
    pub(crate) fn claim_name(&self, object: &Gateway) -> Arc<str> {
        format!("{}-{}", self.settings.cluster, uid(&object.metadata)).into()
    }

    /// Wants the claim of an accepted Gateway, and none otherwise. A claim whose listeners all wait for certificates
    /// stays, and with it the address.
    pub(super) fn want_claim(&mut self, key: &Key, object: &Gateway, verdict: Option<&Verdict>) {
        let name = self.claim_name(object);
        let wanted = verdict.filter(|v| v.accepted.is_ok()).map(|v| self.claim(object, v));
        if wanted.is_some() {
            self.feedback.claim_gateways.insert(name.clone(), key.clone());
        } else {
            self.feedback.claim_gateways.remove(&name);
        }
        self.book.want((DerivedKind::Claim, name), wanted);
    }

    fn claim(&self, object: &Gateway, verdict: &Verdict) -> Derived {
        let origin = origin(&self.settings.cluster, GATEWAY_GROUP, "Gateway", &object.metadata);
        let metadata = metadata(&self.settings.tenant_namespace, &origin.derived_name(), &origin);
        let served = verdict.listeners.iter().filter(|l| l.is_served());
        let spec = GatewayClaimSpec {
            template: self.settings.template.clone(),
            sharing_key: None,
            addresses: address::requested(&object.spec.addresses),
            backend_client_certificate: None,
            infrastructure: None,
            listeners: served.filter_map(|l| self.claim_listener(l)).collect(),
            origin,
        };
        Derived::Claim(Arc::new(GatewayClaim { metadata, spec, status: None }))
    }

    fn claim_listener(&self, listener: &ListenerVerdict) -> Option<ClaimListener> {
        let protocol = listener.protocol?;
        let certificates = &listener.certificates;
        Some(ClaimListener {
            name: listener.name.to_string(),
            port: listener.port,
            protocol: protocol.name,
            hostname: listener.hostname.clone(),
            tls: protocol.tls.map(|mode| ListenerTls {
                mode,
                certificates: certificates.iter().map(|c| format!("{}-{}", self.settings.cluster, c.uid)).collect(),
                client_validation: None,
            }),
            filters: Vec::new(),
        })
    }
}
