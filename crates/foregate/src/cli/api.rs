//! The API that verbs speak to: by a kubeconfig.

use std::path::{Path, PathBuf};

use clap::Args;
use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::CliError;

/// Where the metrics of the process's engines are.
pub const METRICS: &str = "/foregate/metrics";

/// How to reach the API.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which Foregate")]
pub struct ApiArgs {
    /// Address and credentials of the API [default: `admin.kubeconfig` of --data-dir where
    /// that is given; else $KUBECONFIG; else that of the default data directory].
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Where a Foregate on this machine keeps its state [default: the XDG state directory; /var/lib/foregate for root].
    #[arg(long, value_name = "DIR", env = "FOREGATE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
}

/// A connection to the API.
#[derive(Clone)]
pub struct ApiServer {
    /// The client.
    pub client: Client,
    url: String,
    /// Where the credentials come from, in words.
    source: String,
}

/// Runs a verb that waits for something.
///
/// # Errors
/// What the verb says.
pub fn block_on<T>(verb: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let next = "free memory or file descriptors, and try again";
    runtime.map_err(|error| CliError::failed("cannot start", next).because(error))?.block_on(verb)
}

impl ApiArgs {
    /// Connects; nothing is asked yet.
    ///
    /// # Errors
    /// When there is no kubeconfig, or it can't be used.
    pub async fn connect(&self) -> Result<ApiServer, CliError> {
        // One provider by default: with two linked, rustls would panic at the first handshake.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (kubeconfig, source) = self.read()?;
        let unusable = |error: &dyn std::error::Error| {
            let next = "name another with --kubeconfig; `foregate up` writes DATA/admin.kubeconfig at every start";
            CliError::failed(format!("the kubeconfig of {source} can't be used: {}", chain(error)), next)
        };
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(|error| unusable(&error))?;
        let url = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|error| unusable(&error))?;
        Ok(ApiServer { client, url, source })
    }

    fn read(&self) -> Result<(Kubeconfig, String), CliError> {
        if let Some(path) = &self.kubeconfig {
            return Ok((read(path)?, path.display().to_string()));
        }
        // A data directory that is named counts more than the environment.
        let from_env = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty() && self.data_dir.is_none());
        if let Some(value) = from_env {
            let broken = |error: &dyn std::error::Error| {
                let next = "correct $KUBECONFIG, or name a file with --kubeconfig";
                CliError::failed(format!("$KUBECONFIG ({}) can't be read: {}", value.display(), chain(error)), next)
            };
            let missing = std::io::Error::other("it names no file that exists");
            let found = Kubeconfig::from_env().map_err(|error| broken(&error))?;
            return Ok((found.ok_or_else(|| broken(&missing))?, "$KUBECONFIG".to_owned()));
        }
        let dir = self.data_dir.clone().unwrap_or_else(crate::config::default_data_dir);
        let path = dir.join("admin.kubeconfig");
        if !path.exists() {
            let message = format!("no Foregate has run here yet: {} doesn't exist", path.display());
            let next = "start one with `foregate up`, or name a kubeconfig with --kubeconfig, or its --data-dir";
            return Err(CliError::failed(message, next));
        }
        Ok((read(&path)?, path.display().to_string()))
    }
}

fn read(path: &Path) -> Result<Kubeconfig, CliError> {
    if !path.exists() {
        let next = "name a kubeconfig file with --kubeconfig; `foregate up` writes DATA/admin.kubeconfig";
        return Err(CliError::failed(format!("the kubeconfig {} doesn't exist", path.display()), next));
    }
    Kubeconfig::read_from(path).map_err(|error| {
        let next = "name a kubeconfig file with --kubeconfig";
        // The lines after the first quote the file, and what is in it is secret.
        let why = chain(&error);
        let why = why.lines().next().unwrap_or_default();
        CliError::failed(format!("{} is no kubeconfig that can be read: {why}", path.display()), next)
    })
}

