//! What classes with parameters say of these, and of the platforms that they lead to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;

use common::platforms::{A, accepted, attach, class, connected, credential, opened, parameters, set};
use common::{at, input, pem};
use foregate_attach::{Attach, Change, Health, Input, Release, Settings, StatusKind, TargetEvent};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

#[test]
fn a_broken_reference_says_what_is_wrong() {
    let unknown = |group: &str| {
        let mut parameters = parameters("p", A, pem("a.crt"));
        parameters["metadata"]["namespace"] = json!("system");
        let class = json!({
            "kind": "GatewayClass", "metadata": { "name": "c" },
            "spec": {
                "controllerName": foregate_api::CONTROLLER_NAME,
                "parametersRef": { "group": group, "kind": "GatewayClassParameters", "name": "p" },
            },
        });
        vec![input(class), input(parameters)]
    };
    let mut elsewhere = parameters("p", A, pem("a.crt"));
    elsewhere["spec"]["credentialsRef"]["namespace"] = json!("vault");
    let mut ill_named = parameters("p", A, pem("a.crt"));
    ill_named["spec"]["cluster"] = json!("Edge");
    let referring = |parameters: Value| vec![class("c", Some("p")), input(parameters), credential("a")];
    for (inputs, contains) in [
        (vec![class("c", None)], "spec.parametersRef is missing"),
        (vec![class("c", Some("p"))], "GatewayClassParameters system/p doesn't exist; `foregate cluster add`"),
        (unknown("example.com"), "isn't a kind of parameters that Foregate knows"),
        (unknown("foregate.dev"), "it needs the namespace"),
        (
            vec![class("c", Some("p")), input(parameters("p", A, pem("a.crt")))],
            "Secret system/credential doesn't exist",
        ),
        (referring(elsewhere), "no ReferenceGrant in vault lets it name Secret vault/credential"),
        (referring(ill_named), "spec.cluster of GatewayClassParameters system/p"),
        (referring(parameters("p", A, "nonsense")), "spec.platform.caCertificates of GatewayClassParameters system/p"),
    ] {
        let output = attach().apply(inputs, &at(0));
        let (status, reason, message) = accepted(&output, "c");
        assert_eq!((status.as_str(), reason.as_str()), ("False", "InvalidParameters"), "{message}");
        assert!(message.contains(contains), "{message:?} has no {contains:?}");
        assert!(output.targets.is_empty(), "{message}");
    }
}

#[test]
fn a_class_says_what_the_platform_says() {
    let mut attach = attach();
    let inputs = [class("c", Some("p")), input(parameters("p", A, pem("a.crt"))), credential("a")];
    let first = attach.apply(inputs, &at(0));
    assert_eq!(accepted(&first, "c").0, "Unknown", "nobody has asked the platform yet");
    let (id, to) = connected(&first)[A].clone();
    assert_eq!((to.namespace.as_str(), to.cluster.as_str()), ("tenant-shop", "edge"));
    let mut told = |health| accepted(&attach.apply([Input::Target(id, TargetEvent::Checked(health))], &at(1)), "c");
    let good = |missing: &[&str]| Health::Good { missing_templates: set(missing) };
    assert_eq!(told(good(&[])).0, "True");
    let (status, reason, message) = told(good(&["small"]));
    assert_eq!((status.as_str(), reason.as_str()), ("False", "InvalidParameters"));
    assert!(message.contains("GatewayTemplate tenant-shop/small"), "{message}");
    assert_eq!(told(Health::Refused("401".to_owned())).1, "InvalidParameters");
    let (status, reason, message) = told(Health::Away("no route".to_owned()));
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "PlatformUnreachable"));
    assert!(message.contains("no route"), "{message}");
}

#[test]
fn a_class_says_what_an_old_release_of_the_gateway_api_lacks() {
    let mut attach = Attach::new(Settings::local());
    let mut supported = |version: &str, missing: &[&str]| {
        let missing = missing.iter().map(|&plural| plural.to_owned()).collect();
        let release = Release { version: Some(version.to_owned()), missing };
        let output = attach.apply([class("c", None), Input::Release(release)], &at(0));
        let status = output.statuses.iter().find(|s| s.kind == StatusKind::GatewayClass).unwrap();
        let conditions = status.status["conditions"].as_array().unwrap().clone();
        let found = conditions.into_iter().find(|c| c["type"] == "SupportedVersion").unwrap();
        (found["status"].as_str().unwrap().to_owned(), found["message"].as_str().unwrap().to_owned())
    };
    let (status, message) = supported("v1.4.0", &["listenersets", "tcproutes"]);
    assert_eq!(status, "False");
    assert!(message.contains("v1.4.0") && message.contains("listenersets, tcproutes"), "{message}");
    assert_eq!(supported("v1.7.0", &[]).0, "True");
}

#[test]
fn a_credential_is_for_one_tenant_and_cluster() {
    let secret = |user: &str| {
        let mut made = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        made.distinguished_name.push(rcgen::DnType::CommonName, user);
        let key = rcgen::KeyPair::generate().unwrap();
        let data = [("tls.crt", made.self_signed(&key).unwrap().pem()), ("tls.key", key.serialize_pem())];
        Input::Secret(Change::Set(Arc::new(Secret {
            metadata: serde_json::from_value(json!({ "name": "credential", "namespace": "system", "uid": "c" }))
                .unwrap(),
            data: Some(data.map(|(name, pem)| (name.to_owned(), ByteString(pem.into_bytes()))).into()),
            ..Secret::default()
        })))
    };
    for (user, whose) in [
        ("foregate:cluster:shop:edge", None),
        ("somebody", None),
        ("foregate:cluster:shop:other", Some("shop/other")),
        ("foregate:cluster:books:edge", Some("books/edge")),
    ] {
        let inputs = [class("c", Some("p")), input(parameters("p", A, pem("a.crt"))), secret(user)];
        let output = attach().apply(inputs, &at(0));
        assert_eq!(output.targets.is_empty(), whose.is_some(), "{user}");
        let Some(whose) = whose else { continue };
        let (status, reason, message) = accepted(&output, "c");
        assert_eq!((status.as_str(), reason.as_str()), ("False", "InvalidParameters"));
        let expected = format!(
            "the credential is for {whose} (its certificate's common name), spec.tenant/spec.cluster say shop/edge"
        );
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn a_class_that_serves_says_that_its_credential_is_not_renewed() {
    let mut attach = attach();
    let inputs = [class("c", Some("p")), input(parameters("p", A, pem("a.crt"))), credential("a")];
    let (id, to) = connected(&attach.apply(inputs, &at(0)))[A].clone();
    assert_eq!(to.secret.to_string(), "system/credential");
    let validity = to.validity().unwrap();
    assert!(validity.start < validity.end);
    attach.apply(opened(id), &at(1));
    let mut told = |why: Option<&str>| {
        let event = TargetEvent::Renewal(why.map(str::to_owned));
        accepted(&attach.apply([Input::Target(id, event)], &at(2)), "c")
    };
    let (status, _, message) = told(Some("its credential expires soon"));
    assert_eq!(status, "True");
    assert_eq!(message, "Foregate serves Gateways of this class; but its credential expires soon");
    assert_eq!(told(None).2, "Foregate serves Gateways of this class");
}
