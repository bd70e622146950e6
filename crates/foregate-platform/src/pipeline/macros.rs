//! This crate passes resources on and doesn't know foregate-envoy's types by name: what it keeps of them is made by
//! macros.

/// A resource id as type URL and name.
macro_rules! key {
    ($id:expr) => {
        ($id.kind.type_url(), $id.name.clone())
    };
}

/// Owners as UID and generation.
macro_rules! owners {
    ($owners:expr) => {
        $owners
            .iter()
            .map(|owner| (owner.uid.clone(), owner.generation))
            .collect::<std::sync::Arc<[crate::pipeline::gateway::OwnerKey]>>()
    };
}

pub(crate) use {key, owners};
