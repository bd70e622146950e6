//! A delta client, over a unix socket or a connection of one's own.
//!
//! ```no_run
//! # async fn example() -> Result<(), foregate_xds::ClientError> {
//! use foregate_envoy::ResourceKind;
//! let mut client = foregate_xds::Client::connect_unix("/run/foregate/gw.sock".as_ref(), "gw-1").await?;
//! client.subscribe(ResourceKind::Cluster, ["*"])?;
//! loop {
//!     let response = client.next().await?;
//!     // … put response.set and response.removed in place, subscribe to what they name, then:
//!     client.ack(&response)?;
//! }
//! # }
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use foregate_envoy::ResourceKind;
use foregate_envoy::pb::envoy::config::core::v3::Node;
use foregate_envoy::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use foregate_envoy::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use foregate_envoy::pb::google::rpc::Status as RpcStatus;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::VHDS_FEATURE;

/// The largest response that is accepted, in bytes.
const MAX_RESPONSE_BYTES: usize = 64 << 20;
/// How often an idle connection is asked whether it lives, and how long it has to answer.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// gRPC's code for a refused response (INVALID_ARGUMENT).
const INVALID_ARGUMENT: i32 = 3;

/// Versions by kind and name: what a client has from an earlier stream.
pub type Known = HashMap<ResourceKind, HashMap<String, String>>;

/// Why a client has no stream (any more). In all cases: back off, connect again, and resume with [`Client::known`].
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server can't be reached.
    #[error("can't connect to the xDS server at {}: {source}", path.display())]
    Connect {
        /// Where.
        path: PathBuf,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The stream failed; "unavailable" when the server shuts down.
    #[error("the xDS stream failed: {0}")]
    Stream(#[from] Box<tonic::Status>),
    /// The server ended the stream.
    #[error("the xDS server ended the stream")]
    Closed,
}

/// One resource of a response.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientResource {
    /// Its name.
    pub name: String,
    /// Its version: a hash of its content.
    pub version: String,
    /// The encoded message.
    pub body: Bytes,
}

/// A response: to be answered with [`Client::ack`] or [`Client::nack`]. The next one of the same kind comes after that.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// Of which kind.
    pub kind: ResourceKind,
    /// New or changed.
    pub set: Vec<ClientResource>,
    /// Gone.
    pub removed: Vec<String>,
    /// What the answer refers to.
    pub nonce: String,
}

/// A delta ADS stream that takes virtual hosts one by one.
#[derive(Debug)]
pub struct Client {
    requests: mpsc::UnboundedSender<DeltaDiscoveryRequest>,
    responses: tonic::Streaming<DeltaDiscoveryResponse>,
    /// Sent with the first request; none afterwards.
    node: Option<Node>,
    known: Known,
    /// What was known when the stream began, until the kind's first request takes it along.
    initial: Known,
}

impl Client {
    /// Connects to the server that listens on a unix socket.
    pub async fn connect_unix(path: &Path, node_id: &str) -> Result<Self, ClientError> {
        Self::resume_unix(path, node_id, Known::new()).await
    }

    /// Connects, and goes on with what an earlier client had ([`Client::into_known`]): the server sends what differs
    /// and removes what is gone. Subscriptions are to be made again.
    pub async fn resume_unix(path: &Path, node_id: &str, known: Known) -> Result<Self, ClientError> {
        let socket = path.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://xds.invalid")
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .connect_with_connector(connector)
            .await
            .map_err(|source| ClientError::Connect { path: path.to_owned(), source })?;
        Self::resume_on(channel, node_id, known).await
    }

    /// The same over a connection that is there, as [`crate::tls::channel`] makes one.
    pub async fn resume_on(channel: Channel, node_id: &str, known: Known) -> Result<Self, ClientError> {
        let (requests, receiver) = mpsc::unbounded_channel();
        let responses = AggregatedDiscoveryServiceClient::new(channel)
            .max_decoding_message_size(MAX_RESPONSE_BYTES)
            .delta_aggregated_resources(UnboundedReceiverStream::new(receiver))
            .await
            .map_err(Box::new)?
            .into_inner();
        let node = Node {
            id: node_id.to_owned(),
            client_features: vec![VHDS_FEATURE.to_owned()],
            user_agent_name: "foregate".to_owned(),
            ..Default::default()
        };
        Ok(Self { requests, responses, node: Some(node), initial: known.clone(), known })
    }

