//! What has to be done again after a change, and what of it is new to whom.
//!
//! [`Translator::apply`] takes a batch in two steps. First every object goes into the index and marks what depends on
//! it (`ingest`). Then each stage does what is marked, once, and marks what depends on that: gateways, certificates,
//! backends, routes, virtual hosts, clusters, listeners. Whatever comes out is compared with what the gateway was given
//! before; only differences leave.

mod backends;
mod dump;
mod ingest;
mod listeners;
mod named;
mod places;
mod present;
mod proxies;
mod reports;
mod routes;
mod secrets;
mod settle;
mod slices;
mod static_clusters;
mod virtual_hosts;
mod work;

use std::collections::HashMap;

use foregate_envoy::Owner;

use crate::index::Index;
use crate::{Input, ObjectRef, Options, Output};
pub use present::Present;
use work::Work;

/// Translates platform objects to Envoy resources, incrementally.
#[derive(Debug)]
pub struct Translator {
    options: Options,
    index: Index,
    /// What was reported last, by object.
    problems: HashMap<ObjectRef, (Owner, String)>,
}

impl Translator {
    /// A translator that knows of nothing.
    pub fn new(options: Options) -> Self {
        Self { options, index: Index::default(), problems: HashMap::new() }
    }

    /// Takes a batch of changes and answers what follows from all of them together. Objects of one batch may come in
    /// any order. Cost: what depends on the changed objects, and nothing else.
    pub fn apply(&mut self, inputs: impl IntoIterator<Item = Input>) -> Output {
        let mut work = Work::default();
        for input in inputs {
            self.ingest(input, &mut work);
        }
        self.plan_proxies(&mut work);
        self.make_certificates(&mut work);
        self.make_backends(&mut work);
        self.wake_waiting_routes(&mut work);
        self.follow_named(&mut work);
        self.compile_routes(&mut work);
        self.build_virtual_hosts(&mut work);
        self.drop_lingering_slices(&mut work);
        self.publish_clusters(&mut work);
        self.publish_static_clusters(&mut work);
        self.render_listeners(&mut work);
        self.settle(work)
    }

    /// What was reported last of an object; none: it has no problem. For a platform that starts and finds old
    /// problems in statuses.
    pub fn problem(&self, object: &ObjectRef) -> Option<&str> {
        self.problems.get(object).map(|(_, problem)| problem.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Translator;

    /// A platform may keep it behind a lock, or move it to a thread of its own.
    const fn is_shared<T: Send + Sync>() {}
    const _: () = is_shared::<Translator>();
}
