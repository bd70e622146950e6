//! What a ConfigRevision keeps of a resource is its JSON: the same message is made from it again, byte for byte.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::fs;
use std::path::Path;

use foregate_api::address::ProxyRef;
use foregate_envoy::{ResourceKind, canonical, from_json, to_json};
use foregate_translate::{Options, Translator};

#[test]
fn every_resource_of_every_golden_case_is_made_again_from_its_text() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let base = fs::read_to_string(golden.join("base.yaml")).unwrap();
    let mut tried = 0;
    for entry in fs::read_dir(&golden).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_str().unwrap().ends_with(".in.yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let own_proxy = text.contains("kind: GatewayProxy");
        let mut inputs = support::inputs(&base);
        inputs.retain(|input| !own_proxy || !matches!(input, foregate_translate::Input::Proxy(_)));
        inputs.extend(support::inputs(&text));
        let mut translator = Translator::new(Options::default());
        translator.apply(inputs);
        let proxy = ProxyRef { namespace: "tenant-a".to_owned(), name: "web".to_owned() };
        for resource in translator.resources(&proxy) {
            let kind = resource.id.kind;
            if matches!(kind, ResourceKind::Secret | ResourceKind::ClusterLoadAssignment) {
                continue;
            }
            let json = to_json(kind, &resource.body).unwrap().to_string();
            let again = from_json(kind.type_url(), &serde_json::from_str(&json).unwrap()).unwrap();
            assert!(canonical::encode(&again) == resource.body, "{}: {:?}: {json}", path.display(), resource.id);
            tried += 1;
        }
    }
    assert!(tried > 50, "{tried}");
}
