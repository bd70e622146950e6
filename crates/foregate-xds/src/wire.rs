//! Between the generated messages and the stream's own.

use std::sync::Arc;

use foregate_envoy::ResourceKind;
use foregate_envoy::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use foregate_envoy::pb::google::protobuf::Any;

use crate::VHDS_FEATURE;
use crate::stream::{Names, Profile, Request, Response};

/// A protocol: its messages, and how they map.
pub(crate) trait Protocol: Send + 'static {
    type Request: Send + 'static;
    type Response: Send + 'static;

    /// How the client speaks, from a stream's first request; none if that has no node.
    fn profile(request: &Self::Request) -> Option<Profile>;
    /// The request's type URL.
    fn type_url(request: &Self::Request) -> &str;
    fn request(kind: ResourceKind, request: Self::Request) -> Request;
    fn response(response: Response, version: u64) -> Self::Response;
}

/// Incremental.
pub(crate) struct Delta;

/// State of the world.
pub(crate) struct StateOfTheWorld;

fn names(names: Vec<String>) -> Vec<Arc<str>> {
    names.into_iter().map(Into::into).collect()
}

impl Protocol for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    fn profile(request: &Self::Request) -> Option<Profile> {
        let features = &request.node.as_ref()?.client_features;
        Some(Profile { delta: true, vhds: features.iter().any(|feature| feature == VHDS_FEATURE) })
    }

    fn type_url(request: &Self::Request) -> &str {
        &request.type_url
    }

    fn request(kind: ResourceKind, request: Self::Request) -> Request {
        let initial = request.initial_resource_versions.into_iter();
        Request {
            kind,
            names: Names::Change {
                subscribe: names(request.resource_names_subscribe),
                unsubscribe: names(request.resource_names_unsubscribe),
                initial: initial.map(|(name, version)| (name.into(), version.into())).collect(),
            },
            nonce: request.response_nonce,
            error: request.error_detail.map(|status| status.message),
        }
    }

    fn response(response: Response, version: u64) -> Self::Response {
        let type_url = response.kind.type_url();
        let resource = |sent: crate::stream::Sent| Resource {
            name: sent.name.to_string(),
            version: sent.version.to_string(),
            resource: Some(Any { type_url: type_url.to_owned(), value: sent.body.into() }),
            ..Default::default()
        };
        DeltaDiscoveryResponse {
            system_version_info: version.to_string(),
            resources: response.resources.into_iter().map(resource).collect(),
            type_url: type_url.to_owned(),
            removed_resources: response.removed.iter().map(ToString::to_string).collect(),
            nonce: response.nonce,
            ..Default::default()
        }
    }
}

impl Protocol for StateOfTheWorld {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    fn profile(request: &Self::Request) -> Option<Profile> {
        request.node.as_ref().map(|_| Profile { delta: false, vhds: false })
    }

    fn type_url(request: &Self::Request) -> &str {
        &request.type_url
    }

    fn request(kind: ResourceKind, request: Self::Request) -> Request {
        Request {
            kind,
            names: Names::All(names(request.resource_names)),
            nonce: request.response_nonce,
            error: request.error_detail.map(|status| status.message),
        }
    }

    fn response(response: Response, version: u64) -> Self::Response {
        let type_url = response.kind.type_url();
        let resource = |sent: crate::stream::Sent| Any { type_url: type_url.to_owned(), value: sent.body.into() };
        DiscoveryResponse {
            // A refused response must not look like the one before: the nonce makes each version differ.
            version_info: format!("{version}.{}", response.nonce),
            resources: response.resources.into_iter().map(resource).collect(),
            type_url: type_url.to_owned(),
            nonce: response.nonce,
            ..Default::default()
        }
    }
}
