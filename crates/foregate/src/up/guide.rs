//! What `foregate up` prints once it serves: where things are, and what to try.

use std::net::IpAddr;
use std::path::Path;

use anstyle::{AnsiColor, Style};

/// Prints it. `demo` is the demo gateway's address, where there is one, with the port that its listener has.
pub fn print(api: std::net::SocketAddr, kubeconfig: &Path, demo: Option<(IpAddr, u16)>) {
    let heading = AnsiColor::Cyan.on_default().bold();
    let dim = Style::new().dimmed();
    let kubectl = format!("kubectl --kubeconfig {}", kubeconfig.display());
    anstream::println!();
    anstream::println!("  {heading}Foregate{heading:#} is up");
    anstream::println!();
    anstream::println!("  API         https://{api}");
    anstream::println!("  kubeconfig  {}", kubeconfig.display());
    if let Some((address, port)) = demo {
        let at = std::net::SocketAddr::new(address, port);
        anstream::println!("  gateway     http://{at}  {dim}(default/demo){dim:#}");
        anstream::println!();
        anstream::println!("  {heading}Send requests{heading:#}");
        let lines = requests(at);
        let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or_default();
        for (line, says) in lines {
            anstream::println!("    {line:<width$}  {dim}# {says}{dim:#}");
        }
    }
    anstream::println!();
    anstream::println!("  {heading}Look around{heading:#}");
    let looks: &[&str] = if demo.is_some() {
        &["get gateways,httproutes", "describe httproute colours", "edit httproute canary", "get foregate -A"]
    } else {
        &["get gatewayclasses", "api-resources", "explain gateway.spec", "apply -f examples/demo/2-gateway.yaml"]
    };
    for look in own(kubeconfig, demo.map(|(address, port)| std::net::SocketAddr::new(address, port))) {
        anstream::println!("    foregate {look}");
    }
    for look in looks {
        anstream::println!("    {kubectl} {look}");
    }
    anstream::println!();
    anstream::println!("  {dim}Ctrl-C drains and stops.{dim:#}");
    anstream::println!();
}

/// Verbs of ours to try; where the data directory isn't the one that they look in, they are told.
fn own(kubeconfig: &Path, demo: Option<std::net::SocketAddr>) -> Vec<String> {
    let dir = kubeconfig.parent().filter(|dir| **dir != crate::config::default_data_dir());
    let flag = dir.map(|dir| format!(" --data-dir {}", dir.display())).unwrap_or_default();
    let explain = demo.map(|at| format!("explain http://{at}/green/tea{flag}"));
    std::iter::once(format!("status{flag}")).chain(explain).collect()
}

/// Requests to try, and what each shows. On a terminal of 80 columns no line wraps.
fn requests(at: std::net::SocketAddr) -> [(String, &'static str); 5] {
    [
        (format!("curl http://{at}/"), "blue"),
        (format!("curl http://{at}/green/tea"), "green, prefix removed"),
        (format!("curl http://{at}/canary"), "blue 3 times of 4"),
        (format!("curl -H 'x-colour: green' http://{at}/"), "green, by a header"),
        (format!("curl -i http://{at}/old"), "a redirect"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_wraps_on_a_narrow_terminal() {
        let lines = requests(std::net::SocketAddr::from(([127, 100, 0, 1], 8080)));
        let command = lines.iter().map(|(line, _)| line.len()).max().unwrap_or_default();
        let comment = lines.iter().map(|(_, says)| says.len()).max().unwrap_or_default();
        assert!("    ".len() + command + "  # ".len() + comment <= 80, "{lines:?}");
    }
}
