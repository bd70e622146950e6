//! Clusters with host names: a task for each looks them up again and again; what it finds comes back as an event.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::config::dns::Dns;
use crate::resolve::Resolver;

/// What a cluster's names have turned out to be; names that couldn't be looked up are missing.
pub(super) struct Found {
    /// Which cluster.
    pub(super) cluster: Arc<str>,
    /// Which of its versions asked.
    pub(super) asker: u64,
    /// The addresses.
    pub(super) addresses: Vec<(Arc<str>, Vec<IpAddr>)>,
}

/// All lookups of an instance.
pub(super) struct Lookups {
    resolver: Resolver,
    sender: UnboundedSender<Found>,
    receiver: UnboundedReceiver<Found>,
    asked: u64,
    /// Each lookup holds a thread of the system's: many clusters take turns.
    turns: Rc<Semaphore>,
}

/// Lookups at a time.
const AT_A_TIME: usize = 16;

/// A cluster's lookups; they end when this is dropped.
pub(super) struct Asking {
    pub(super) asker: u64,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lookups {
    pub(super) fn new(resolver: Resolver) -> Self {
        let (sender, receiver) = unbounded_channel();
        Self { resolver, sender, receiver, asked: 0, turns: Rc::new(Semaphore::new(AT_A_TIME)) }
    }

    /// What is found next. Giving up on waiting loses nothing.
    pub(super) async fn next(&mut self) -> Found {
        match self.receiver.recv().await {
            Some(found) => found,
            // This one holds a sender itself.
            None => std::future::pending().await,
        }
    }

    /// Looks a cluster's names up, now and from then on.
    pub(super) fn ask(&mut self, cluster: &str, dns: &Dns, names: Vec<Arc<str>>) -> Asking {
        self.asked += 1;
        let asker = self.asked;
        let (resolver, sender, dns) = (self.resolver.clone(), self.sender.clone(), dns.clone());
        let (cluster, turns): (Arc<str>, _) = (cluster.into(), Rc::clone(&self.turns));
        let task = tokio::task::spawn_local(async move {
            let mut failures: u32 = 0;
            loop {
                let addresses = lookup(&resolver, &turns, &dns, &names, &cluster).await;
                failures = if addresses.len() < names.len() { failures.saturating_add(1) } else { 0 };
                if sender.send(Found { cluster: Arc::clone(&cluster), asker, addresses }).is_err() {
                    return;
                }
                tokio::time::sleep(pause(&dns, failures)).await;
            }
        });
        Asking { asker, task }
    }
}

async fn lookup(
    resolver: &Resolver,
    turns: &Semaphore,
    dns: &Dns,
    names: &[Arc<str>],
    cluster: &str,
) -> Vec<(Arc<str>, Vec<IpAddr>)> {
    let lookups = names.iter().map(|name| async move {
        let _turn = turns.acquire().await.ok()?;
        match resolver.lookup(name).await {
            Ok(addresses) => {
                let addresses = dns.family.choose(addresses);
                (!addresses.is_empty()).then(|| (Arc::clone(name), addresses))
            }
            Err(error) => {
                tracing::debug!(cluster, %name, %error, "a name can't be looked up; its last addresses serve on");
                None
            }
        }
    });
    futures::future::join_all(lookups).await.into_iter().flatten().collect()
}

/// Time to the next lookup, spread so that many clusters don't ask at the same moment.
fn pause(dns: &Dns, failures: u32) -> Duration {
    let pause = match failures {
        0 => dns.refresh,
        n => dns.after_failure.saturating_mul(2_u32.saturating_pow((n - 1).min(16))).min(dns.after_failures),
    };
    pause.mul_f64(1.0 + rand::random::<f64>() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::dns::Family;

    #[test]
    fn failures_slow_lookups_down() {
        let seconds = Duration::from_secs;
        let dns = Dns {
            logical: false,
            family: Family::All,
            refresh: seconds(100),
            after_failure: seconds(1),
            after_failures: seconds(5),
        };
        for (failures, want) in [(0, 100), (1, 1), (2, 2), (3, 4), (4, 5), (u32::MAX, 5)] {
            let pause = pause(&dns, failures);
            assert!(pause >= seconds(want) && pause <= seconds(want).mul_f64(1.1), "{failures}: {pause:?}");
        }
    }
}
