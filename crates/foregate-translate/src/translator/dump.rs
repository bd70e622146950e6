//! A gateway's intermediate representation, and its resources, on demand.

use std::sync::Arc;

use foregate_api::address::ProxyRef;
use foregate_envoy::Resource;

use super::Translator;
use crate::index::{HostRole, Proxy, Route};
use crate::ir;
use crate::{Key, Problem};

impl Translator {
    /// Every resource that a gateway has been given, ordered by kind and name.
    pub fn resources(&self, proxy: &ProxyRef) -> Vec<&Resource> {
        let proxy = self.index.proxies.get(&Key::from(proxy));
        let mut resources: Vec<&Resource> = proxy.into_iter().flat_map(|it| it.published.values()).collect();
        resources.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        resources
    }

    /// The intermediate representation of a gateway; none: there is no such gateway. It is made anew from what serves
    /// now, so that it costs as much as a translation from scratch.
    pub fn ir(&self, proxy: &ProxyRef) -> Option<ir::Gateway> {
        let key = Key::from(proxy);
        let proxy = self.index.proxies.get(&key)?;
        let listeners = self.plan_listeners(&key);
        let certificates = proxy
            .secrets
            .iter()
            .map(|secret| ir::Certificate { name: secret.to_string(), present: self.has_certificate(secret) });
        Some(ir::Gateway {
            infra: infra(&key, proxy),
            xds: ir::Xds {
                listeners,
                virtual_hosts: self.ir_virtual_hosts(&key, proxy),
                clusters: self.ir_clusters(proxy),
                certificates: certificates.collect(),
            },
        })
    }

    fn ir_virtual_hosts(&self, key: &Key, proxy: &Proxy) -> Vec<ir::VirtualHost> {
        let mut names: Vec<&Arc<str>> = proxy.virtual_hosts.keys().collect();
        names.sort_unstable();
        let hosts = names.into_iter().filter_map(|name| proxy.virtual_hosts.get(name));
        let hosts = hosts.filter(|host| !matches!(host.role, Some(HostRole::Misdirected(_))));
        hosts
            .map(|host| ir::VirtualHost {
                route_configuration: host.route_configuration.to_string(),
                domain: host.domain.to_string(),
                entries: host
                    .placed
                    .keys()
                    .filter_map(|route| self.ir_placement(key, proxy, route, &host.route_configuration, &host.domain))
                    .collect(),
            })
            .collect()
    }

    fn ir_placement(
        &self,
        key: &Key,
        proxy: &Proxy,
        route_key: &Key,
        configuration: &Arc<str>,
        domain: &str,
    ) -> Option<ir::Placement> {
        let Route { serving: Some(route), .. } = self.index.routes.get(route_key)? else { return None };
        route.spec.attachments.iter().find_map(|attachment| {
            if self.index.claims.get(&route_key.sibling(&attachment.claim)) != Some(key) {
                return None;
            }
            let point = proxy.plan.claims.get(attachment.claim.as_str())?.get(attachment.listener.as_str())?;
            let hostname = attachment.hostnames.iter().find(|hostname| hostname.effective == domain)?;
            let entry: Result<_, Problem> = self.resolve(route_key, &route.spec, key, point);
            (point.route_configuration.as_ref() == Some(configuration))
                .then_some(ir::Placement { hostname: hostname.original.clone(), entry: entry.ok()? })
        })
    }

    fn ir_clusters(&self, proxy: &Proxy) -> Vec<ir::Cluster> {
        let mut used: Vec<_> = proxy.clusters.iter().filter(|(_, used)| used.count > 0).collect();
        used.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let clusters = used.into_iter().filter_map(|(name, used)| {
            let made = self.index.backends.get(&used.backend)?.cluster.as_ref()?;
            let spec = &made.source.spec;
            Some(ir::Cluster {
                name: name.to_string(),
                protocol: spec.protocol,
                tls: spec.tls.clone(),
                connect_timeout_millis: spec.policy.connect_timeout_millis,
                endpoints: self.endpoints(&used.backend, made),
            })
        });
        clusters.collect()
    }
}

fn infra(key: &Key, proxy: &Proxy) -> ir::Infra {
    let template = &proxy.object.spec.template;
    let status = proxy.object.status.as_ref();
    ir::Infra {
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        engine: template.engine.clone(),
        replicas: template.replicas,
        addresses: status.map(|status| status.addresses.clone()).unwrap_or_default(),
        ports: proxy
            .plan
            .listeners
            .iter()
            .map(|(name, planned)| ir::BoundPort {
                listener: name.to_string(),
                port: planned.port,
                bound: planned.bound,
            })
            .collect(),
    }
}
