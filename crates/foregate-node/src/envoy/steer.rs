//! Which of two processes that listen on the same addresses gets the new connections, and datagrams.
//!
//! Sockets that share an address (SO_REUSEPORT) are a group, and the kernel deals connections out among them. Who closes
//! such a socket cuts off whoever waits in its queue, and whoever is in the middle of a TCP handshake with it. So before
//! the old engine closes, the group is given a program that sends everybody to a socket of the new one. A classic BPF
//! program that names a socket of the group by its place needs no privilege; the socket to attach it to is taken from
//! the Envoy that takes part in the exchange. Where that isn't allowed, the exchange works without, but for the few
//! connections that come in the moment between.
//!
//! A UDP socket is nobody's connection: each datagram asks anew. The same programs decide; among several sockets of one
//! process, by the sender's address, so that a session stays with one thread. Sessions begin anew with the engine that
//! takes over, as they do when it dies: answers on their way reach the old one until it closes.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::process::{PidfdGetfdFlags, pidfd_getfd};

use super::listening::{self, Bound};
use super::pid::Handle;

/// Who of the two is the Envoy at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It came last, and gets the connections.
    New,
    /// It was there first, and gets no more.
    Old,
}

/// Sends new connections on all addresses of an Envoy to whoever of the two is new.
pub(crate) fn steer(envoy: &Handle, role: Role) {
    each_address(envoy, |socket, own, all| {
        // Sockets are numbered in the order in which they came. When the old ones close, the number is either still that
        // of a new one, or nobody's: then the kernel deals out as ever.
        let first_new = match role {
            Role::New => all - own,
            Role::Old => own,
        };
        if first_new > 0 && first_new < all { attach(socket, first_new as u32) } else { Ok(()) }
    });
}

/// Keeps new connections on some addresses with the process that listens there, whoever joins it. To be called before
/// anybody does.
pub(crate) fn keep(incumbent: &Handle, addresses: &BTreeSet<Bound>) {
    each_of(
        incumbent,
        addresses,
        |socket, own, all| {
            if own == all { attach_first(socket, own as u32) } else { Ok(()) }
        },
    );
}

/// Lets the kernel deal out connections on an Envoy's addresses again.
pub(crate) fn release(envoy: &Handle) {
    each_address(envoy, |socket, _, _| detach(socket));
}

/// Lets the kernel deal out connections on a process's addresses again.
pub(crate) fn release_at(incumbent: &Handle, addresses: &BTreeSet<Bound>) {
    each_of(incumbent, addresses, |socket, _, _| detach(socket));
}

/// Does something with one socket of each address; it is told how many the Envoy has there, and how many there are.
fn each_address(envoy: &Handle, action: impl Fn(&OwnedFd, usize, usize) -> io::Result<()>) {
    let addresses = listening::of(envoy.pid).iter().map(|socket| socket.bound).collect();
    each_of(envoy, &addresses, action);
}

fn each_of(envoy: &Handle, addresses: &BTreeSet<Bound>, action: impl Fn(&OwnedFd, usize, usize) -> io::Result<()>) {
    let sockets = listening::of(envoy.pid);
    for &bound in addresses {
        let own: Vec<_> = sockets.iter().filter(|socket| socket.bound == bound).collect();
        let all = listening::count(envoy.pid, bound);
        let done = own.first().map_or(Ok(()), |socket| {
            // A second descriptor keeps the socket open: it goes at the end of this block.
            let socket = borrow(envoy, socket.fd, bound)?;
            action(&socket, own.len(), all.max(own.len()))
        });
        if let Err(error) = done {
            tracing::debug!(address = %bound, %error, "new connections can't be steered");
        }
    }
}

/// A descriptor of our own for a listening socket of another process.
fn borrow(envoy: &Handle, fd: i32, bound: Bound) -> io::Result<OwnedFd> {
    use rustix::net::{SocketType, sockopt};
    let socket = pidfd_getfd(envoy.fd(), fd, PidfdGetfdFlags::empty())?;
    // The number may have become another file's meanwhile.
    let is = match bound.datagrams {
        true => sockopt::socket_type(&socket)? == SocketType::DGRAM,
        false => sockopt::socket_acceptconn(&socket)?,
    };
    let at = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
    if is && at == bound.address { Ok(socket) } else { Err(io::Error::other("the socket has gone")) }
}

