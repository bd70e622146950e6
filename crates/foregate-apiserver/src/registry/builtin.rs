//! The kinds that are always there.

use super::column::Columns;
use super::kind::Kind;
use super::validation::Rules;
use crate::builtin::{Builtin, KINDS};

/// All of them that are stored.
pub fn kinds() -> Vec<Kind> {
    KINDS.iter().filter(|k| k.persisted).map(kind).collect()
}

/// What else than name and namespace a kind's field selectors may use.
fn selectable(group: &str, plural: &str) -> &'static [&'static str] {
    match (group, plural) {
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("", "secrets") => &["type"],
        ("", "namespaces") => &["status.phase"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        _ => &[],
    }
}

fn kind(builtin: &'static Builtin) -> Kind {
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    Kind {
        group: builtin.group.into(),
        version: builtin.version.into(),
        kind: builtin.kind.into(),
        list_kind: format!("{}List", builtin.kind),
        plural: builtin.plural.into(),
        singular: builtin.singular.into(),
        short_names: owned(builtin.short_names),
        categories: owned(builtin.categories),
        namespaced: builtin.namespaced,
        status: builtin.status,
        generation: builtin.generation,
        storage_version: builtin.version.into(),
        mixed: false,
        columns: Columns::Builtin(builtin.columns),
        selectable: owned(selectable(builtin.group, builtin.plural)),
        storage: format!("{}/{}", builtin.group, builtin.plural).into(),
        definition: None,
        warning: None,
        rules: Rules::Builtin(builtin),
    }
}
