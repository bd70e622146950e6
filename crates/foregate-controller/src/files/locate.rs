//! Where in a YAML text a field is.

use serde_saphyr::granit_parser::{Event, Parser};

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Key(String),
    Index(usize),
}

/// A list or mapping that is still open.
struct Frame {
    is_map: bool,
    /// Of the next item.
    index: usize,
    /// The key that waits for its value, with its line.
    key: Option<(String, usize)>,
    /// The way to it is the beginning of the path.
    on_path: bool,
}

/// The line (from 1) of a field in a document's text; of the deepest one on the way to it that is there.
///
/// `path` is as an API server writes it: `spec.rules[0].matches`, `metadata.annotations[a.b/c]`.
pub(crate) fn line_of(text: &str, path: &str) -> Option<usize> {
    let path = segments(path);
    let mut walk = Walk { path: &path, frames: Vec::new(), best: None };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.ok()?;
        let line = span.start.line();
        match event {
            Event::MappingStart(..) => walk.open(true, line),
            Event::SequenceStart(..) => walk.open(false, line),
            Event::Scalar(value, ..) => drop(walk.child(Some(&value), line)),
            Event::Alias(..) => drop(walk.child(None, line)),
            Event::MappingEnd | Event::SequenceEnd => drop(walk.frames.pop()),
            _ => {}
        }
    }
    walk.best
}

/// A walk through a document.
struct Walk<'a> {
    path: &'a [Segment],
    frames: Vec<Frame>,
    /// The line of the deepest field on the path so far.
    best: Option<usize>,
}

impl Walk<'_> {
    fn open(&mut self, is_map: bool, line: usize) {
        let on_path = self.child(None, line);
        self.frames.push(Frame { is_map, index: 0, key: None, on_path });
    }

    /// The next value of what is open, or the next key; `scalar`: its text, if it is one. Answers whether the path goes
    /// through it.
    fn child(&mut self, scalar: Option<&str>, line: usize) -> bool {
        let depth = self.frames.len();
        self.best = self.best.or(Some(line));
        let Some(frame) = self.frames.last_mut() else { return true };
        let (segment, at) = if !frame.is_map {
            frame.index += 1;
            (Segment::Index(frame.index - 1), line)
        } else if let Some((key, key_line)) = frame.key.take() {
            (Segment::Key(key), key_line)
        } else {
            // A key that is no scalar is in no path.
            frame.key = Some((scalar.unwrap_or_default().to_owned(), line));
            return false;
        };
        let fits = frame.on_path && self.path.get(depth - 1) == Some(&segment);
        if fits {
            self.best = Some(at);
        }
        fits
    }
}

fn segments(path: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (key, after) = inner.split_once(']').unwrap_or((inner, ""));
            let key = key.trim_matches('"');
            segments.push(key.parse().map_or_else(|_| Segment::Key(key.to_owned()), Segment::Index));
            rest = after;
        } else {
            let field = rest.strip_prefix('.').unwrap_or(rest);
            let end = field.find(['.', '[']).unwrap_or(field.len());
            let (key, after) = field.split_at(end);
            if key.is_empty() && after.is_empty() {
                break;
            }
            if !key.is_empty() {
                segments.push(Segment::Key(key.to_owned()));
            }
            rest = after;
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    const TEXT: &str = "\
kind: HTTPRoute
metadata:
  name: a
  annotations:
    a.b/c: x
spec:
  # why
  rules:
  - matches:
    - path: {type: Exact,
             value: /a}
  - name: two
    matches: []
  hostnames: [a.example,
    b.example]
";

    #[test]
    fn fields_are_found_and_of_missing_ones_what_is_nearest() {
        for (path, line) in [
            ("", 1),
            ("kind", 1),
            ("metadata.name", 3),
            ("metadata.annotations[a.b/c]", 5),
            ("spec", 6),
            ("spec.rules", 8),
            ("spec.rules[0]", 9),
            ("spec.rules[0].matches[0].path.value", 11),
            ("spec.rules[1]", 12),
            ("spec.rules[1].matches", 13),
            ("spec.rules[1].matches[0].method", 13),
            ("spec.hostnames[1]", 15),
            ("spec.parentRefs[0].name", 6),
            ("status", 1),
            (".spec.rules[9].name", 8),
        ] {
            assert_eq!(line_of(TEXT, path), Some(line), "{path}");
        }
    }

    #[test]
    fn odd_texts_and_paths_do_no_harm() {
        for text in ["", "a", "- ? {a: b}\n  : c\n", "*x", "&a [*a]", "? [a]\n: b", "{"] {
            for path in ["a", "[0]", "[", "..", "a[", "a].b", "[\"x\"].y"] {
                let _ = line_of(text, path);
            }
        }
    }
}
