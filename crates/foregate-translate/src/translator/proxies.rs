//! Gateways: their plan of listeners, their claims, their templates.

use std::sync::Arc;

use foregate_api::{GROUP, GatewayProxy, Origin};
use foregate_envoy::{Owner, Resource, ResourceId, ResourceKind};
use serde_json::json;

use super::Translator;
use super::ingest::PROXY;
use super::work::Work;
use crate::Key;
use crate::envoy::virtual_host;
use crate::index::{HostRole, Proxy, Tracked, VirtualHost};
use crate::resolve::listeners::Plan;
use crate::template::Templates;

impl Translator {
    pub(super) fn take_proxy(&mut self, object: Arc<GatewayProxy>, work: &mut Work) {
        let key = Key::of(&object.metadata);
        let owner = proxy_owner(&object);
        self.know(&owner, PROXY, &key);
        work.proxies.insert(key.clone());
        let Some(known) = self.index.proxies.get_mut(&key) else {
            let mut proxy =
                Proxy::new(object.clone(), Tracked::new(Arc::new(Templates::new(&object.spec.template)), owner));
            // Deleted and created anew in one batch: what isn't made again is taken back.
            proxy.published = work.removed.remove(&key).unwrap_or_default();
            proxy.published.keys().for_each(|id| work.retract(&key, id.clone()));
            self.index.proxies.insert(key.clone(), proxy);
            self.templates_changed(&key, work);
            return;
        };
        let was_on_envoy = known.is_on_envoy();
        known.object = object.clone();
        let engine_changed = was_on_envoy != known.is_on_envoy();
        let same = known.templates.current.spec == object.spec.template;
        if same && known.templates.owner == owner {
            return;
        }
        let templates =
            if same { known.templates.current.clone() } else { Arc::new(Templates::new(&object.spec.template)) };
        if known.is_troubled() {
            // Not to be the last good one.
            known.templates.problem.get_or_insert_default();
        }
        let could_ask = known.can_ask();
        known.templates.replace(templates, owner);
        let ask_changed = could_ask != known.can_ask();
        // Also when only the generation is new: a refusal has to name the present one.
        self.templates_changed(&key, work);
        if engine_changed || ask_changed {
            // Envoy's routes say under which names they are counted; and routes that ask answer 500 where there is no place
            // for that.
            self.mark_routes(&key, work);
        }
    }

    /// Every route of a gateway is made again.
    pub(super) fn mark_routes(&self, key: &Key, work: &mut Work) {
        let Some(proxy) = self.index.proxies.get(key) else { return };
        let causes = [Arc::new(proxy_origin(&proxy.object))];
        for claim in proxy.plan.claims.keys() {
            self.index.routes_by_claim.of(&key.sibling(claim)).for_each(|route| work.mark_route(route, &causes));
        }
    }

    pub(super) fn drop_proxy(&mut self, key: &Key, work: &mut Work) {
        let Some(proxy) = self.index.proxies.remove(key) else { return };
        self.forget(&proxy.owner(), PROXY, key);
        work.judge(PROXY, key);
        work.proxies.remove(key);
        for secret in &proxy.secrets {
            self.index.proxies_by_secret.remove(secret, key);
            work.secrets.insert(secret.clone());
        }
        for backend in &proxy.backends {
            self.index.proxies_by_backend.remove(backend, key);
            work.released.insert(backend.clone());
        }
        for claim in proxy.plan.claims.keys() {
            let claim = key.sibling(claim);
            if self.index.claims.get(&claim) == Some(key) {
                self.index.claims.remove(&claim);
            }
            self.index.routes_by_claim.of(&claim).for_each(|route| work.mark_route(route, &[]));
        }
        let hosts = proxy.virtual_hosts.iter().map(|(name, host)| (name, &host.placed));
        let forwardings = proxy.forwardings.iter().map(|(name, forwarding)| (name, &forwarding.placed));
        for (name, placed) in hosts.chain(forwardings) {
            let place = (key.clone(), name.clone());
            for route in placed.keys() {
                if let Some(route) = self.index.routes.get_mut(route) {
                    route.placed.remove(&place);
                }
            }
        }
        for used in proxy.clusters.values() {
            if let Some(backend) = self.index.backends.get_mut(&used.backend) {
                backend.users.remove(key);
            }
        }
        work.removed.insert(key.clone(), proxy.published);
    }

