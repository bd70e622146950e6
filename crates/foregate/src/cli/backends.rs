//! GatewayBackends as people know them.

use foregate_api::GatewayBackend;

/// `Service default/web:80`.
pub fn display(backend: &GatewayBackend) -> String {
    let port = backend.spec.port;
    let name = backend.spec.origin.display();
    if port == 0 { name } else { format!("{name}:{port}") }
}
