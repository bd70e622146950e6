//! What is known of one gateway beyond its objects.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use foregate_api::claim::{ClaimInfrastructure, ClaimListener, ListenerProtocol};
use foregate_api::proxy::ProxyListener;
use foregate_api::template::GatewayTemplateSpec;
use foregate_xds::{Owner, ResourceId};

use crate::merge::Merge;
use crate::pipeline::dissent::Dissent;
use crate::pipeline::pin::Pin;
use crate::pipeline::refusal::History;
use crate::search::Search;
use crate::status::Unmet;

/// One gateway: its inventory and what was derived from it.
#[derive(Debug, Default)]
pub(crate) struct Gateway {
    /// Names of its claims, in its namespace.
    pub claims: BTreeSet<String>,
    /// Names of the Address objects that are its.
    pub addresses: BTreeSet<String>,
    /// Names of its GatewayInstances.
    pub instances: BTreeSet<String>,
    /// Address objects that are being created for it.
    pub assigning: BTreeMap<String, IpAddr>,
    /// Names of its claims in order of precedence.
    pub order: Vec<String>,
    /// The merge of its claims' listeners.
    pub merge: Merge,
    /// The Secret that its first claim wants shown to backends.
    pub backend_client_certificate: Option<String>,
    /// What its first claim wants on what is made for it.
    pub infrastructure: Option<ClaimInfrastructure>,
    /// Its addresses as text, the requested ones in the order of the request.
    pub owned: Vec<String>,
    /// Why it lacks an address.
    pub unmet: Option<Unmet>,
    /// The template that is missing to make its proxy.
    pub template_missing: Option<String>,
    /// The ConfigRevision that it is to be held at.
    pub pinned: Option<String>,
    /// How far that is; none: it isn't held.
    pub pin: Option<Pin>,
    /// Names of the backends that this takes; none: it isn't held, or they aren't known yet.
    pub wanted: Option<BTreeSet<String>>,
    /// The template before the present one, if nothing was wrong with it.
    pub good: Option<GatewayTemplateSpec>,
    /// What the translator was told of it last.
    pub fed: Option<Fed>,
    /// Sequence of what was published for it last; 0: nothing yet.
    pub sequence: u64,
    /// Per claim: the sequence that published its listeners as they are now.
    pub published: HashMap<String, u64>,
    /// Claims whose listeners go out with the next publication.
    pub unpublished: BTreeSet<String>,
    /// Whose the published resources are, and were.
    pub history: History,
    /// Searches for culprits, by resource.
    pub searches: HashMap<ResourceId, Search<Owner>>,
    /// The highest sequence that some engine has applied since the platform started.
    pub acknowledged: u64,
    /// What engines refuse that others have taken.
    pub dissent: Dissent,
    /// Listeners that an engine refused, by resource name and node, with its words.
    pub refused_listeners: BTreeMap<(String, String), String>,
}

/// What the translator knows of a gateway.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fed {
    pub uid: Option<String>,
    pub generation: Option<i64>,
    pub template: GatewayTemplateSpec,
    pub listeners: Vec<ProxyListener>,
    pub addresses: Vec<String>,
    pub backend_client_certificate: Option<String>,
    pub infrastructure: Option<ClaimInfrastructure>,
}

impl Fed {
    /// The listeners of one claim.
    pub(crate) fn of<'a>(&'a self, claim: &'a str) -> impl Iterator<Item = &'a ClaimListener> {
        self.listeners.iter().filter(move |entry| entry.claim == claim).map(|entry| &entry.listener)
    }

    /// Whether a claim is served the same by both.
    pub(crate) fn same_for(&self, other: &Self, claim: &str) -> bool {
        self.uid == other.uid
            && self.template == other.template
            && self.addresses == other.addresses
            && self.backend_client_certificate == other.backend_client_certificate
            && self.infrastructure == other.infrastructure
            && self.of(claim).eq(other.of(claim))
    }
}

impl Gateway {
    /// Nothing of it is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.addresses.is_empty() && self.instances.is_empty() && self.assigning.is_empty()
    }

    /// The highest sequence that some claim waits for.
    pub(crate) fn awaited(&self) -> u64 {
        self.published.values().copied().max().unwrap_or_default()
    }

    /// What an engine said against the resource that a listener is in.
    pub(crate) fn refused_listener(&self, listener: &ClaimListener) -> Option<&String> {
        self.refused_listeners.iter().find(|((name, _), _)| is_of(name, listener)).map(|(_, message)| message)
    }

    /// A listener is published anew, or gone: nothing is said against it any more, but its claims have to wait for the
    /// engines to take it. Returns whether something was said.
    pub(crate) fn relieve(&mut self, resource: &str) -> bool {
        let before = self.refused_listeners.len();
        self.refused_listeners.retain(|(name, _), _| name != resource);
        let relieved = self.refused_listeners.len() < before;
        if relieved {
            let within = self.merge.listeners.iter().filter(|entry| is_of(resource, &entry.listener));
            self.unpublished.extend(within.map(|entry| entry.claim.clone()));
        }
        relieved
    }

    /// An engine begins anew: it will say itself what it refuses.
    pub(crate) fn forget_refusals_of(&mut self, node: &str) {
        self.refused_listeners.retain(|(_, of), _| of != node);
        self.dissent.forget(node);
    }
}

/// Whether a resource, `<protocol class>-<port>`, has a listener in it. A port may have one for datagrams beside another.
pub(crate) fn is_of(resource: &str, listener: &ClaimListener) -> bool {
    let Some((class, port)) = resource.rsplit_once('-') else { return false };
    port.parse() == Ok(listener.port) && (class == "udp") == (listener.protocol == ListenerProtocol::Udp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::listener;

    #[test]
    fn a_refusal_is_about_one_transport_of_its_port() {
        use ListenerProtocol::{Http, Tcp, Tls, Udp};
        for (resource, protocol, expected) in [
            ("http-53", Http, true),
            ("tls-53", Tls, true),
            ("tcp-53", Tcp, true),
            ("tcp-54", Tcp, false),
            ("tcp-53", Udp, false),
            ("udp-53", Tcp, false),
            ("udp-53", Udp, true),
            ("odd", Udp, false),
        ] {
            assert_eq!(is_of(resource, &listener("l", 53, protocol, None)), expected, "{resource} {protocol:?}");
        }
    }
}
