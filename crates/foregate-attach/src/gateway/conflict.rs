//! Listeners of one Gateway that can't be told apart.

use std::collections::HashMap;

use foregate_api::claim::ListenerProtocol;
use foregate_api::gateway::Listener;
use foregate_api::gateway::conditions::reason;

use super::ListenerVerdict;
use crate::problem::Problem;

/// Marks the conflicts. Of listeners in conflict none wins; those of a protocol that isn't supported take no part.
pub(crate) fn mark(listeners: &[Listener], verdicts: &mut [ListenerVerdict]) {
    let mut ports: HashMap<u16, Vec<usize>> = HashMap::new();
    for (i, verdict) in verdicts.iter().enumerate() {
        if verdict.protocol.is_some() {
            ports.entry(verdict.port).or_default().push(i);
        }
    }
    for (port, members) in ports {
        let speaks = |wanted| members.iter().any(|&i| verdicts.get(i).is_some_and(|v| v.protocol == Some(wanted)));
        let mixed = speaks(ListenerProtocol::Http) && speaks(ListenerProtocol::Https);
        let conflicts: Vec<(usize, Problem)> = members
            .iter()
            .filter_map(|&i| {
                if mixed {
                    return Some((i, protocol_conflict(port)));
                }
                let hostname = hostname(listeners.get(i)?);
                let shared =
                    members.iter().any(|&j| j != i && listeners.get(j).map(self::hostname) == Some(hostname.clone()));
                shared.then(|| (i, hostname_conflict(port, &hostname)))
            })
            .collect();
        for (i, problem) in conflicts {
            if let Some(verdict) = verdicts.get_mut(i) {
                verdict.conflict = Some(problem);
            }
        }
    }
}

fn hostname(listener: &Listener) -> String {
    listener.hostname.as_deref().unwrap_or_default().to_ascii_lowercase()
}

fn protocol_conflict(port: u16) -> Problem {
    let message = format!("port {port} has listeners of protocol HTTP and of HTTPS; give them ports of their own");
    Problem::new(reason::PROTOCOL_CONFLICT, message)
}

fn hostname_conflict(port: u16, hostname: &str) -> Problem {
    let which = if hostname.is_empty() { "no hostname".to_owned() } else { format!("hostname {hostname:?}") };
    Problem::new(reason::HOSTNAME_CONFLICT, format!("port {port} has several listeners with {which}; keep one"))
}
