//! What the golden cases translate to is loaded by real Envoys (`--mode validate`), the oldest and the newest that are
//! tested: each case as one static bootstrap, whose routes, endpoints and secrets stand where xDS would bring them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../../foregate-envoy/tests/support/envoys.rs"]
mod envoys;
mod support;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use foregate_api::address::ProxyRef;
use foregate_envoy::{Resource, ResourceKind, decode, message_to_json};
use foregate_translate::{Input, Options, Translator};
use serde_json::{Map, Value, json};

/// What only the newest can do: the others say so.
const NEWEST_ONLY: [&str; 1] = ["listener-tracing"];

#[test]
fn envoy_loads_every_golden_case() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let base = fs::read_to_string(golden.join("base.yaml")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut cases = Vec::new();
    for entry in fs::read_dir(&golden).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = path.file_name().unwrap().to_str().unwrap().strip_suffix(".in.yaml").map(str::to_owned) else {
            continue;
        };
        let file = directory.path().join(format!("{name}.json"));
        let bootstrap = bootstrap(&translated(&base, &fs::read_to_string(&path).unwrap()));
        fs::write(&file, bootstrap.to_string()).unwrap();
        cases.push((name, file));
    }
    assert!(cases.len() >= 22, "golden files are missing");
    let newest = envoys::envoys().pop().unwrap();
    let newest = &newest;
    let refused: Vec<String> = std::thread::scope(|scope| {
        let versions: Vec<_> = envoys::envoys()
            .into_iter()
            .map(|envoy| {
                let cases = &cases;
                scope.spawn(move || {
                    let verdict = |(name, file): &(String, PathBuf)| judged(&envoy, envoy == *newest, name, file);
                    cases.iter().filter_map(verdict).collect::<Vec<_>>()
                })
            })
            .collect();
        versions.into_iter().flat_map(|version| version.join().unwrap()).collect()
    });
    assert!(refused.is_empty(), "Envoy refuses:\n{}", refused.join("\n"));
}

/// What is wrong with an Envoy's verdict.
fn judged(envoy: &Path, is_newest: bool, name: &str, file: &Path) -> Option<String> {
    let verdict = verdict(envoy, name, file);
    if is_newest || !NEWEST_ONLY.contains(&name) {
        return verdict;
    }
    verdict.is_none().then(|| format!("{name} by {}: it isn't refused, so it may be ignored", envoy.display()))
}

/// A check of the check: what Envoy must refuse is refused, in its words.
#[test]
fn envoy_refuses_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wrong.json");
    let cluster = json!({ "name": "a", "type": "STATIC", "load_assignment": { "cluster_name": "a", "endpoints": [
        { "lb_endpoints": [{ "endpoint": { "address": { "socket_address": { "address": "no.address", "port_value": 1 } } } }] }] } });
    fs::write(&file, json!({ "static_resources": { "clusters": [cluster] } }).to_string()).unwrap();
    for envoy in envoys::envoys() {
        let refused = verdict(&envoy, "wrong", &file).unwrap();
        assert!(refused.contains("malformed IP address: no.address"), "{refused}");
    }
}

/// A case's resources: what the gateway of `golden.rs` has been given.
fn translated(base: &str, text: &str) -> Vec<Resource> {
    let own_proxy = text.contains("kind: GatewayProxy");
    let mut inputs = support::inputs(base);
    inputs.retain(|input| !own_proxy || !matches!(input, Input::Proxy(_)));
    inputs.extend(support::inputs(text));
    let mut translator = Translator::new(Options::default());
    translator.apply(inputs);
    let proxy = ProxyRef { namespace: "tenant-a".to_owned(), name: "web".to_owned() };
    translator.resources(&proxy).into_iter().cloned().collect()
}

/// Why Envoy refuses a bootstrap; none: it doesn't.
fn verdict(envoy: &Path, name: &str, file: &Path) -> Option<String> {
    let mut command = Command::new(envoy);
    command.args(["--mode", "validate", "--log-level", "error", "--disable-hot-restart", "-c"]).arg(file);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    (!output.status.success()).then(|| format!("{name} by {}: {}", envoy.display(), said.trim()))
}

