//! One file per feature: platform objects in, Envoy resources and reports out. `UPDATE_GOLDEN=1` rewrites the outputs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use foregate_api::address::ProxyRef;
use foregate_envoy::{Resource, ResourceKind, to_yaml};
use foregate_translate::{Options, Output, Translator};

/// Cases that show the intermediate representation too.
const IR: [&str; 5] = ["headers", "listener-passthrough", "listener-tls", "retries", "route"];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

#[test]
fn golden_files() {
    let mut names: Vec<String> = fs::read_dir(golden())
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".in.yaml")?.to_owned()))
        .collect();
    names.sort();
    assert!(names.len() >= 15, "golden files are missing: {names:?}");
    let differing: Vec<&String> = names.iter().filter(|name| !check(name)).collect();
    assert!(differing.is_empty(), "differ (UPDATE_GOLDEN=1 rewrites them): {differing:?}");
}

/// Whether a case comes out as its file says.
fn check(name: &str) -> bool {
    let text = fs::read_to_string(golden().join(format!("{name}.in.yaml"))).unwrap();
    let base = fs::read_to_string(golden().join("base.yaml")).unwrap();
    let own_proxy = text.contains("kind: GatewayProxy");
    let mut inputs = support::inputs(&base);
    inputs.retain(|input| !own_proxy || !matches!(input, foregate_translate::Input::Proxy(_)));
    inputs.extend(support::inputs(&text));
    let mut translator = Translator::new(Options::default());
    let output = translator.apply(inputs);
    let proxy = ProxyRef { namespace: "tenant-a".to_owned(), name: "web".to_owned() };
    let actual = print(&translator.resources(&proxy), &output, name.starts_with("listener"));
    let ir = serde_saphyr::to_string(&translator.ir(&proxy).unwrap()).unwrap();
    let ir_same = !IR.contains(&name) || same(&format!("{name}.ir.yaml"), &ir);
    same(&format!("{name}.out.yaml"), &actual) && ir_same
}

/// Whether a golden file has this text.
fn same(name: &str, actual: &str) -> bool {
    let path = golden().join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if expected != actual {
        let line = expected.lines().zip(actual.lines()).position(|(expected, actual)| expected != actual);
        eprintln!("{name}: differs from line {} on:\n{actual}", line.map_or(0, |line| line + 1));
    }
    expected == actual
}

fn print(resources: &[&Resource], output: &Output, listeners: bool) -> String {
    let mut text = String::new();
    for resource in resources {
        let needs: Vec<String> = resource.needs.iter().map(|id| format!("{id:?}")).collect();
        let owners: Vec<String> =
            resource.owners.iter().map(|owner| format!("{}@{}", owner.uid, owner.generation)).collect();
        writeln!(text, "# {:?}", resource.id).unwrap();
        writeln!(text, "# needs {needs:?}").unwrap();
        writeln!(text, "# of {owners:?}").unwrap();
        // Listeners are long, and shown where they are what matters.
        if listeners || resource.id.kind != ResourceKind::Listener {
            writeln!(text, "{}", to_yaml(resource.id.kind, &resource.body).unwrap().trim_end()).unwrap();
        }
        writeln!(text, "---").unwrap();
    }
    for report in &output.reports {
        let problem = report.problem.as_deref().unwrap_or("none").replace('\n', "\n#   ");
        writeln!(text, "# {}: {problem}", report.object).unwrap();
    }
    text
}
