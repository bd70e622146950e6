//! Which kinds an API serves: Kubernetes brings none of the Gateway API's, and older releases of that lack some.

use std::collections::HashSet;
use std::time::Duration;

use kube::{Client, Resource};

/// Between attempts to find out.
const PAUSE: Duration = Duration::from_secs(2);

/// Kinds, by API version and plural.
#[derive(Clone, Debug, Default)]
pub struct Served(HashSet<(String, String)>);

impl Served {
    /// Asks, until there is an answer.
    pub async fn ask(client: &Client, api_versions: &[&str]) -> Self {
        let mut served = Self::default();
        for api_version in api_versions {
            loop {
                match client.list_api_group_resources(api_version).await {
                    Ok(list) => {
                        served.0.extend(list.resources.into_iter().map(|r| ((*api_version).to_owned(), r.name)));
                        break;
                    }
                    Err(kube::Error::Api(status)) if status.code == 404 => break,
                    Err(error) => {
                        tracing::warn!(api_version, %error, "can't find out which kinds the cluster has; trying again");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
        served
    }

    /// Whether it serves a kind.
    pub fn has<K: Resource<DynamicType = ()>>(&self) -> bool {
        self.0.contains(&(K::api_version(&()).into_owned(), K::plural(&()).into_owned()))
    }
}
