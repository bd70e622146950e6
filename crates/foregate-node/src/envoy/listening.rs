//! Where a process listens, as the kernel tells it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// State of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// A listening TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) address: SocketAddr,
    /// Its descriptor in the process.
    pub(crate) fd: i32,
}

/// The listening TCP sockets of a process; none if it is gone or belongs to somebody else.
pub(crate) fn of(pid: u32) -> Vec<Socket> {
    let all = listeners(pid);
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let sockets = entries.flatten().filter_map(|entry| {
        let fd = entry.file_name().to_str()?.parse().ok()?;
        let target = std::fs::read_link(entry.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
        all.get(&inode).map(|address| Socket { address: *address, fd })
    });
    sockets.collect()
}

/// How many sockets listen at an address in a process's network, whoever has them.
pub(crate) fn count(pid: u32, address: SocketAddr) -> usize {
    listeners(pid).values().filter(|other| **other == address).count()
}

/// Listening sockets of a process's network, by inode.
fn listeners(pid: u32) -> HashMap<u64, SocketAddr> {
    let files = ["tcp", "tcp6"].map(|name| std::fs::read_to_string(format!("/proc/{pid}/net/{name}")));
    files.iter().flatten().flat_map(|text| text.lines().skip(1).filter_map(parse)).collect()
}

/// `sl local_address rem_address st ... inode`.
fn parse(line: &str) -> Option<(u64, SocketAddr)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = fields.next()?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    let (ip, port) = local.split_once(':')?;
    Some((inode, SocketAddr::new(address(ip)?, u16::from_str_radix(port, 16).ok()?)))
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

    #[test]
    fn own_sockets_are_found() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let socket = std::net::TcpListener::bind(local).unwrap();
            let address = socket.local_addr().unwrap();
            let me = std::process::id();
            assert!(of(me).contains(&Socket { address, fd: socket.as_raw_fd() }), "{address}");
            assert_eq!(count(me, address), 1);
            drop(socket);
            // A child that another test is just starting has a copy until it becomes its own program.
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while count(me, address) != 0 {
                assert!(std::time::Instant::now() < deadline, "{address} still listens");
                std::thread::yield_now();
            }
        }
    }
}
