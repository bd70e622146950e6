//! What the workers serve by: an immutable tree of shared parts (listener → virtual host → route; clusters).
//!
//! A change builds the path from its part to the root anew and shares everything else; [`Published`] swaps the root.
//! Workers keep their own reference and look at one generation number per request to see whether it is still the root.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::bind::{Place, Transport};
use crate::config::cluster::ClusterConfig;
use crate::config::hcm::HttpOptions;
use crate::config::route_config::RouteOptions;
use crate::config::tcp_proxy::TcpOptions;
use crate::config::udp_proxy::UdpOptions;
use crate::hashing::HashTable;
use crate::persistent::SlotVec;
use crate::routing::domains::Domains;
use crate::slots::Slot;
use crate::tls::TlsChain;

/// One version of an instance's whole configuration.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    /// Counts up with each version.
    pub(crate) generation: u64,
    /// Listeners by slot.
    pub(crate) listeners: SlotVec<Listener>,
    /// Route configurations by slot.
    pub(crate) routes: SlotVec<RouteTable>,
    /// Clusters by slot.
    pub(crate) clusters: SlotVec<Cluster>,
}

/// The current snapshot of an instance, where workers look for it.
#[derive(Default)]
pub(crate) struct Published {
    current: ArcSwap<Snapshot>,
    generation: AtomicU64,
}

impl Published {
    /// The number of the newest version: the only thing that a request has to read.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The newest version.
    pub(crate) fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts a new version in.
    pub(crate) fn store(&self, snapshot: Snapshot) {
        let generation = snapshot.generation;
        self.current.store(Arc::new(snapshot));
        self.generation.store(generation, Ordering::Release);
    }
}

/// A listener, compiled.
pub(crate) struct Listener {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Where it listens.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Length of the kernel's queue of connections that wait to be accepted.
    pub(crate) backlog: i32,
    /// What is done with datagrams, if it is for those.
    pub(crate) udp: Option<Arc<UdpOptions>>,
    /// Filter chains in their order, the default one last; none for datagrams.
    pub(crate) chains: Vec<Arc<FilterChain>>,
    /// How long a client may take for the TLS client hello.
    pub(crate) handshake_timeout: Duration,
}

impl Listener {
    /// Its addresses, each with what is spoken there.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        let transport = if self.udp.is_some() { Transport::Udp } else { Transport::Tcp };
        self.addresses.iter().map(move |address| Place { transport, address: *address })
    }

    /// The chain for a connection: of those that fit, the one with the exact name, else with the longest wildcard,
    /// else one without names.
    pub(crate) fn chain(&self, tls: bool, server_name: Option<&str>) -> Option<&Arc<FilterChain>> {
        let fitting = || self.chains.iter().filter(|chain| chain.wants_tls.is_none_or(|wants| wants == tls));
        let named = |name: &str| fitting().find(|chain| chain.server_names.iter().any(|own| own == name));
        if let Some(name) = server_name.map(str::to_ascii_lowercase) {
            if let Some(exact) = named(&name) {
                return Some(exact);
            }
            let mut rest = &*name;
            while let Some(dot) = rest.find('.') {
                if let Some(wildcard) = named(&format!("*{}", &rest[dot..])) {
                    return Some(wildcard);
                }
                rest = &rest[dot + 1..];
            }
        }
        fitting().find(|chain| chain.server_names.is_empty())
    }

    /// What has to be seen of a connection before its chain is known.
    pub(crate) fn look(&self) -> Look {
        if self.chains.iter().all(|chain| chain.wants_tls.is_none() && chain.server_names.is_empty()) {
            return Look::Nowhere;
        }
        let ends_tls = |chain: &Arc<FilterChain>| chain.tls.is_some() || chain.wants_tls == Some(false);
        let plain = self.chains.iter().any(|chain| chain.tls.is_none() && chain.wants_tls != Some(true));
        match self.chains.iter().all(ends_tls) {
            true if plain => Look::First,
            true => Look::Handshake,
            false => Look::Hello,
        }
    }

    /// Whether all certificates are there.
    pub(crate) fn is_ready(&self) -> bool {
        self.chains.iter().filter_map(|chain| chain.tls.as_ref()).all(TlsChain::is_ready)
    }
}

/// Where the answer is to the question which chain a connection belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// There is only one; it may be the server that speaks first.
    Nowhere,
    /// In the TLS handshake: that is the only thing that a connection can begin with.
    Handshake,
    /// In the first byte, and if it is TLS's, in the handshake.
    First,
    /// In the client hello, which must stay for somebody else.
    Hello,
}

/// What a filter chain does.
pub(crate) enum NetworkFilter {
    /// HTTP.
    Http(Arc<HttpOptions>),
    /// Bytes are passed on.
    Tcp(Arc<TcpOptions>),
}

/// One filter chain: TLS or not, and what it does.
pub(crate) struct FilterChain {
    /// What identifies it from one version of its listener to the next: its name, or its match.
    pub(crate) key: String,
    /// Names of its match, in lower case; empty matches every name. `*.example.com` stands for all names below.
    pub(crate) server_names: Vec<String>,
    /// `Some(true)`: only TLS connections, `Some(false)`: only plain ones.
    pub(crate) wants_tls: Option<bool>,
    /// TLS settings, if it terminates TLS.
    pub(crate) tls: Option<TlsChain>,
    /// How long a client may take for the TLS handshake, if not as long as for the hello.
    pub(crate) handshake_timeout: Option<Duration>,
    /// What it does.
    pub(crate) filter: NetworkFilter,
}

/// A route configuration, compiled.
#[derive(Clone)]
pub(crate) struct RouteTable {
    /// Virtual hosts by domain.
    pub(crate) domains: Domains,
    /// What counts for all of them.
    pub(crate) options: Arc<RouteOptions>,
}

/// A cluster with its endpoints.
pub(crate) struct Cluster {
    /// Its number, and name.
    pub(crate) slot: Arc<Slot>,
    /// What doesn't change with the endpoints.
    pub(crate) config: Arc<ClusterConfig>,
    /// Where its requests can go now: healthy endpoints of the best priority.
    pub(crate) endpoints: Arc<[Endpoint]>,
    /// Whose each key is, if it is balanced by keys.
    pub(crate) table: Option<HashTable>,
    /// Its endpoints' names are being looked up for the first time: they will be known in a moment.
    pub(crate) warming: bool,
}

/// One address of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    /// Where.
    pub(crate) address: Address,
    /// What it is called, in configuration or in DNS; empty if it is called nothing.
    pub(crate) name: Arc<str>,
    /// Its share among the others.
    pub(crate) weight: u32,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// IP address and TCP port.
    Socket(SocketAddr),
    /// A unix socket.
    Pipe(Arc<Path>),
}

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Pipe(path) => path.display().fmt(f),
        }
    }
}
