//! XBackendTrafficPolicies of the Gateway API's experimental channel: how requests to Services and backends are retried,
//! and kept with an endpoint.

use std::sync::Arc;

use foregate_api::backend::{RetryBudget, SessionPersistence, UpstreamPolicy};
use foregate_api::condition::condition;
use foregate_api::gateway::PolicyStatus;
use foregate_api::gateway::conditions::{ACCEPTED, reason};
use foregate_api::gateway::experimental::{
    RequestRate, RetryConstraint, XBackendTrafficPolicy, XBackendTrafficPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{BackendId, Upstream, session};
use crate::output::{StatusChange, StatusKind};
use crate::problem::Problem;
use crate::status::Pending;
use crate::world::{slim, uid};
use crate::{Attach, Change, Key, duration};

/// What the standard takes where the user says nothing.
const PERCENT: u32 = 20;
const RATE: (u32, u64) = (10, 1_000);

/// An XBackendTrafficPolicy.
#[derive(Debug)]
pub(crate) struct TrafficState {
    object: Arc<XBackendTrafficPolicy>,
    targets: Vec<Upstream>,
    verdict: Result<Traffic, Problem>,
    pending: Pending<PolicyStatus>,
}

/// A policy in effective values.
#[derive(Clone, Debug, PartialEq)]
struct Traffic {
    retry_budget: Option<RetryBudget>,
    session: Option<SessionPersistence>,
}

impl Attach {
    pub(crate) fn take_traffic(&mut self, change: Change<XBackendTrafficPolicy>) {
        let (key, new) = match change {
            Change::Set(object) => (Key::of(&object.metadata), Some(slim(object))),
            Change::Gone(key) => (key, None),
        };
        let old = self.traffic.remove(&key);
        let before = old.as_ref().map(|old| old.targets.clone()).unwrap_or_default();
        let new = new.map(|object| {
            let verdict = judge(&object.spec, &uid(&object.metadata));
            let pending = old.map(|old| old.pending).unwrap_or_default();
            TrafficState { targets: targets(&object.spec, &key.namespace), object, verdict, pending }
        });
        let now = new.as_ref().map(|new| new.targets.clone()).unwrap_or_default();
        self.index.target_traffic.replace(&key, &before, &now);
        if let Some(new) = new {
            self.traffic.insert(key.clone(), new);
            self.dirty.traffic_statuses.insert(key);
        }
        for upstream in before.iter().chain(&now) {
            self.dirty.backends.extend(self.index.upstream_backends.of(upstream).cloned());
            self.dirty.traffic_statuses.extend(self.index.target_traffic.of(upstream).cloned());
        }
    }

    /// The policy of a backend: its own values go first.
    pub(super) fn with_traffic(&self, id: &BackendId, own: UpstreamPolicy) -> UpstreamPolicy {
        let applicable =
            self.index.target_traffic.of(&id.upstream).filter_map(|key| Some((key, self.traffic.get(key)?)));
        let oldest = applicable.min_by_key(|(key, state)| state.seniority(key));
        let Some(Ok(traffic)) = oldest.filter(|_| id.usage.is_http()).map(|(_, state)| &state.verdict) else {
            return own;
        };
        UpstreamPolicy {
            retry_budget: own.retry_budget.or_else(|| traffic.retry_budget.clone()),
            session_persistence: own.session_persistence.or_else(|| traffic.session.clone()),
            ..own
        }
    }

    /// An older policy for all targets of a policy.
    fn older_traffic(&self, key: &Key, state: &TrafficState) -> Option<&Key> {
        let mut winner = None;
        for target in &state.targets {
            let mut others = self.index.target_traffic.of(target).filter(|other| *other != key);
            winner =
                Some(others.find(|other| {
                    self.traffic.get(*other).is_some_and(|o| o.seniority(other) < state.seniority(key))
                })?);
        }
        winner
    }

    pub(crate) fn traffic_status(&mut self, key: &Key, now: &Time) -> Option<StatusChange> {
        let mut pending = std::mem::take(&mut self.traffic.get_mut(key)?.pending);
        let state = self.traffic.get(key)?;
        let metadata = &state.object.metadata;
        let generation = metadata.generation.unwrap_or_default();
        let accepted = match (&state.verdict, self.older_traffic(key, state)) {
            (_, Some(older)) => {
                let message = format!("XBackendTrafficPolicy {older} is older and has the same targets");
                condition(ACCEPTED, false, reason::CONFLICTED, message, generation, now)
            }
            (Err(problem), None) => condition(ACCEPTED, false, problem.reason, &problem.message, generation, now),
            (Ok(_), None) => condition(ACCEPTED, true, ACCEPTED, "", generation, now),
        };
        let kind = StatusKind::XBackendTrafficPolicy;
        let change = pending.update(kind, key, metadata, state.object.status.as_ref(), |base| {
            self.sender_ancestors(&key.namespace, state.targets.iter(), std::slice::from_ref(&accepted), base)
        });
        self.traffic.get_mut(key)?.pending = pending;
        change
    }
}

impl TrafficState {
    /// Age, then name. Smaller wins.
    fn seniority<'a>(&self, key: &'a Key) -> (i64, &'a Key) {
        let created = self.object.metadata.creation_timestamp.as_ref();
        (created.map_or(i64::MAX, |time| time.0.as_second()), key)
    }
}

