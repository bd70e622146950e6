//! Where a field is written.

use crate::node::{self, Node, NodeValue};

/// Line and column, from 1, of the field with this path (as in [`crate::Violation`]) in a YAML or JSON text of one
/// document; of the deepest part of the path that is written, where the field itself isn't. None: the text can't be
/// read.
pub fn locate(text: &str, path: &str) -> Option<(usize, usize)> {
    let documents = node::documents(text).ok()?;
    let mut here: &Node = documents.first()?;
    let mut place = (here.line, here.column);
    for step in steps(path) {
        let Some((line, column, next)) = enter(here, &step) else { break };
        place = (line, column);
        here = next;
    }
    Some(place)
}

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
}

/// `a.b[0]["x.y"].c` in steps.
fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix("[\"") {
            let end = inside.find("\"]").unwrap_or(inside.len());
            steps.push(Step::Field(inside[..end].replace("\\\"", "\"")));
            rest = inside.get(end + 2..).unwrap_or_default();
        } else if let Some(inside) = rest.strip_prefix('[') {
            let end = inside.find(']').unwrap_or(inside.len());
            steps.extend(inside[..end].parse().ok().map(Step::Index));
            rest = inside.get(end + 1..).unwrap_or_default();
        } else {
            let name = rest.trim_start_matches('.');
            let end = name.find(['.', '[']).unwrap_or(name.len());
            if end > 0 {
                steps.push(Step::Field(name[..end].to_owned()));
            }
            rest = &name[end..];
        }
    }
    steps
}

fn enter<'a>(node: &'a Node, step: &Step) -> Option<(usize, usize, &'a Node)> {
    match (&node.value, step) {
        (NodeValue::Map(entries), Step::Field(name)) => {
            let found = entries.iter().find(|entry| same(&entry.key, name))?;
            Some((found.line, found.column, &found.value))
        }
        (NodeValue::List(items), Step::Index(at)) => items.get(*at).map(|item| (item.line, item.column, &**item)),
        _ => None,
    }
}

/// Texts may spell fields as `virtual_hosts` or as `virtualHosts`.
fn same(key: &str, name: &str) -> bool {
    let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
    key == name || plain(key) == plain(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_however_they_are_spelt() {
        let text = "name: l\nfilterChains:\n- filters:\n  - name: a\n    \"x.y\": { z: 1 }\n  - typed_config:\n      \"@type\": t\n";
        for (path, place) in [
            ("name", (1, 1)),
            ("filter_chains[0].filters[0].name", (4, 5)),
            ("filter_chains[0].filters[0][\"x.y\"].z", (5, 14)),
            ("filter_chains[0].filters[1].typed_config.missing.deeper", (6, 5)),
            ("filter_chains[7]", (2, 1)),
            ("", (1, 1)),
        ] {
            assert_eq!(locate(text, path), Some(place), "{path}");
        }
        assert_eq!(locate("a: [", "a"), None);
    }
}
