//! `--demo`: two backends in this process, the example objects applied, and what to try printed.

use std::net::SocketAddr;

use kube::api::DynamicObject;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::UpError;

/// The example objects, the same files that a user finds in `examples/demo/`.
const MANIFESTS: [(&str, &str); 3] = [
    ("examples/demo/1-backends.yaml", include_str!("../../../../examples/demo/1-backends.yaml")),
    ("examples/demo/2-gateway.yaml", include_str!("../../../../examples/demo/2-gateway.yaml")),
    ("examples/demo/3-routes.yaml", include_str!("../../../../examples/demo/3-routes.yaml")),
];

/// The demo backends, as `1-backends.yaml` names them.
const BACKENDS: [(&str, [u8; 4]); 2] = [("blue", [127, 101, 0, 1]), ("green", [127, 101, 0, 2])];
const BACKEND_PORT: u16 = 9180;

/// Starts both backends.
///
/// # Errors
/// When an address is in use.
pub async fn start_backends(shutdown: &CancellationToken) -> Result<(), UpError> {
    for (name, ip) in BACKENDS {
        let address = SocketAddr::from((ip, BACKEND_PORT));
        let listener = TcpListener::bind(address).await.map_err(|source| UpError::Bind {
            what: "a demo backend",
            address,
            hint: "what is using it? `ss -ltnp` shows it",
            source,
        })?;
        tokio::spawn(super::backend::serve(name, listener, shutdown.clone()));
    }
    Ok(())
}

/// Applies the example objects.
///
/// # Errors
/// When the API refuses one.
pub async fn apply(client: &kube::Client) -> Result<(), UpError> {
    for (file, text) in MANIFESTS {
        for document in documents(file, text)? {
            super::seed::apply_dynamic(client, document).await?;
        }
    }
    Ok(())
}

fn documents(file: &'static str, text: &str) -> Result<Vec<DynamicObject>, UpError> {
    let parse_error = |message: String| UpError::Manifest { file, message };
    let values: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(text).map_err(|error| parse_error(error.to_string()))?;
    values
        .into_iter()
        .map(|value| DynamicObject::deserialize(value).map_err(|error| parse_error(error.to_string())))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_example_files_are_objects_with_names() {
        for (file, text) in MANIFESTS {
            let objects = documents(file, text).unwrap();
            assert!(!objects.is_empty());
            assert!(objects.iter().all(|object| object.types.is_some() && object.metadata.name.is_some()));
        }
    }

    #[test]
    fn the_backends_are_where_the_example_says() {
        let (_, text) = MANIFESTS[0];
        for (_, ip) in BACKENDS {
            assert!(text.contains(&std::net::Ipv4Addr::from(ip).to_string()));
        }
        assert!(text.contains(&format!("port: {BACKEND_PORT}")));
    }
}
