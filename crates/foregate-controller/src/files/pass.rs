//! One look at the directories, and what follows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt as _;
use kube::Client;

use super::api::{Access, Refusal, Served};
use super::document::{Document, ObjectKey, documents};
use super::mistake::Mistake;
use super::plan::{Duplicate, Known, View, duplicates, plan};
use super::rank::rank;
use super::report::Said;
use super::scan::{self, Listing, Signature, Text};

/// Documents of all files.
const MOST_DOCUMENTS: usize = 50_000;
/// Requests that run at once.
const REQUESTS: usize = 16;

/// What a pass leaves to do.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Something failed that isn't the files' fault.
    pub again: bool,
    /// Directories to be watched.
    pub directories: BTreeSet<PathBuf>,
}

/// A file, as it was read last.
struct File {
    signature: Signature,
    view: View,
    mistakes: Vec<Mistake>,
    /// It is read again with the next pass: what was wrong may be right by then.
    again: bool,
    documents: usize,
    /// Held during a pass only.
    content: Option<Arc<Content>>,
}

struct Content {
    text: String,
    documents: Vec<Read>,
}

/// A document whose kind is known.
struct Read {
    document: Document,
    served: Served,
    /// Its kind's CustomResourceDefinition is in the files too: the API can't try it beforehand.
    deferred: bool,
}

/// Files, and what is in the API because of them.
pub(super) struct Provider {
    access: Access,
    roots: Vec<PathBuf>,
    files: BTreeMap<PathBuf, File>,
    /// None: the API hasn't been asked yet.
    known: Option<BTreeMap<ObjectKey, Known>>,
    kinds: HashMap<ObjectKey, Served>,
    /// Namespaces that were made for what is in them.
    made: BTreeSet<String>,
    said: Said,
    /// Of directories that can't be listed.
    unlisted: Vec<Mistake>,
    /// Of directories that can't be watched.
    unwatched: Vec<Mistake>,
}

impl Provider {
    pub(super) fn new(client: Client, roots: Vec<PathBuf>) -> Self {
        Self {
            said: Said::new(client.clone()),
            access: Access::new(client),
            roots,
            files: BTreeMap::new(),
            known: None,
            kinds: HashMap::new(),
            made: BTreeSet::new(),
            unlisted: Vec::new(),
            unwatched: Vec::new(),
        }
    }

    /// Directories that can't be watched are told of with the next pass's mistakes.
    pub(super) async fn unwatched(&mut self, mistakes: Vec<Mistake>) {
        if self.unwatched != mistakes {
            self.unwatched = mistakes;
            let all = self.mistakes();
            self.said.say(all).await;
        }
    }

    /// Makes the API what the files say.
    pub(super) async fn pass(&mut self) -> Done {
        let roots = self.roots.clone();
        let listing = tokio::task::spawn_blocking(move || scan::list(&roots)).await.unwrap_or_default();
        let mut done = Done { again: false, directories: listing.directories.clone() };
        if self.known.is_none()
            && let Err(error) = self.recall().await
        {
            tracing::warn!(%error, "the objects that came from files can't be listed; it is tried again");
            done.again = true;
            return done;
        }
        self.read(&listing).await;
        self.note_duplicates();
        done.again |= self.check().await;
        done.again |= self.carry_out(&listing).await;
        for file in self.files.values_mut() {
            file.content = None;
            file.again |= !file.mistakes.is_empty();
        }
        self.unlisted = listing.mistakes;
        let mistakes = self.mistakes();
        self.said.say(mistakes).await;
        done
    }

    fn mistakes(&self) -> Vec<Mistake> {
        let of_files = self.files.values().flat_map(|file| &file.mistakes);
        self.unlisted.iter().chain(&self.unwatched).chain(of_files).cloned().collect()
    }

    async fn recall(&mut self) -> kube::Result<()> {
        let mut known = BTreeMap::new();
        for (key, (object, served)) in self.access.known().await? {
            self.kinds.insert(key.clone(), served);
            known.insert(key, object);
        }
        self.known = Some(known);
        Ok(())
    }

