//! What lies between two revisions, line by line.

use foregate_platform::revisions::{ResourceDiff, Side};
use serde::Serialize;
use similar::{ChangeTag, TextDiff};

use crate::cli::backends::Backends;
use crate::cli::output;
use crate::cli::table::{BAD, DIM, GOOD, STRONG, styled};

/// Lines around a change.
const CONTEXT: usize = 3;

/// A resource that differs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Kind and name.
    resource: String,
    /// Whose it is, where it is a cluster's.
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    /// Its version before.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_version: Option<String>,
    /// Its version after.
    #[serde(skip_serializing_if = "Option::is_none")]
    new_version: Option<String>,
    /// The difference of its YAML, in unified form; none: one of the two isn't known any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<String>,
}

/// Differences in lines.
pub fn of(resources: &[ResourceDiff], backends: &Backends) -> Vec<Change> {
    let version = |side: &Option<Side>| side.as_ref().map(|side| side.version.clone());
    let change = |it: &ResourceDiff| {
        let texts = text(it.old.as_ref()).zip(text(it.new.as_ref()));
        Change {
            resource: it.id.to_string(),
            backend: backends.owner(it.id.kind(), &it.id.name).map(str::to_owned),
            old_version: version(&it.old),
            new_version: version(&it.new),
            diff: texts.map(|(old, new)| unified(&old, &new)),
        }
    };
    resources.iter().map(change).collect()
}

/// A side as YAML; empty where it isn't there, none where it isn't known.
fn text(side: Option<&Side>) -> Option<String> {
    let Some(side) = side else { return Some(String::new()) };
    let json: serde_json::Value = serde_json::from_str(side.text.as_deref()?).ok()?;
    output::yaml(&json).ok()
}

fn unified(old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let mut text = String::new();
    for (at, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if at > 0 {
            text.push_str("@@\n");
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            text.push(sign);
            text.push_str(change.value().trim_end_matches('\n'));
            text.push('\n');
        }
    }
    text
}

/// All of them, for people.
pub fn render(changes: &[Change], from: &str, to: &str) -> String {
    if changes.is_empty() {
        return format!("nothing differs between {from} and {to}\n");
    }
    let mut text = String::new();
    for change in changes {
        let (before, after) = (change.old_version.is_some(), change.new_version.is_some());
        let what = match (before, after) {
            (false, _) => "new",
            (_, false) => "gone",
            _ => "changed",
        };
        let of = change.backend.as_ref().map(|backend| format!(", {backend}")).unwrap_or_default();
        text.push_str(&format!("{}  {}\n", styled(STRONG, &change.resource), styled(DIM, format!("{what}{of}"))));
        text.push_str(&format!("{}\n{}\n", styled(BAD, format!("--- {from}")), styled(GOOD, format!("+++ {to}"))));
        for line in change.diff.as_deref().unwrap_or("@@ the texts aren't kept any more\n").lines() {
            let line = match line.chars().next() {
                Some('-') => styled(BAD, line),
                Some('+') => styled(GOOD, line),
                Some('@') => styled(DIM, line),
                _ => line.to_owned(),
            };
            text.push_str(&line);
            text.push('\n');
        }
        text.push('\n');
    }
    text
}
