//! Who is to blame among several, found out with the engine's help.
//!
//! Routes of one host name are one resource. When an engine refuses it and more than one route is new in it, all of
//! them are held back, and then let go on trial until the bad ones are known (`search`).

use std::sync::Arc;

use foregate_api::GatewayRoute;
use foregate_api::address::ProxyRef;
use foregate_translate::{Change, Input as Translate, ObjectRef};
use foregate_xds::{Owner, ResourceId};

use crate::outbox::{Kind, Target};
use crate::pipeline::Pipeline;
use crate::pipeline::observe::translator_key;
use crate::pipeline::refusal::Blame;
use crate::search::{Move, Search};
use crate::store::Key;

impl Pipeline {
    /// Holds back whoever is to blame for a refused resource; if these are several routes, begins to search among them.
    pub(super) fn hold_back(&mut self, proxy: &ProxyRef, id: ResourceId, version: &str, blame: Blame, message: &str) {
        let Blame { culprits, certain } = blame;
        let routes: Vec<Owner> =
            culprits.iter().filter(|owner| !self.routes_of(proxy, &owner.uid).is_empty()).cloned().collect();
        // A template that has a part in a virtual host is blamed only if no route can be.
        let culprits = if routes.is_empty() { culprits } else { routes.clone() };
        let Some(gateway) = self.gateways.get_mut(proxy) else { return };
        let is_clear = certain && culprits.len() == 1;
        if !is_clear && !gateway.history.is_latest(&id, version) {
            // What is on its way will be taken or refused itself, and tells more.
            return;
        }
        self.quarantine(&culprits, message);
        if routes.len() < 2 {
            return;
        }
        tracing::info!(name = %id.name, suspects = routes.len(), "searching for the culprit");
        self.suspects.extend(routes.iter().map(|owner| owner.uid.clone()));
        let (search, first) = Search::begin(routes);
        self.gateway(proxy).searches.insert(id.clone(), search);
        self.carry_on(proxy, &id, first, message);
    }

    /// An engine has refused a resource that is being searched.
    pub(super) fn trial_refused(&mut self, proxy: &ProxyRef, id: &ResourceId, version: &str, message: &str) {
        let Some(gateway) = self.gateways.get_mut(proxy) else { return };
        if !gateway.history.is_latest(id, version) {
            // What came before the trial.
            return;
        }
        if let Some(next) = gateway.searches.get_mut(id).map(Search::refused) {
            self.carry_on(proxy, id, next, message);
        }
    }

    /// Engines have applied more: trials may have passed.
    pub(super) fn trial_applied(&mut self, proxy: &ProxyRef) {
        let applied = self.presences.applied(proxy).unwrap_or_default();
        let Some(gateway) = self.gateways.get_mut(proxy).filter(|gateway| !gateway.searches.is_empty()) else { return };
        let passed: Vec<_> = gateway
            .searches
            .iter_mut()
            .filter_map(|(id, search)| Some((id.clone(), search.applied(applied)?)))
            .collect();
        for (id, next) in passed {
            self.carry_on(proxy, &id, next, "");
        }
    }

    /// The gateway is no more, or another.
    pub(super) fn abandon(&mut self, proxy: &ProxyRef) {
        let ids: Vec<ResourceId> = self.gateway(proxy).searches.keys().cloned().collect();
        ids.iter().for_each(|id| self.close(proxy, id));
    }

    /// What was let go in this step is published now.
    pub(super) fn mark_trials(&mut self) {
        for proxy in std::mem::take(&mut self.on_trial) {
            let Some(gateway) = self.gateways.get_mut(&proxy) else { continue };
            let sequence = gateway.sequence;
            gateway.searches.values_mut().for_each(|search| search.published(sequence));
        }
    }

    fn carry_on(&mut self, proxy: &ProxyRef, id: &ResourceId, next: Move<Owner>, message: &str) {
        self.quarantine(&next.hold, message);
        for Owner { uid, .. } in &next.release {
            for route in self.routes_of(proxy, uid) {
                // Anew, without what was said against it.
                let key = translator_key(&Key::of(&*route));
                self.changes.push(Translate::Route(Change::Gone(key)));
                self.changes.push(Translate::Route(Change::Set(route)));
            }
        }
        self.on_trial.insert(proxy.clone());
        if next.over {
            self.close(proxy, id);
        }
    }

    /// The search is over: it is said what is to be said.
    fn close(&mut self, proxy: &ProxyRef, id: &ResourceId) {
        let Some(search) = self.gateways.get_mut(proxy).and_then(|gateway| gateway.searches.remove(id)) else { return };
        tracing::info!(name = %id.name, guilty = search.guilty().len(), "the search is over");
        for Owner { uid, .. } in search.suspects() {
            self.suspects.remove(uid);
            let keys = self.routes_of(proxy, uid).into_iter().map(|route| Key::of(&*route));
            self.reconsider.extend(keys.map(|key| Target { kind: Kind::Route, key }));
        }
        let guilty: Vec<_> = search.guilty().iter().flat_map(|owner| self.routes_of(proxy, &owner.uid)).collect();
        for key in guilty.iter().map(|route| Key::of(&**route)) {
            let object = ObjectRef { kind: "GatewayRoute", key: translator_key(&key) };
            if let Some(problem) = self.problems.get(&object).cloned() {
                self.note_refusal(&key, &problem);
            }
        }
    }

    fn quarantine(&mut self, owners: &[Owner], message: &str) {
        for Owner { uid, generation } in owners.iter().cloned() {
            self.changes.push(Translate::Quarantine { uid, generation, message: message.to_owned() });
        }
    }

    /// The routes made from one object of a user, of a gateway's tenant. Looks at all routes: for refusals only.
    fn routes_of(&self, proxy: &ProxyRef, uid: &str) -> Vec<Arc<GatewayRoute>> {
        let theirs = self.stores.routes.iter();
        let theirs = theirs.filter(|(key, route)| key.namespace == proxy.namespace && route.spec.origin.uid == uid);
        theirs.map(|(_, route)| Arc::clone(route)).collect()
    }
}
