//! `foregate platform`: API, reconcilers and xDS for nodes that run elsewhere. No engine runs here.
//!
//! The parts are those of `up`; instead of a node of its own it has a port that nodes connect to ([`foregate_xds::tls`]),
//! and GatewayNodes say which nodes there are.

mod placement;
mod presence;

use std::net::SocketAddr;
use std::time::Instant;

use clap::Args;
use foregate_xds::{Directory, tls};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cli::UpArgs;
use crate::cli::flags::RoleArgs;
use crate::config::{Config, ConfigError};
use crate::up::control::{self, Control, bind};
use crate::up::parts::Parts;
use crate::up::{self, UpError};

/// The ConfigMap in which the platform says where nodes reach it, for `foregate node add`.
pub const ADDRESSES: &str = "foregate-platform";
/// Its namespace.
pub const ADDRESSES_NAMESPACE: &str = "kube-system";

/// Flags of `foregate platform`. Each overrides the field of the same name in the file that `--config` names.
#[derive(Args, Clone, Debug, Default)]
pub struct PlatformArgs {
    /// Those of every role.
    #[command(flatten)]
    pub role: RoleArgs,
    /// Where the API listens [default: 127.0.0.1:7443].
    #[arg(long, value_name = "ADDR:PORT")]
    pub api_listen: Option<SocketAddr>,
    /// Where nodes connect to for their configuration, with mutual TLS [default: 127.0.0.1:7444].
    #[arg(long, value_name = "ADDR:PORT")]
    pub xds_listen: Option<SocketAddr>,
    /// A name or address by which this machine is reached, beside its own; may be given several times.
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,
    /// The pool that gateways get their addresses from, at the first start [default: 127.100.0.0/24].
    #[arg(long, value_name = "CIDR")]
    pub address_pool: Option<String>,
    /// What gateways run on, in the template that is made at the first start: `builtin`, or `envoy@VERSION`, an Envoy
    /// that `foregate engine add` adds [default: builtin].
    #[arg(long, value_name = "ENGINE")]
    pub engine: Option<String>,
    /// Added to every listener's port [default: 0].
    #[arg(long, value_name = "N")]
    pub port_offset: Option<u16>,
}

impl PlatformArgs {
    /// Defaults, then the file, then the flags.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn config(&self) -> Result<Config, ConfigError> {
        let args = self.clone();
        let mut config = Config::load(&UpArgs {
            role: args.role,
            api_listen: args.api_listen,
            address_pool: args.address_pool,
            engine: args.engine,
            port_offset: args.port_offset,
            ..UpArgs::default()
        })?;
        config.xds_listen = args.xds_listen.unwrap_or(config.xds_listen);
        config.names.extend(args.names);
        Ok(config)
    }
}

/// Runs until Ctrl-C or SIGTERM.
///
/// # Errors
/// When a part can't start, or stops by itself.
pub fn run(config: Config, started: Instant) -> Result<(), UpError> {
    up::runtime(&config)?.block_on(platform(config, started))
}

async fn platform(config: Config, started: Instant) -> Result<(), UpError> {
    let shutdown = CancellationToken::new();
    // Nothing here carries traffic: there is nothing to drain.
    let mut parts = Parts::new(shutdown.clone(), shutdown.clone())?;
    let hint = "choose another with --xds-listen ADDR:PORT (port 0 picks one)";
    let listener = bind("the xDS port", config.xds_listen, hint)?;
    let xds = listener.local_addr().map_err(|source| UpError::Runtime { source })?;
    let control = control::start(&config, Vec::new(), &mut parts, &shutdown).await?;

    let part = |source: Box<dyn std::error::Error + Send + Sync>| UpError::Part { part: "xDS server", source };
    let certificates = control.server.certificates(xds).map_err(|error| part(Box::new(error)))?;
    let tls =
        tls::server_config(certificates, control.server.ca_certificate()).map_err(|error| part(Box::new(error)))?;
    let directory = Directory::new();
    let serving = tls::serve_tls(control.cache.clone(), listener, tls, directory.clone(), shutdown.clone());
    parts.start("xDS server", serving);
    parts.start("presence", presence::keep(control.client.clone(), directory.clone(), shutdown.clone()));
    parts.start("placement", placement::keep(control.client.clone(), directory, shutdown.clone()));
    tell_addresses(&control, xds).await?;

    tokio::select! {
        () = control.cache.until_started() => {}
        ended = parts.until_signal() => return up::finish(ended, parts, control).await,
    }
    eprintln!("ready in {} ms", started.elapsed().as_millis());
    anstream::println!("API  https://{}  (kubeconfig: {})", control.api, control.kubeconfig.display());
    anstream::println!("xDS  {xds}  (`foregate node add NAME` makes a node's credential)");
    let ended = parts.until_signal().await;
    up::finish(ended, parts, control).await
}

/// Says where nodes reach this platform.
async fn tell_addresses(control: &Control, xds: SocketAddr) -> Result<(), UpError> {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": ADDRESSES, "namespace": ADDRESSES_NAMESPACE },
        "data": { "api": format!("https://{}", reachable(control.api)), "xds": reachable(xds).to_string() },
    });
    let api: Api<ConfigMap> = Api::namespaced(control.client.clone(), ADDRESSES_NAMESPACE);
    let params = PatchParams::apply("foregate-platform").force();
    let applied = api.patch(ADDRESSES, &params, &Patch::Apply(&map)).await;
    applied
        .map(drop)
        .map_err(|source| UpError::Seed { what: format!("ConfigMap {ADDRESSES}"), source: Box::new(source) })
}

/// Who listens on all addresses is reached here by the loopback one; a node elsewhere is told with `--api` and `--xds`.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        ip if ip.is_ipv4() => SocketAddr::from(([127, 0, 0, 1], address.port())),
        _ => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, address.port())),
    }
}
