//! Where a process listens, as the kernel tells it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// State of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";
/// State of a socket in `/proc/net/udp` that isn't connected (TCP_CLOSE).
const UNCONNECTED: &str = "07";

/// An address that clients reach, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bound {
    /// Address and port.
    pub address: SocketAddr,
    /// UDP; otherwise TCP. A port may have both.
    pub datagrams: bool,
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.address, if self.datagrams { " (UDP)" } else { "" })
    }
}

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) bound: Bound,
    /// Its descriptor in the process.
    pub(crate) fd: i32,
}

/// The listening sockets of a process; none if it is gone or belongs to somebody else.
pub(crate) fn of(pid: u32) -> Vec<Socket> {
    let all = listeners(pid);
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let sockets = entries.flatten().filter_map(|entry| {
        let fd = entry.file_name().to_str()?.parse().ok()?;
        let target = std::fs::read_link(entry.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
        all.get(&inode).map(|bound| Socket { bound: *bound, fd })
    });
    sockets.collect()
}

/// How many sockets listen at an address in a process's network, whoever has them.
pub(crate) fn count(pid: u32, bound: Bound) -> usize {
    listeners(pid).values().filter(|other| **other == bound).count()
}

/// Listening sockets of a process's network, by inode.
fn listeners(pid: u32) -> HashMap<u64, Bound> {
    let mut all = HashMap::new();
    for (name, datagrams) in [("tcp", false), ("tcp6", false), ("udp", true), ("udp6", true)] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
        all.extend(text.lines().skip(1).filter_map(|line| parse(line, datagrams)));
    }
    all
}

/// `sl local_address rem_address st ... inode`.
fn parse(line: &str, datagrams: bool) -> Option<(u64, Bound)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = fields.next()?;
    if fields.nth(1)? != if datagrams { UNCONNECTED } else { LISTEN } {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    let (ip, port) = local.split_once(':')?;
    let address = SocketAddr::new(address(ip)?, u16::from_str_radix(port, 16).ok()?);
    // A socket for datagrams to somebody else looks the same but for its address: a gateway has addresses of its own.
    (!datagrams || !address.ip().is_unspecified()).then_some((inode, Bound { address, datagrams }))
}

/// An address as the kernel prints it: words of 32 bits in the machine's own byte order.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |index: usize| Some(u32::from_str_radix(hex.get(index * 8..index * 8 + 8)?, 16).ok()?.to_ne_bytes());
    if hex.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?).into());
    }
    let words = [word(0)?, word(1)?, word(2)?, word(3)?];
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::os::fd::AsRawFd;

    use super::*;

    fn gone(bound: Bound) {
        // A child that another test is just starting has a copy until it becomes its own program.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while count(std::process::id(), bound) != 0 {
            assert!(std::time::Instant::now() < deadline, "{bound} is still there");
            std::thread::yield_now();
        }
    }

    #[test]
    fn own_sockets_are_found() {
        let me = std::process::id();
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let socket = std::net::TcpListener::bind(local).unwrap();
            let bound = Bound { address: socket.local_addr().unwrap(), datagrams: false };
            assert!(of(me).contains(&Socket { bound, fd: socket.as_raw_fd() }), "{bound}");
            assert_eq!(count(me, bound), 1);
            drop(socket);
            gone(bound);
            let socket = std::net::UdpSocket::bind(local).unwrap();
            let bound = Bound { address: socket.local_addr().unwrap(), datagrams: true };
            assert!(of(me).contains(&Socket { bound, fd: socket.as_raw_fd() }), "{bound}");
            assert_eq!(count(me, bound), 1);
            socket.connect("127.0.0.1:9").or_else(|_| socket.connect("[::1]:9")).unwrap();
            assert_eq!(count(me, bound), 0, "it is for one peer only");
        }
        let any = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        assert!(of(me).iter().all(|socket| socket.fd != any.as_raw_fd()), "it may be anybody's");
    }
}