/// What it is for; targets of other kinds are somebody else's.
fn targets(spec: &XBackendTrafficPolicySpec, namespace: &str) -> Vec<Upstream> {
    let upstream = |group: &str, kind: &str, name: &str| Upstream::of(group, kind, Key::new(namespace, name));
    let mut targets: Vec<Upstream> =
        spec.target_refs.iter().filter_map(|t| upstream(&t.group, &t.kind, &t.name)).collect();
    targets.sort();
    targets.dedup();
    targets
}

fn judge(spec: &XBackendTrafficPolicySpec, uid: &str) -> Result<Traffic, Problem> {
    let unsupported = |why: String| Problem::new(reason::UNSUPPORTED_VALUE, why);
    let session = spec.session_persistence.as_ref();
    Ok(Traffic {
        retry_budget: spec.retry_constraint.as_ref().map(budget).transpose().map_err(unsupported)?,
        session: session.map(|s| session::parse(s, uid, "spec.sessionPersistence")).transpose().map_err(unsupported)?,
    })
}

/// Engines count requests that are active, not those of an interval: the least rate stands for as many at once as there
/// are in a second.
fn budget(given: &RetryConstraint) -> Result<RetryBudget, String> {
    let path = "spec.retryConstraint";
    let interval = |text: Option<&str>, field: &str| match text.map(|text| (text, duration::millis(text))) {
        Some((text, None)) => Err(format!("{path}.{field}: {text:?} isn't a duration; write it like 10s")),
        Some((_, millis)) => Ok(millis),
        None => Ok(None),
    };
    let budget = given.budget.clone().unwrap_or_default();
    interval(budget.interval.as_deref(), "budget.interval")?;
    let percent = budget.percent.unwrap_or(PERCENT);
    if percent > 100 {
        return Err(format!("{path}.budget.percent: {percent} isn't a share from 0 to 100"));
    }
    let RequestRate { count, interval: per } = given.min_retry_rate.clone().unwrap_or_default();
    let per = interval(per.as_deref(), "minRetryRate.interval")?.filter(|&millis| millis > 0).unwrap_or(RATE.1);
    let rate = (u64::from(count.unwrap_or(RATE.0)) * 1_000).div_ceil(per);
    Ok(RetryBudget { percent, min_concurrent: u32::try_from(rate).unwrap_or(u32::MAX) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    #[test]
    fn budgets() {
        for (given, expected) in [
            (json!({}), Ok((20, 10))),
            (json!({ "budget": { "percent": 0, "interval": "1m" } }), Ok((0, 10))),
            (json!({ "minRetryRate": { "count": 100, "interval": "10s" } }), Ok((20, 10))),
            (json!({ "minRetryRate": { "count": 1, "interval": "1m" } }), Ok((20, 1))),
            (json!({ "minRetryRate": { "count": 3, "interval": "500ms" } }), Ok((20, 6))),
            (json!({ "budget": { "percent": 101 } }), Err("spec.retryConstraint.budget.percent")),
            (json!({ "budget": { "interval": "soon" } }), Err("spec.retryConstraint.budget.interval")),
            (json!({ "minRetryRate": { "interval": "1" } }), Err("spec.retryConstraint.minRetryRate.interval")),
        ] {
            let parsed = budget(&serde_json::from_value(given.clone()).unwrap());
            let shown = parsed.as_ref().map(|b| (b.percent, b.min_concurrent));
            assert_eq!(shown.map_err(|why| why.split(':').next().unwrap_or_default()), expected, "{given}");
        }
    }
}
