//! A second host for a gateway's second instance: a network namespace beside the test bed's, with a cable between them.
//!
//! The gateway's address is local in both, as behind routers that know several ways to one address. Whoever dials it
//! reaches the instance of the namespace that it dials in.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::sync::oneshot;

use crate::bed::POOL;

const NAMESPACE: &str = "foregate-bench";
const NEAR: &str = "192.168.79.1";
const FAR: &str = "192.168.79.2";
/// How long a connection may take to be made.
const PATIENCE: Duration = Duration::from_secs(5);

/// The second host; gone with this value.
pub struct Far {
    dials: mpsc::Sender<Dial>,
}

type Dial = (SocketAddr, oneshot::Sender<io::Result<TcpStream>>);

impl Far {
    /// Makes it, in the place of what an earlier run has left.
    pub fn make() -> Self {
        remove();
        ip(&["netns", "add", NAMESPACE]);
        ip(&["link", "add", "name", "fg-near", "type", "veth", "peer", "name", "fg-far", "netns", NAMESPACE]);
        ip(&["address", "add", &format!("{NEAR}/30"), "dev", "fg-near"]);
        ip(&["link", "set", "fg-near", "up"]);
        let (far, default) = (format!("{FAR}/30"), ["route", "add", "default", "via", NEAR]);
        for arguments in [
            ["link", "set", "lo", "up"].as_slice(),
            &["address", "add", &far, "dev", "fg-far"],
            &["link", "set", "fg-far", "up"],
            &default,
            &["route", "add", "local", POOL, "dev", "lo"],
        ] {
            ip(&[["-n", NAMESPACE].as_slice(), arguments].concat());
        }
        // To the pods.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        Self { dials: serve_dials() }
    }

    /// Does something on a thread that is on that host, such as starting a process there.
    pub fn run<T: Send>(&self, task: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let there = scope.spawn(|| {
                enter();
                task()
            });
            there.join().unwrap()
        })
    }

    /// Connects from there.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<tokio::net::TcpStream> {
        let (sender, receiver) = oneshot::channel();
        self.dials.send((address, sender)).unwrap();
        let stream = receiver.await.unwrap()?;
        stream.set_nonblocking(true)?;
        tokio::net::TcpStream::from_std(stream)
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        remove();
    }
}

/// The cable first: it would go with the namespace, but that goes only when the last process in it has.
fn remove() {
    let _ = try_ip(&["link", "del", "fg-near"]);
    let _ = try_ip(&["netns", "del", NAMESPACE]);
}

/// Moves this thread there, for good.
fn enter() {
    let namespace = File::open(format!("/run/netns/{NAMESPACE}")).unwrap();
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// A thread that makes connections there: a socket stays where it was made, whoever uses it.
fn serve_dials() -> mpsc::Sender<Dial> {
    let (sender, receiver) = mpsc::channel::<Dial>();
    std::thread::spawn(move || {
        enter();
        for (address, answer) in receiver {
            let _ = answer.send(TcpStream::connect_timeout(&address, PATIENCE));
        }
    });
    sender
}

fn try_ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).stderr(std::process::Stdio::null()).status().unwrap().success()
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().unwrap();
    assert!(status.success(), "ip {}", arguments.join(" "));
}