impl ApiServer {
    /// Where it is, as the kubeconfig says.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The body of a GET, which may be asked for in a form.
    ///
    /// # Errors
    /// As [`ApiServer::explain`].
    pub async fn get(&self, path: &str, accept: &str) -> Result<String, CliError> {
        let asked = || format!("GET {path}");
        let request = Request::get(path).header("accept", accept).body(Vec::new());
        let request =
            request.map_err(|error| CliError::usage(format!("{path} is no path: {error}"), "check the name"))?;
        self.client.request_text(request).await.map_err(|error| self.explain(error, &asked()))
    }

    /// The same as JSON.
    ///
    /// # Errors
    /// As [`ApiServer::explain`].
    pub async fn get_json(&self, path: &str, accept: &str) -> Result<Value, CliError> {
        let text = self.get(path, accept).await?;
        let foreign = "is the kubeconfig Foregate's? Name it with --kubeconfig";
        serde_json::from_str(&text)
            .map_err(|error| CliError::failed(format!("{path} isn't answered with JSON"), foreign).because(error))
    }

    /// Every object of a kind.
    ///
    /// # Errors
    /// As [`ApiServer::explain`].
    pub async fn list<K>(&self) -> Result<Vec<K>, CliError>
    where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api: kube::Api<K> = kube::Api::all(self.client.clone());
        let list = api.list(&kube::api::ListParams::default()).await;
        Ok(list.map_err(|error| self.explain_list(error, &K::plural(&())))?.items)
    }

    /// A platform serves all kinds that are listed here: who hasn't one isn't a platform.
    fn explain_list(&self, error: kube::Error, plural: &str) -> CliError {
        let Self { url, source, .. } = self;
        match &error {
            kube::Error::Api(status) if status.code == 404 => CliError::failed(
                format!("the API at {url} (from {source}) isn't a Foregate platform's: it has no {plural}"),
                "name the platform's kubeconfig with --kubeconfig, not a workload cluster's: `foregate up` writes \
                 DATA/admin.kubeconfig",
            ),
            _ => self.explain(error, &format!("listing {plural}")),
        }
    }

    /// What went wrong with a call, and what to do.
    pub fn explain(&self, error: kube::Error, what: &str) -> CliError {
        let Self { url, source, .. } = self;
        if let kube::Error::Api(status) = &error {
            let message = format!("{what}: {}", status.message);
            return match status.code {
                401 => CliError::failed(
                    format!("the API at {url} doesn't accept the credentials of {source}"),
                    "they are expired or another Foregate's; `foregate up` writes DATA/admin.kubeconfig at every start",
                ),
                403 => CliError::failed(message, "ask an administrator for a role that allows it"),
                404 if what.ends_with(METRICS) => CliError::failed(
                    format!("the Foregate at {url} runs no engines itself"),
                    "ask its nodes: `foregate node --metrics-listen ADDR:PORT` serves theirs",
                ),
                404 => match status.details.as_ref().filter(|details| !details.name.is_empty()) {
                    // Which path was asked for helps nobody who has asked for an object.
                    Some(_) => CliError::failed(&status.message, "`foregate get KIND` shows what there is"),
                    None => CliError::failed(message, "`foregate get KIND` shows what there is"),
                },
                _ => CliError::failed(message, "correct what it names, and try again"),
            };
        }
        let why = chain(&error);
        let lower = why.to_lowercase();
        if lower.contains("connection refused") || lower.contains("os error 111") {
            let message = format!("no API server answers at {url} (from {source})");
            return CliError::failed(message, "start it with `foregate up`, or name another with --kubeconfig");
        }
        if lower.contains("certificate") || lower.contains("handshake") || lower.contains("alert") {
            let message = format!("the API at {url} and the credentials of {source} don't fit together: {why}");
            let next = "take the admin.kubeconfig of the running Foregate's data directory (--data-dir DIR)";
            return CliError::failed(message, next);
        }
        CliError::failed(format!("{what} at {url} failed: {why}"), "see that Foregate runs there, and try again")
    }
}

/// An error with its causes, each said once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}
