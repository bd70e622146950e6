//! `cargo xtask tidy`: the structure that ARCHITECTURE.md promises, checked.

use std::collections::BTreeMap;
use std::path::Path;

use crate::process::{TaskError, cargo, command, output, root};

/// The arrows between crates: who may depend on whom. There are no others.
const ARROWS: [(&str, &[&str]); 13] = [
    ("foregate", &["*"]),
    ("foregate-api", &[]),
    ("foregate-apiserver", &["foregate-api"]),
    ("foregate-attach", &["foregate-api"]),
    ("foregate-controller", &["foregate-api", "foregate-attach"]),
    ("foregate-envoy", &[]),
    ("foregate-node", &["foregate-api", "foregate-xds"]),
    ("foregate-platform", &["foregate-api", "foregate-translate", "foregate-xds"]),
    ("foregate-proxy", &["foregate-envoy", "foregate-xds"]),
    ("foregate-template", &[]),
    ("foregate-translate", &["foregate-api", "foregate-template", "foregate-envoy"]),
    ("foregate-xds", &["foregate-envoy"]),
    ("xtask", &[]),
];

/// Crates that do no I/O, and what they must therefore not depend on.
const PURE: [&str; 5] =
    ["foregate-api", "foregate-attach", "foregate-envoy", "foregate-template", "foregate-translate"];
const IMPURE: [&str; 5] = ["tokio", "hyper", "kube-client", "redb", "rustix"];

/// Lines of a source file from which it must be split.
const MAX_LINES: usize = 600;

/// Checks everything, and names every fault at once.
///
/// # Errors
/// When there is a fault, or the tree can't be read.
pub fn run() -> Result<(), TaskError> {
    let mut faults = arrows()?;
    faults.extend(files()?);
    if faults.is_empty() {
        return Ok(());
    }
    for fault in &faults {
        eprintln!("{fault}");
    }
    Err(TaskError::Other(format!("{} fault(s) in the structure", faults.len())))
}

/// Dependencies between the workspace's crates that aren't allowed. Tests may reach further.
fn arrows() -> Result<Vec<String>, TaskError> {
    let text = output(&mut cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| TaskError::Other(format!("cargo metadata: {error}")))?;
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut faults = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(arrows) = allowed.get(name) else {
            faults.push(format!("{name}: a crate that xtask/src/tidy.rs and ARCHITECTURE.md don't know"));
            continue;
        };
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        for dependency in dependencies.filter(|dependency| dependency["kind"].is_null()) {
            let target = dependency["name"].as_str().unwrap_or_default();
            let ours = allowed.contains_key(target);
            if ours && !arrows.contains(&target) && !arrows.contains(&"*") {
                faults.push(format!("{name} → {target}: not an arrow of ARCHITECTURE.md"));
            }
            if PURE.contains(&name) && IMPURE.contains(&target) {
                faults.push(format!("{name} → {target}: {name} does no I/O"));
            }
        }
    }
    Ok(faults)
}

/// Files that are too long, and words that must not be in the tree.
fn files() -> Result<Vec<String>, TaskError> {
    let listed = output(&mut command("git", &["ls-files", "*.rs", "*.toml", "*.md", "*.yaml"]))?;
    let mut faults = Vec::new();
    for name in listed.lines() {
        let Ok(text) = std::fs::read_to_string(root().join(name)) else { continue };
        let is_source = name.ends_with(".rs") && !Path::new(name).components().any(|part| part.as_os_str() == "tests");
        if is_source && text.lines().count() > MAX_LINES {
            faults.push(format!("{name}: {} lines; split it by feature ({MAX_LINES} at most)", text.lines().count()));
        }
        // Spelled apart, so that this file doesn't find itself.
        for word in
            [concat!("to", "do!("), concat!("FIX", "ME"), concat!("unimple", "mented!("), concat!("#[", "ignore")]
        {
            if name.ends_with(".rs") && text.contains(word) {
                faults.push(format!("{name}: `{word}`: finish it, or say in an issue what is missing"));
            }
        }
    }
    Ok(faults)
}
