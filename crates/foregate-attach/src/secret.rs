//! Secrets, and their copies for the platform.

use std::sync::Arc;

use foregate_api::{CLUSTER_LABEL, ORIGIN_ANNOTATION, Origin};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use crate::backend::{CaSource, Source};
use crate::book::metadata;
use crate::need::Need;
use crate::output::{Derived, DerivedKind};
use crate::target::TargetId;
use crate::world::{SecretState, origin};
use crate::{Attach, Change, Key};

/// The type of Secrets that hold a certificate and its key.
const TLS: &str = "kubernetes.io/tls";

impl Attach {
    pub(crate) fn take_secret(&mut self, change: Change<Secret>) {
        let (key, new) = match change {
            Change::Set(object) => (Key::of(&object.metadata), Some(object)),
            Change::Gone(key) => (key, None),
        };
        let shared = self.settings.default_target.as_ref().filter(|target| target.shares_api);
        if let Some(target) = shared.filter(|target| *target.tenant_namespace == *key.namespace) {
            let copy = new.as_ref().filter(|secret| is_copy(secret, &target.cluster)).cloned();
            let is_copy = copy.is_some();
            self.targets
                .get_mut(TargetId::DEFAULT)
                .book
                .seen((DerivedKind::Secret, key.name.clone()), copy.map(Derived::Secret));
            if is_copy {
                return;
            }
        }
        if !self.needs(&Need::Secret(key.clone())) {
            return;
        }
        let new = new.map(|secret| SecretState::new(&secret));
        // Who renews a credential needs to know which version it replaces.
        let is_credential = self.index.secret_classes.has(&key);
        let unchanged = match (self.world.secrets.get(&key), &new) {
            (Some(old), Some(new)) => {
                let is_same = old.version == new.version || !is_credential;
                is_same && old.metadata == new.metadata && old.pair == new.pair && old.ca == new.ca
            }
            (old, new) => old.is_none() && new.is_none(),
        };
        if unchanged {
            return;
        }
        match new {
            Some(state) => self.world.secrets.insert(key.clone(), state),
            None => self.world.secrets.remove(&key),
        };
        for parent in self.index.secret_parents.of(&key).cloned().collect::<Vec<_>>() {
            self.mark_parent(&parent);
        }
        self.dirty.classes.extend(self.index.secret_classes.of(&key).cloned());
        self.mark_ca_users(&CaSource::Secret(key.clone()));
        self.dirty.secrets.insert(key);
    }

    /// Wants a copy of a Secret at each target with a Gateway that uses it.
    pub(crate) fn derive_secret(&mut self, key: &Key) {
        for target in self.targets.ids() {
            self.derive(Source::Secret(target, key.clone()), self.copy(target, key));
        }
    }

    fn copy(&self, target: TargetId, key: &Key) -> Option<Derived> {
        let is_used = self.index.secret_users.of(key).any(|parent| self.claim_targets.get(parent) == Some(&target));
        let target = self.targets.get(target);
        self.world.secrets.get(key).filter(|_| is_used).and_then(|state| {
            let pair = state.pair.as_ref()?;
            let origin = origin(&target.cluster, "", "Secret", &state.metadata);
            let mut metadata = metadata(&target.namespace, &origin.derived_name(), &origin);
            metadata.annotations = Some([(ORIGIN_ANNOTATION.to_owned(), serde_json::to_string(&origin).ok()?)].into());
            let data = [("tls.crt", &pair.certificate), ("tls.key", &pair.key)];
            let data = data.map(|(name, bytes)| (name.to_owned(), ByteString(bytes.clone())));
            Some(Derived::Secret(Arc::new(Secret {
                metadata,
                type_: Some(TLS.to_owned()),
                data: Some(data.into()),
                ..Secret::default()
            })))
        })
    }
}

/// Whether a Secret of the tenant's namespace was made by us.
fn is_copy(secret: &Secret, cluster: &str) -> bool {
    let label = secret.metadata.labels.as_ref().and_then(|l| l.get(CLUSTER_LABEL));
    let origin = secret.metadata.annotations.as_ref().and_then(|a| a.get(ORIGIN_ANNOTATION));
    let origin = origin.and_then(|text| serde_json::from_str::<Origin>(text).ok());
    label.is_some_and(|label| label == cluster) && origin.is_some_and(|o| o.cluster == cluster)
}