    /// Reads the files that differ.
    async fn read(&mut self, listing: &Listing) {
        self.files.retain(|path, _| listing.files.contains_key(path) || listing.is_unknown(path));
        let differs = |path: &PathBuf, signature: &Signature| {
            self.files.get(path).is_none_or(|file| file.again || file.signature != *signature)
        };
        let changed: Vec<_> = listing.files.iter().filter(|(path, signature)| differs(path, signature)).collect();
        let mut read = Vec::new();
        for (path, signature) in changed {
            let of = path.clone();
            let text = tokio::task::spawn_blocking(move || {
                let text = scan::read(&of);
                let parsed = if let Text::Read(text) = &text { documents(&of, text) } else { Default::default() };
                (text, parsed)
            });
            match text.await {
                Ok((Text::Read(text), parsed)) => read.push((path.clone(), *signature, text, parsed)),
                Ok((Text::Unreadable(mistake), _)) => self.keep(path, *signature, mistake),
                Ok((Text::Gone, _)) | Err(_) => {}
            }
        }
        let promised = promised(read.iter().flat_map(|(_, _, _, (documents, _))| documents));
        for (path, signature, text, (documents, mistakes)) in read {
            let others = self.files.iter().filter(|(other, _)| **other != path).map(|(_, file)| file.documents);
            if others.sum::<usize>() + documents.len() > MOST_DOCUMENTS {
                let message = format!("there are more than {MOST_DOCUMENTS} documents in all files; it isn't taken");
                self.keep(&path, signature, Mistake::of_file(&path, message));
                continue;
            }
            let file = self.file(&path, signature, text, documents, mistakes, &promised).await;
            self.files.insert(path, file);
        }
    }

    /// A file that can't be read: what it said before stays.
    fn keep(&mut self, path: &Path, signature: Signature, mistake: Mistake) {
        let (view, mistakes) = (View::Kept(BTreeSet::new()), vec![mistake]);
        let file = File { signature, view, mistakes, again: true, documents: 0, content: None };
        self.files.insert(path.to_owned(), file);
    }

    /// A file that was read: its documents' kinds are looked up.
    async fn file(
        &mut self,
        path: &Path,
        signature: Signature,
        text: String,
        documents: Vec<Document>,
        mut mistakes: Vec<Mistake>,
        promised: &HashMap<(String, String), Served>,
    ) -> File {
        let (mut read, mut objects, mut again) = (Vec::new(), BTreeMap::new(), false);
        for mut document in documents {
            let (served, deferred) = match self.access.served(&document).await {
                Ok(served) => (served, false),
                Err(refusal) => match promised.get(&(document.key.group.clone(), document.key.kind.clone())) {
                    Some(served) => (served.clone(), true),
                    None => {
                        again |= note(path, &text, &document, refusal, &mut mistakes);
                        continue;
                    }
                },
            };
            served.complete(&mut document.key);
            if objects.insert(document.key.clone(), document.hash.clone()).is_some() {
                let message = "is in this file twice; remove one of them".to_owned();
                again |= note(path, &text, &document, Refusal::Wrong(vec![(String::new(), message)]), &mut mistakes);
            }
            self.kinds.insert(document.key.clone(), served.clone());
            read.push(Read { document, served, deferred });
        }
        let documents = read.len();
        let view = if mistakes.is_empty() { View::Good(objects) } else { View::Kept(objects.into_keys().collect()) };
        let content = Some(Arc::new(Content { text, documents: read }));
        File { signature, view, mistakes, again, documents, content }
    }

    fn views(&self) -> BTreeMap<PathBuf, View> {
        self.files.iter().map(|(path, file)| (path.clone(), file.view.clone())).collect()
    }

    /// A file that says what another has isn't taken. It keeps what it had, which yet another may want: until all is
    /// told.
    fn note_duplicates(&mut self) {
        loop {
            let found = self.known.as_ref().map(|known| duplicates(known, &self.views())).unwrap_or_default();
            if found.is_empty() {
                return;
            }
            self.set_duplicates_aside(found);
        }
    }

