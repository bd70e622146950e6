//! What is in the cluster from the start: the Gateway API's definitions.

use super::Parts;
use super::control_plane::kubectl;
use crate::process::TaskError;

/// Installs them, experimental channel, and waits until the API server serves them.
///
/// # Errors
/// When kubectl fails.
pub fn install(parts: &Parts) -> Result<(), TaskError> {
    println!("test bed: custom resources of the Gateway API {}", crate::tools::GATEWAY_API);
    let crds = parts.gateway_api.crds.display().to_string();
    kubectl(&["apply", "--server-side", "-k", &crds])?;
    kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).map(drop)
}
