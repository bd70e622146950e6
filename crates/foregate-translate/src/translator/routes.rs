//! Routes: which form serves, compiled for each listener that it is attached to.

use std::collections::BTreeMap;
use std::sync::Arc;

use foregate_api::GatewayRoute;
use foregate_api::route::GatewayRouteSpec;

use super::Translator;
use super::ingest::{ROUTE, owner_of};
use super::places::{Places, Site};
use super::work::Work;
use crate::envoy::{patch, route as envoy_route, virtual_host};
use crate::index::{Compiled, Placed, Proxy, Sorted};
use crate::resolve::hostname::HostRank;
use crate::resolve::listeners::{AttachPoint, Class};
use crate::resolve::precedence::Seniority;
use crate::resolve::route::{self, Context, Target};
use crate::resolve::{forward, hostname};
use crate::{Key, Problem};

impl Translator {
    pub(super) fn compile_routes(&mut self, work: &mut Work) {
        for (key, causes) in std::mem::take(&mut work.routes) {
            if !self.index.routes.contains_key(&key) {
                continue;
            }
            let (serving, places, problem) = self.choose(&key, work);
            if let Some(known) = self.index.routes.get_mut(&key) {
                known.tracked.problem = problem;
                known.serving = serving;
            }
            work.judge(ROUTE, &key);
            self.reindex_route(&key, work);
            self.place_route(&key, places, &causes, work);
        }
    }

    /// The form of a route that serves. The present one, if it translates and nobody refused it; but one that names a
    /// backend that isn't here yet, or whose endpoints aren't, waits: they are on their way in other watches. Else the
    /// last good one, or none.
    fn choose(&self, key: &Key, work: &mut Work) -> (Option<Arc<GatewayRoute>>, Places, Option<String>) {
        let Some(known) = self.index.routes.get(key) else { return (None, Places::new(), None) };
        let current = &known.tracked.current;
        let mut problem = None;
        let mut is_incomplete = false;
        if known.tracked.quarantine.is_none() {
            match self.compile(key, current, work) {
                Ok(places) if known.serves_current() || self.is_complete(key, current) => {
                    return (Some(current.clone()), places, None);
                }
                Ok(_) => is_incomplete = true,
                Err(reason) => problem = Some(reason.to_string()),
            }
        }
        let others = [&known.serving, &known.tracked.previous];
        for other in others.into_iter().flatten().filter(|other| !Arc::ptr_eq(other, current)) {
            if (!is_incomplete || self.is_complete(key, other))
                && let Ok(places) = self.compile(key, other, work)
            {
                return (Some(other.clone()), places, problem);
            }
        }
        (None, Places::new(), problem)
    }

    /// Whether every backend that a route names is known, with its endpoints.
    fn is_complete(&self, key: &Key, route: &GatewayRoute) -> bool {
        route::backends(&route.spec).all(|name| {
            let backend = key.sibling(name);
            self.index.backends.get(&backend).is_some_and(|known| self.has_endpoints(&backend, known))
        })
    }

