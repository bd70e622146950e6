//! Says what is wrong with files, once, and when it isn't any more: in the log, and as Events, one for each mistake that
//! there is now.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use xxhash_rust::xxh3::xxh3_64;

use super::MANAGER;
use super::mistake::Mistake;

/// An Event's message may have 1 kB.
const MOST_MESSAGE: usize = 1000;
/// So many Events at once; the log has them all.
const MOST_EVENTS: usize = 50;
/// Label of our Events.
const MISTAKE: &str = "foregate.dev/file-mistake";
/// Reason of our Events.
const REASON: &str = "FileRefused";

/// What was said.
pub(crate) struct Said {
    mistakes: BTreeMap<PathBuf, BTreeSet<Mistake>>,
    client: Client,
    /// Events that there are, by namespace and name; none: it isn't known which are left of the last time.
    events: Option<BTreeSet<(String, String)>>,
}

impl Said {
    pub(crate) fn new(client: Client) -> Self {
        Self { mistakes: BTreeMap::new(), client, events: None }
    }

    /// Takes all mistakes that there are now, and says what is new of them.
    pub(crate) async fn say(&mut self, mistakes: Vec<Mistake>) {
        let (new, right) = self.take(mistakes);
        for file in right {
            tracing::info!(file = %file.display(), "is right again");
        }
        for mistake in &new {
            tracing::error!("{mistake}");
        }
        if let Err(error) = self.settle_events().await {
            tracing::debug!(%error, "Events can't be written");
        }
    }

    /// What is new, and the files that are right again.
    fn take(&mut self, mistakes: Vec<Mistake>) -> (Vec<Mistake>, Vec<PathBuf>) {
        let mut now: BTreeMap<PathBuf, BTreeSet<Mistake>> = BTreeMap::new();
        for mistake in mistakes {
            now.entry(mistake.file.clone()).or_default().insert(mistake);
        }
        let before = std::mem::replace(&mut self.mistakes, now);
        let was_said = |mistake: &&Mistake| before.get(&mistake.file).is_some_and(|said| said.contains(*mistake));
        let new = self.mistakes.values().flatten().filter(|mistake| !was_said(mistake)).cloned().collect();
        let right = before.keys().filter(|file| !self.mistakes.contains_key(*file));
        (new, right.filter(|file| Path::exists(file)).cloned().collect())
    }

    /// Writes the Events that are missing, and deletes those whose mistake is over.
    async fn settle_events(&mut self) -> kube::Result<()> {
        let present = match self.events.take() {
            Some(present) => present,
            None => self.left_over().await?,
        };
        let wanted = self.mistakes.values().flatten().take(MOST_EVENTS).map(event);
        let wanted: BTreeMap<(String, String), Event> = wanted.map(|it| (key(&it), it)).collect();
        let mut there = present.clone();
        for (at, event) in wanted.iter().filter(|(at, _)| !present.contains(*at)) {
            let api: Api<Event> = Api::namespaced(self.client.clone(), &at.0);
            let parameters = PatchParams::apply(MANAGER).force();
            match api.patch(&at.1, &parameters, &Patch::Apply(event)).await {
                Ok(_) => drop(there.insert(at.clone())),
                // Its namespace isn't there; the log has it.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => tracing::debug!(%error, "an Event can't be written"),
            }
        }
        for at in present.iter().filter(|at| !wanted.contains_key(*at)) {
            let api: Api<Event> = Api::namespaced(self.client.clone(), &at.0);
            match api.delete(&at.1, &DeleteParams::default()).await {
                Ok(_) => drop(there.remove(at)),
                Err(kube::Error::Api(status)) if status.code == 404 => drop(there.remove(at)),
                Err(error) => tracing::debug!(%error, "an Event can't be deleted"),
            }
        }
        self.events = Some(there);
        Ok(())
    }

    async fn left_over(&self) -> kube::Result<BTreeSet<(String, String)>> {
        let api: Api<Event> = Api::all(self.client.clone());
        let ours = ListParams::default().labels(MISTAKE);
        Ok(api.list(&ours).await?.items.iter().map(key).collect())
    }
}

fn key(event: &Event) -> (String, String) {
    (event.namespace().unwrap_or_default(), event.name_any())
}

/// An Event of the object, if it is known which; else of the namespace `default`.
fn event(mistake: &Mistake) -> Event {
    let full = mistake.to_string();
    let end = (0..=MOST_MESSAGE.min(full.len())).rev().find(|at| full.is_char_boundary(*at)).unwrap_or(0);
    let regarding = reference(&mistake.object);
    let now = Time(whole_seconds(jiff::Timestamp::now()));
    let mut event = Event {
        reason: Some(REASON.to_owned()),
        type_: Some("Warning".to_owned()),
        message: full.get(..end).map(str::to_owned),
        count: Some(1),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        source: Some(EventSource { component: Some(MANAGER.to_owned()), host: None }),
        reporting_component: Some(MANAGER.to_owned()),
        ..Event::default()
    };
    event.metadata.namespace = regarding.namespace.clone().or_else(|| Some("default".to_owned()));
    event.metadata.name = Some(format!("{MANAGER}.{:016x}", xxh3_64(full.as_bytes())));
    event.labels_mut().insert(MISTAKE.to_owned(), "true".to_owned());
    event.involved_object = regarding;
    event
}

/// `metav1.Time` has whole seconds.
fn whole_seconds(now: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// `HTTPRoute default/web`, or nothing.
fn reference(object: &str) -> ObjectReference {
    let text = |text: &str| Some(text.to_owned());
    match object.split_once(' ') {
        Some((kind, name)) => {
            let (namespace, name) =
                name.split_once('/').map_or((None, name), |(namespace, name)| (Some(namespace), name));
            let namespace = namespace.map(str::to_owned);
            ObjectReference { kind: text(kind), namespace, name: text(name), ..ObjectReference::default() }
        }
        None => ObjectReference {
            api_version: text("v1"),
            kind: text("Namespace"),
            name: text("default"),
            namespace: text("default"),
            ..ObjectReference::default()
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    fn mistake(object: &str, message: &str) -> Mistake {
        Mistake { line: 3, object: object.into(), ..Mistake::of_file("/d/a.yaml", message) }
    }

    #[test]
    fn an_event_names_the_object_and_fits() {
        let event = event(&mistake("HTTPRoute apps/web", &"ä".repeat(2_000)));
        assert_eq!(key(&event).0, "apps");
        assert_eq!(event.involved_object.name.as_deref(), Some("web"));
        let message = event.message.unwrap();
        assert!(
            message.len() <= MOST_MESSAGE && message.starts_with("/d/a.yaml:3: HTTPRoute apps/web: ä"),
            "{message}"
        );
    }

    #[test]
    fn a_mistake_without_an_object_is_one_of_the_default_namespace() {
        let event = event(&Mistake::of_file("/d/a.yaml", "isn't YAML"));
        assert_eq!(key(&event).0, "default");
        assert_eq!(event.involved_object.kind.as_deref(), Some("Namespace"));
        let cluster_scoped = super::event(&mistake("GatewayClass x", "no"));
        assert_eq!(key(&cluster_scoped).0, "default");
    }
}
