//! What platform and relay say to each other, in the messages of delta ADS.
//!
//! All is of one type, [`GROUP`]: one response may carry resources of several kinds, so that a change arrives whole.
//! Kind and name together are written `cds:NAME`. What a resource needs travels in its metadata. The nonce of the
//! last part of a change is its sequence, in hex; a request with that nonce says that the engine has applied it.

use std::collections::HashMap;
use std::sync::Arc;

use foregate_envoy::pb::envoy::config::core::v3::{Metadata, Node};
use foregate_envoy::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource as WireResource,
};
use foregate_envoy::pb::google::protobuf::Any;
use foregate_envoy::pb::google::rpc::Status as RpcStatus;
use foregate_envoy::{Resource, ResourceId, ResourceKind};
use prost::Message;

use crate::RELAY_FEATURE;

/// The type of everything that is said about resources.
pub(crate) const GROUP: &str = "type.googleapis.com/foregate.relay.v1.Group";
/// The type of the requests that say whether there is an engine: subscribed while there is.
const ENGINE: &str = "type.googleapis.com/foregate.relay.v1.Engine";
const NEEDS: &str = "type.googleapis.com/foregate.relay.v1.Needs";
const NEEDS_KEY: &str = "foregate.relay.needs";
const WIRE_RESOURCE: &str = "type.googleapis.com/envoy.service.discovery.v3.Resource";
/// gRPC's codes in a report about a resource: refused, and taken after all.
const INVALID_ARGUMENT: i32 = 3;
const OK: i32 = 0;

/// What one side says isn't in this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct Malformed {
    /// Where.
    pub field: &'static str,
    /// What is wrong.
    pub detail: String,
}

fn malformed(field: &'static str, detail: impl Into<String>) -> Malformed {
    Malformed { field, detail: detail.into() }
}

/// Ids of what a resource needs.
#[derive(Clone, PartialEq, Message)]
struct Needs {
    #[prost(string, repeated, tag = "1")]
    ids: Vec<String>,
}

const fn tag(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Cluster => "cds",
        ResourceKind::ClusterLoadAssignment => "eds",
        ResourceKind::Secret => "sds",
        ResourceKind::ExtensionConfig => "ecds",
        ResourceKind::Listener => "lds",
        ResourceKind::RouteConfiguration => "rds",
        ResourceKind::VirtualHost => "vhds",
    }
}

/// Kind and name as `cds:NAME`.
pub(crate) fn id_text(id: &ResourceId) -> String {
    format!("{}:{}", tag(id.kind), id.name)
}

/// The other way round.
pub(crate) fn parse_id(text: &str) -> Option<ResourceId> {
    let (kind, name) = text.split_once(':')?;
    let kind = ResourceKind::ALL.into_iter().find(|known| tag(*known) == kind)?;
    Some(ResourceId::new(kind, name))
}

fn read_id(field: &'static str, text: &str) -> Result<ResourceId, Malformed> {
    parse_id(text).ok_or_else(|| malformed(field, format!("{text:?} is not KIND:NAME")))
}

/// A part of a change, or all of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// New or changed; owners don't travel.
    pub set: Vec<Resource>,
    /// Gone.
    pub remove: Vec<ResourceId>,
    /// With this part the platform's changes up to this sequence are complete; none: more follows.
    pub sequence: Option<u64>,
}

impl Part {
    /// Into a response.
    pub fn encode(self) -> DeltaDiscoveryResponse {
        DeltaDiscoveryResponse {
            type_url: GROUP.to_owned(),
            nonce: self.sequence.map(|sequence| format!("{sequence:x}")).unwrap_or_default(),
            resources: self.set.into_iter().map(encode_resource).collect(),
            removed_resources: self.remove.iter().map(id_text).collect(),
            ..Default::default()
        }
    }

    /// Out of a response.
    ///
    /// # Errors
    /// When it isn't one of these.
    pub fn decode(response: DeltaDiscoveryResponse) -> Result<Self, Malformed> {
        if response.type_url != GROUP {
            return Err(malformed("type_url", format!("{:?} was not asked for", response.type_url)));
        }
        let sequence = match response.nonce.as_str() {
            "" => None,
            nonce => Some(read_sequence("nonce", nonce)?),
        };
        let set = response.resources.into_iter().map(decode_resource).collect::<Result<_, _>>()?;
        let remove = response.removed_resources.iter().map(|text| read_id("removed_resources", text));
        Ok(Self { set, remove: remove.collect::<Result<_, _>>()?, sequence })
    }
}

