//! Says what is wrong with files, once, and when it isn't any more: in the log, and as Events.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use super::MANAGER;
use super::mistake::Mistake;

/// An Event's note may have 1 kB.
const MOST_NOTE: usize = 1000;
/// So many Events of one pass; the log has them all.
const MOST_EVENTS: usize = 50;

/// What was said.
pub(crate) struct Said {
    mistakes: BTreeMap<PathBuf, BTreeSet<Mistake>>,
    recorder: Recorder,
}

impl Said {
    pub(crate) fn new(client: Client) -> Self {
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: None };
        Self { mistakes: BTreeMap::new(), recorder: Recorder::new(client, reporter) }
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
        for mistake in new.iter().take(MOST_EVENTS) {
            self.record(mistake).await;
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

    /// As an Event of the object, if it is known which; else of the namespace `default`.
    async fn record(&self, mistake: &Mistake) {
        let mut note = mistake.to_string();
        let end = (0..=MOST_NOTE.min(note.len())).rev().find(|at| note.is_char_boundary(*at)).unwrap_or(0);
        note.truncate(end);
        let event = Event {
            type_: EventType::Warning,
            reason: "FileRefused".to_owned(),
            note: Some(note),
            action: "Apply".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &reference(&mistake.object)).await {
            tracing::debug!(%error, "an Event can't be written");
        }
    }
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
