//! The condition `Ready` of GatewayNodes: whether a node's agent is there.
//!
//! Each agent keeps a stream open that says so ([`Directory::present`]). One that is lost for a moment changes nothing,
//! nor does a restart of the platform that agents come back from. Instances aren't moved by it.

use std::collections::BTreeMap;
use std::time::Duration;

use foregate_api::{GatewayNode, condition};
use foregate_xds::Directory;
use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::placement::{Ended, MANAGER, RETRY, events};

/// How long agents may take to come back after a start of the platform.
const SETTLE: Duration = Duration::from_secs(10);
/// How long an agent may be away unnoticed.
const GRACE: Duration = Duration::from_secs(2);

/// What is known of the nodes.
#[derive(Debug)]
struct Nodes {
    known: BTreeMap<String, Node>,
    /// No agent is missed before.
    settled: Instant,
}

#[derive(Debug)]
struct Node {
    generation: Option<i64>,
    conditions: Vec<Condition>,
    there: bool,
    /// When it counts as away unless it is there.
    deadline: Instant,
}

/// Keeps the conditions true until the shutdown.
///
/// # Errors
/// When the watch ends by itself.
pub async fn keep(client: Client, directory: Directory, shutdown: CancellationToken) -> Result<(), Ended> {
    let api = Api::<GatewayNode>::all(client);
    let mut objects = std::pin::pin!(events(api.clone()));
    let mut present = directory.present();
    let mut nodes = Nodes { known: BTreeMap::new(), settled: Instant::now() + SETTLE };
    let mut retry = None;
    loop {
        let wake = nodes.next_deadline(Instant::now()).into_iter().chain(retry).min();
        tokio::select! {
            event = objects.next() => nodes.object(event.ok_or(Ended)?, Instant::now()),
            changed = present.changed() => changed.map_err(|_| Ended)?,
            () = sleep_until(wake) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        let now = Instant::now();
        let agents = present.borrow_and_update().clone();
        nodes.see(|node| agents.contains_key(node), now);
        retry = None;
        for (name, conditions) in nodes.to_write(now) {
            let patch = Patch::Merge(json!({ "status": { "conditions": conditions } }));
            let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
            match api.patch_status(&name, &params, &patch).await {
                Ok(_) => nodes.written(&name, conditions),
                // It was deleted: the watch says so, too.
                Err(kube::Error::Api(answer)) if answer.code == 404 => {}
                Err(error) => {
                    tracing::warn!(node = name, %error, "a node's condition can't be written; trying again");
                    retry = Some(Instant::now() + RETRY);
                }
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Nodes {
    fn object(&mut self, event: watcher::Event<GatewayNode>, now: Instant) {
        match event {
            watcher::Event::Init | watcher::Event::InitDone => {}
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                let conditions = object.status.clone().unwrap_or_default().conditions;
                let (generation, deadline) = (object.metadata.generation, self.settled.max(now + GRACE));
                let new = || Node { generation, conditions: Vec::new(), there: false, deadline };
                let node = self.known.entry(object.name_any()).or_insert_with(new);
                (node.generation, node.conditions) = (generation, conditions);
            }
            watcher::Event::Delete(object) => drop(self.known.remove(&object.name_any())),
        }
    }

    /// Whose agent is there now.
    fn see(&mut self, is_there: impl Fn(&str) -> bool, now: Instant) {
        for (name, node) in &mut self.known {
            let there = is_there(name);
            if node.there && !there {
                node.deadline = self.settled.max(now + GRACE);
            }
            node.there = there;
        }
    }

    /// When the next one that isn't there counts as away.
    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let missing = self.known.values().filter(|node| !node.there && node.deadline > now);
        missing.map(|node| node.deadline).min()
    }

    /// Nodes with the conditions that they should have and haven't.
    fn to_write(&self, now: Instant) -> Vec<(String, Vec<Condition>)> {
        let sure = self.known.iter().filter(|(_, node)| node.there || node.deadline <= now);
        let wanted = sure.map(|(name, node)| (name, node, ready(node)));
        let differs = wanted.filter(|(_, node, wanted)| node.conditions != *wanted);
        differs.map(|(name, _, wanted)| (name.clone(), wanted)).collect()
    }

    fn written(&mut self, name: &str, conditions: Vec<Condition>) {
        if let Some(node) = self.known.get_mut(name) {
            node.conditions = conditions;
        }
    }
}

/// Its conditions, with a true `Ready`.
fn ready(node: &Node) -> Vec<Condition> {
    let mut conditions = node.conditions.clone();
    let (status, reason, message) = match node.there {
        true => ("True", "AgentRuns", "its agent runs"),
        false => ("False", "AgentAway", "its agent isn't connected: engines that still run there follow no change"),
    };
    let before = condition::find(&conditions, "Ready");
    let since = before.filter(|it| it.status == status).map(|it| it.last_transition_time.clone());
    let new = Condition {
        type_: "Ready".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: node.generation,
        last_transition_time: since.unwrap_or_else(|| Time(jiff::Timestamp::now())),
    };
    match conditions.iter_mut().find(|it| it.type_ == "Ready") {
        Some(known) => *known = new,
        None => conditions.push(new),
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(nodes: &mut Nodes, now: Instant) -> Vec<(String, String)> {
        let wanted = nodes.to_write(now);
        for (name, conditions) in wanted.clone() {
            nodes.written(&name, conditions);
        }
        let each = |(name, conditions): (String, Vec<Condition>)| {
            conditions.into_iter().map(move |it| (name.clone(), it.reason))
        };
        wanted.into_iter().flat_map(each).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_away_after_a_while_and_ready_at_once() {
        let start = Instant::now();
        let mut nodes = Nodes { known: BTreeMap::new(), settled: start + SETTLE };
        for name in ["a", "b"] {
            nodes.object(watcher::Event::Apply(GatewayNode::new(name, Default::default())), start);
        }
        nodes.see(|name| name == "a", start);
        let said = |name: &str, reason: &str| vec![(name.to_owned(), reason.to_owned())];
        assert_eq!(says(&mut nodes, start), said("a", "AgentRuns"));
        assert_eq!(nodes.next_deadline(start), Some(start + SETTLE), "the other may come back");
        let settled = start + SETTLE;
        assert_eq!(says(&mut nodes, settled), said("b", "AgentAway"));

        nodes.see(|_| false, settled);
        assert_eq!(says(&mut nodes, settled), [], "lost for a moment");
        nodes.see(|name| name == "a", settled + GRACE / 2);
        assert_eq!(says(&mut nodes, settled + GRACE), [], "it is back");
        nodes.see(|_| false, settled + GRACE);
        assert_eq!(nodes.next_deadline(settled + GRACE), Some(settled + 2 * GRACE));
        assert_eq!(says(&mut nodes, settled + 2 * GRACE), said("a", "AgentAway"));
        nodes.see(|_| true, settled + 3 * GRACE);
        assert_eq!(says(&mut nodes, settled + 3 * GRACE).len(), 2);
        assert_eq!(nodes.next_deadline(settled + 3 * GRACE), None);
    }
}
