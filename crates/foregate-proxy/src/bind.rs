//! Sockets for clients: one per worker and address, bound before a listener is accepted, so that a refusal can say why not.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};

use crate::engine::Listening;

/// Why an address can't be listened on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    #[error(
        "listener {listener}: cannot bind {address}: listener {owner} of gateway instance {instance} has it already"
    )]
    Taken { listener: String, address: SocketAddr, owner: Arc<str>, instance: Arc<str> },
    #[error("listener {listener}: cannot bind {address}: {}", explain(source, address))]
    Io { listener: String, address: SocketAddr, source: io::Error },
}

fn explain(source: &io::Error, address: &SocketAddr) -> String {
    match source.kind() {
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            "permission denied; ports below 1024 need root or --port-offset".to_owned()
        }
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::AddrInUse => {
            "the address is in use by another process; stop that, then remove the listener and add it again".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine doesn't have the address".to_owned(),
        _ => source.to_string(),
    }
}

/// What is spoken at an address: a port of one has nothing to do with the same port of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// Where clients go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// What is spoken there.
    pub(crate) transport: Transport,
    /// The address.
    pub(crate) address: SocketAddr,
}

/// A socket at a place.
#[derive(Debug)]
pub(crate) enum BoundSocket {
    /// It listens.
    Tcp(TcpListener),
    /// It receives.
    Udp(UdpSocket),
}

type Owner = (Arc<str>, Arc<str>);

/// Who listens where, in one engine: SO_REUSEPORT would let two listeners share an address and never tell.
#[derive(Clone, Default)]
pub(crate) struct Addresses(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    owners: HashMap<Place, Owner>,
    /// Given up, but workers may not have closed their sockets yet.
    closing: HashMap<Place, Instant>,
    /// Instances that may listen where another process does.
    sharing: HashSet<String>,
}

/// By then, workers have closed sockets that were given up.
const CLOSING: Duration = Duration::from_secs(10);

/// An address that is listened on, until it is dropped.
pub(crate) struct Claim {
    /// Where, with the port that the kernel chose if the listener left it open.
    pub(crate) place: Place,
    addresses: Addresses,
}

impl Claim {
    /// Gives the address to another listener of the same instance, sockets and all.
    pub(crate) fn hand_over(&self, listener: &Arc<str>) {
        if let Some((_, owner)) = self.addresses.0.lock().owners.get_mut(&self.place) {
            *owner = Arc::clone(listener);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut table = self.addresses.0.lock();
        table.owners.remove(&self.place);
        table.closing.retain(|_, since| since.elapsed() < CLOSING);
        table.closing.insert(self.place, Instant::now());
    }
}

impl Addresses {
    /// Binds a socket per worker.
    pub(crate) fn bind(
        &self,
        instance: &Arc<str>,
        listener: &Arc<str>,
        place: Place,
        backlog: i32,
        workers: usize,
    ) -> Result<(Claim, Vec<BoundSocket>), BindError> {
        let Place { transport, address } = place;
        if let Some((owner, listener_name)) = self.owner(place) {
            return Err(BindError::Taken {
                listener: listener.to_string(),
                address,
                owner: listener_name,
                instance: owner,
            });
        }
        let shared = {
            let table = self.0.lock();
            let closing = table.closing.get(&place).is_some_and(|since| since.elapsed() < CLOSING);
            closing || table.sharing.contains(&**instance)
        };
        let (address, sockets) = bind_all(place, backlog, workers, !shared).map_err(|source| BindError::Io {
            listener: listener.to_string(),
            address,
            source,
        })?;
        let place = Place { transport, address };
        self.0.lock().owners.insert(place, (Arc::clone(instance), Arc::clone(listener)));
        Ok((Claim { place, addresses: self.clone() }, sockets))
    }

    /// Who has an address: that one, or all addresses with its port.
    fn owner(&self, Place { transport, address }: Place) -> Option<Owner> {
        if address.port() == 0 {
            return None;
        }
        let overlap = |place: &Place| {
            let other = place.address;
            place.transport == transport
                && other.port() == address.port()
                && other.is_ipv4() == address.is_ipv4()
                && (other.ip() == address.ip() || other.ip().is_unspecified() || address.ip().is_unspecified())
        };
        self.0.lock().owners.iter().find(|(other, _)| overlap(other)).map(|(_, owner)| owner.clone())
    }

    /// Whether an instance may listen where another process does.
    pub(crate) fn share(&self, instance: &str, shares: bool) {
        let sharing = &mut self.0.lock().sharing;
        if shares {
            sharing.insert(instance.to_owned());
        } else {
            sharing.remove(instance);
        }
    }

