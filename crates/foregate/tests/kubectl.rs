//! kubectl, unmodified, in every version that `FOREGATE_KUBECTLS` names (`cargo xtask test` builds them).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod harness;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use harness::{Foregate, gateway, route};

/// The kubectls to test: those of the environment, else the one on PATH.
fn kubectls() -> Vec<PathBuf> {
    match std::env::var_os("FOREGATE_KUBECTLS") {
        Some(paths) => std::env::split_paths(&paths).collect(),
        None => vec!["kubectl".into()],
    }
}

/// One kubectl against one server.
struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: tempfile::TempDir,
}

impl Kubectl {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        // A home of its own: a cache of an earlier server's discovery would be a different test.
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(args).env("HOME", self.home.path());
        command
    }

    fn output(&self, args: &[&str], stdin: &str) -> Output {
        use std::io::Write;
        let mut command = self.command(args);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl runs; `cargo xtask test` builds it");
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs, expects success, returns what it printed.
    fn ok_with(&self, args: &[&str], stdin: &str) -> String {
        let output = self.output(args, stdin);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {args:?}\n{out}{err}");
        assert!(!err.contains("panic") && !err.contains("Unknown"), "kubectl {args:?} on stderr: {err}");
        out.into_owned()
    }

    fn ok(&self, args: &[&str]) -> String {
        self.ok_with(args, "")
    }

    /// Runs, expects failure, returns what it said.
    fn refused(&self, args: &[&str], stdin: &str) -> String {
        let output = self.output(args, stdin);
        assert!(!output.status.success(), "kubectl {args:?} should fail: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

/// Runs `check` with each kubectl against a server of its own.
fn with_each(pool: &str, check: impl Fn(&Kubectl, &Path)) {
    for program in kubectls() {
        let dir = tempfile::tempdir().unwrap();
        let foregate = Foregate::start(&dir.path().join("data"), pool, &[]);
        let kubeconfig = foregate.kubeconfig();
        let kubectl = Kubectl { program, kubeconfig, home: tempfile::tempdir().unwrap() };
        check(&kubectl, dir.path());
    }
}

#[test]
fn objects_are_made_seen_changed_and_removed() {
    with_each("127.115.0.0/24", |kubectl, dir| {
        let manifest = dir.join("web.yaml");
        std::fs::write(&manifest, format!("{}---\n{}", gateway("web"), route("web", "web", "/", "nobody"))).unwrap();
        let file = manifest.to_str().unwrap();

        assert!(kubectl.ok(&["apply", "-f", file]).contains("gateway.gateway.networking.k8s.io/web created"));
        let version = || kubectl.ok(&["get", "gateway", "web", "-o", "jsonpath={.metadata.generation} {.spec}"]);
        let before = version();
        kubectl.ok(&["apply", "-f", file]);
        assert_eq!(version(), before, "applying again changes nothing");
        assert!(
            kubectl.ok(&["apply", "--server-side", "--force-conflicts", "-f", file]).contains("serverside-applied")
        );
        assert!(kubectl.ok(&["apply", "--server-side", "-f", file]).contains("serverside-applied"));

        kubectl.ok(&["wait", "--for=condition=Programmed", "--timeout=20s", "gateway/web"]);
        let table = kubectl.ok(&["get", "gateway"]);
        assert!(table.contains("CLASS") && table.contains("PROGRAMMED") && table.contains("127.115.0."), "{table}");
        let yaml = kubectl.ok(&["get", "httproute", "web", "-o", "yaml"]);
        assert!(yaml.contains("BackendNotFound"), "the status says what is missing: {yaml}");
        let described = kubectl.ok(&["describe", "httproute", "web"]);
        assert!(described.contains("Backend Not Found") || described.contains("BackendNotFound"), "{described}");

        let patch = r#"{"metadata":{"labels":{"tier":"front"}}}"#;
        assert!(kubectl.ok(&["patch", "gateway", "web", "--type=merge", "-p", patch]).contains("patched"));
        assert!(kubectl.ok(&["get", "gateway", "-l", "tier=front", "-o", "name"]).contains("/web"));
        assert!(kubectl.ok(&["label", "gateway", "web", "tier-"]).contains("unlabeled"));

        assert!(kubectl.ok(&["delete", "-f", file]).contains("deleted"));
        assert!(kubectl.refused(&["get", "gateway", "web"], "").contains("NotFound"));
    });
}

#[test]
fn edit_opens_an_editor_and_saves() {
    with_each("127.115.1.0/24", |kubectl, _| {
        kubectl.ok_with(&["apply", "-f", "-"], &gateway("web"));
        let output =
            kubectl.command(&["edit", "gateway", "web"]).env("EDITOR", "sed -i s/8080/8088/").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(kubectl.ok(&["get", "gateway", "web", "-o", "jsonpath={.spec.listeners[0].port}"]).contains("8088"));
    });
}

#[test]
fn namespaces_secrets_and_configmaps_are_created_by_verbs() {
    with_each("127.115.2.0/24", |kubectl, dir| {
        assert!(kubectl.ok(&["create", "namespace", "shop"]).contains("namespace/shop created"));
        kubectl.ok(&["create", "configmap", "settings", "-n", "shop", "--from-literal=colour=blue"]);
        let key = rcgen::generate_simple_self_signed(vec!["shop.test".to_owned()]).unwrap();
        let (cert_file, key_file) = (dir.join("tls.crt"), dir.join("tls.key"));
        std::fs::write(&cert_file, key.cert.pem()).unwrap();
        std::fs::write(&key_file, key.signing_key.serialize_pem()).unwrap();
        let (cert, key) = (format!("--cert={}", cert_file.display()), format!("--key={}", key_file.display()));
        assert!(kubectl.ok(&["create", "secret", "tls", "shop", "-n", "shop", &cert, &key]).contains("created"));
        let table = kubectl.ok(&["get", "secret", "-n", "shop"]);
        assert!(table.contains("kubernetes.io/tls") && table.contains("DATA"), "{table}");
        assert!(kubectl.ok(&["get", "configmap", "settings", "-n", "shop", "-o", "yaml"]).contains("colour: blue"));
        assert!(kubectl.ok(&["delete", "namespace", "shop", "--timeout=20s"]).contains("deleted"));
        assert!(kubectl.refused(&["get", "secret", "shop", "-n", "shop"], "").contains("NotFound"));
    });
}

#[test]
fn the_api_describes_itself() {
    with_each("127.115.3.0/24", |kubectl, _| {
        let resources = kubectl.ok(&["api-resources"]);
        for name in ["gateways", "httproutes", "gatewayproxies", "services", "endpointslices", "secrets"] {
            assert!(resources.contains(name), "{name} in\n{resources}");
        }
        assert!(kubectl.ok(&["explain", "httproute.spec.rules.matches"]).contains("FIELDS"));
        assert!(kubectl.ok(&["explain", "gatewayproxy.spec"]).contains("pinnedRevision"));
        assert!(kubectl.ok(&["explain", "service.spec.ports"]).contains("targetPort"));
        assert!(kubectl.ok(&["auth", "can-i", "create", "gateways"]).contains("yes"));
        assert!(kubectl.ok(&["auth", "whoami"]).contains("system:masters"));
        assert!(kubectl.ok(&["version"]).contains("Server Version"));
        let namespaces = kubectl.ok(&["get", "namespaces"]);
        for name in ["default", "kube-system", "tenant-default"] {
            assert!(namespaces.lines().any(|line| line.starts_with(name) && line.contains("Active")), "{namespaces}");
        }
    });
}

#[test]
fn watching_shows_changes_as_they_come() {
    use std::io::{BufRead, BufReader};
    with_each("127.115.4.0/24", |kubectl, _| {
        let mut watch = kubectl
            .command(&["get", "gateway", "-w", "--no-headers", "--request-timeout=30s"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        kubectl.ok_with(&["apply", "-f", "-"], &gateway("web"));
        let programmed =
            lines.by_ref().map_while(Result::ok).find(|line| line.contains("web") && line.contains("True"));
        let _ = watch.kill();
        let _ = watch.wait();
        assert!(programmed.is_some());
    });
}

#[test]
fn bad_objects_are_refused_with_the_field_and_nothing_is_lost() {
    with_each("127.115.5.0/24", |kubectl, _| {
        kubectl.ok_with(&["apply", "-f", "-"], &gateway("web"));
        let good = gateway("bad");
        let big = good.replace(
            "metadata: {name: bad}",
            &format!("metadata: {{name: bad, annotations: {{big: {}}}}}", "x".repeat(1_600_000)),
        );
        for (what, yaml, expected) in [
            ("an unknown field", good.replace("spec:\n", "spec:\n  colour: blue\n"), "colour"),
            ("a wrong type", good.replace("port: 8080", "port: many"), "port"),
            ("a rule of the schema", good.replace("protocol: HTTP", "protocol: HTTP, tls: {mode: Terminate}"), "tls"),
            ("a port out of range", good.replace("8080", "99999"), "99999"),
            ("an object over 1.5 MiB", big, "large"),
            ("YAML that isn't", "kind: [\n".to_owned(), "yaml"),
            ("a kind that isn't served", good.replace("kind: Gateway\n", "kind: Gatweay\n"), "Gatweay"),
        ] {
            let said = kubectl.refused(&["create", "-f", "-"], &yaml).to_lowercase();
            assert!(said.contains(&expected.to_lowercase()), "{what}: {said}");
        }
        assert!(kubectl.ok(&["get", "gateway", "-o", "name"]).trim().ends_with("/web"), "only the good one is there");
    });
}
