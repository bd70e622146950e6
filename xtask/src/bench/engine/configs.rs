//! What the proxies and the backend are told. Each as its makers advise: connections to the backend are kept, one
//! worker, no logs; TLS 1.3 with the same certificate of ECDSA P-256.

use std::path::Path;

use super::load::MESSAGE;
use super::peers::Ports;
use crate::process::{TaskError, command, run};

const BACKEND: u16 = 19080;
const GRPC_BACKEND: u16 = 19081;

fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) -> Result<String, TaskError> {
    let path = dir.join(name);
    std::fs::write(&path, text).map_err(|error| TaskError::Other(format!("{}: {error}", path.display())))?;
    Ok(path.display().to_string())
}

fn read(dir: &Path, name: &str) -> Result<String, TaskError> {
    let path = dir.join(name);
    std::fs::read_to_string(&path).map_err(|error| TaskError::Other(format!("{}: {error}", path.display())))
}

/// Bodies, the message of gRPC, and the certificate.
///
/// # Errors
/// When they can't be written.
pub fn write_shared(dir: &Path) -> Result<(), TaskError> {
    write(dir, "1k", "x".repeat(1024))?;
    write(dir, "64k", "x".repeat(64 * 1024))?;
    write(dir, "message", MESSAGE)?;
    let (key, certificate) = (dir.join("key.pem"), dir.join("cert.pem"));
    let mut openssl =
        command("openssl", &["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    openssl.args(["-subj", "/CN=bench.test", "-days", "30", "-keyout"]).arg(&key).arg("-out").arg(&certificate);
    run(openssl.stderr(std::process::Stdio::null()))?;
    write(dir, "both.pem", format!("{}{}", read(dir, "cert.pem")?, read(dir, "key.pem")?)).map(drop)
}

/// The backend: files over HTTP/1.1, and an endpoint of gRPC that answers an empty message.
///
/// # Errors
/// When it can't be written.
pub fn backend(dir: &Path) -> Result<String, TaskError> {
    let (pid, root) = (dir.join("backend.pid"), dir.display());
    let text = format!(
        "daemon off; master_process off; pid {}; error_log stderr;\nevents {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 100000000; open_file_cache max=10; sendfile on; tcp_nopush on;\n\
         server {{ listen 127.0.0.1:{BACKEND}; root {root}; }}\n\
         server {{ listen 127.0.0.1:{GRPC_BACKEND} http2; default_type application/grpc;\n\
         location / {{ root {root}; error_page 405 =200 /message; add_trailer grpc-status 0; try_files /message =404; }}\n\
         location = /message {{ root {root}; add_trailer grpc-status 0; }} }} }}\n",
        pid.display()
    );
    write(dir, "backend.conf", text)
}

/// nginx's configuration.
///
/// # Errors
/// When it can't be written.
pub fn nginx(dir: &Path, ports: Ports) -> Result<String, TaskError> {
    let (pid, path) = (dir.join("nginx.pid"), dir.display());
    let Ports { plain, h2c, tls, grpc } = ports;
    let proxy = "location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
                 proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }";
    let text = format!(
        "daemon off; master_process off; pid {}; error_log stderr;\nevents {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 100000000; ssl_protocols TLSv1.3;\n\
         upstream backend {{ server 127.0.0.1:{BACKEND}; keepalive 256; keepalive_requests 100000000; }}\n\
         upstream grpc {{ server 127.0.0.1:{GRPC_BACKEND}; keepalive 256; keepalive_requests 100000000; }}\n\
         server {{ listen 127.0.0.1:{plain}; {proxy} }}\n\
         server {{ listen 127.0.0.1:{h2c} http2; {proxy} }}\n\
         server {{ listen 127.0.0.1:{tls} ssl; ssl_certificate {path}/cert.pem; ssl_certificate_key {path}/key.pem; {proxy} }}\n\
         server {{ listen 127.0.0.1:{grpc} http2; location / {{ grpc_pass grpc://grpc; }} }} }}\n",
        pid.display()
    );
    write(dir, "nginx.conf", text)
}

/// haproxy's configuration.
///
/// # Errors
/// When it can't be written.
pub fn haproxy(dir: &Path, ports: Ports) -> Result<String, TaskError> {
    let Ports { plain, h2c, tls, grpc } = ports;
    let text = format!(
        "global\n  nbthread 1\n  maxconn 4096\n  ssl-default-bind-options ssl-min-ver TLSv1.3\n\
         defaults\n  mode http\n  timeout client 30s\n  timeout server 30s\n  timeout connect 5s\n  \
         option forwardfor\n  http-reuse always\n\
         frontend front\n  bind 127.0.0.1:{plain}\n  bind 127.0.0.1:{h2c} proto h2\n  \
         bind 127.0.0.1:{tls} ssl crt {}/both.pem alpn http/1.1\n  default_backend back\n\
         frontend calls\n  bind 127.0.0.1:{grpc} proto h2\n  default_backend grpc\n\
         backend back\n  server one 127.0.0.1:{BACKEND}\n\
         backend grpc\n  server one 127.0.0.1:{GRPC_BACKEND} proto h2\n",
        dir.display()
    );
    write(dir, "haproxy.cfg", text)
}

/// Envoy's bootstrap.
///
/// # Errors
/// When it can't be written.
pub fn envoy(dir: &Path, ports: Ports) -> Result<String, TaskError> {
    let listener = |port: u16, cluster: &str, tls: &str| {
        format!(
            "  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}\n    filter_chains:\n    - {tls}\n      \
             filters:\n      - name: envoy.filters.network.http_connection_manager\n        typed_config:\n          \
             \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n          \
             stat_prefix: bench\n          use_remote_address: true\n          route_config: {{ virtual_hosts: [{{ name: all, domains: ['*'], \
             routes: [{{ match: {{ prefix: / }}, route: {{ cluster: {cluster}, timeout: 0s }} }}] }}] }}\n          http_filters:\n          \
             - name: envoy.filters.http.router\n            typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}\n"
        )
    };
    let tls = format!(
        "transport_socket: {{ name: tls, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, \
         common_tls_context: {{ alpn_protocols: [http/1.1], tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}, tls_certificates: [{{ certificate_chain: {{ filename: {path}/cert.pem }}, \
         private_key: {{ filename: {path}/key.pem }} }}] }} }} }}",
        path = dir.display()
    );
    let cluster = |name: &str, port: u16, rest: &str| {
        format!(
            "  - {{ name: {name}, type: STATIC, load_assignment: {{ cluster_name: {name}, endpoints: [{{ lb_endpoints: [{{ endpoint: \
             {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }}] }}] }}{rest} }}\n"
        )
    };
    let http2 = ", typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \"@type\": \
                 type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: { http2_protocol_options: {} } } }";
    let plain = "name: plain";
    let text = format!(
        "static_resources:\n  listeners:\n{}{}{}{}  clusters:\n{}{}",
        listener(ports.plain, "backend", plain),
        listener(ports.h2c, "backend", plain),
        listener(ports.tls, "backend", &tls),
        listener(ports.grpc, "grpc", plain),
        cluster("backend", BACKEND, ""),
        cluster("grpc", GRPC_BACKEND, http2),
    );
    write(dir, "envoy.yaml", text)
}

/// Foregate's objects.
///
/// # Errors
/// When they can't be written.
pub fn foregate(dir: &Path, ports: Ports) -> Result<String, TaskError> {
    let Ports { plain, tls, grpc, .. } = ports;
    let service = |name: &str, port: u16, protocol: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  ports: [{{name: {name}, port: 80{protocol}}}]\n---\n\
             apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}-1, namespace: default, labels: {{kubernetes.io/service-name: {name}}}}}\n\
             addressType: IPv4\nports: [{{name: {name}, port: {port}, protocol: TCP}}]\nendpoints: [{{addresses: [127.0.0.1]}}]\n---\n"
        )
    };
    let indented = |text: String| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let text = format!(
        "{}{}apiVersion: v1\nkind: Secret\nmetadata: {{name: bench, namespace: default}}\ntype: kubernetes.io/tls\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: bench, namespace: default}}\nspec:\n  gatewayClassName: foregate\n  \
         listeners:\n  - {{name: http, port: {plain}, protocol: HTTP}}\n  - {{name: grpc, port: {grpc}, protocol: HTTP}}\n  \
         - {{name: https, port: {tls}, protocol: HTTPS, tls: {{certificateRefs: [{{name: bench}}]}}}}\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: bench, namespace: default}}\nspec:\n  \
         parentRefs: [{{name: bench, sectionName: http}}, {{name: bench, sectionName: https}}]\n  rules: [{{backendRefs: [{{name: backend, port: 80}}]}}]\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {{name: bench, namespace: default}}\nspec:\n  \
         parentRefs: [{{name: bench, sectionName: grpc}}]\n  rules: [{{backendRefs: [{{name: grpc, port: 80}}]}}]\n",
        service("backend", BACKEND, ""),
        service("grpc", GRPC_BACKEND, ", appProtocol: kubernetes.io/h2c"),
        indented(read(dir, "cert.pem")?),
        indented(read(dir, "key.pem")?),
    );
    write(dir, "foregate.yaml", text)
}