    /// Everything that a template had a part in is made again.
    pub(super) fn templates_changed(&mut self, key: &Key, work: &mut Work) {
        let Some(proxy) = self.index.proxies.get_mut(key) else { return };
        let statics = proxy.statics.as_mut().map(|statics| &mut statics.rendered);
        proxy.listeners.values_mut().chain(statics).for_each(|rendered| rendered.stale = true);
        proxy.patch_problems.clear();
        proxy.templates.problem = proxy.templates.current.parsed.as_ref().err().map(ToString::to_string);
        work.listeners.insert(key.clone());
        work.judge(PROXY, key);
        let causes = [Arc::new(proxy_origin(&proxy.object))];
        work.blame(key, &causes);
        work.virtual_hosts.extend(proxy.virtual_hosts.keys().map(|name| (key.clone(), name.clone())));
        let has_patch = |templates: &Arc<Templates>| templates.spec.envoy.route_patch.is_some();
        if has_patch(&proxy.templates.current) || proxy.templates.previous.as_ref().is_some_and(has_patch) {
            self.mark_routes(key, work);
        }
    }

    /// Plans the listeners of gateways that changed, and marks the routes whose listeners did.
    pub(super) fn plan_proxies(&mut self, work: &mut Work) {
        for key in std::mem::take(&mut work.proxies) {
            let Some(proxy) = self.index.proxies.get_mut(&key) else { continue };
            let causes = [Arc::new(proxy_origin(&proxy.object))];
            work.listeners.insert(key.clone());
            work.judge(PROXY, &key);
            let status = proxy.object.status.as_ref();
            let listeners = status.map(|status| status.listeners.as_slice()).unwrap_or_default();
            let mut plan = Plan::new(&key, listeners, self.options.port_offset);
            let certificate = status.and_then(|status| status.backend_client_certificate.as_deref());
            plan.client_certificate = certificate.map(|name| key.sibling(name));
            let addresses = status.map(|status| status.addresses.as_slice()).unwrap_or_default();
            let data = json!({ "namespace": &*key.namespace, "name": &*key.name, "addresses": addresses });
            if proxy.data != data {
                work.blame(&key, &causes);
                proxy.data = data;
                // Patches see it.
                work.virtual_hosts.extend(proxy.virtual_hosts.keys().map(|name| (key.clone(), name.clone())));
            }
            publish_shells(&key, proxy, &plan, work);
            if proxy.plan != plan {
                work.blame(&key, &causes);
                let old = std::mem::replace(&mut proxy.plan, plan);
                self.replan(&key, &old, work, &causes);
            }
        }
    }

    fn replan(&mut self, key: &Key, old: &Plan, work: &mut Work, causes: &[Arc<Origin>]) {
        let Some(proxy) = self.index.proxies.get_mut(key) else { return };
        let plan = &proxy.plan;
        // Clusters have it in their names.
        let reconnected = old.client_certificate != plan.client_certificate;
        // A port's listeners decide together which of them owns a domain.
        let moved = |listener: &Arc<str>| old.hostnames.get(listener) != plan.hostnames.get(listener);
        for claim in old.claims.keys().chain(plan.claims.keys()) {
            let points = plan.claims.get(claim);
            let name = key.sibling(claim);
            let rebound = points.is_some() && self.index.claims.get(&name) != Some(key);
            let touched = rebound
                || reconnected
                || old.claims.get(claim) != points
                || points.is_some_and(|points| points.values().any(|point| moved(&point.listener)));
            if points.is_some() {
                self.index.claims.insert(name.clone(), key.clone());
            } else if self.index.claims.get(&name) == Some(key) {
                self.index.claims.remove(&name);
            }
            if touched {
                self.index.routes_by_claim.of(&name).for_each(|route| work.mark_route(route, causes));
            }
        }
        replan_virtual_hosts(key, proxy, old, work);
        if old.filters != proxy.plan.filters {
            work.virtual_hosts.extend(proxy.virtual_hosts.keys().map(|name| (key.clone(), name.clone())));
        }
        let backends = proxy.plan.backends(key);
        for backend in proxy.backends.symmetric_difference(&backends) {
            if backends.contains(backend) {
                self.index.proxies_by_backend.insert(backend.clone(), key.clone());
            } else {
                self.index.proxies_by_backend.remove(backend, key);
                work.released.insert(backend.clone());
            }
        }
        proxy.backends = backends;
        work.named.insert(key.clone());
        let secrets = proxy.plan.secrets();
        for secret in proxy.secrets.symmetric_difference(&secrets) {
            if secrets.contains(secret) {
                self.index.proxies_by_secret.insert(secret.clone(), key.clone());
            } else {
                self.index.proxies_by_secret.remove(secret, key);
                work.retract(key, secret_id(secret));
            }
            work.secrets.insert(secret.clone());
        }
        proxy.secrets = secrets;
    }
}

