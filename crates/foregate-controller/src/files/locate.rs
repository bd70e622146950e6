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
    let mut frames: Vec<Frame> = Vec::new();
    let mut best = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.ok()?;
        let line = span.start.line();
        let opens = match &event {
            Event::MappingStart(..) => Some(true),
            Event::SequenceStart(..) => Some(false),
            Event::Scalar(..) | Event::Alias(..) => None,
            Event::MappingEnd | Event::SequenceEnd => {
                frames.pop();
                continue;
            }
            _ => continue,
        };
        let depth = frames.len();
        let on_path = match frames.last_mut() {
            None => true,
            Some(frame) if frame.is_map => match (frame.key.take(), &event) {
                (Some((key, key_line)), _) => {
                    let fits = frame.on_path && path.get(depth - 1) == Some(&Segment::Key(key));
                    if fits {
                        best = Some(key_line);
                    }
                    fits
                }
                (None, Event::Scalar(key, ..)) => {
                    frame.key = Some((key.to_string(), line));
                    continue;
                }
                // A key that is no scalar is in no path.
                (None, _) => {
                    frame.key = Some((String::new(), line));
                    if let Some(is_map) = opens {
                        frames.push(Frame { is_map, index: 0, key: None, on_path: false });
                    }
                    continue;
                }
            },
            Some(frame) => {
                let fits = frame.on_path && path.get(depth - 1) == Some(&Segment::Index(frame.index));
                frame.index += 1;
                if fits {
                    best = Some(line);
                }
                fits
            }
        };
        best = best.or(Some(line));
        if let Some(is_map) = opens {
            frames.push(Frame { is_map, index: 0, key: None, on_path });
        }
    }
    best
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