fn read_sequence(field: &'static str, text: &str) -> Result<u64, Malformed> {
    u64::from_str_radix(text, 16).map_err(|error| malformed(field, format!("{text:?}: {error}")))
}

fn encode_resource(resource: Resource) -> WireResource {
    let ids: Vec<_> = resource.needs.iter().map(id_text).collect();
    let metadata = (!ids.is_empty()).then(|| {
        let needs = Any { type_url: NEEDS.to_owned(), value: Needs { ids }.encode_to_vec() };
        let typed_filter_metadata = HashMap::from([(NEEDS_KEY.to_owned(), needs)]);
        Metadata { typed_filter_metadata, ..Default::default() }
    });
    WireResource {
        name: resource.id.name.to_string(),
        version: resource.version.to_string(),
        resource: Some(Any { type_url: resource.id.kind.type_url().to_owned(), value: resource.body.into() }),
        metadata,
        ..Default::default()
    }
}

fn decode_resource(wire: WireResource) -> Result<Resource, Malformed> {
    let any = wire.resource.ok_or_else(|| malformed("resources", format!("{:?} has no body", wire.name)))?;
    let kind = ResourceKind::from_type_url(&any.type_url)
        .ok_or_else(|| malformed("resources", format!("{:?} is no type of this version", any.type_url)))?;
    let needs = wire.metadata.as_ref().and_then(|metadata| metadata.typed_filter_metadata.get(NEEDS_KEY));
    let needs = needs.map(|any| Needs::decode(&*any.value)).transpose();
    let needs = needs.map_err(|error| malformed("resources.metadata", error.to_string()))?.unwrap_or_default();
    let needs = needs.ids.iter().map(|text| read_id("resources.metadata", text));
    Ok(Resource {
        id: ResourceId::new(kind, wire.name),
        version: wire.version.into(),
        body: any.value.into(),
        needs: needs.collect::<Result<Vec<_>, _>>()?.into(),
        owners: Arc::new([]),
    })
}

/// What a relay tells the platform.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// Whether an engine is there.
    Engine(bool),
    /// The engine has applied, or refused, all changes up to this sequence of the platform's.
    Applied(u64),
    /// The engine has refused a resource.
    Refused {
        /// Which one.
        id: ResourceId,
        /// In which version.
        version: Arc<str>,
        /// What it said.
        message: String,
    },
    /// The engine has taken at a later try what it had refused.
    Recovered {
        /// Which one.
        id: ResourceId,
        /// In which version.
        version: Arc<str>,
    },
}

/// The first request of a stream, with the versions that the relay has.
pub(crate) fn hello(id: &str, versions: HashMap<ResourceId, Arc<str>>) -> DeltaDiscoveryRequest {
    let node = Node {
        id: id.to_owned(),
        client_features: vec![RELAY_FEATURE.to_owned()],
        user_agent_name: "foregate".to_owned(),
        ..Default::default()
    };
    let versions = versions.into_iter().map(|(id, version)| (id_text(&id), version.to_string()));
    DeltaDiscoveryRequest {
        node: Some(node),
        type_url: GROUP.to_owned(),
        resource_names_subscribe: vec!["*".to_owned()],
        initial_resource_versions: versions.collect(),
        ..Default::default()
    }
}

/// The versions in a stream's first request.
///
/// # Errors
/// When there is something in it that this protocol doesn't know.
pub(crate) fn versions_of(first: DeltaDiscoveryRequest) -> Result<HashMap<ResourceId, String>, Malformed> {
    if first.type_url != GROUP {
        return Err(malformed("type_url", format!("a relay asks for {GROUP}, not for {:?}", first.type_url)));
    }
    let versions = first.initial_resource_versions.into_iter();
    versions.map(|(text, version)| Ok((read_id("initial_resource_versions", &text)?, version))).collect()
}

impl Report {
    /// Into a request.
    pub fn encode(self) -> DeltaDiscoveryRequest {
        let request = DeltaDiscoveryRequest { type_url: GROUP.to_owned(), ..Default::default() };
        match self {
            Self::Engine(there) => {
                let names = vec!["engine".to_owned()];
                let (subscribe, unsubscribe) = if there { (names, Vec::new()) } else { (Vec::new(), names) };
                DeltaDiscoveryRequest {
                    type_url: ENGINE.to_owned(),
                    resource_names_subscribe: subscribe,
                    resource_names_unsubscribe: unsubscribe,
                    ..request
                }
            }
            Self::Applied(sequence) => DeltaDiscoveryRequest { response_nonce: format!("{sequence:x}"), ..request },
            Self::Refused { id, version, message } => {
                DeltaDiscoveryRequest { error_detail: Some(about(INVALID_ARGUMENT, &id, &version, message)), ..request }
            }
            Self::Recovered { id, version } => {
                DeltaDiscoveryRequest { error_detail: Some(about(OK, &id, &version, String::new())), ..request }
            }
        }
    }

