//! Listeners: rendered from the gateway's template when what it sees changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use foregate_envoy::{ResourceId, ResourceKind};
use serde_json::{Value, json};

use super::Translator;
use super::ingest::PROXY;
use super::work::Work;
use crate::envoy;
use crate::index::{Proxy, Rendered};
use crate::ir;
use crate::resolve::hostname::ANY;
use crate::resolve::listeners::{Class, PlannedListener};
use crate::template::Templates;
use crate::{Key, Problem};

impl Translator {
    pub(super) fn render_listeners(&mut self, work: &mut Work) {
        for key in std::mem::take(&mut work.listeners) {
            work.judge(PROXY, &key);
            let planned = self.plan_listeners(&key);
            let Some(proxy) = self.index.proxies.get_mut(&key) else { continue };
            let gone: Vec<Arc<str>> =
                proxy.listeners.keys().filter(|name| !planned.iter().any(|it| *it.name == ***name)).cloned().collect();
            for name in gone {
                proxy.listeners.remove(&name);
                work.retract(&key, ResourceId::new(ResourceKind::Listener, name));
            }
            for listener in planned {
                render(proxy, &key, &listener, work);
            }
        }
    }

    /// The listeners of a gateway as they can be served now.
    pub(super) fn plan_listeners(&self, key: &Key) -> Vec<ir::Listener> {
        let Some(proxy) = self.index.proxies.get(key) else { return Vec::new() };
        let addresses = proxy.object.status.as_ref().map(|status| status.addresses.as_slice()).unwrap_or_default();
        let listeners = proxy.plan.listeners.iter().map(|(name, planned)| ir::Listener {
            name: name.to_string(),
            class: planned.class.scheme().to_owned(),
            port: planned.port,
            addresses: addresses
                .iter()
                .map(|address| ir::SocketAddress { address: address.clone(), port: planned.bound })
                .collect(),
            filter_chains: self.chains(planned),
        });
        listeners.filter(|listener| !listener.addresses.is_empty() && !listener.filter_chains.is_empty()).collect()
    }

    /// A chain whose certificates aren't there yet is left out: the others of its port serve.
    fn chains(&self, planned: &PlannedListener) -> Vec<ir::FilterChain> {
        let chains = planned.chains.iter().map(|chain| ir::FilterChain {
            server_names: (&*chain.hostname != ANY).then(|| chain.hostname.to_string()).into_iter().collect(),
            secrets: chain.secrets.iter().filter(|secret| self.has_certificate(secret)).map(Key::to_string).collect(),
            route_configuration: chain.route_configuration.to_string(),
        });
        chains.filter(|chain| planned.class == Class::Http || !chain.secrets.is_empty()).collect()
    }

    pub(super) fn has_certificate(&self, secret: &Key) -> bool {
        self.index.secrets.get(secret).is_some_and(|certificate| certificate.body.is_some())
    }
}

fn render(proxy: &mut Proxy, key: &Key, listener: &ir::Listener, work: &mut Work) {
    let name: Arc<str> = listener.name.as_str().into();
    let data = json!({ "gateway": proxy.data, "listener": listener_data(listener) });
    if proxy.listeners.get(&name).is_some_and(|rendered| !rendered.stale && rendered.data == data) {
        return;
    }
    let mut problem = None;
    let mut made = None;
    for templates in proxy.templates.candidates_or_current() {
        match render_with(templates, &data, &name) {
            Ok(rendered) => {
                made = Some(rendered);
                break;
            }
            Err(reason) => problem = problem.or(Some(reason.to_string())),
        }
    }
    if let Some(body) = made {
        let chains = listener.filter_chains.iter();
        let secrets = chains.clone().flat_map(|chain| &chain.secrets).map(|name| (ResourceKind::Secret, name));
        let routes = chains.map(|chain| (ResourceKind::RouteConfiguration, &chain.route_configuration));
        let named: BTreeSet<_> = secrets.chain(routes).collect();
        let needs: Arc<[ResourceId]> =
            named.into_iter().map(|(kind, name)| ResourceId::new(kind, name.as_str())).collect();
        let id = ResourceId::new(ResourceKind::Listener, name.clone());
        work.publish(key, Translator::encoded(id, &body, needs, [proxy.owner()]));
    } else if problem.is_none() {
        problem = Some("there is no template that can be used".to_owned());
    }
    proxy.listeners.insert(name, Rendered { data, problem, stale: false });
}

fn render_with(templates: &Templates, data: &Value, name: &str) -> Result<Bytes, Problem> {
    let parsed = templates.parsed.as_ref().map_err(Clone::clone)?;
    let mut data = data.clone();
    data["values"] = parsed.values.clone();
    let text = parsed
        .listener
        .render(&data)
        .map_err(|error| Problem::template("spec.template.envoy.listener", error.to_string()))?;
    envoy::listener_from_text(name, &text)
}

/// What a template sees of a listener: the intermediate representation, and messages that it would have to spell out.
fn listener_data(listener: &ir::Listener) -> Value {
    let chains: Vec<Value> = listener.filter_chains.iter().map(chain_data).collect();
    json!({
        "name": listener.name,
        "class": listener.class,
        "port": listener.port,
        "addresses": listener.addresses,
        "filterChains": chains,
    })
}

fn chain_data(chain: &ir::FilterChain) -> Value {
    json!({
        "serverNames": chain.server_names,
        "secrets": chain.secrets,
        "routeConfiguration": chain.route_configuration,
        "rds": envoy::routes_over_ads(&chain.route_configuration),
        "sds": chain.secrets.iter().map(|name| envoy::secret_over_ads(name)).collect::<Vec<_>>(),
    })
}
