//! GATEWAY on the command line: a user's Gateway, or the GatewayProxy that serves it.

use foregate_api::address::ProxyRef;
use foregate_api::{GatewayClaim, GatewayProxy};
use kube::ResourceExt as _;
use serde::Serialize;

use super::api::ApiServer;
use super::error::CliError;

/// One gateway that runs on the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayName {
    /// The users' Gateways that it is for, as `NAMESPACE/NAME`.
    pub gateways: Vec<String>,
    /// Its GatewayProxy.
    pub proxy: ProxyRef,
}

impl GatewayName {
    /// How people name it: by their Gateway, if it has one.
    pub fn display(&self) -> String {
        match self.gateways.as_slice() {
            [] => self.proxy_name(),
            gateways => gateways.join(", "),
        }
    }

    /// `NAMESPACE/NAME` of its GatewayProxy.
    pub fn proxy_name(&self) -> String {
        format!("{}/{}", self.proxy.namespace, self.proxy.name)
    }

    fn answers_to(&self, asked: &str) -> bool {
        let is = |full: &str| full == asked || full.rsplit_once('/').is_some_and(|(_, name)| name == asked);
        is(&self.proxy_name()) || self.gateways.iter().any(|gateway| is(gateway))
    }
}

/// Every gateway, by name.
///
/// # Errors
/// When the API can't be read.
pub async fn all(api: &ApiServer) -> Result<Vec<GatewayName>, CliError> {
    let claims: Vec<GatewayClaim> = api.list().await?;
    let proxies: Vec<GatewayProxy> = api.list().await?;
    Ok(names(&claims, &proxies))
}

/// The gateways of these objects, by name.
pub fn names(claims: &[GatewayClaim], proxies: &[GatewayProxy]) -> Vec<GatewayName> {
    let mut all: Vec<GatewayName> = proxies.iter().map(|proxy| name(proxy, claims)).collect();
    all.sort_by_key(GatewayName::display);
    all
}

fn name(proxy: &GatewayProxy, claims: &[GatewayClaim]) -> GatewayName {
    let proxy = ProxyRef { namespace: proxy.namespace().unwrap_or_default(), name: proxy.name_any() };
    let ours = claims.iter().filter(|claim| {
        let bound = claim.status.as_ref().and_then(|status| status.proxy.as_deref());
        claim.namespace().as_deref() == Some(&proxy.namespace) && bound == Some(&proxy.name)
    });
    let origin = |claim: &GatewayClaim| format!("{}/{}", claim.spec.origin.namespace, claim.spec.origin.name);
    let mut gateways: Vec<String> = ours.map(origin).collect();
    gateways.sort();
    gateways.dedup();
    GatewayName { gateways, proxy }
}

/// The one gateway that is meant.
///
/// # Errors
/// When there is none, or several.
pub async fn find(api: &ApiServer, asked: &str) -> Result<GatewayName, CliError> {
    choose(all(api).await?, asked)
}

/// The one of several that is meant.
///
/// # Errors
/// When there is none, or several.
pub fn choose(all: Vec<GatewayName>, asked: &str) -> Result<GatewayName, CliError> {
    let known: Vec<String> = all.iter().map(GatewayName::display).collect();
    let mut found: Vec<GatewayName> = all.into_iter().filter(|gateway| gateway.answers_to(asked)).collect();
    match (found.len(), found.pop()) {
        (1, Some(gateway)) => Ok(gateway),
        (0, _) | (_, None) if known.is_empty() => Err(CliError::failed(
            format!("there is no gateway {asked}: none runs"),
            "`foregate status` says what is missing",
        )),
        (0, _) | (_, None) => {
            let next = format!("there are: {}", known.join(", "));
            Err(CliError::failed(format!("there is no gateway {asked}"), next))
        }
        (_, Some(last)) => {
            found.push(last);
            let meant: Vec<String> =
                found.iter().map(|it| format!("{} (GatewayProxy {})", it.display(), it.proxy_name())).collect();
            let next = "name it as NAMESPACE/NAME of its GatewayProxy";
            Err(CliError::usage(format!("{asked} may be any of {}", meant.join("; ")), next))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn gateway(proxy: &str, gateways: &[&str]) -> GatewayName {
        let proxy = ProxyRef { namespace: "tenant".to_owned(), name: proxy.to_owned() };
        GatewayName { gateways: gateways.iter().map(|it| (*it).to_owned()).collect(), proxy }
    }

    #[test]
    fn a_gateway_is_meant_by_any_of_its_names_and_ambiguity_is_said() {
        let all = || vec![gateway("p1", &["a/web"]), gateway("p2", &["b/web", "b/more"]), gateway("more", &[])];
        let proxy = |asked| choose(all(), asked).map(|it| it.proxy.name).map_err(|error| error.to_string());
        for (asked, proxy_name) in
            [("a/web", "p1"), ("b/more", "p2"), ("tenant/p1", "p1"), ("p2", "p2"), ("tenant/more", "more")]
        {
            assert_eq!(proxy(asked).as_deref(), Ok(proxy_name), "{asked}");
        }
        assert!(proxy("web").unwrap_err().contains("a/web (GatewayProxy tenant/p1)"));
        assert!(proxy("more").unwrap_err().starts_with("more may be any of"));
        assert_eq!(proxy("c/web").unwrap_err(), "there is no gateway c/web");
    }
}
