//! A file's text as objects, with the lines where they are.

use std::path::Path;

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use super::locate::line_of;
use super::mistake::Mistake;

/// Documents of one file.
pub(crate) const MOST_DOCUMENTS: usize = 20_000;

/// What an object is known by.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectKey {
    /// API group; empty for core kinds.
    pub group: String,
    pub kind: String,
    /// Empty: cluster-scoped, or it isn't known yet that it is not.
    pub namespace: String,
    pub name: String,
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

impl std::fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// One object of a file.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub key: ObjectKey,
    /// `apiVersion`'s version.
    pub version: String,
    /// What is to be applied.
    pub value: Value,
    /// Hash of it.
    pub hash: String,
    /// Where it is.
    pub place: Place,
}

/// Where an object is in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Lines before its document.
    offset: usize,
    /// Bytes of its document.
    range: std::ops::Range<usize>,
    /// The way to it inside of its document: `items[3]` of a List.
    prefix: String,
}

impl Place {
    /// The line of one of its fields in the file's text; of the object itself if the path is empty. Reads its document
    /// again: for what is to be told only.
    pub(crate) fn line_of(&self, text: &str, path: &str) -> usize {
        let path = match (self.prefix.is_empty(), path.is_empty() || path.starts_with('[')) {
            (true, _) => path.to_owned(),
            (false, true) => format!("{}{path}", self.prefix),
            (false, false) => format!("{}.{path}", self.prefix),
        };
        let document = text.get(self.range.clone()).unwrap_or_default();
        self.offset + line_of(document, &path).unwrap_or(1)
    }
}

/// The objects of a file, and what is wrong with it.
pub(crate) fn documents(file: &Path, text: &str) -> (Vec<Document>, Vec<Mistake>) {
    let (mut documents, mut mistakes) = (Vec::new(), Vec::new());
    for (offset, range) in split(text) {
        if documents.len() >= MOST_DOCUMENTS {
            let message = format!("the file has more than {MOST_DOCUMENTS} documents; spread them over several files");
            mistakes.push(Mistake::of_file(file, message));
            break;
        }
        let chunk = text.get(range.clone()).unwrap_or_default();
        match serde_saphyr::from_str::<Value>(chunk) {
            Ok(Value::Null) => {}
            Ok(value) => {
                let place = Place { offset, range, prefix: String::new() };
                take(file, text, value, place, &mut documents, &mut mistakes);
            }
            Err(_) if chunk.lines().all(is_blank) => {}
            Err(error) => {
                let line = error.location().map_or(0, |location| location.line() as usize);
                let message = in_our_words(&error.without_snippet().to_string());
                mistakes.push(Mistake { line: offset + line.max(1), ..Mistake::of_file(file, message) });
            }
        }
    }
    (documents, mistakes)
}

/// Nothing, a comment, or a directive.
fn is_blank(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with(['#', '%'])
}

/// One document: an object, or a List of them.
fn take(
    file: &Path,
    text: &str,
    mut value: Value,
    place: Place,
    documents: &mut Vec<Document>,
    mistakes: &mut Vec<Mistake>,
) {
    let is_list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) && value["items"].is_array();
    if !is_list {
        match object(value, place.clone()) {
            Ok(document) => documents.push(document),
            Err((path, message)) => {
                let line = place.line_of(text, path);
                mistakes.push(Mistake { line, path: path.to_owned(), ..Mistake::of_file(file, message) });
            }
        }
        return;
    }
    let Some(items) = value["items"].as_array_mut() else { return };
    for (index, item) in std::mem::take(items).into_iter().enumerate() {
        let place = Place { prefix: format!("{}items[{index}]", place.prefix), ..place.clone() };
        match object(item, place.clone()) {
            Ok(document) => documents.push(document),
            Err((path, message)) => {
                let line = place.line_of(text, path);
                mistakes.push(Mistake { line, path: path.to_owned(), ..Mistake::of_file(file, message) });
            }
        }
    }
}

fn object(mut value: Value, place: Place) -> Result<Document, (&'static str, String)> {
    if !value.is_object() {
        return Err(("", "is no object: it needs apiVersion, kind and metadata.name".to_owned()));
    }
    let text = |value: &Value, path: &'static str, pointer: &str| match value.pointer(pointer) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(Value::Null) | None => Err((path, "is missing".to_owned())),
        Some(_) => Err((path, "must be a text that isn't empty".to_owned())),
    };
    let api_version = text(&value, "apiVersion", "/apiVersion")?;
    let kind = text(&value, "kind", "/kind")?;
    let name = text(&value, "metadata.name", "/metadata/name")?;
    let namespace = match value.pointer("/metadata/namespace") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(namespace)) => namespace.clone(),
        Some(_) => return Err(("metadata.namespace", "must be a text".to_owned())),
    };
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let key = ObjectKey { group: group.to_owned(), kind, namespace, name };
    let version = version.to_owned();
    strip(&mut value);
    let hash = format!("{:032x}", xxh3_128(value.to_string().as_bytes()));
    Ok(Document { key, version, value, hash, place })
}