    fn compile(&self, key: &Key, route: &GatewayRoute, work: &mut Work) -> Result<Places, Problem> {
        let spec = &route.spec;
        let seniority = Arc::new(Seniority::of(&spec.origin));
        let mut places = Places::new();
        // Listeners of one gateway, class and port see the same.
        let mut compiled: BTreeMap<(&Key, Class, u16), Arc<Compiled>> = BTreeMap::new();
        for attachment in &spec.attachments {
            let Some((proxy_key, proxy)) = self.proxy_of(&key.sibling(&attachment.claim)) else { continue };
            let points = proxy.plan.claims.get(attachment.claim.as_str());
            let Some(point) = points.and_then(|points| points.get(attachment.listener.as_str())) else { continue };
            if !point.takes(spec.protocol) {
                continue;
            }
            let entry = match compiled.entry((proxy_key, point.class, point.port)) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.get().clone(),
                std::collections::btree_map::Entry::Vacant(vacant) => {
                    let made = self.compile_at(key, spec, proxy_key, point, &seniority, work)?;
                    vacant.insert(Arc::new(made)).clone()
                }
            };
            for hostname in &attachment.hostnames {
                let Some((name, site)) = site(proxy, point, &hostname.effective)? else { continue };
                let rank = HostRank::of(&hostname.original);
                let place = places.entry((proxy_key.clone(), name));
                let (_, placed) = place.or_insert_with(|| (site, Placed { rank, entry: entry.clone() }));
                placed.rank = placed.rank.min(rank);
            }
        }
        Ok(places)
    }

    fn compile_at(
        &self,
        key: &Key,
        spec: &GatewayRouteSpec,
        proxy_key: &Key,
        point: &AttachPoint,
        seniority: &Arc<Seniority>,
        work: &mut Work,
    ) -> Result<Compiled, Problem> {
        let (routes, shares) = if spec.protocol.is_http() {
            let entry = self.resolve(key, spec, proxy_key, point)?;
            (self.compile_entry(key, &entry, proxy_key, work)?, [].into())
        } else {
            (Vec::new(), forward::resolve(spec, &|name| self.cluster_at(proxy_key, &key.sibling(name)))?)
        };
        let clusters = route::backends(spec).filter_map(|name| {
            let backend = key.sibling(name);
            Some((self.cluster_at(proxy_key, &backend)?, backend))
        });
        Ok(Compiled {
            routes,
            shares,
            clusters: clusters.collect(),
            owner: owner_of(&spec.origin),
            seniority: seniority.clone(),
        })
    }

    /// A route as one listener serves it.
    pub(super) fn resolve(
        &self,
        key: &Key,
        spec: &GatewayRouteSpec,
        proxy_key: &Key,
        point: &AttachPoint,
    ) -> Result<crate::ir::Entry, Problem> {
        let backend = |name: &str| {
            let key = key.sibling(name);
            let cluster = self.cluster_at(proxy_key, &key)?;
            let made = self.index.backends.get(&key)?.cluster.as_ref()?;
            Some(Target { cluster, session: made.source.spec.policy.session_persistence.clone() })
        };
        let authority = |name: &str| self.authority_of(&key.sibling(name));
        let can_ask = self.index.proxies.get(proxy_key).is_some_and(Proxy::can_ask);
        route::resolve(spec, &Context { point, backend: &backend, authority: &authority, can_ask })
    }

    /// With the gateway's patch for routes; an older one where the present one fails.
    fn compile_entry(
        &self,
        key: &Key,
        entry: &crate::ir::Entry,
        proxy_key: &Key,
        work: &mut Work,
    ) -> Result<Vec<envoy_route::Compiled>, Problem> {
        let Some(proxy) = self.index.proxies.get(proxy_key) else {
            return envoy_route::compile(entry, false, None);
        };
        let counted = proxy.is_on_envoy();
        let mut failed = None;
        for templates in proxy.templates.candidates_or_current() {
            let Ok(parsed) = &templates.parsed else { continue };
            let patch = parsed.route_patch.as_ref().map(|template| patch::RoutePatch {
                template,
                gateway: &proxy.data,
                values: &parsed.values,
            });
            match envoy_route::compile(entry, counted, patch.as_ref()) {
                Err(problem @ Problem::Template { .. }) => failed = failed.or(Some(problem)),
                other => {
                    if patch.is_some() || failed.is_some() {
                        work.patched(proxy_key, &format!("{ROUTE} {key}"), failed.as_ref());
                    }
                    return other;
                }
            }
        }
        work.patched(proxy_key, &format!("{ROUTE} {key}"), failed.as_ref());
        let reason = "the gateway's template can't be used, see its GatewayProxy";
        Err(failed.unwrap_or_else(|| Problem::template("spec.template.envoy", reason)))
    }

    fn proxy_of(&self, claim: &Key) -> Option<(&Key, &Proxy)> {
        self.index.claims.get(claim).and_then(|proxy| self.index.proxies.get_key_value(proxy))
    }

    /// Indexes a route under what its present and its serving form name.
    fn reindex_route(&mut self, key: &Key, work: &mut Work) {
        let Some(route) = self.index.routes.get_mut(key) else { return };
        let forms = || std::iter::once(&route.tracked.current).chain(&route.serving);
        let backends = forms().flat_map(|form| route::backends(&form.spec)).map(|name| (key.sibling(name), ()));
        let backends: Sorted<Key, ()> = backends.collect();
        let claims = forms().flat_map(|form| &form.spec.attachments);
        let claims: Sorted<Key, ()> = claims.map(|attachment| (key.sibling(&attachment.claim), ())).collect();
        for backend in route.backends.keys().filter(|backend| !backends.contains_key(backend)) {
            self.index.routes_by_backend.remove(backend, key);
            work.released.insert(backend.clone());
        }
        for backend in backends.keys().filter(|backend| !route.backends.contains_key(backend)) {
            self.index.routes_by_backend.insert(backend.clone(), key.clone());
        }
        for claim in route.claims.keys().filter(|claim| !claims.contains_key(claim)) {
            self.index.routes_by_claim.remove(claim, key);
        }
        for claim in claims.keys().filter(|claim| !route.claims.contains_key(claim)) {
            self.index.routes_by_claim.insert(claim.clone(), key.clone());
        }
        route.backends = backends;
        route.claims = claims;
    }
}

/// Where a route goes with one of its host names; none: another listener of the port has it.
fn site(proxy: &Proxy, point: &AttachPoint, domain: &str) -> Result<Option<(Arc<str>, Site)>, Problem> {
    if let Some(configuration) = &point.route_configuration {
        if !proxy.plan.owns(point, domain) {
            return Ok(None);
        }
        let name: Arc<str> = format!("{configuration}/{domain}").into();
        if !proxy.virtual_hosts.contains_key(&name) {
            virtual_host::check_head(&name, domain)?;
        }
        return Ok(Some((name, Site::Host(configuration.clone(), domain.into()))));
    }
    // Only TLS tells names; a route without one takes all of its listener's.
    let domain = match point.class {
        Class::Https if domain == hostname::ANY => &point.hostname,
        Class::Https => domain,
        _ => hostname::ANY,
    };
    forward::check_server_name(domain)?;
    if !proxy.plan.owns(point, domain) {
        return Ok(None);
    }
    let name = chain_name(&point.listener, point.class, domain);
    let (listener, chain) = (point.listener.clone(), point.hostname.clone());
    Ok(Some((name, Site::Forwarding { listener, chain, hostname: domain.into() })))
}

/// The name of a filter chain that has no route configuration: its listener's, and the server name where there is TLS.
pub(super) fn chain_name(listener: &Arc<str>, class: Class, hostname: &str) -> Arc<str> {
    if class == Class::Https { format!("{listener}/{hostname}").into() } else { listener.clone() }
}
