//! Virtual hosts: cached routes in their order, concatenated.

use bytes::Bytes;
use foregate_envoy::{ResourceId, ResourceKind};

use super::Translator;
use super::ingest::PROXY;
use super::work::Work;
use crate::envoy::{ext_authz, patch, route as envoy_route, virtual_host};
use crate::index::{HostRole, Place, Proxy, VirtualHost};
use crate::resolve::listeners::filter_name;
use crate::{Key, Problem};

impl Translator {
    pub(super) fn build_virtual_hosts(&mut self, work: &mut Work) {
        for (key, name) in std::mem::take(&mut work.virtual_hosts) {
            let Some(proxy) = self.index.proxies.get_mut(&key) else { continue };
            let id = ResourceId::new(ResourceKind::VirtualHost, name.clone());
            let Some(host) = proxy.virtual_hosts.get_mut(&name) else { continue };
            host.sort();
            if host.placed.is_empty() && host.role.is_none() {
                proxy.virtual_hosts.remove(&name);
                work.retract(&key, id);
                continue;
            }
            let Some(host) = proxy.virtual_hosts.get(&name) else { continue };
            if let Some(HostRole::Misdirected(domains)) = &host.role {
                let body = envoy_route::misdirected(&name, domains);
                work.publish(&key, Self::encoded(id, &body, [], []));
                continue;
            }
            let head = virtual_host::head(&name, &host.domain);
            let place: Place = (key, name);
            match tail(proxy, host, &place, &head, work) {
                Ok(tail) => {
                    let gateway = proxy.patches().then(|| proxy.owner());
                    let body = with_filters(proxy, host, &head, &tail);
                    work.publish(&place.0, Self::encoded(id, &body, host.needs(), host.owners(gateway)));
                }
                // What was published stays; the gateway's report says why.
                Err(_) => continue,
            }
        }
        self.note_patch_problems(work);
    }

    /// Takes what patches said into the gateways that they are of.
    fn note_patch_problems(&mut self, work: &mut Work) {
        for ((key, what), problem) in std::mem::take(&mut work.patches) {
            let Some(proxy) = self.index.proxies.get_mut(&key) else { continue };
            match problem {
                Some(problem) => proxy.patch_problems.insert(what, problem),
                None => proxy.patch_problems.remove(&what),
            };
            work.judge(PROXY, &key);
        }
    }
}

/// A virtual host with what its listener's filters make of it.
fn with_filters(proxy: &Proxy, host: &VirtualHost, head: &[u8], tail: &[u8]) -> Bytes {
    let Some((hostname, filters)) = proxy.plan.filters_of(&host.route_configuration, &host.domain) else {
        return virtual_host::concatenate(head, host.routes(), tail);
    };
    if !proxy.can_ask() {
        return virtual_host::concatenate(head, std::iter::empty(), &[&ext_authz::refuse_all(), tail].concat());
    }
    let names = (0..filters.len()).map(|index| filter_name(hostname, index));
    virtual_host::concatenate(head, host.routes(), &[&ext_authz::switch_on(names), tail].concat())
}

/// What follows the routes, with what the gateway's patch adds; an older one's where the present one fails.
fn tail(proxy: &Proxy, host: &VirtualHost, place: &Place, head: &[u8], work: &mut Work) -> Result<Bytes, Problem> {
    let mut failed = None;
    for templates in proxy.templates.candidates_or_current() {
        let Ok(parsed) = &templates.parsed else { continue };
        let tail = match &parsed.virtual_host_patch {
            None => Ok(virtual_host::tail()),
            Some(template) => {
                let patch = patch::VirtualHostPatch { template, gateway: &proxy.data, values: &parsed.values };
                virtual_host::patched(head, &place.1, &host.domain, &patch)
            }
        };
        match tail {
            Ok(tail) => {
                if parsed.virtual_host_patch.is_some() || failed.is_some() {
                    work.patched(&place.0, &subject(place), failed.as_ref());
                }
                return Ok(tail);
            }
            Err(problem) => failed = failed.or(Some(problem)),
        }
    }
    work.patched(&place.0, &subject(place), failed.as_ref());
    Err(failed.unwrap_or_else(|| Problem::template("spec.template.envoy", "can't be used")))
}

fn subject(place: &Place) -> String {
    format!("virtual host {}", place.1)
}

impl Work {
    /// Notes what became of a gateway's patch.
    pub(super) fn patched(&mut self, proxy: &Key, what: &str, problem: Option<&Problem>) {
        self.patches.insert((proxy.clone(), what.to_owned()), problem.map(ToString::to_string));
    }
}