/// Takes away what a server adds: files are often written by `kubectl get -o yaml`.
fn strip(value: &mut Value) {
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = value["metadata"].as_object_mut() {
        for field in ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"] {
            metadata.remove(field);
        }
    }
}

/// The documents of a text: lines before each, and its bytes. A line that begins with `---` or `...` ends a document,
/// whatever it is in (YAML 1.2.2, 9.1.2).
fn split(text: &str) -> Vec<(usize, std::ops::Range<usize>)> {
    let mut documents = Vec::new();
    let (mut start, mut offset, mut at) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let is_marker = |marker: &str| {
            line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
        };
        let (begins, ends) = (is_marker("---"), is_marker("..."));
        if begins || ends {
            documents.push((offset, start..at));
            // A document may begin behind its marker: `--- {kind: …}`.
            start = at + 3;
            offset = number;
        }
        at += line.len();
    }
    documents.push((offset, start..at));
    documents.retain(|(_, range)| text.get(range.clone()).is_some_and(|chunk| !chunk.trim().is_empty()));
    documents
}

/// The parser's message, without advice that is meant for its callers.
fn in_our_words(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let first = message.lines().next().unwrap_or_default();
    let first = first.split_once(", set DuplicateKeyPolicy").map_or(first, |(before, _)| before);
    // Of its own document only; the mistake has the file's.
    let first = first.rsplit_once(" at line ").map_or(first, |(before, _)| before);
    format!("this is not YAML that can be read: {first}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    fn read(text: &str) -> (Vec<(String, usize)>, Vec<String>) {
        let (documents, mistakes) = documents(Path::new("f.yaml"), text);
        let shown = documents.iter().map(|it| (it.key.to_string(), it.place.line_of(text, ""))).collect();
        (shown, mistakes.iter().map(ToString::to_string).collect())
    }

    fn service(name: &str) -> String {
        format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n")
    }

    #[test]
    fn documents_and_their_lines() {
        let text = format!(
            "# first\n{}---\n# nothing\n---\n\n{}...\n--- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: c}}}}\n",
            service("a"),
            service("b")
        );
        let expected = [("Service a", 2), ("Service b", 10), ("ConfigMap c", 15)];
        assert_eq!(read(&text), (expected.map(|(key, line)| (key.to_owned(), line)).to_vec(), vec![]));
        assert_eq!(read(""), (vec![], vec![]));
        assert_eq!(read("---\n---\n# c\n"), (vec![], vec![]));
        let json = r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "j", "namespace": "n"}}"#;
        assert_eq!(read(json).0, [("Service n/j".to_owned(), 1)]);
    }

    #[test]
    fn a_list_is_its_items() {
        let text =
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: a}\n- kind: x\n";
        let (shown, mistakes) = read(text);
        assert_eq!(shown, [("Service a".to_owned(), 4)]);
        assert_eq!(mistakes, ["f.yaml:7: apiVersion: is missing"]);
        let (documents, _) = documents(Path::new("f.yaml"), text);
        assert_eq!(documents[0].place.line_of(text, "metadata.name"), 6);
    }

    #[test]
    fn every_mistake_is_told_with_its_line_and_the_rest_is_read() {
        let text =
            format!("{}---\na: [\n---\nkind: Service\n---\n- x\n---\n{}---\na: 1\na: 2\n", service("a"), service("b"));
        let (shown, mistakes) = read(&text);
        assert_eq!(shown.len(), 2);
        assert_eq!(mistakes.len(), 4, "{mistakes:#?}");
        assert!(mistakes[0].starts_with("f.yaml:6: this is not YAML that can be read: "), "{}", mistakes[0]);
        assert_eq!(mistakes[1], "f.yaml:8: apiVersion: is missing");
        assert_eq!(mistakes[2], "f.yaml:10: is no object: it needs apiVersion, kind and metadata.name");
        assert!(mistakes[3].starts_with("f.yaml:18: ") && mistakes[3].contains("duplicate"), "{}", mistakes[3]);
    }

    #[test]
    fn what_a_server_adds_does_not_count() {
        let plain = documents(Path::new("f"), &service("a")).0;
        let added =
            format!("{}  uid: x\n  resourceVersion: '7'\n  managedFields: []\nstatus: {{a: 1}}\n", service("a"));
        assert_eq!(documents(Path::new("f"), &added).0[0].hash, plain[0].hash);
        assert_ne!(documents(Path::new("f"), &service("b")).0[0].hash, plain[0].hash);
    }

    #[test]
    fn aliases_that_explode_are_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            text.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        let (shown, mistakes) = read(&text);
        assert_eq!((shown.len(), mistakes.len()), (0, 1));
    }
}
