//! Which kinds an API serves: Kubernetes brings none of the Gateway API's, and older releases of that lack some.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use foregate_api::gateway::STANDARD_KINDS;
use foregate_attach::{Input, Release};
use futures::TryStreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use tokio::sync::{mpsc, watch};

use crate::backoff::Backoff;
use crate::source::Fed;
use crate::voice::{Failure, Voice};

/// API versions whose kinds may be missing.
const VERSIONS: [&str; 6] = [
    "gateway.networking.k8s.io/v1",
    "gateway.networking.x-k8s.io/v1alpha1",
    "gateway.envoyproxy.io/v1alpha1",
    "foregate.dev/v1alpha1",
    "certificates.k8s.io/v1",
    CORE,
];
/// The kinds that Kubernetes began with.
const CORE: &str = "v1";
/// Kinds without which nothing can be served.
const NEEDED: [&str; 2] = ["gatewayclasses", "gateways"];
/// Where the standard's kinds come from.
const INSTALL: &str = "kubectl apply --server-side -f \
                       https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.7.0/standard-install.yaml";
const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";
/// Between looks where CustomResourceDefinitions can't be watched.
const LOOK: Duration = Duration::from_secs(30);
/// What changes together is looked at together.
const SETTLE: Duration = Duration::from_millis(200);

/// Kinds, by API version and plural.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served(BTreeSet<(String, String)>);

impl Served {
    /// Asks, until there is an answer.
    pub async fn ask(client: &Client, voice: &Voice) -> Self {
        let mut served = Self::default();
        for version in VERSIONS {
            let mut pauses = Backoff::default();
            loop {
                let asked = match version {
                    CORE => client.list_core_api_resources(CORE).await,
                    _ => client.list_api_group_resources(version).await,
                };
                match asked {
                    Ok(list) => {
                        served.0.extend(list.resources.into_iter().map(|r| (version.to_owned(), r.name)));
                        break;
                    }
                    Err(kube::Error::Api(status)) if status.code == 404 => break,
                    Err(error) => {
                        voice.failed("finding out which kinds the cluster has", &Failure::from(&error));
                        tokio::time::sleep(pauses.next().unwrap_or(LOOK)).await;
                    }
                }
            }
        }
        served
    }

    /// Whether it serves a kind.
    pub fn has<K: Resource<DynamicType = ()>>(&self) -> bool {
        self.has_plural(&K::api_version(&()), &K::plural(&()))
    }

    fn has_plural(&self, version: &str, plural: &str) -> bool {
        self.0.contains(&(version.to_owned(), plural.to_owned()))
    }

    fn lacks<'a>(&self, plurals: &[&'a str]) -> Vec<&'a str> {
        plurals.iter().filter(|plural| !self.has_plural(VERSIONS[0], plural)).copied().collect()
    }

    /// Says what is missing and what to do.
    fn report(&self, bundle: Option<&str>) {
        let (needed, standard) = (self.lacks(&NEEDED), self.lacks(&STANDARD_KINDS));
        let bundle = bundle.unwrap_or("none");
        if !needed.is_empty() {
            tracing::error!(
                "the cluster doesn't serve {} of {}: install the Gateway API: {INSTALL}",
                needed.join(", "),
                VERSIONS[0]
            );
        } else if !standard.is_empty() {
            tracing::warn!(
                "the cluster doesn't serve {} of {} (it has the Gateway API {bundle}): none of these is read; for all \
                 of them: {INSTALL}",
                standard.join(", "),
                VERSIONS[0]
            );
        }
    }
}

/// Tells whenever it changes what an API serves.
pub async fn keep(client: Client, told: watch::Sender<Served>, feed: mpsc::Sender<Fed>, voice: Voice) {
    let mut bundles: BTreeMap<String, String> = BTreeMap::new();
    let api = Api::<PartialObjectMeta<CustomResourceDefinition>>::all(client.clone());
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).backoff(Backoff::default()));
    let mut reported = None;
    loop {
        let look = tokio::time::timeout(LOOK, events.try_next()).await;
        let mut look = Some(look);
        // A list, or several definitions that are applied together, is many events and one look.
        while let Some(event) = look.take() {
            match event {
                Ok(Ok(Some(watcher::Event::Apply(crd) | watcher::Event::InitApply(crd)))) => {
                    let bundle = crd.metadata.annotations.and_then(|mut a| a.remove(BUNDLE_VERSION));
                    bundles.extend(crd.metadata.name.zip(bundle));
                }
                Ok(Ok(Some(watcher::Event::Delete(crd)))) => {
                    bundles.remove(&crd.metadata.name.unwrap_or_default());
                }
                Ok(Ok(Some(_)) | Err(_)) => {}
                Ok(Ok(None)) => return,
                Err(_) => break,
            }
            look = Some(tokio::time::timeout(SETTLE, events.try_next()).await);
        }
        let served = Served::ask(&client, &voice).await;
        if reported.as_ref() != Some(&served) {
            let version = bundles.get("gateways.gateway.networking.k8s.io").cloned();
            served.report(version.as_deref());
            let missing = served.lacks(&STANDARD_KINDS).into_iter().map(str::to_owned).collect();
            if feed.send(Fed::Input(Input::Release(Release { version, missing }))).await.is_err() {
                return;
            }
            reported = Some(served.clone());
        }
        told.send_if_modified(|old| std::mem::replace(old, served.clone()) != served);
        if told.is_closed() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_and_what_is_standard() {
        let of = |plurals: &[&str]| Served(plurals.iter().map(|p| (VERSIONS[0].to_owned(), (*p).to_owned())).collect());
        assert_eq!(of(&["gateways"]).lacks(&NEEDED), ["gatewayclasses"]);
        let old = of(&["gateways", "gatewayclasses", "httproutes", "grpcroutes", "referencegrants"]);
        assert!(old.lacks(&NEEDED).is_empty());
        assert_eq!(
            old.lacks(&STANDARD_KINDS),
            ["backendtlspolicies", "listenersets", "tcproutes", "tlsroutes", "udproutes"]
        );
        assert!(old.has::<foregate_api::gateway::HTTPRoute>() && !old.has::<foregate_api::gateway::TCPRoute>());
    }
}