/// Attaches the program "the socket of this number".
fn attach(socket: &impl AsFd, number: u32) -> io::Result<()> {
    // RET, K.
    run(socket, &mut program([(0x06, number)]))
}

/// Attaches the program "any of the first so many sockets".
fn attach_first(socket: &impl AsFd, count: u32) -> io::Result<()> {
    const RANDOM: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM).cast_unsigned();
    if rustix::net::sockopt::socket_type(socket)? == rustix::net::SocketType::DGRAM {
        return attach_by_sender(socket, count);
    }
    // LD, W, ABS: a random number; ALU, MOD, K; RET, A.
    run(socket, &mut program([(0x20, RANDOM), (0x94, count), (0x16, 0)]))
}

/// Attaches the program "one of the first so many sockets, by the sender's address and port".
fn attach_by_sender(socket: &impl AsFd, count: u32) -> io::Result<()> {
    let is_v6 = SocketAddr::try_from(rustix::net::getsockname(socket)?)?.is_ipv6();
    // In the IP header, which no options make longer as a rule: the last word of the source, and after it the UDP port.
    let (source, port) = if is_v6 { (20, 40) } else { (12, 20) };
    let header = |offset: i32| (libc::SKF_NET_OFF + offset).cast_unsigned();
    // LD, W, ABS; TAX; LD, H, ABS; ALU, XOR, X; ALU, MUL, K; ALU, RSH, K; ALU, MOD, K; RET, A.
    let code = [
        (0x20, header(source)),
        (0x07, 0),
        (0x28, header(port)),
        (0xac, 0),
        (0x24, 0x9e37_79b1),
        (0x74, 16),
        (0x94, count),
        (0x16, 0),
    ];
    run(socket, &mut program(code))
}

fn program<const N: usize>(code: [(u16, u32); N]) -> [libc::sock_filter; N] {
    code.map(|(code, k)| libc::sock_filter { code, jt: 0, jf: 0, k })
}

fn run(socket: &impl AsFd, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    set(socket, libc::SO_ATTACH_REUSEPORT_CBPF, &program)
}

fn detach(socket: &impl AsFd) -> io::Result<()> {
    match set(socket, libc::SO_DETACH_REUSEPORT_BPF, &0_i32) {
        // None was attached.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        done => done,
    }
}