/// All resources in one static configuration.
fn bootstrap(resources: &[Resource]) -> Value {
    let mut parts = Parts::default();
    for resource in resources {
        let type_name = resource.id.kind.type_url().rsplit('/').next().unwrap();
        let json = message_to_json(&decode(type_name, &resource.body).unwrap());
        let name = resource.id.name.to_string();
        match resource.id.kind {
            ResourceKind::Cluster => parts.clusters.push(json),
            ResourceKind::ClusterLoadAssignment => drop(parts.endpoints.insert(name, json)),
            ResourceKind::Secret => parts.secrets.push(with_certificate(json)),
            ResourceKind::Listener => parts.listeners.push(json),
            ResourceKind::RouteConfiguration => drop(parts.routes.insert(name, json)),
            ResourceKind::VirtualHost => {
                let (configuration, _) = name.rsplit_once('/').unwrap();
                parts.hosts.entry(configuration.to_owned()).or_default().push(json);
            }
            ResourceKind::ExtensionConfig => panic!("nothing makes {name} yet: give it a place in the bootstrap"),
        }
    }
    for (name, hosts) in &parts.hosts {
        let configuration = parts.routes.get_mut(name).unwrap_or_else(|| panic!("{name} has virtual hosts only"));
        configuration["virtual_hosts"] = json!(hosts);
    }
    let clusters: Vec<Value> = parts.clusters.iter().map(|cluster| with_endpoints(cluster, &parts.endpoints)).collect();
    let mut listeners = parts.listeners;
    for listener in &mut listeners {
        inline(listener, &parts.routes);
    }
    let mut clusters = json!(clusters);
    inline(&mut clusters, &parts.routes);
    json!({ "node": { "id": "test", "cluster": "test" },
            "static_resources": { "listeners": listeners, "clusters": clusters, "secrets": parts.secrets } })
}

#[derive(Default)]
struct Parts {
    clusters: Vec<Value>,
    endpoints: HashMap<String, Value>,
    secrets: Vec<Value>,
    listeners: Vec<Value>,
    routes: HashMap<String, Value>,
    hosts: HashMap<String, Vec<Value>>,
}

/// A cluster whose endpoints came by EDS, with them in it.
fn with_endpoints(cluster: &Value, endpoints: &HashMap<String, Value>) -> Value {
    let mut cluster = cluster.clone();
    let fields = cluster.as_object_mut().unwrap();
    if let Some(eds) = fields.remove("eds_cluster_config") {
        let name = eds.get("service_name").unwrap_or(&fields["name"]).as_str().unwrap();
        let assignment = endpoints.get(name).unwrap_or_else(|| panic!("endpoints of {name} are missing"));
        fields.insert("type".to_owned(), json!("STATIC"));
        fields.insert("load_assignment".to_owned(), assignment.clone());
    }
    cluster
}

/// Route configurations in place of RDS; secrets by their name alone are those of the bootstrap.
fn inline(value: &mut Value, routes: &HashMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            if let Some(rds) = fields.remove("rds") {
                let name = rds["route_config_name"].as_str().unwrap();
                let routes = routes.get(name).unwrap_or_else(|| panic!("route configuration {name} is missing"));
                let mut routes = routes.clone();
                // As RDS has it: a route to a cluster that isn't there is no error.
                routes["validate_clusters"] = json!(false);
                fields.insert("route_config".to_owned(), routes);
            }
            let ads = fields.get("sds_config").is_some_and(|source: &Value| source.get("ads").is_some());
            if ads {
                fields.remove("sds_config");
            }
            fields.values_mut().for_each(|field| inline(field, routes));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| inline(item, routes)),
        _ => {}
    }
}

/// The golden files' certificates are placeholders, which Envoy would refuse for what they are; it gets a real pair.
fn with_certificate(mut secret: Value) -> Value {
    let fields: &mut Map<String, Value> = secret.as_object_mut().unwrap();
    let pair = rcgen::generate_simple_self_signed(["a.example.com".to_owned()]).unwrap();
    if let Some(certificate) = fields.get_mut("tls_certificate") {
        certificate["certificate_chain"] = json!({ "inline_string": pair.cert.pem() });
        certificate["private_key"] = json!({ "inline_string": pair.signing_key.serialize_pem() });
    }
    if let Some(context) = fields.get_mut("validation_context") {
        context["trusted_ca"] = json!({ "inline_string": pair.cert.pem() });
    }
    secret
}
