//! Listeners: rendered from the gateway's template when what it sees changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use foregate_envoy::{Owner, Resource, ResourceId, ResourceKind};
use serde_json::{Value, json};

use super::Translator;
use super::ingest::PROXY;
use super::routes::chain_name;
use super::work::Work;
use crate::envoy;
use crate::index::{Forwarding, Proxy, Rendered};
use crate::ir;
use crate::resolve::auth;
use crate::resolve::hostname::ANY;
use crate::resolve::listeners::{Class, PlannedChain, PlannedListener, filter_name};
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
            class: planned.class.name().to_owned(),
            port: planned.port,
            addresses: addresses
                .iter()
                .map(|address| ir::SocketAddress { address: address.clone(), port: planned.bound })
                .collect(),
            filter_chains: self.chains(proxy, name, planned),
        });
        listeners.filter(|listener| !listener.addresses.is_empty() && !listener.filter_chains.is_empty()).collect()
    }

    /// A chain whose certificates aren't there yet is left out: the others of its port serve.
    fn chains(&self, proxy: &Proxy, listener: &Arc<str>, planned: &PlannedListener) -> Vec<ir::FilterChain> {
        let mut routed: BTreeMap<&str, Vec<(&Arc<str>, &Forwarding)>> = BTreeMap::new();
        for (name, forwarding) in proxy.forwardings.iter().filter(|(_, it)| it.listener == *listener) {
            routed.entry(&forwarding.chain).or_default().push((name, forwarding));
        }
        let mut chains = Vec::with_capacity(planned.chains.len());
        for chain in &planned.chains {
            let own = routed.remove(&*chain.hostname).unwrap_or_default();
            self.add_chains(&mut chains, (proxy, listener), planned.class, chain, &own);
        }
        chains.sort_by(|a, b| a.server_names.cmp(&b.server_names));
        chains
    }

    /// Adds the chains that a user's listener comes to.
    fn add_chains(
        &self,
        chains: &mut Vec<ir::FilterChain>,
        (proxy, listener): (&Proxy, &Arc<str>),
        class: Class,
        chain: &PlannedChain,
        own: &[(&Arc<str>, &Forwarding)],
    ) {
        let secrets = chain.secrets.iter().filter(|secret| self.has_certificate(secret));
        let secrets: Vec<String> = secrets.map(Key::to_string).collect();
        let unusable = chain.ends_tls && secrets.is_empty();
        let made = |name: &str, hostname: &str, route, carries| ir::FilterChain {
            name: name.to_owned(),
            server_names: (hostname != ANY).then(|| hostname.to_owned()).into_iter().collect(),
            secrets: secrets.clone(),
            client_validation: chain.client_validation.clone().filter(|_| chain.ends_tls && !unusable),
            route,
            tracing: None,
            carries,
        };
        if let Some(name) = &chain.route_configuration {
            if !unusable {
                let filters = self.request_filters(proxy, name);
                let carries = ir::Carries::Requests { route_configuration: name.to_string(), filters };
                let tracing = self.tracing(proxy, name);
                chains.push(ir::FilterChain { tracing, ..made(name, &chain.hostname, None, carries) });
            }
            return;
        }
        for (name, Carried { hostname, route, shares }) in forwardings(own, listener, class, &chain.hostname) {
            // Refused, rather than taken by a listener with a less specific name.
            let shares = if unusable { Vec::new() } else { shares };
            let carries = match class {
                Class::Udp => ir::Carries::Datagrams(shares),
                _ => ir::Carries::Connections(shares),
            };
            chains.push(made(&name, &hostname, route, carries));
        }
    }

    /// What is done to requests before they are routed: by whichever listener of a port they are for.
    fn request_filters(&self, proxy: &Proxy, configuration: &Arc<str>) -> Vec<ir::RequestFilter> {
        let own = proxy.plan.filters.iter().filter(|((of, _), _)| of == configuration);
        let each = own.flat_map(|((_, hostname), filters)| {
            filters.iter().enumerate().map(move |(index, auth)| (filter_name(hostname, index), auth))
        });
        let each = each.map(|(name, auth)| {
            let backend = auth.backend.as_deref().map(|name| Key::of(&proxy.object.metadata).sibling(name));
            let cluster = backend.as_ref().and_then(|key| proxy.named.get(key)).cloned();
            let authority = backend.as_ref().and_then(|key| self.authority_of(key));
            ir::RequestFilter { name, auth: auth::with(auth, cluster, authority) }
        });
        each.collect()
    }

    /// How the requests of a route configuration are traced, once the collector's cluster is there.
    fn tracing(&self, proxy: &Proxy, configuration: &Arc<str>) -> Option<ir::Tracing> {
        let wanted = proxy.plan.tracing.get(configuration)?;
        let backend = Key::of(&proxy.object.metadata).sibling(&wanted.backend);
        let cluster = Arc::clone(proxy.named.get(&backend)?);
        let authority = self.authority_of(&backend)?;
        Some(ir::Tracing { cluster, authority, wanted: wanted.clone() })
    }

    /// What a backend is called.
    pub(super) fn authority_of(&self, backend: &Key) -> Option<String> {
        Some(auth::authority(&self.index.backends.get(backend)?.cluster.as_ref()?.source.spec))
    }

    pub(super) fn has_certificate(&self, secret: &Key) -> bool {
        self.index.secrets.get(secret).is_some_and(|certificate| certificate.body.is_some())
    }
}

