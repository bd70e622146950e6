//! Tries, until one is good enough.

use std::rc::Rc;
use std::time::Duration;

use http::Response;

use super::attempt::{self, Failure, Try};
use super::body::Arriving;
use super::exchange::{Exchange, Flag};
use super::forward::{Job, Outgoing};
use super::head;
use super::local::LocalReply;
use super::pool::Lease;
use super::trace::Heard;
use super::upstream::Upstream;
use crate::config::retry::RetryPolicy;

/// Tries until a response is good enough, or there are no tries left.
pub(super) async fn tries(
    job: &Job<'_>,
    outgoing: &mut Outgoing<'_>,
    exchange: &mut Exchange,
) -> Result<(Response<Arriving>, Lease), LocalReply> {
    let policy = job.retry_policy();
    let Outgoing { prepared, payload, upstream, speak, affinity, kept, .. } = outgoing;
    let hash = affinity.hash;
    let upstream: &Rc<Upstream> = upstream;
    let mut left = policy.map_or(0, |policy| policy.retries);
    let resends = policy.is_some_and(RetryPolicy::resends);
    let mut avoid = None;
    let mut attempt: u32 = 1;
    loop {
        if job.host.attempt_count {
            prepared.headers_mut().insert(head::X_ENVOY_ATTEMPT_COUNT.clone(), attempt.into());
        }
        let wanted = kept.as_ref().filter(|_| attempt == 1).and_then(|kept| kept.address());
        let terms = Try {
            speak: *speak,
            scheme: job.options.scheme,
            hash,
            wanted,
            keep: left > 0 && resends,
            policy,
            avoid: avoid.as_ref(),
        };
        if let Some(trace) = exchange.trace.as_mut().filter(|trace| trace.has_tries()) {
            trace.begin_try(prepared.headers_mut());
        }
        let result = attempt::attempt(upstream, prepared, payload, terms, exchange).await;
        if let Some(trace) = &mut exchange.trace {
            trace.heard(heard(&result));
        }
        let again = policy.is_some_and(|policy| is_retriable(policy, &result)) && payload.can_restart();
        let limit = upstream.cluster().config.limits.retries;
        let within = limit.may_grow(upstream.retrying.get(), upstream.active.get() + upstream.pending.get());
        if again && left > 0 && within {
            left -= 1;
            // A key stays with its endpoint, unless the policy says otherwise.
            let elsewhere = hash.is_none() || policy.is_some_and(|policy| policy.not_again);
            if let Some(mut trace) = exchange.trace.take() {
                trace.end_try(exchange);
                exchange.trace = Some(trace);
            }
            avoid = exchange.upstream.clone().filter(|_| elsewhere);
            drop(result);
            let _retrying = Retrying::new(upstream);
            tokio::time::sleep(policy.map_or(Duration::ZERO, |policy| policy.back_off(attempt))).await;
            attempt += 1;
            continue;
        }
        if again {
            exchange.flag(if within { Flag::Urx } else { Flag::Uo });
        }
        payload.settle();
        return result
            .map(|(mut response, lease)| {
                if job.host.attempt_count_in_response {
                    response.headers_mut().insert(head::X_ENVOY_ATTEMPT_COUNT.clone(), attempt.into());
                }
                (response, lease)
            })
            .map_err(|failure| failure.reply(attempt > 1));
    }
}

/// What a try's span says of it.
fn heard(result: &Result<(Response<Arriving>, Lease), Failure>) -> Heard {
    match result {
        Ok((response, _)) => Ok((response.status(), response.version())),
        Err(failure) => Err(failure.reason()),
    }
}

/// Counts a retry for as long as it waits.
struct Retrying<'a>(&'a Upstream);

impl<'a> Retrying<'a> {
    fn new(upstream: &'a Upstream) -> Self {
        upstream.stats.retries.inc();
        upstream.retrying.set(upstream.retrying.get() + 1);
        Self(upstream)
    }
}

impl Drop for Retrying<'_> {
    fn drop(&mut self) {
        self.0.retrying.set(self.0.retrying.get() - 1);
    }
}

fn is_retriable(policy: &RetryPolicy, result: &Result<(Response<Arriving>, Lease), Failure>) -> bool {
    match result {
        Ok((response, _)) => policy.on_response(response.status(), response.headers()),
        Err(Failure::Connect(_)) => policy.on_connect_failure(),
        Err(Failure::Closed | Failure::Reset | Failure::Protocol) => policy.on_reset(),
        Err(Failure::Refused) => policy.on_refused(),
        Err(Failure::TryTimeout) => policy.on_reset(),
        Err(Failure::NoEndpoint | Failure::RequestBody) => false,
        Err(Failure::Overflow) => false,
    }
}
