//! Serves the API alone: `cargo run -p foregate-apiserver --example serve -- DIR ADDR:PORT`. The kubeconfig is in DIR.
#![allow(clippy::print_stderr, reason = "an example speaks to its user")]

use std::fs::OpenOptions;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use foregate_apiserver::{Server, ServerOptions};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("name a data directory")?);
    let listener = TcpListener::bind(args.next().unwrap_or_else(|| "127.0.0.1:7443".into()))?;
    let server = Server::open(ServerOptions::new(&dir))?;
    let kubeconfig = dir.join("admin.kubeconfig");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&kubeconfig)?;
    file.write_all(server.admin_kubeconfig(listener.local_addr()?)?.as_bytes())?;
    eprintln!("kubectl --kubeconfig {}", kubeconfig.display());
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        stop.cancel();
    });
    server.serve(listener, shutdown).await?;
    server.shutdown().await;
    Ok(())
}