    fn set_duplicates_aside(&mut self, found: Vec<Duplicate>) {
        for Duplicate { file: path, key, holder } in found {
            let Some(file) = self.files.get_mut(&path) else { continue };
            let of = file.content.as_ref().and_then(|it| it.documents.iter().find(|read| read.document.key == key));
            let text = file.content.as_ref().map(|content| content.text.as_str()).unwrap_or_default();
            let mistake = Mistake {
                line: of.map_or(0, |read| read.document.place.line_of(text, "")),
                object: key.to_string(),
                ..Mistake::of_file(&path, format!("is in {} already; remove one of them", holder.display()))
            };
            file.mistakes.push(mistake);
            file.set_aside();
        }
    }

    /// Whether a document says something that the API doesn't have yet.
    fn is_new(&self, path: &Path, document: &Document) -> bool {
        let known = self.known.as_ref().and_then(|known| known.get(&document.key));
        known.is_none_or(|known| known.file != path || known.hash != document.hash)
    }

    /// Lets the API try what is new. Files of which it refuses anything aren't taken. Returns whether something failed
    /// for no fault of theirs.
    async fn check(&mut self) -> bool {
        let mut tried = Vec::new();
        for (path, file) in &self.files {
            let Some(content) = &file.content else { continue };
            let fresh = content
                .documents
                .iter()
                .enumerate()
                .filter(|(_, read)| !read.deferred && self.is_new(path, &read.document));
            tried.extend(fresh.map(|(index, _)| (path.clone(), Arc::clone(content), index)));
        }
        let mut again = self.make_namespaces().await;
        let access = &self.access;
        let refusals: Vec<_> = futures::stream::iter(tried)
            .map(|(path, content, index)| async move {
                let read = content.documents.get(index)?;
                let refusal = access.check(&read.served, &read.document).await.err()?;
                Some((path, Arc::clone(&content), index, refusal))
            })
            .buffered(REQUESTS)
            .filter_map(std::future::ready)
            .collect()
            .await;
        for (path, content, index, refusal) in refusals {
            let Some(file) = self.files.get_mut(&path) else { continue };
            let Some(read) = content.documents.get(index) else { continue };
            again |= note(&path, &content.text, &read.document, refusal, &mut file.mistakes);
            file.set_aside();
        }
        again
    }

    /// Namespaces of what is new.
    async fn make_namespaces(&mut self) -> bool {
        let mut wanted = BTreeSet::new();
        for (path, file) in &self.files {
            let Some(content) = file.content.as_ref().filter(|_| matches!(file.view, View::Good(_))) else { continue };
            let fresh = content.documents.iter().filter(|read| self.is_new(path, &read.document));
            wanted.extend(fresh.map(|read| read.document.key.namespace.clone()));
        }
        let mut again = false;
        for namespace in wanted.iter().filter(|name| !name.is_empty()) {
            match self.access.namespace(namespace).await {
                Ok(false) => {}
                Ok(true) => drop(self.made.insert(namespace.clone())),
                Err(refusal) => {
                    tracing::warn!(namespace, ?refusal, "a namespace can't be made");
                    again |= matches!(refusal, Refusal::Later(_));
                }
            }
        }
        again
    }

    /// Applies and deletes. Returns whether something failed for no fault of the files.
    async fn carry_out(&mut self, listing: &Listing) -> bool {
        let known = self.known.take().unwrap_or_default();
        let roots = &self.roots;
        // Of a directory that isn't watched any more, what is there still isn't taken away.
        let elsewhere = |file: &Path| !roots.iter().any(|root| file.starts_with(root)) && file.exists();
        let plan = plan(&known, &self.views(), |file| listing.is_unknown(file) || elsewhere(file));
        self.known = Some(known);
        if plan != super::plan::Plan::default() {
            let (put, delete) = (plan.put.len(), plan.delete.len());
            tracing::info!(put, delete, "following the files");
        }
        let mut again = self.put(plan.put).await;
        for key in plan.delete.into_iter().chain(plan.leave) {
            again |= self.take_away(&key).await;
        }
        again
    }

    /// Where each document is, by file and object.
    fn places(&self) -> HashMap<(PathBuf, ObjectKey), (Arc<Content>, usize)> {
        let mut places = HashMap::new();
        for (path, file) in &self.files {
            let Some(content) = &file.content else { continue };
            let keys = content.documents.iter().map(|read| read.document.key.clone());
            places.extend(keys.enumerate().map(|(at, key)| ((path.clone(), key), (Arc::clone(content), at))));
        }
        places
    }

