//! The JSONPath of printer columns: fields, indices, wildcards, filters on equality.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Filter(Vec<Step>, bool, Value),
    HasField(Vec<Step>),
}

/// A parsed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

impl Path {
    /// Reads `.spec.a`, `.b[0].c`, `.conditions[?(@.type=="Ready")].status`, `.labels['a\.b']`, `.list[*].name`.
    /// None when it is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches('{').trim_end_matches('}');
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        let mut steps = Vec::new();
        if !rest.starts_with(['.', '[']) && !rest.is_empty() {
            let (name, tail) = field(rest);
            steps.push(Step::Field(name));
            rest = tail;
        }
        while !rest.is_empty() {
            if let Some(tail) = rest.strip_prefix('.') {
                if tail.is_empty() {
                    break;
                }
                if tail.starts_with('[') {
                    rest = tail;
                    continue;
                }
                let (name, tail) = field(tail);
                if name.is_empty() {
                    return None;
                }
                steps.push(if name == "*" { Step::All } else { Step::Field(name) });
                rest = tail;
            } else {
                let end = close(rest)?;
                steps.push(bracket(&rest[1..end])?);
                rest = &rest[end + 1..];
            }
        }
        Some(Self(steps))
    }

    /// All values that it leads to.
    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        walk(&self.0, value)
    }
}

/// A name up to the next `.` or `[`; a backslash takes the next character as it is.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => return (name, &text[i..]),
            c => name.push(c),
        }
    }
    (name, "")
}

/// Where the bracket at the start of `text` closes.
fn close(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_i32, None);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth -= 1;
                if depth == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Option<Step> {
    let text = text.trim();
    if text == "*" {
        return Some(Step::All);
    }
    if let Ok(index) = text.parse() {
        return Some(Step::Index(index));
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|t| t.strip_suffix(')')) {
        let at = |t: &str| Path::parse(t.trim().strip_prefix('@')?).map(|p| p.0);
        for (operator, equal) in [("==", true), ("!=", false)] {
            if let Some((left, right)) = filter.split_once(operator) {
                return Some(Step::Filter(at(left)?, equal, literal(right.trim())?));
            }
        }
        return Some(Step::HasField(at(filter)?));
    }
    let quoted = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\''));
    let quoted = quoted.or_else(|| text.strip_prefix('"').and_then(|t| t.strip_suffix('"')));
    quoted.map(|name| Step::Field(name.replace('\\', "")))
}

fn literal(text: &str) -> Option<Value> {
    if let Some(inner) = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
        return Some(Value::String(inner.to_owned()));
    }
    serde_json::from_str(text).ok()
}

fn walk<'a>(steps: &[Step], value: &'a Value) -> Vec<&'a Value> {
    let mut at = vec![value];
    for step in steps {
        at = at.into_iter().flat_map(|v| advance(step, v)).collect();
    }
    at
}

fn advance<'a>(step: &Step, value: &'a Value) -> Vec<&'a Value> {
    let elements = || match value {
        Value::Array(list) => list.iter().collect::<Vec<_>>(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    };
    match step {
        Step::Field(name) => value.get(name).into_iter().collect(),
        Step::Index(i) => {
            let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
            let len = i64::try_from(list.len()).unwrap_or(i64::MAX);
            let i = if *i < 0 { len + i } else { *i };
            usize::try_from(i).ok().and_then(|i| list.get(i)).into_iter().collect()
        }
        Step::All => elements(),
        Step::Filter(path, equal, literal) => elements()
            .into_iter()
            .filter(|v| walk(path, v).first().is_some_and(|found| (*found == literal) == *equal))
            .collect(),
        Step::HasField(path) => elements().into_iter().filter(|v| !walk(path, v).is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_find_their_values() {
        let object = json!({"metadata": {"name": "x", "labels": {"a.b/c": "l"}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}],
                "addresses": [{"value": "1"}, {"value": "2"}]}});
        for (path, expected) in [
            (".metadata.name", json!(["x"])),
            ("metadata.name", json!(["x"])),
            ("{.metadata.name}", json!(["x"])),
            (".status.conditions[?(@.type==\"Ready\")].status", json!(["True"])),
            (".status.conditions[?(@.type=='Other')].status", json!(["False"])),
            (".status.conditions[?(@.type!=\"Ready\")].type", json!(["Other"])),
            (".status.addresses[*].value", json!(["1", "2"])),
            (".status.addresses[-1].value", json!(["2"])),
            (".metadata.labels['a.b/c']", json!(["l"])),
            (".metadata.labels.a\\.b/c", json!(["l"])),
            (".nothing.here", json!([])),
        ] {
            let parsed = Path::parse(path).unwrap();
            assert_eq!(json!(parsed.find(&object)), expected, "{path}");
        }
        for path in [".a[", ".a[?(x)]", "..", ".a[b]"] {
            assert_eq!(Path::parse(path), None, "{path}");
        }
    }
}
