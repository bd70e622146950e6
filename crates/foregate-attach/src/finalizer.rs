//! The finalizer of GatewayClasses: a class stays while Gateways use it, and while what was derived from them is still on
//! the platform that it leads to. Who restarts a controller then still finds the way there.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::Attach;
use crate::class::ClassState;
use crate::output::FinalizerChange;
use crate::target::{Health, TargetId, TargetState};

/// The standard's finalizer of a class that Gateways use.
const GATEWAY_EXISTS: &str = "gateway-exists-finalizer.gateway.networking.k8s.io";

impl ClassState {
    fn has_finalizer(&self) -> bool {
        self.object.metadata.finalizers.iter().flatten().any(|one| one == GATEWAY_EXISTS)
    }

    fn is_leaving(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }
}

impl TargetState {
    /// Whether something of ours is there, as far as that is known. A platform that doesn't know the cluster any more
    /// has removed all.
    fn may_have_objects(&self) -> bool {
        match self.health {
            Some(Health::Disowned(_)) => false,
            _ => !self.is_open() || self.book.left(self.is_good()).next().is_some(),
        }
    }

    fn is_good(&self) -> bool {
        matches!(self.health, Some(Health::Good { .. }))
    }
}

impl Attach {
    /// The finalizers that differ from what classes have.
    pub(crate) fn settle_finalizers(&mut self) -> Vec<FinalizerChange> {
        // What these wait for is no event of theirs.
        self.dirty.class_statuses.append(&mut self.leaving);
        let waits = |name: &&Arc<str>| self.waits_for_platform(name);
        let targets: BTreeSet<TargetId> = self
            .dirty
            .class_statuses
            .iter()
            .filter(waits)
            .filter_map(|name| self.classes.get(name)?.target())
            .collect();
        if !targets.is_empty() {
            // Another class may have to take over, or have done so.
            let theirs =
                self.classes.iter().filter(|(_, class)| class.target().is_some_and(|it| targets.contains(&it)));
            self.dirty.class_statuses.extend(theirs.map(|(name, _)| name.clone()));
        }
        let leaving = self.dirty.class_statuses.iter().filter(|name| self.waits_for_platform(name)).cloned().collect();
        self.leaving = leaving;
        self.dirty.class_statuses.iter().filter_map(|name| self.class_finalizers(name)).collect()
    }

    /// Whether a class that no Gateway uses has a finalizer because of what is on its platform.
    fn waits_for_platform(&self, name: &Arc<str>) -> bool {
        let Some(state) = self.classes.get(name) else { return false };
        let waits = |target| self.targets.get(target).may_have_objects();
        state.has_finalizer() && !self.index.class_gateways.has(name) && state.target().is_some_and(waits)
    }

    /// A class of ours that Gateways use keeps the standard's finalizer, and so does one that leads to what is left of
    /// them; any other loses it.
    fn class_finalizers(&self, name: &Arc<str>) -> Option<FinalizerChange> {
        let state = self.classes.get(name)?;
        if !state.is_ours() {
            return None;
        }
        let (has, is_leaving) = (state.has_finalizer(), state.is_leaving());
        let wanted = self.index.class_gateways.has(name) || self.is_needed(name, state);
        // A class on its way out takes no new finalizers.
        if has == wanted || (wanted && is_leaving) {
            return None;
        }
        let present = state.object.metadata.finalizers.as_deref().unwrap_or_default();
        let others = present.iter().filter(|one| *one != GATEWAY_EXISTS).cloned();
        let finalizers = others.chain(wanted.then(|| GATEWAY_EXISTS.to_owned())).collect();
        let resource_version = state.object.metadata.resource_version.clone().unwrap_or_default();
        Some(FinalizerChange { class: name.clone(), resource_version, finalizers })
    }

    /// Whether a class that no Gateway uses is the one that leads to what is on the platform.
    fn is_needed(&self, name: &Arc<str>, state: &ClassState) -> bool {
        let Some(id) = state.target() else { return false };
        let mut others = self.classes.iter().filter(|(other, class)| {
            *other != name && !class.is_leaving() && class.is_ours() && class.target() == Some(id)
        });
        let target = self.targets.get(id);
        if state.is_leaving() {
            return !others.any(|(_, class)| class.has_finalizer()) && target.may_have_objects();
        }
        // Who stays keeps it for those that go. Who hasn't got it takes it if nobody else has, and only where something
        // is known to be there.
        let has = state.has_finalizer();
        !others.any(|(other, class)| self.index.class_gateways.has(other) || (!has && class.has_finalizer()))
            && target.may_have_objects()
            && (has || target.is_open())
    }

    /// What a class on its way out waits for, and how not to; none if nothing is in its way.
    pub(crate) fn what_is_left(&self, state: &ClassState, id: TargetId) -> Option<String> {
        let name: Arc<str> = state.object.metadata.name.as_deref().unwrap_or_default().into();
        let target = self.targets.get(id);
        // Where the platform answers it is a matter of moments.
        if !state.is_leaving() || target.is_good() || !self.waits_for_platform(&name) {
            return None;
        }
        let what = match target.book.left(false).count() {
            _ if !target.is_open() => "what was made on the platform is".to_owned(),
            1 => "1 object on the platform is".to_owned(),
            count => format!("{count} objects on the platform are"),
        };
        Some(format!(
            "{what} still to be deleted before this class goes. To give that up, remove the finalizer {GATEWAY_EXISTS}: \
             then `foregate cluster remove` on the platform removes it"
        ))
    }
}