    /// Subscribes to names of a kind: `*` is all of them, `<route configuration>/*` all of its virtual hosts.
    pub fn subscribe<N: Into<String>>(
        &mut self,
        kind: ResourceKind,
        names: impl IntoIterator<Item = N>,
    ) -> Result<(), ClientError> {
        let resource_names_subscribe = names.into_iter().map(Into::into).collect();
        self.send(kind, DeltaDiscoveryRequest { resource_names_subscribe, ..Default::default() })
    }

    /// Unsubscribes. What is no longer subscribed to is to be dropped; the server won't say that it is gone.
    pub fn unsubscribe<N: Into<String>>(
        &mut self,
        kind: ResourceKind,
        names: impl IntoIterator<Item = N>,
    ) -> Result<(), ClientError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        if let Some(known) = self.known.get_mut(&kind) {
            for name in &names {
                let glob = name.strip_suffix('*').filter(|glob| glob.is_empty() || kind == ResourceKind::VirtualHost);
                match glob {
                    Some(prefix) => known.retain(|name, _| !name.starts_with(prefix)),
                    None => drop(known.remove(name)),
                }
            }
        }
        self.send(kind, DeltaDiscoveryRequest { resource_names_unsubscribe: names, ..Default::default() })
    }

    /// The next response. May be cancelled: none is lost.
    pub async fn next(&mut self) -> Result<Response, ClientError> {
        loop {
            let response = self.responses.message().await.map_err(Box::new)?.ok_or(ClientError::Closed)?;
            let Some(kind) = ResourceKind::from_type_url(&response.type_url) else {
                tracing::debug!(type_url = response.type_url, "a response of a type that wasn't asked for");
                continue;
            };
            let resource = |resource: foregate_envoy::pb::envoy::service::discovery::v3::Resource| ClientResource {
                name: resource.name,
                version: resource.version,
                body: resource.resource.map(|any| any.value.into()).unwrap_or_default(),
            };
            let set = response.resources.into_iter().map(resource).collect();
            return Ok(Response { kind, set, removed: response.removed_resources, nonce: response.nonce });
        }
    }

    /// Acknowledges a response: all of it is in place.
    pub fn ack(&mut self, response: &Response) -> Result<(), ClientError> {
        let known = self.known.entry(response.kind).or_default();
        for name in &response.removed {
            known.remove(name);
        }
        for resource in &response.set {
            match known.get_mut(&resource.name) {
                Some(version) => version.clone_from(&resource.version),
                None => drop(known.insert(resource.name.clone(), resource.version.clone())),
            }
        }
        let response_nonce = response.nonce.clone();
        self.send(response.kind, DeltaDiscoveryRequest { response_nonce, ..Default::default() })
    }

    /// Refuses a response; what was good of it may be in place. The server sends it again one by one, and finds out
    /// which resource was meant.
    pub fn nack(&mut self, response: &Response, message: &str) -> Result<(), ClientError> {
        // Should the stream end before that, the next one must not take the old versions for granted.
        let known = self.known.entry(response.kind).or_default();
        known.extend(response.set.iter().map(|resource| (resource.name.clone(), String::new())));
        let error_detail =
            Some(RpcStatus { code: INVALID_ARGUMENT, message: message.to_owned(), ..Default::default() });
        let response_nonce = response.nonce.clone();
        self.send(response.kind, DeltaDiscoveryRequest { response_nonce, error_detail, ..Default::default() })
    }

    /// What was acknowledged and not removed since; with an empty version what was refused.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// What was acknowledged: for [`Client::resume_unix`].
    pub fn into_known(self) -> Known {
        self.known
    }

    fn send(&mut self, kind: ResourceKind, mut request: DeltaDiscoveryRequest) -> Result<(), ClientError> {
        request.type_url = kind.type_url().to_owned();
        request.node = self.node.take();
        request.initial_resource_versions = self.initial.remove(&kind).unwrap_or_default();
        self.requests.send(request).map_err(|_| ClientError::Closed)
    }
}
