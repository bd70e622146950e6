//! Between the generated messages and the stream's own.

use foregate_envoy::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use foregate_envoy::pb::google::protobuf::Any;

use tonic::Status;

use crate::session::{self, Talk};
use crate::stream::{Profile, Request, Response};
use crate::{RELAY_FEATURE, VHDS_FEATURE, relay};

/// A protocol: its messages, and how they map.
pub(crate) trait Protocol: Sized + Send + 'static {
    type Request: Send + 'static;
    type Response: Send + 'static;

    /// What the client calls itself in a stream's first request; none if that doesn't say.
    fn node_id(request: &Self::Request) -> Option<&str>;
    /// How the client speaks, from a stream's first request.
    fn profile(request: &Self::Request) -> Profile;
    /// Serves one stream, of which the first request has come.
    fn serve(talk: Talk<Self>, first: Self::Request) -> impl Future<Output = Result<(), Status>> + Send {
        session::serve(talk, first)
    }
    /// None if its type isn't served.
    fn request(request: Self::Request) -> Option<Request>;
    fn response(response: Response, version: u64) -> Self::Response;
}

/// Incremental.
pub(crate) struct Delta;

/// State of the world.
pub(crate) struct StateOfTheWorld;

fn has_feature(request: &DeltaDiscoveryRequest, wanted: &str) -> bool {
    request.node.iter().flat_map(|node| &node.client_features).any(|feature| feature == wanted)
}

impl Protocol for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    fn node_id(request: &Self::Request) -> Option<&str> {
        Some(&request.node.as_ref()?.id)
    }

    fn profile(request: &Self::Request) -> Profile {
        Profile { delta: true, vhds: has_feature(request, VHDS_FEATURE) }
    }

    async fn serve(talk: Talk<Self>, first: Self::Request) -> Result<(), Status> {
        match has_feature(&first, RELAY_FEATURE) {
            true => relay::upstream::serve(talk, first).await,
            false => session::serve(talk, first).await,
        }
    }

    fn request(request: Self::Request) -> Option<Request> {
        Request::from_delta(request)
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

    fn node_id(request: &Self::Request) -> Option<&str> {
        Some(&request.node.as_ref()?.id)
    }

    fn profile(_: &Self::Request) -> Profile {
        Profile { delta: false, vhds: false }
    }

    fn request(request: Self::Request) -> Option<Request> {
        Request::from_state_of_the_world(request)
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