    /// All addresses.
    pub(crate) fn all(&self) -> Vec<Listening> {
        let table = self.0.lock();
        let all = table.owners.iter().map(|(place, (instance, listener))| Listening {
            instance: Arc::clone(instance),
            listener: Arc::clone(listener),
            address: place.address,
            datagrams: place.transport == Transport::Udp,
        });
        all.collect()
    }
}

fn bind_all(
    Place { transport, mut address }: Place,
    backlog: i32,
    workers: usize,
    exclusive: bool,
) -> io::Result<(SocketAddr, Vec<BoundSocket>)> {
    // Without SO_REUSEPORT first: another process of the same user could have the address and would share it. Bound is
    // enough to tell; if this socket listened, whoever connected to it at that moment would be cut off.
    if exclusive && address.port() != 0 {
        bound(transport, address, false)?;
    }
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = bound(transport, address, true)?;
        let socket = match transport {
            Transport::Tcp => {
                socket.listen(backlog)?;
                let socket = TcpListener::from(socket);
                address = socket.local_addr()?;
                BoundSocket::Tcp(socket)
            }
            Transport::Udp => {
                let socket = UdpSocket::from(socket);
                address = socket.local_addr()?;
                BoundSocket::Udp(socket)
            }
        };
        sockets.push(socket);
    }
    Ok((address, sockets))
}

fn bound(transport: Transport, address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = match transport {
        Transport::Tcp => Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?,
        Transport::Udp => Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?,
    };
    // For datagrams it would let somebody else in.
    socket.set_reuse_address(transport == Transport::Tcp)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn tcp(address: &str) -> Place {
        Place { transport: Transport::Tcp, address: address.parse().unwrap() }
    }

    #[test]
    fn tcp_and_udp_have_nothing_to_do_with_each_other() {
        let (addresses, instance, name): (_, Arc<str>, Arc<str>) = (Addresses::default(), "gw".into(), "a".into());
        let (claim, _sockets) = addresses.bind(&instance, &name, tcp("127.0.0.1:0"), 16, 2).unwrap();
        let udp = Place { transport: Transport::Udp, ..claim.place };
        // Another process may have the port of the other kind.
        let Ok((claim, sockets)) = addresses.bind(&instance, &name, udp, 0, 2) else { return };
        assert_eq!((claim.place, sockets.len()), (udp, 2));
        assert!(addresses.bind(&instance, &name, udp, 0, 2).is_err());
    }

    #[test]
    fn an_address_belongs_to_one_listener() {
        let addresses = Addresses::default();
        let (instance, a, b): (Arc<str>, Arc<str>, Arc<str>) = ("gw".into(), "a".into(), "b".into());
        let (claim, sockets) = addresses.bind(&instance, &a, tcp("127.0.0.1:0"), 16, 2).unwrap();
        assert_eq!(sockets.len(), 2);
        let error = addresses.bind(&instance, &b, claim.place, 16, 2).err().unwrap().to_string();
        assert!(error.contains("listener a of gateway instance gw has it already"), "{error}");
        let place = claim.place;
        drop(claim);
        let again = addresses.bind(&instance, &b, place, 16, 2);
        assert!(again.is_ok(), "given up, though the old sockets are still open");
        drop(sockets);
    }

    #[test]
    fn who_takes_anothers_place_listens_beside_it() {
        let other = bound(Transport::Tcp, "127.0.0.1:0".parse().unwrap(), true).unwrap();
        other.listen(16).unwrap();
        let address = Place { transport: Transport::Tcp, address: other.local_addr().unwrap().as_socket().unwrap() };
        let (addresses, instance, name): (_, Arc<str>, Arc<str>) = (Addresses::default(), "gw".into(), "a".into());
        assert!(addresses.bind(&instance, &name, address, 16, 1).is_err());
        addresses.share("gw", true);
        assert!(addresses.bind(&instance, &name, address, 16, 1).is_ok());
        addresses.share("gw", false);
        addresses.0.lock().closing.clear();
        assert!(addresses.bind(&instance, &name, address, 16, 1).is_err());
    }

    #[test]
    fn a_port_in_use_is_said_so() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        let (instance, name): (Arc<str>, Arc<str>) = ("gw".into(), "http-80".into());
        let place = Place { transport: Transport::Tcp, address };
        let error = Addresses::default().bind(&instance, &name, place, 16, 1).err().unwrap().to_string();
        assert_eq!(
            error,
            format!(
                "listener http-80: cannot bind {address}: the address is in use by another process; stop that, then remove the listener and add it again"
            )
        );
        let foreign = tcp("192.0.2.1:9");
        let error = Addresses::default().bind(&instance, &name, foreign, 16, 1).err().unwrap().to_string();
        assert!(error.ends_with("this machine doesn't have the address"), "{error}");
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let text = explain(&denied, &"127.0.0.1:80".parse().unwrap());
        assert_eq!(text, "permission denied; ports below 1024 need root or --port-offset");
    }
}
