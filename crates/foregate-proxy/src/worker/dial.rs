//! Connecting to an endpoint.

use std::fmt::{self, Display};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::host::Host;
use super::link::Link;
use crate::config::cluster::ClusterConfig;
use crate::snapshot::Address;
use crate::upstream_tls::{Offer, UpstreamTls};

/// What is to be spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speak {
    Http1,
    /// HTTP/1.1, for a request without a body.
    Plain,
    Http2,
    /// Whatever the client says.
    Bytes,
    /// What the TLS handshake says.
    Either,
}

/// Why there is no connection. Several requests may wait for the same one.
#[derive(Clone, Debug)]
pub(super) enum DialError {
    /// It took too long.
    Timeout,
    /// The endpoint doesn't let anybody in.
    Io(Rc<io::Error>),
    /// There is no TLS with the endpoint: it isn't trusted, say.
    Tls(Rc<str>),
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        Self::Io(Rc::new(error))
    }
}

impl Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("connecting took too long"),
            Self::Io(error) => error.fmt(f),
            Self::Tls(error) => write!(f, "no TLS: {error}"),
        }
    }
}

/// Connects to a host; says what is to be spoken on the connection.
pub(super) async fn dial(config: &ClusterConfig, host: &Host, speak: Speak) -> Result<(Link, Speak), DialError> {
    let link = match &host.address {
        Address::Socket(address) => {
            let stream = TcpStream::connect(address).await?;
            let _ = stream.set_nodelay(true);
            Link::Tcp(stream)
        }
        Address::Pipe(path) => Link::Unix(UnixStream::connect(path).await?),
    };
    match &config.tls {
        Some(tls) => secure(tls, host, link, speak).await,
        // Without TLS there is nothing to agree by.
        None => Ok((link, if speak == Speak::Either { Speak::Http1 } else { speak })),
    }
}

async fn secure(tls: &UpstreamTls, host: &Host, link: Link, speak: Speak) -> Result<(Link, Speak), DialError> {
    let offer = match speak {
        Speak::Http1 | Speak::Plain => Offer::Http1,
        Speak::Http2 => Offer::Http2,
        Speak::Either => Offer::Both,
        Speak::Bytes => Offer::Nothing,
    };
    let failed = |error: &dyn Display| DialError::Tls(error.to_string().into());
    let asked = tls.name_for(&host.name);
    let config = tls.config(offer, asked.is_some()).map_err(|error| failed(&error))?;
    let name = asked.unwrap_or_else(|| nameless(&host.address));
    let stream = TlsConnector::from(config).connect(name, link).await.map_err(|error| failed(&error))?;
    let agreed = match (speak, stream.get_ref().1.alpn_protocol()) {
        (Speak::Either, Some(b"h2")) => Speak::Http2,
        (Speak::Either, _) => Speak::Http1,
        (speak, _) => speak,
    };
    Ok((Link::Tls(Box::new(stream)), agreed))
}

/// Something to call an endpoint that isn't asked for a name: sessions are remembered by it, and nothing else.
fn nameless(address: &Address) -> ServerName<'static> {
    let ip = match address {
        Address::Socket(SocketAddr::V4(v4)) => (*v4.ip()).into(),
        Address::Socket(SocketAddr::V6(v6)) => (*v6.ip()).into(),
        Address::Pipe(_) => std::net::IpAddr::from([127, 0, 0, 1]),
    };
    ServerName::IpAddress(ip.into())
}
