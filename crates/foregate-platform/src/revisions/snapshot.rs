//! A pinned revision's whole configuration, in parts that fit into an object each.

use std::collections::BTreeMap;

use foregate_api::revision::{ConfigRevision, KeptResource, Snapshot};

use super::rebuild::Kept;
use super::{Named, Versions};

/// Bytes of texts in one part. An object may have 1.5 MiB.
const MOST_BYTES: usize = 1 << 20;

/// The parts of a snapshot; at least one.
pub(crate) fn parts(revision: &str, resources: Vec<KeptResource>) -> Vec<Snapshot> {
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    for resource in resources {
        // JSON in JSON: quotes are escaped.
        let needs: usize = resource.needs.iter().map(|need| need.len() + 4).sum();
        let size = 200 + resource.name.len() + needs + resource.text.len() + resource.text.matches('"').count();
        if bytes + size > MOST_BYTES && bytes > 0 {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(part) = parts.last_mut() {
            part.push(resource);
        }
    }
    let count = parts.len() as u32;
    let numbered = (1..).zip(parts);
    numbered
        .map(|(part, resources)| Snapshot { revision: revision.to_owned(), part, parts: count, resources })
        .collect()
}

/// What a snapshot holds, if all of its parts are there.
pub(super) fn read(
    revisions: &[ConfigRevision],
    proxy: &str,
    now: &Versions,
    name: &str,
) -> Option<BTreeMap<Named, Kept>> {
    let ours = revisions.iter().filter(|it| it.spec.proxy == proxy);
    let parts: BTreeMap<u32, &Snapshot> = ours
        .filter_map(|it| it.spec.snapshot.as_ref())
        .filter(|snapshot| snapshot.revision == name)
        .map(|snapshot| (snapshot.part, snapshot))
        .collect();
    let count = parts.values().next()?.parts;
    if !(1..=count).eq(parts.keys().copied()) {
        return None;
    }
    let kept = |resource: &KeptResource| {
        let id = Named::new(&resource.type_url, &resource.name);
        let is_present = now.get(&id) == Some(&resource.version);
        let (text, needs) =
            if is_present { (None, Vec::new()) } else { (Some(resource.text.clone()), resource.needs.clone()) };
        (id, Kept { version: resource.version.clone(), text, needs })
    };
    Some(parts.values().flat_map(|part| &part.resources).map(kept).collect())
}
