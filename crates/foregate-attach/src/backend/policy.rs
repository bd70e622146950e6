//! BackendTLSPolicies: TLS to Services (and Backends), by policy of their own namespace.

use std::sync::Arc;

use foregate_api::backend::UpstreamTls;
use foregate_api::envoy_gateway;
use foregate_api::gateway::conditions::reason;
use foregate_api::gateway::{BackendTLSPolicy, BackendTlsPolicySpec, LocalPolicyTargetReference, PolicyStatus};

use super::{BackendId, CaSource, TlsUser, Upstream, validation};
use crate::problem::Problem;
use crate::status::Pending;
use crate::world::{World, slim};
use crate::{Attach, Change, Key};

/// A BackendTLSPolicy.
#[derive(Debug)]
pub(crate) struct PolicyState {
    pub(super) object: Arc<BackendTLSPolicy>,
    /// What it trusts.
    named: Vec<CaSource>,
    pub(super) targets: Vec<Target>,
    pub(super) verdict: Option<Verdict>,
    pub(super) pending: Pending<PolicyStatus>,
}

/// What a policy is for: an object, or one port of it by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub upstream: Upstream,
    pub section: Option<String>,
}

/// What a policy comes to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    /// Or why it isn't accepted: requests to its targets fail then.
    pub tls: Result<UpstreamTls, Problem>,
    pub references: Result<(), Problem>,
}

impl Attach {
    pub(crate) fn take_policy(&mut self, change: Change<BackendTLSPolicy>) {
        let (key, object) = match change {
            Change::Set(object) => (Key::of(&object.metadata), slim(object)),
            Change::Gone(key) => {
                if let Some(old) = self.policies.remove(&key) {
                    self.index_policy(&key, &old, None);
                    self.mark_targets(&old.targets);
                }
                return;
            }
        };
        let named = validation::named(&object.spec.validation, &key.namespace);
        let mut state = PolicyState {
            targets: targets(&object.spec, &key.namespace),
            object,
            named,
            verdict: None,
            pending: Pending::default(),
        };
        match self.policies.remove(&key) {
            Some(old) => {
                self.index_policy(&key, &old, Some(&state));
                let same = old.targets == state.targets
                    && old.object.metadata.creation_timestamp == state.object.metadata.creation_timestamp;
                if !same {
                    self.mark_targets(&old.targets);
                    self.mark_targets(&state.targets);
                }
                (state.verdict, state.pending) = (old.verdict, old.pending);
            }
            None => {
                self.index_policy(&key, &blank(&state), Some(&state));
                self.mark_targets(&state.targets);
            }
        }
        self.policies.insert(key.clone(), state);
        self.dirty.policies.insert(key);
    }

    fn index_policy(&mut self, key: &Key, old: &PolicyState, new: Option<&PolicyState>) {
        let empty = (Vec::new(), Vec::new());
        let (named, targets) = new.map_or((&empty.0, &empty.1), |new| (&new.named, &new.targets));
        self.index.ca_users.replace(&TlsUser::Policy(key.clone()), &old.named, named);
        let upstreams = |targets: &[Target]| targets.iter().map(|t| t.upstream.clone()).collect::<Vec<_>>();
        self.index.target_policies.replace(key, &upstreams(&old.targets), &upstreams(targets));
    }

    /// Marks what is sent to targets, and the policies that are for them as well.
    fn mark_targets(&mut self, targets: &[Target]) {
        for target in targets {
            self.mark_upstream(&target.upstream);
            self.mark_policies(&target.upstream);
        }
    }

    /// Marks the statuses of the policies of an object: other policies, or the Gateways that send to it, changed.
    pub(crate) fn mark_policies(&mut self, upstream: &Upstream) {
        self.dirty.traffic_statuses.extend(self.index.target_traffic.of(upstream).cloned());
        if let Upstream::XBackend(key) = upstream {
            self.dirty.xbackend_statuses.insert(key.clone());
        }
        self.dirty.policy_statuses.extend(self.index.target_policies.of(upstream).cloned());
    }