/// No host name has an underscore: what answers misdirected requests can't be mistaken for one.
const MISDIRECTED: &str = "_misdirected";

/// A virtual host per listener's host name, and one for all host names that other listeners of an HTTPS port have.
fn replan_virtual_hosts(key: &Key, proxy: &mut Proxy, old: &Plan, work: &mut Work) {
    let name_of = |configuration: &str, hostname: &str| Arc::<str>::from(format!("{configuration}/{hostname}"));
    let own = |plan: &Plan| -> Vec<(Arc<str>, Arc<str>, HostRole)> {
        let each = plan.route_configurations.iter().flat_map(|(configuration, hostnames)| {
            hostnames.iter().map(|hostname| (configuration.clone(), hostname.clone(), HostRole::Listener))
        });
        let others = plan.neighbours.iter().map(|(configuration, hostnames)| {
            let hostnames = hostnames.iter().map(|hostname| hostname.to_string()).collect();
            (configuration.clone(), MISDIRECTED.into(), HostRole::Misdirected(hostnames))
        });
        each.chain(others).collect()
    };
    for (configuration, domain, _) in own(old) {
        let name = name_of(&configuration, &domain);
        if let Some(host) = proxy.virtual_hosts.get_mut(&name) {
            host.role = None;
            work.virtual_hosts.insert((key.clone(), name));
        }
    }
    for (configuration, domain, role) in own(&proxy.plan) {
        let name = name_of(&configuration, &domain);
        let host = proxy.virtual_hosts.entry(name.clone());
        host.or_insert_with(|| VirtualHost::new(configuration, domain)).role = Some(role);
        work.virtual_hosts.insert((key.clone(), name));
    }
}

/// A shell per route configuration.
fn publish_shells(key: &Key, proxy: &Proxy, plan: &Plan, work: &mut Work) {
    let id = |configuration: &Arc<str>| ResourceId::new(ResourceKind::RouteConfiguration, configuration.clone());
    for configuration in proxy.plan.route_configurations.keys() {
        work.retract(key, id(configuration));
    }
    for configuration in plan.route_configurations.keys() {
        let shell = virtual_host::shell(configuration);
        work.publish(key, Resource::new(id(configuration), &shell, [], [proxy.owner()]));
    }
}

/// The SDS resource of a Secret.
pub(super) fn secret_id(secret: &Key) -> ResourceId {
    ResourceId::new(ResourceKind::Secret, secret.to_string())
}

fn proxy_owner(proxy: &GatewayProxy) -> Owner {
    Owner {
        uid: proxy.metadata.uid.as_deref().unwrap_or_default().into(),
        generation: proxy.metadata.generation.unwrap_or(0),
    }
}

fn proxy_origin(proxy: &GatewayProxy) -> Origin {
    let metadata = &proxy.metadata;
    Origin {
        cluster: String::new(),
        group: GROUP.to_owned(),
        kind: PROXY.to_owned(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or(0),
        creation_timestamp: metadata.creation_timestamp.clone(),
    }
}
