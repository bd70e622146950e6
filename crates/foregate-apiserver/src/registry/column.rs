//! Columns of tables (`kubectl get`).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::jsonpath::Path;
use crate::builtin;

/// A column that a definition names by a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathColumn {
    /// Heading.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// OpenAPI format, may be empty.
    pub format: String,
    /// For a person.
    pub description: String,
    /// 0: always shown, above: with `-o wide`.
    pub priority: i64,
    /// Where its value is; none when the path is malformed.
    pub path: Option<Path>,
}

/// The columns of a kind.
#[derive(Debug)]
pub enum Columns {
    /// Of a built-in kind, computed; the name is one of them.
    Builtin(&'static [builtin::Column]),
    /// Of a definition, after the name.
    Paths(Vec<PathColumn>),
}

impl Columns {
    /// Those of a definition's version: its own, or the age.
    pub fn of(version: &Value) -> Self {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let column = |c: &Value| PathColumn {
            name: text(&c["name"]),
            kind: text(&c["type"]),
            format: text(&c["format"]),
            description: text(&c["description"]),
            priority: c["priority"].as_i64().unwrap_or(0),
            path: Path::parse(&text(&c["jsonPath"])),
        };
        Self::Paths(match version["additionalPrinterColumns"].as_array() {
            Some(list) if !list.is_empty() => list.iter().map(column).collect(),
            _ => vec![PathColumn {
                name: "Age".into(),
                kind: "date".into(),
                path: Path::parse(".metadata.creationTimestamp"),
                ..PathColumn::default()
            }],
        })
    }

    /// `columnDefinitions`
    pub fn definitions(&self) -> Value {
        match self {
            Self::Builtin(columns) => columns
                .iter()
                .map(|c| {
                    json!({"name": c.name, "type": c.kind, "format": c.format, "priority": c.priority,
                        "description": ""})
                })
                .collect(),
            Self::Paths(columns) => {
                let name = json!({"name": "Name", "type": "string", "format": "name", "priority": 0,
                    "description": "Name must be unique within a namespace."});
                let rest = columns.iter().map(|c| {
                    // Ages are computed here, as Kubernetes does: the client gets text.
                    let kind = if c.kind == "date" { "string" } else { &c.kind };
                    json!({"name": c.name, "type": kind, "format": c.format, "description": c.description,
                        "priority": c.priority})
                });
                std::iter::once(name).chain(rest).collect()
            }
        }
    }

    /// The cells of an object.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Value {
        match self {
            Self::Builtin(columns) => columns.iter().map(|c| (c.cell)(object, now)).collect(),
            Self::Paths(columns) => std::iter::once(object["metadata"]["name"].clone())
                .chain(columns.iter().map(|c| c.cell(object, now)))
                .collect(),
        }
    }
}

impl PathColumn {
    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let found = self.path.as_ref().map(|p| p.find(object)).unwrap_or_default();
        match (self.kind.as_str(), found.as_slice()) {
            ("date", found) => builtin::age(found.first().copied(), now).into(),
            (_, []) => Value::Null,
            ("string", many) => many.iter().map(|v| plain(v)).collect::<Vec<_>>().join(",").into(),
            (_, [first, ..]) => (*first).clone(),
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
