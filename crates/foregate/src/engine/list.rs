//! `foregate engine list`: which engines this node has, and whether they are as they were added.

use foregate_node::engines::{Installed, Store, StoreError};
use serde::Serialize;

use super::EngineError;
use crate::cli::output::Form;
use crate::cli::table::{self, BAD, Cell, GOOD, Table};

/// What is said of an engine.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    /// As `spec.engine` of a GatewayTemplate names it.
    name: String,
    /// `ok` or `damaged`.
    state: &'static str,
    /// What the binary says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    reported: Option<String>,
    /// Its hot restart version.
    #[serde(skip_serializing_if = "Option::is_none")]
    hot_restart: Option<String>,
    /// SHA-256 of its binary.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// When it was added.
    #[serde(skip_serializing_if = "Option::is_none")]
    added: Option<String>,
}

/// Prints them.
///
/// # Errors
/// When the store can't be read, or one of its engines is damaged: after all were printed.
pub fn run(store: &Store, form: Form) -> Result<(), EngineError> {
    let mut rows = vec![Row { name: "builtin".to_owned(), state: "ok", ..Row::default() }];
    let mut faults = Vec::new();
    for engine in store.list()? {
        match engine.and_then(|engine| engine.verify().map(|()| engine)) {
            Ok(engine) => rows.push(row(engine)),
            Err(fault) => {
                if let StoreError::Damaged { version, .. } = &fault {
                    rows.push(Row { name: format!("envoy@{version}"), state: "damaged", ..Row::default() });
                }
                faults.push(fault);
            }
        }
    }
    form.print(&rows, || tabulated(&rows)).map_err(EngineError::Print)?;
    let Some(last) = faults.pop() else { return Ok(()) };
    for fault in faults {
        anstream::eprintln!("error: {fault}");
    }
    Err(last.into())
}

fn row(engine: Installed) -> Row {
    Row {
        name: engine.name().to_string(),
        state: "ok",
        reported: Some(engine.manifest.reported),
        hot_restart: engine.manifest.hot_restart,
        sha256: Some(engine.manifest.sha256),
        added: Some(engine.manifest.added.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
    }
}

fn tabulated(rows: &[Row]) -> String {
    let mut table = Table::new(["name", "state", "hot restart", "added", "sha256"]);
    let text = |text: &Option<String>| Cell::from(text.as_deref().unwrap_or("-"));
    for row in rows {
        let style = if row.state == "ok" { GOOD } else { BAD };
        // Enough of it to tell two from each other; the data forms have all of it.
        let sha256 = row.sha256.as_deref().map(|hash| hash.chars().take(12).collect());
        let state = Cell::new(row.state, style);
        table.row([row.name.as_str().into(), state, text(&row.hot_restart), text(&row.added), text(&sha256)]);
    }
    table.render(table::width())
}
