//! Who uses an engine.

use std::path::Path;
use std::time::Duration;

use foregate_api::{EngineName, GatewayInstance, GatewayProxy, GatewayTemplate};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource, ResourceExt};
use serde::de::DeserializeOwned;

/// How long the API may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Objects and processes that use an engine, in words. When the API can't be asked, that is said on stderr.
pub async fn of(data_dir: &Path, version: &str) -> Vec<String> {
    let name = EngineName::Envoy(version.to_owned()).to_string();
    let asked = tokio::time::timeout(PATIENCE, objects(data_dir, &name)).await;
    let mut users = match asked {
        Ok(Ok(users)) => users,
        Ok(Err(why)) => unknown(&why),
        Err(_) => unknown("it doesn't answer"),
    };
    let running = foregate_node::agent::socket_dir(data_dir).map(|dir| foregate_node::envoy::running(&dir));
    let running = running.unwrap_or_default().into_iter().filter(|record| record.engine == name);
    users.extend(running.map(|record| format!("process {}", record.pid)));
    users
}

fn unknown(why: &str) -> Vec<String> {
    anstream::eprintln!("warning: the API can't be asked which gateways use it: {why}");
    Vec::new()
}

async fn objects(data_dir: &Path, name: &str) -> Result<Vec<String>, String> {
    let path = data_dir.join("admin.kubeconfig");
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let kubeconfig = Kubeconfig::read_from(&path).map_err(|error| text(&error))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let client = Client::try_from(config.map_err(|error| text(&error))?).map_err(|error| text(&error))?;
    let templates = list(&client, |template: &GatewayTemplate| template.spec.engine == name);
    let proxies = list(&client, |proxy: &GatewayProxy| proxy.spec.template.engine == name);
    let instances = list(&client, |instance: &GatewayInstance| instance.spec.engine == name);
    let (templates, proxies, instances) = tokio::join!(templates, proxies, instances);
    let all = [templates, proxies, instances].into_iter().collect::<Result<Vec<_>, _>>();
    all.map(|all| all.concat()).map_err(|error| text(&error))
}

async fn list<K>(client: &Client, uses: impl Fn(&K) -> bool) -> kube::Result<Vec<String>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let all = Api::<K>::all(client.clone()).list(&Default::default()).await?;
    let users = all.items.iter().filter(|object| uses(object));
    Ok(users.map(|object| describe(object)).collect())
}

fn describe<K: Resource<DynamicType = ()>>(object: &K) -> String {
    let namespace = object.namespace().map_or_else(String::new, |namespace| format!("{namespace}/"));
    format!("{} {namespace}{}", K::kind(&()), object.name_any())
}
