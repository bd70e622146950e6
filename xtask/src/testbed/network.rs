//! The test bed's network namespace.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{TaskError, command, run};

/// Its name, as `ip netns` shows it.
pub const NAMESPACE: &str = "foregate-testbed";
/// The node's address: the API server's, too.
pub const NODE_ADDRESS: &str = "192.168.77.1";
/// Addresses that gateways may listen on: all of them are the namespace's own.
pub const GATEWAYS: &str = "192.168.78.0/24";
/// One of them that a Gateway may ask for.
pub const USABLE_ADDRESS: &str = "192.168.78.250";
/// One that isn't among them, from a range for documentation.
pub const UNUSABLE_ADDRESS: &str = "192.0.2.1";
/// Pods' addresses.
pub const PODS: &str = "10.244.0.0/16";
/// Services' addresses; nothing answers there but the API server.
pub const SERVICES: &str = "10.96.0.0/16";
/// The API server's address as pods know it.
pub const API_SERVICE: &str = "10.96.0.1";
/// The API server's port.
pub const API_PORT: &str = "6443";

/// What the namespace is reached by.
pub fn path() -> PathBuf {
    Path::new("/run/netns").join(NAMESPACE)
}

/// A command that runs in it. `ip netns exec` would hide the cgroups.
pub fn inside(program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", path().display())).arg(program);
    command
}

/// Makes it.
///
/// # Errors
/// When `ip` or `iptables` fails.
pub fn make() -> Result<(), TaskError> {
    run(&mut command("ip", &["netns", "add", NAMESPACE]))?;
    let node = format!("{NODE_ADDRESS}/32");
    for arguments in [
        ["link", "set", "lo", "up"].as_slice(),
        // The kernel need not have dummy devices.
        &["address", "add", &node, "dev", "lo"],
        // Bound to and dialled as any address of this host, each of them.
        &["route", "add", "local", GATEWAYS, "dev", "lo"],
        &["route", "add", "local", API_SERVICE, "dev", "lo"],
    ] {
        run(command("ip", &["-n", NAMESPACE]).args(arguments))?;
    }
    // Clients that make a connection for each request would run out of ports after a minute.
    run(inside("sh").args(["-c", "echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse"]))?;
    // The one Service that pods need, since there is no kube-proxy.
    let to = format!("{NODE_ADDRESS}:{API_PORT}");
    for chain in ["PREROUTING", "OUTPUT"] {
        let rule = ["-p", "tcp", "-d", API_SERVICE, "--dport", "443", "-j", "DNAT", "--to-destination", &to];
        run(inside("iptables").args(["-w", "-t", "nat", "-A", chain]).args(rule))?;
    }
    Ok(())
}

/// Removes it; its devices go with the last process in it.
///
/// # Errors
/// When `ip` fails.
pub fn remove() -> Result<(), TaskError> {
    if path().exists() { run(&mut command("ip", &["netns", "del", NAMESPACE])) } else { Ok(()) }
}