#[allow(unsafe_code, reason = "no safe crate has these socket options")]
fn set<T>(socket: &impl AsFd, option: i32, value: &T) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as `socket` is borrowed; the kernel reads `size_of::<T>()` bytes from
    // `value`, which is borrowed, too, and what it points to lives in the caller.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn receiver(address: SocketAddr) -> UdpSocket {
        use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket(family, SocketType::DGRAM, None).unwrap();
        sockopt::set_socket_reuseport(&socket, true).unwrap();
        bind(&socket, &address).unwrap();
        let socket: UdpSocket = socket.into();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    /// From whom a socket has datagrams.
    fn senders(receiver: &UdpSocket) -> Vec<u16> {
        std::iter::from_fn(|| Some(receiver.recv_from(&mut [0; 8]).ok()?.1.port())).collect()
    }

    #[tokio::test]
    async fn datagrams_of_a_sender_stay_with_one_socket_and_reach_no_newcomer() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let first = receiver(local.parse().unwrap());
            let address = first.local_addr().unwrap();
            let second = receiver(address);
            attach_first(&first, 2).unwrap();
            let newcomer = receiver(address);
            let clients: Vec<_> = (0..60).map(|_| UdpSocket::bind(local).unwrap()).collect();
            let send = || clients.iter().for_each(|client| assert_eq!(client.send_to(b"x", address).unwrap(), 1));
            send();
            let before = [&first, &second, &newcomer].map(senders);
            assert!(!before[0].is_empty() && !before[1].is_empty() && before[2].is_empty(), "{before:?}");
            send();
            assert_eq!([&first, &second, &newcomer].map(senders), before, "{local}");
            attach(&newcomer, 2).unwrap();
            send();
            assert_eq!([&first, &second, &newcomer].map(|it| senders(it).len()), [0, 0, 60]);
            drop((first, second));
            send();
            assert_eq!(senders(&newcomer).len(), 60);
        }
    }

    #[tokio::test]
    async fn a_process_s_datagram_sockets_are_borrowed() {
        let socket = receiver("127.0.0.1:0".parse().unwrap());
        let bound = Bound { address: socket.local_addr().unwrap(), datagrams: true };
        let me = Handle::open(std::process::id(), None).unwrap();
        assert!(borrow(&me, socket.as_raw_fd(), bound).is_ok());
        assert!(borrow(&me, socket.as_raw_fd(), Bound { datagrams: false, ..bound }).is_err());
        keep(&me, &BTreeSet::from([bound]));
        let newcomer = receiver(bound.address);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        (0..20).for_each(|_| assert_eq!(client.send_to(b"x", bound.address).unwrap(), 1));
        assert_eq!([senders(&socket).len(), senders(&newcomer).len()], [20, 0]);
    }

    fn listener(address: SocketAddr) -> TcpListener {
        use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_reuseport(&socket, true).unwrap();
        bind(&socket, &address).unwrap();
        listen(&socket, 128).unwrap();
        socket.into()
    }

    fn waiting(listener: &TcpListener) -> usize {
        listener.set_nonblocking(true).unwrap();
        std::iter::from_fn(|| listener.accept().ok()).count()
    }

    #[tokio::test]
    async fn connections_go_to_the_new_sockets_until_the_old_ones_are_gone() {
        let old = [listener("127.0.0.1:0".parse().unwrap())];
        let address = old[0].local_addr().unwrap();
        let old = [&old[0], &listener(address)];
        let new = [listener(address), listener(address)];
        let connect = || (0..40).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>();
        attach(&new[1], 2).unwrap();
        let _open = connect();
        assert_eq!(old.map(waiting), [0, 0]);
        assert_eq!([waiting(&new[0]), waiting(&new[1])], [40, 0]);
        detach(&new[0]).unwrap();
        detach(&new[0]).unwrap();
        let _more = connect();
        assert!(old.iter().map(|listener| waiting(listener)).sum::<usize>() > 0, "40 of 40 on the others' side");
    }

    #[tokio::test]
    async fn newcomers_get_nothing_while_connections_are_kept() {
        let first = listener("127.0.0.1:0".parse().unwrap());
        let address = first.local_addr().unwrap();
        let second = listener(address);
        attach_first(&first, 2).unwrap();
        let newcomer = listener(address);
        let connect = || (0..60).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>();
        let _open = connect();
        let got = [&first, &second, &newcomer].map(waiting);
        assert!(got[0] > 0 && got[1] > 0 && got[2] == 0, "{got:?}");
        detach(&first).unwrap();
        let _more = connect();
        assert!(waiting(&newcomer) > 0);
    }

    #[tokio::test]
    async fn a_number_that_is_nobodys_means_as_ever() {
        let first = listener("127.0.0.1:0".parse().unwrap());
        let address = first.local_addr().unwrap();
        let second = listener(address);
        attach(&second, 1).unwrap();
        drop(first);
        let _open: Vec<_> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
        assert_eq!(waiting(&second), 10);
    }

    #[tokio::test]
    async fn sockets_of_a_process_are_found_and_borrowed() {
        let socket = listener("127.0.0.1:0".parse().unwrap());
        let address = socket.local_addr().unwrap();
        let me = Handle::open(std::process::id(), None).unwrap();
        let bound = Bound { address, datagrams: false };
        let borrowed = borrow(&me, socket.as_raw_fd(), bound).unwrap();
        drop(socket);
        assert!(TcpStream::connect(address).is_ok(), "the borrowed one keeps it open");
        let other = Bound { address: "127.0.0.1:9".parse().unwrap(), datagrams: false };
        assert!(borrow(&me, borrowed.as_raw_fd(), other).is_err());
    }
}
