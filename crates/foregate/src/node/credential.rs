//! A node's credential: one file with all that a node needs to know of its platform.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What `foregate node add` writes, and `foregate node --credential` reads. Whoever has it is the node.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credential {
    /// The node's name.
    pub node: String,
    /// Where the platform's API is: `https://HOST:PORT`.
    pub api: String,
    /// Where its xDS port is: `HOST:PORT`.
    pub xds: String,
    /// The certificate of the platform's authority, PEM.
    pub certificate_authority: String,
    /// The node's certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
}

/// Why a credential can't be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file can't be read.
    #[error("cannot read the credential {path}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("others may read the credential {path}: make it private with `chmod 600 {path}`", path = path.display())]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// It isn't one.
    #[error("{path} is no credential as `foregate node add` writes it: {message}", path = path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// The API can't be reached with it.
    #[error("the credential's API address or certificates can't be used")]
    Client {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Credential {
    /// Reads a file that only its owner may read.
    ///
    /// # Errors
    /// [`CredentialError`]
    pub fn read(path: &Path) -> Result<Self, CredentialError> {
        let read = |source| CredentialError::Read { path: path.to_owned(), source };
        let mode = std::fs::metadata(path).map_err(read)?.mode();
        if mode & 0o077 != 0 {
            return Err(CredentialError::Open { path: path.to_owned() });
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        // Without the text: it is a secret.
        serde_saphyr::from_str(&text).map_err(|error| CredentialError::Parse {
            path: path.to_owned(),
            message: error.to_string().lines().next().unwrap_or_default().to_owned(),
        })
    }

    /// As text.
    pub fn to_yaml(&self) -> String {
        // JSON is YAML: should the nicer form fail, which has no reason to.
        serde_saphyr::to_string(self).unwrap_or_else(|_| serde_json::to_string(self).unwrap_or_default())
    }

    /// A new, empty file that only its owner may read.
    ///
    /// # Errors
    /// When there is a file already, or it can't be made.
    pub fn create(path: &Path) -> std::io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    /// Writes it to a file that is [made](Self::create) for it.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, mut file: File) -> std::io::Result<()> {
        file.write_all(self.to_yaml().as_bytes())?;
        file.sync_all()
    }

    /// Puts it in the place of one that is there, whole or not at all.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn replace(&self, path: &Path) -> std::io::Result<()> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        // Of a process that was killed.
        match std::fs::remove_file(&part) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.write(Self::create(&part)?)?;
        std::fs::rename(&part, path)?;
        // The name is as good as written once its directory is.
        File::open(path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()
    }

    /// A client of the platform's API. Doesn't connect yet.
    ///
    /// # Errors
    /// When address or certificates make no sense.
    pub async fn client(&self) -> Result<kube::Client, CredentialError> {
        let refuse = |source: Box<dyn std::error::Error + Send + Sync>| CredentialError::Client { source };
        let kubeconfig: Kubeconfig = serde_json::from_value(self.kubeconfig()).map_err(|error| refuse(error.into()))?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        kube::Client::try_from(config.map_err(|error| refuse(error.into()))?).map_err(|error| refuse(error.into()))
    }

    fn kubeconfig(&self) -> Value {
        let encode = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
        json!({
            "current-context": "platform",
            "contexts": [{ "name": "platform", "context": { "cluster": "platform", "user": "node" } }],
            "clusters": [{ "name": "platform", "cluster": {
                "server": self.api, "certificate-authority-data": encode(&self.certificate_authority) } }],
            "users": [{ "name": "node", "user": {
                "client-certificate-data": encode(&self.certificate), "client-key-data": encode(&self.key) } }],
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_private_and_read_and_what_is_open_is_refused() {
        let text = |text: &str| text.to_owned();
        let credential = Credential {
            node: text("n1"),
            api: text("https://127.0.0.1:7443"),
            xds: text("127.0.0.1:7444"),
            certificate_authority: text("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"),
            certificate: text("c\nd\n"),
            key: text("secret\n"),
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n1.yaml");
        credential.write(Credential::create(&path).unwrap()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Credential::read(&path).unwrap() == credential);
        assert!(Credential::create(&path).is_err(), "once");
        let renewed = Credential { key: text("another\n"), ..credential.clone() };
        std::fs::write(dir.path().join("n1.yaml.part"), "half of").unwrap();
        renewed.replace(&path).unwrap();
        assert!(Credential::read(&path).unwrap() == renewed, "and private");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = Credential::read(&path).map(drop).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        std::fs::remove_file(&path).unwrap();
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        std::fs::write(&path, "key: secret\nsecret: 1\n").unwrap();
        let error = Credential::read(&path).map(drop).unwrap_err().to_string();
        assert!(error.contains("foregate node add"), "{error}");
    }
}
