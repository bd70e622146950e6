//! Keys and certificates of the test bed's Kubernetes, and the kubeconfigs that hold them.

use std::path::PathBuf;

use super::{network, state};
use crate::files;
use crate::process::{TaskError, command, output};

/// The node's name.
pub const NODE: &str = "testbed";

/// Where they are.
pub fn dir() -> PathBuf {
    state::dir().join("pki")
}

/// The path of one of them.
pub fn file(name: &str) -> String {
    dir().join(name).display().to_string()
}

/// The kubeconfig of a user.
pub fn kubeconfig(user: &str) -> PathBuf {
    state::dir().join(format!("{user}.kubeconfig"))
}

/// Makes all of them.
///
/// # Errors
/// When openssl fails or a file can't be written.
pub fn make() -> Result<(), TaskError> {
    files::make_dir(&dir())?;
    let usage = "keyUsage=critical,keyCertSign,cRLSign";
    openssl(&["-subj", "/CN=foregate-testbed", "-addext", usage, "-keyout", &file("ca.key"), "-out", &file("ca.crt")])?;
    let key = ["genpkey", "-quiet", "-algorithm", "RSA", "-out"];
    output(command("openssl", &key).arg(dir().join("service-accounts.key")))?;

    let own = "localhost,IP:127.0.0.1";
    let cluster =
        "kubernetes.default.svc,DNS:kubernetes.default,DNS:kubernetes,DNS:kubernetes.default.svc.cluster.local";
    let addresses = format!("IP:{},IP:{}", network::NODE_ADDRESS, network::API_SERVICE);
    issue("apiserver", "/CN=kube-apiserver", &format!("DNS:{own},DNS:{cluster},{addresses}"))?;
    issue("kubelet-server", &format!("/CN={NODE}"), &format!("DNS:{NODE},IP:{}", network::NODE_ADDRESS))?;
    // Those who only dial.
    for (name, subject) in [
        ("admin", "/O=system:masters/CN=admin"),
        ("apiserver-kubelet-client", "/O=system:masters/CN=kube-apiserver"),
        ("kube-controller-manager", "/CN=system:kube-controller-manager"),
        ("kube-scheduler", "/CN=system:kube-scheduler"),
        ("kubelet", &format!("/O=system:nodes/CN=system:node:{NODE}")),
    ] {
        issue(name, subject, "DNS:client")?;
        files::write(&kubeconfig(name), user_config(name)?)?;
    }
    Ok(())
}

/// A certificate of the CA's for servers and clients.
fn issue(name: &str, subject: &str, names: &str) -> Result<(), TaskError> {
    let (certificate, key) = (file(&format!("{name}.crt")), file(&format!("{name}.key")));
    let (ca, ca_key) = (file("ca.crt"), file("ca.key"));
    let names = format!("subjectAltName={names}");
    let mut arguments = vec!["-CA", &ca, "-CAkey", &ca_key, "-subj", subject, "-keyout", &key, "-out", &certificate];
    for extension in ["basicConstraints=critical,CA:FALSE", "extendedKeyUsage=serverAuth,clientAuth", &names] {
        arguments.extend(["-addext", extension]);
    }
    openssl(&arguments)
}

fn openssl(arguments: &[&str]) -> Result<(), TaskError> {
    let common = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650"];
    output(command("openssl", &common).args(arguments)).map(drop)
}

/// A kubeconfig that holds its certificates, so that it can be copied.
fn user_config(user: &str) -> Result<String, TaskError> {
    let inline = |name: String| output(&mut command("base64", &["-w0", &file(&name)]));
    let server = format!("https://{}:{}", network::NODE_ADDRESS, network::API_PORT);
    let (ca, certificate) = (inline("ca.crt".to_owned())?, inline(format!("{user}.crt"))?);
    let key = inline(format!("{user}.key"))?;
    Ok(format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: testbed\n  cluster:\n    server: {server}\n    certificate-authority-data: {ca}\n\
         users:\n\
         - name: {user}\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n\
         contexts:\n\
         - name: testbed\n  context: {{cluster: testbed, user: {user}}}\n\
         current-context: testbed\n"
    ))
}