    pub(crate) fn evaluate_policy(&mut self, key: &Key) {
        let Some(state) = self.policies.get_mut(key) else { return };
        let verdict = Some(judge(&state.object.spec, &state.targets, &self.world, &key.namespace));
        if state.verdict != verdict {
            state.verdict = verdict;
            for target in state.targets.clone() {
                self.mark_upstream(&target.upstream);
            }
        }
        self.dirty.policy_statuses.insert(key.clone());
    }

    /// TLS to a port of an object by policy. None: there is no policy. An error: requests must fail, and the policy's
    /// status says why.
    pub(super) fn policy_tls(&self, id: &BackendId, port_name: Option<&str>) -> Option<Result<&UpstreamTls, ()>> {
        if !id.usage.takes_tls() {
            return None;
        }
        let upstream = &id.upstream;
        let port_name = port_name.filter(|name| !name.is_empty());
        let policies = self.index.target_policies.of(upstream).filter_map(|key| Some((key, self.policies.get(key)?)));
        let applicable = policies.filter_map(|(key, state)| {
            let sections = state.targets.iter().filter(|t| t.upstream == *upstream).map(|t| t.section.as_deref());
            // One for the port goes before one for all ports.
            let closest = sections
                .filter_map(|section| match section {
                    None => Some(1),
                    Some(section) => (Some(section) == port_name).then_some(0),
                })
                .min()?;
            Some(((closest, state.seniority(key)), state))
        });
        let (_, first) = applicable.min_by(|(a, _), (b, _)| a.cmp(b))?;
        Some(first.verdict.as_ref()?.tls.as_ref().map_err(|_| ()))
    }

    /// Whether an older policy has all of a policy's targets.
    pub(super) fn is_superseded(&self, key: &Key, state: &PolicyState) -> Option<&Key> {
        let mut winner = None;
        for target in &state.targets {
            let others = self.index.target_policies.of(&target.upstream).filter(|other| *other != key);
            let mut older = others.filter(|other| {
                self.policies
                    .get(*other)
                    .is_some_and(|o| o.targets.contains(target) && o.seniority(other) < state.seniority(key))
            });
            winner = Some(older.next()?);
        }
        winner
    }
}

impl PolicyState {
    /// Age, then name. Smaller wins.
    pub(super) fn seniority<'a>(&self, key: &'a Key) -> (i64, &'a Key) {
        let created = self.object.metadata.creation_timestamp.as_ref();
        (created.map_or(i64::MAX, |time| time.0.as_second()), key)
    }
}

/// A policy of the same object that names nothing.
fn blank(state: &PolicyState) -> PolicyState {
    PolicyState {
        object: state.object.clone(),
        named: Vec::new(),
        targets: Vec::new(),
        verdict: None,
        pending: Pending::default(),
    }
}

/// What it is for; targets of other kinds are somebody else's.
fn targets(spec: &BackendTlsPolicySpec, namespace: &str) -> Vec<Target> {
    let target = |given: &LocalPolicyTargetReference| {
        let key = Key::new(namespace, given.name.as_str());
        let upstream = match (given.group.as_str(), given.kind.as_str()) {
            ("", "Service") => Upstream::Service(key),
            (envoy_gateway::GROUP, "Backend") => Upstream::Backend(key),
            _ => return None,
        };
        Some(Target { upstream, section: given.section_name.clone().filter(|name| !name.is_empty()) })
    };
    let mut targets: Vec<Target> = spec.target_refs.iter().filter_map(target).collect();
    targets.sort();
    targets.dedup();
    targets
}

fn judge(spec: &BackendTlsPolicySpec, targets: &[Target], world: &World, namespace: &str) -> Verdict {
    let (tls, references) = validation::read(&spec.validation, world, namespace, "spec.validation");
    Verdict { tls: fitting(spec, targets).and(tls), references }
}

fn fitting(spec: &BackendTlsPolicySpec, targets: &[Target]) -> Result<(), Problem> {
    let invalid = |message: String| Err(Problem::new(reason::INVALID, message));
    if let Some(option) = spec.options.keys().next() {
        return invalid(format!("spec.options: {option:?} isn't known to Foregate; remove it"));
    }
    let is_direct = |t: &&Target| matches!(t.upstream, Upstream::Backend(_)) && t.section.is_some();
    if targets.iter().find(is_direct).is_some() {
        return invalid("spec.targetRefs: a Backend has no sections; remove sectionName".to_owned());
    }
    Ok(())
}
