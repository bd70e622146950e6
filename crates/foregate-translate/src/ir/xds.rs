//! What a gateway's engine has to do.

use serde::Serialize;

use super::Entry;

/// Listeners, virtual hosts with their routes, clusters with their endpoints, and certificates (by name only).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Xds {
    /// One per port and protocol class.
    pub listeners: Vec<Listener>,
    /// One per route configuration and domain.
    pub virtual_hosts: Vec<VirtualHost>,
    /// One per backend that a route of this gateway names.
    pub clusters: Vec<Cluster>,
    /// Certificates that listeners name.
    pub certificates: Vec<Certificate>,
}

/// One port.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Protocol class and port, e.g. `https-8443`.
    pub name: String,
    /// `http`, `https` (all that is TLS), `tcp` or `udp`.
    pub class: String,
    /// The user's port.
    pub port: u16,
    /// Where it is bound, with the port offset.
    pub addresses: Vec<SocketAddress>,
    /// One without TLS, one per host name with it.
    pub filter_chains: Vec<FilterChain>,
}

/// An address with a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct SocketAddress {
    /// IP address.
    pub address: String,
    /// Port.
    pub port: u16,
}

/// What is done with a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FilterChain {
    /// Its name, unique in the gateway.
    pub name: String,
    /// SNI names; none: any other.
    pub server_names: Vec<String>,
    /// Names of the secrets with its certificates.
    pub secrets: Vec<String>,
    /// Which certificates clients have to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_validation: Option<foregate_api::claim::ClientValidation>,
    /// Name of the route that has it, where it carries connections or datagrams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// How its requests are traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<super::Tracing>,
    /// What is done with what it carries.
    #[serde(flatten)]
    pub carries: Carries,
}

/// What a filter chain carries, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Carries {
    /// HTTP requests.
    Requests {
        /// Name of the route configuration.
        route_configuration: String,
        /// What is done to requests before they are routed, in order: those of each listener are for it alone.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        filters: Vec<super::RequestFilter>,
    },
    /// Connections, whatever they carry. Without a share they are closed.
    Connections(Vec<Share>),
    /// Datagrams. Without a share they are dropped.
    Datagrams(Vec<Share>),
}

/// A share of connections or datagrams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The cluster; none: this share is closed or dropped.
    pub cluster: Option<std::sync::Arc<str>>,
    /// Its share of the sum of all weights, at least 1.
    pub weight: u32,
}

/// A domain of a route configuration, with the routes that serve it in no particular order: `routes` says whose.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualHost {
    /// Name of the route configuration.
    pub route_configuration: String,
    /// Host name, possibly `*.example.com` or `*`.
    pub domain: String,
    /// What serves it.
    pub entries: Vec<Placement>,
}

/// A route in a virtual host.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The route's own host name that brought it here.
    pub hostname: String,
    /// The route.
    pub entry: Entry,
}

/// A backend.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// The backend's name and the fingerprint of its policy.
    pub name: String,
    /// What it speaks.
    pub protocol: foregate_api::backend::BackendProtocol,
    /// TLS to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<foregate_api::backend::UpstreamTls>,
    /// Time to connect, in milliseconds.
    pub connect_timeout_millis: u64,
    /// Where it is.
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Endpoint {
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// Its host name, where its backend says one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Place {
    /// At an IP address, or a host name that the engine looks up, and a port.
    Socket(SocketAddress),
    /// At a Unix socket.
    Pipe {
        /// Its path.
        path: String,
    },
}

/// A certificate, without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Namespace and name of the Secret.
    pub name: String,
    /// Whether it is there and usable.
    pub present: bool,
}