    /// Out of a request that isn't a stream's first.
    ///
    /// # Errors
    /// When it isn't one of these.
    pub fn decode(request: DeltaDiscoveryRequest) -> Result<Self, Malformed> {
        if request.type_url == ENGINE {
            return Ok(Self::Engine(!request.resource_names_subscribe.is_empty()));
        }
        if request.type_url != GROUP {
            return Err(malformed("type_url", format!("{:?} is nothing that a relay says", request.type_url)));
        }
        let Some(status) = request.error_detail else {
            return Ok(Self::Applied(read_sequence("response_nonce", &request.response_nonce)?));
        };
        let detail = status.details.first().ok_or_else(|| malformed("error_detail.details", "is empty"))?;
        let wire = WireResource::decode(&*detail.value)
            .map_err(|error| malformed("error_detail.details", error.to_string()))?;
        let type_url = wire.resource.map(|any| any.type_url).unwrap_or_default();
        let kind = ResourceKind::from_type_url(&type_url)
            .ok_or_else(|| malformed("error_detail.details", format!("{type_url:?} is no type of this version")))?;
        let (id, version) = (ResourceId::new(kind, wire.name), wire.version.into());
        match status.code {
            OK => Ok(Self::Recovered { id, version }),
            _ => Ok(Self::Refused { id, version, message: status.message }),
        }
    }
}

fn about(code: i32, id: &ResourceId, version: &str, message: String) -> RpcStatus {
    let wire = WireResource {
        name: id.name.to_string(),
        version: version.to_owned(),
        resource: Some(Any { type_url: id.kind.type_url().to_owned(), value: Vec::new() }),
        ..Default::default()
    };
    let detail = Any { type_url: WIRE_RESOURCE.to_owned(), value: wire.encode_to_vec() };
    RpcStatus { code, message, details: vec![detail] }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn id() -> ResourceId {
        ResourceId::new(ResourceKind::VirtualHost, "r:1/*.example.com")
    }

    #[test]
    fn what_is_said_is_heard() {
        let version: Arc<str> = "v1".into();
        for report in [
            Report::Engine(true),
            Report::Engine(false),
            Report::Applied(0),
            Report::Applied(u64::MAX),
            Report::Refused { id: id(), version: version.clone(), message: "no".into() },
            Report::Recovered { id: id(), version },
        ] {
            assert_eq!(Report::decode(report.clone().encode()).unwrap(), report);
        }
        let cluster = ResourceId::new(ResourceKind::Cluster, "a");
        let resource = Resource {
            id: id(),
            version: "v1".into(),
            body: vec![1, 2, 3].into(),
            needs: [cluster.clone()].into(),
            owners: [].into(),
        };
        for sequence in [None, Some(77)] {
            let part = Part { set: vec![resource.clone()], remove: vec![cluster.clone()], sequence };
            assert_eq!(Part::decode(part.clone().encode()).unwrap(), part);
        }
        let versions = versions_of(hello("gw", [(id(), "v1".into())].into())).unwrap();
        assert_eq!(versions, [(id(), "v1".to_owned())].into());
    }

    #[test]
    fn anything_else_is_refused_with_its_field() {
        let request = || Report::Applied(1).encode();
        let error = |request| Report::decode(request).unwrap_err().field;
        assert_eq!(error(DeltaDiscoveryRequest { type_url: "x".into(), ..request() }), "type_url");
        assert_eq!(error(DeltaDiscoveryRequest { response_nonce: "x".into(), ..request() }), "response_nonce");
        let error_detail = Some(RpcStatus::default());
        assert_eq!(error(DeltaDiscoveryRequest { error_detail, ..request() }), "error_detail.details");
        let removed_resources = vec!["nothing".to_owned()];
        let response = DeltaDiscoveryResponse { removed_resources, ..Part::default().encode() };
        assert_eq!(Part::decode(response).unwrap_err().field, "removed_resources");
    }
}