fn render(proxy: &mut Proxy, key: &Key, listener: &ir::Listener, work: &mut Work) {
    let name: Arc<str> = listener.name.as_str().into();
    let data = json!({ "gateway": proxy.data, "listener": listener_data(listener) });
    let owners = owners(proxy, listener);
    if let Some(rendered) = proxy.listeners.get(&name).filter(|rendered| !rendered.stale && rendered.data == data) {
        // A route's new generation that says the same.
        let published = proxy.published.get(&ResourceId::new(ResourceKind::Listener, name));
        if let Some(published) =
            published.filter(|published| rendered.problem.is_none() && *published.owners != *owners)
        {
            work.publish(key, Resource { owners: owners.into(), ..published.clone() });
        }
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
        let needs: Arc<[ResourceId]> = chains.flat_map(needs).collect::<BTreeSet<_>>().into_iter().collect();
        let id = ResourceId::new(ResourceKind::Listener, name.clone());
        work.publish(key, Translator::encoded(id, &body, needs, owners));
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
    envoy::listener_from_text(name, &text, &data)
}

/// What a template sees of a listener: the intermediate representation, and messages that it would have to spell out.
fn listener_data(listener: &ir::Listener) -> Value {
    let chains: Vec<Value> = listener.filter_chains.iter().map(|chain| chain_data(listener, chain)).collect();
    let datagrams = listener.filter_chains.iter().find_map(|chain| match &chain.carries {
        ir::Carries::Datagrams(shares) => Some(envoy::forward::udp(shares)),
        _ => None,
    });
    json!({
        "name": listener.name,
        "class": listener.class,
        "port": listener.port,
        "addresses": listener.addresses,
        "filterChains": chains,
        "udpProxy": datagrams,
    })
}

fn chain_data(listener: &ir::Listener, chain: &ir::FilterChain) -> Value {
    let (configuration, tcp) = match &chain.carries {
        ir::Carries::Requests { route_configuration, .. } => (Some(route_configuration), None),
        ir::Carries::Connections(shares) => (None, Some(envoy::forward::tcp(shares))),
        ir::Carries::Datagrams(_) => (None, None),
    };
    let filters: Vec<Value> = match &chain.carries {
        ir::Carries::Requests { filters, .. } => filters.iter().map(envoy::ext_authz::before_routing).collect(),
        _ => Vec::new(),
    };
    json!({
        "name": chain.name,
        "serverNames": chain.server_names,
        "match": envoy::forward::chain_match(listener, chain),
        "secrets": chain.secrets,
        "route": chain.route,
        "routeConfiguration": configuration,
        "rds": configuration.map(|name| envoy::routes_over_ads(name)),
        "sds": chain.secrets.iter().map(|name| envoy::secret_over_ads(name)).collect::<Vec<_>>(),
        "clientValidation": chain.client_validation.as_ref().map(envoy::client_validation),
        "tcpProxy": tcp,
        "requestFilters": filters,
        "tracing": chain.tracing.as_ref().map(envoy::tracing::message),
        "routeFilters": configuration.map(|_| [envoy::ext_authz::slot()]),
    })
}

/// What has to be there before a chain.
fn needs(chain: &ir::FilterChain) -> Vec<ResourceId> {
    let secrets = chain.secrets.iter().map(|name| ResourceId::new(ResourceKind::Secret, name.as_str()));
    let mut needs: Vec<ResourceId> = secrets.collect();
    let traced = chain.tracing.iter().map(|tracing| ResourceId::new(ResourceKind::Cluster, tracing.cluster.clone()));
    needs.extend(traced);
    match &chain.carries {
        ir::Carries::Requests { route_configuration, filters } => {
            let asked = filters.iter().filter_map(|filter| filter.auth.cluster.clone());
            needs.extend(asked.map(|name| ResourceId::new(ResourceKind::Cluster, name)));
            needs.push(ResourceId::new(ResourceKind::RouteConfiguration, route_configuration.as_str()));
        }
        ir::Carries::Connections(shares) | ir::Carries::Datagrams(shares) => {
            let clusters = shares.iter().filter_map(|share| share.cluster.clone());
            needs.extend(clusters.map(|name| ResourceId::new(ResourceKind::Cluster, name)));
        }
    }
    needs
}

/// The gateway, and the routes that show in its filter chains.
fn owners(proxy: &Proxy, listener: &ir::Listener) -> Vec<Owner> {
    let shown = listener.filter_chains.iter().filter_map(|chain| proxy.forwardings.get(chain.name.as_str())?.winner());
    let mut owners = vec![proxy.owner()];
    for placed in shown {
        if !owners.contains(&placed.entry.owner) {
            owners.push(placed.entry.owner.clone());
        }
    }
    owners
}

/// What a chain of connections or datagrams is made from.
#[derive(Default)]
struct Carried {
    /// The server name.
    hostname: Arc<str>,
    /// Name of the route that has it.
    route: Option<String>,
    shares: Vec<ir::Share>,
}

/// What a listener of the user's carries elsewhere: by server name where there is TLS. Its own host name is always
/// among them, so that what no route wants is refused, and not taken by a listener with a less specific one.
fn forwardings(
    own: &[(&Arc<str>, &Forwarding)],
    listener: &Arc<str>,
    class: Class,
    chain: &Arc<str>,
) -> BTreeMap<Arc<str>, Carried> {
    let mut all = BTreeMap::new();
    all.insert(chain_name(listener, class, chain), Carried { hostname: chain.clone(), ..Carried::default() });
    for (name, forwarding) in own {
        let Some(winner) = forwarding.winner() else { continue };
        let (hostname, route) = (forwarding.hostname.clone(), Some(winner.entry.seniority.route()));
        all.insert(Arc::clone(name), Carried { hostname, route, shares: winner.entry.shares.to_vec() });
    }
    all
}