    /// Whether it is a namespace that was made for what is in it, and that a file says too.
    fn is_made(&self, key: &ObjectKey) -> bool {
        key.kind == "Namespace" && key.group.is_empty() && self.made.contains(&key.name)
    }

    /// Applies objects, those of one rank at once.
    async fn put(&mut self, objects: Vec<(ObjectKey, PathBuf)>) -> bool {
        let mut again = false;
        let places = self.places();
        for of_rank in objects.chunk_by(|(a, _), (b, _)| rank(a) == rank(b)) {
            let jobs = of_rank.iter().filter_map(|(key, path)| {
                let (content, index) = places.get(&(path.clone(), key.clone())).cloned()?;
                let known = self.known.as_ref().and_then(|known| known.get(key)).map(|known| known.owned);
                let owned = known.or_else(|| self.is_made(key).then_some(true));
                Some((path.clone(), content, index, owned))
            });
            let jobs: Vec<_> = jobs.collect();
            let access = &self.access;
            let results: Vec<_> = futures::stream::iter(jobs)
                .map(|(path, content, index, owned)| async move {
                    let read = content.documents.get(index)?;
                    let result = access.put(&read.served, &read.document, path.clone(), owned).await;
                    Some((path, Arc::clone(&content), index, result))
                })
                .buffered(REQUESTS)
                .filter_map(std::future::ready)
                .collect()
                .await;
            for (path, content, index, result) in results {
                let Some(read) = content.documents.get(index) else { continue };
                match result {
                    Ok(object) => {
                        self.known.get_or_insert_default().insert(read.document.key.clone(), object);
                    }
                    Err(refusal) => {
                        let Some(file) = self.files.get_mut(&path) else { continue };
                        again |= note(&path, &content.text, &read.document, refusal, &mut file.mistakes);
                        file.again = true;
                    }
                }
            }
        }
        again
    }

    /// Deletes an object that we made; from another's, takes our marks.
    async fn take_away(&mut self, key: &ObjectKey) -> bool {
        let Some(known) = self.known.as_ref().and_then(|known| known.get(key)).cloned() else { return false };
        let Some(served) = self.kinds.get(key) else { return false };
        let result = if known.owned {
            self.access.delete(served, key, &known.uid).await
        } else {
            tracing::info!(object = %key, file = %known.file.display(), "stays: somebody else made it");
            self.access.leave(served, key).await
        };
        match result {
            Ok(()) => {
                self.kinds.remove(key);
                self.known.get_or_insert_default().remove(key);
                false
            }
            Err(refusal) => {
                tracing::warn!(object = %key, ?refusal, "can't be taken away; it is tried again");
                true
            }
        }
    }
}

impl File {
    /// It isn't taken; what it said before stays.
    fn set_aside(&mut self) {
        if let View::Good(objects) = &mut self.view {
            self.view = View::Kept(std::mem::take(objects).into_keys().collect());
        }
    }
}

/// Notes why the API doesn't take a document. Returns whether that is no fault of the file.
fn note(path: &Path, text: &str, document: &Document, refusal: Refusal, mistakes: &mut Vec<Mistake>) -> bool {
    let mistake = |field: String, message: String| Mistake {
        file: path.to_owned(),
        line: document.place.line_of(text, &field),
        object: document.key.to_string(),
        path: field,
        message,
    };
    match refusal {
        Refusal::Wrong(causes) => {
            mistakes.extend(causes.into_iter().map(|(field, message)| mistake(field, message)));
            false
        }
        Refusal::Later(message) => {
            mistakes.push(mistake(String::new(), format!("can't be applied now, and is tried again: {message}")));
            true
        }
    }
}

/// Kinds whose CustomResourceDefinitions are among the documents, by group and kind.
fn promised<'a>(documents: impl Iterator<Item = &'a Document>) -> HashMap<(String, String), Served> {
    let crds = documents.filter(|document| document.key.kind == "CustomResourceDefinition");
    crds.filter_map(|document| Served::of_crd(&document.value)).collect()
}
