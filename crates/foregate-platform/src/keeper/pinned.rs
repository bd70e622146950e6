//! Pinned revisions: rebuilt for the pipeline, and kept whole for a restart.

use foregate_api::address::ProxyRef;
use foregate_api::revision::{ConfigRevision, ConfigRevisionSpec, KeptResource, Snapshot};
use foregate_xds::{Resource, ResourceId, ResourceKind};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt as _};
use xxhash_rust::xxh3::xxh3_64;

use super::chain::{Chain, owner};
use super::{BodyOf, Texts};
use crate::revisions::{self, Kept, Named, RevisionError, Versions};

/// A question of the pipeline: what was a revision?
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// The gateway.
    pub proxy: ProxyRef,
    /// UID of its GatewayProxy.
    pub uid: Option<String>,
    /// The revision's name.
    pub revision: String,
    /// What the gateway serves now, without endpoints and secrets.
    pub now: Vec<Resource>,
}

/// The answer.
#[derive(Clone, Debug)]
pub(crate) struct Rebuilt {
    /// The gateway.
    pub proxy: ProxyRef,
    /// The revision's name.
    pub revision: String,
    /// Its resources, or why they can't be had.
    pub resources: Result<Vec<(ResourceId, Content)>, String>,
}

/// A resource of a revision.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// As it is now.
    Same,
    /// Made again.
    Old(Resource),
}

/// Finds out what a revision was, and keeps it whole.
pub(super) async fn answer(client: &Client, chain: &mut Chain, ask: Ask, texts: Texts) -> Rebuilt {
    let resources = match read(client, &ask.proxy).await {
        Ok(kept) => {
            let made = made(chain, kept, &ask, texts);
            if let Ok(made) = &made {
                // One that can't be had takes nobody's place.
                chain.pin(Some(ask.revision.clone()), ask.uid.clone());
                save(client, chain, &ask, made, texts).await;
                super::remove(client, &ask.proxy, chain.take_surplus()).await;
            }
            made.map_err(|error| error.to_string())
        }
        Err(error) => Err(format!("ConfigRevisions can't be read: {error}")),
    };
    Rebuilt { proxy: ask.proxy, revision: ask.revision, resources }
}

/// What a revision was, by what is in the API and what isn't written yet.
pub(super) fn made(
    chain: &Chain,
    mut kept: Vec<ConfigRevision>,
    ask: &Ask,
    texts: Texts,
) -> Result<Vec<(ResourceId, Content)>, RevisionError> {
    let unwritten = chain.drafts(&ask.proxy, Timestamp::now(), texts.to_text).into_iter();
    kept.extend(unwritten.map(|draft| draft.revision));
    if !chain.is_at(&ask.now) {
        // Something has changed while the platform was away: the steps don't lead back from here.
        kept.retain(|it| it.spec.snapshot.is_some());
    }
    rebuild(&kept, ask, texts.to_body)
}

async fn read(client: &Client, proxy: &ProxyRef) -> kube::Result<Vec<ConfigRevision>> {
    let api: Api<ConfigRevision> = Api::namespaced(client.clone(), &proxy.namespace);
    Ok(api.list(&ListParams::default()).await?.items)
}

fn rebuild(kept: &[ConfigRevision], ask: &Ask, to_body: BodyOf) -> Result<Vec<(ResourceId, Content)>, RevisionError> {
    let named = |it: &Resource| Named::new(it.id.kind.type_url(), &*it.id.name);
    let versions: Versions = ask.now.iter().map(|it| (named(it), it.version.to_string())).collect();
    let state = revisions::rebuild(kept, &ask.proxy.name, &versions, &ask.revision)?;
    let unreadable = |id: &Named| RevisionError::Unreadable { name: ask.revision.clone(), resource: id.to_string() };
    let made = |(id, kept): (Named, Kept)| content(&id, kept, to_body).ok_or_else(|| unreadable(&id));
    state.into_iter().map(made).collect()
}

/// None: its text doesn't give the message that was served. The bytes may be others where an operator's patch has the
/// message in pieces, which say the same; the version is theirs.
fn content(id: &Named, kept: Kept, to_body: BodyOf) -> Option<(ResourceId, Content)> {
    let kind = ResourceKind::from_type_url(&id.type_url)?;
    let resource_id = ResourceId::new(kind, id.name.as_str());
    let Some(text) = kept.text else { return Some((resource_id, Content::Same)) };
    let body = to_body(&id.type_url, &text)?;
    let needs: Option<Vec<ResourceId>> = kept.needs.iter().map(|need| id_of(need)).collect();
    let old = Resource {
        id: resource_id.clone(),
        version: format!("{:016x}", xxh3_64(&body)).into(),
        body: body.into(),
        needs: needs?.into(),
        owners: [].into(),
    };
    Some((resource_id, Content::Old(old)))
}

/// Reads `<kind> <name>`, as [`ResourceId`] shows itself.
fn id_of(text: &str) -> Option<ResourceId> {
    let (kind, name) = text.split_once(' ')?;
    let kind = ResourceKind::ALL.into_iter().find(|it| format!("{it:?}") == kind)?;
    Some(ResourceId::new(kind, name))
}

/// Writes a revision's parts, unless they are there. What can't be written now is written with the next revision that
/// is pinned; until then the steps have to do.
async fn save(client: &Client, chain: &mut Chain, ask: &Ask, made: &[(ResourceId, Content)], texts: Texts) {
    let Ask { proxy, revision, now, .. } = ask;
    if chain.has_snapshot(revision) {
        return;
    }
    let text = |(id, content): &(ResourceId, Content)| {
        let resource = match content {
            Content::Old(resource) => resource,
            Content::Same => now.iter().find(|it| it.id == *id)?,
        };
        Some(KeptResource {
            type_url: id.kind.type_url().to_owned(),
            name: id.name.to_string(),
            version: resource.version.to_string(),
            text: (texts.to_text)(id.kind.type_url(), &resource.body)?,
            needs: resource.needs.iter().map(|need| format!("{need:?}")).collect(),
        })
    };
    let Some(resources) = made.iter().map(text).collect::<Option<Vec<_>>>() else { return };
    let api: Api<ConfigRevision> = Api::namespaced(client.clone(), &proxy.namespace);
    for part in revisions::parts(revision, resources) {
        let of = (&part).into();
        let object = object(chain, proxy, part);
        let name = object.name_any();
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => chain.saved(name, of),
            Err(kube::Error::Api(status)) if status.code == 409 => chain.saved(name, of),
            Err(error) => {
                tracing::warn!(revision, %error, "the pinned revision isn't kept whole; it is pinned all the same");
                return;
            }
        }
    }
}

fn object(chain: &Chain, proxy: &ProxyRef, part: Snapshot) -> ConfigRevision {
    let name = format!("{}.part-{}", part.revision, part.part);
    let spec = ConfigRevisionSpec {
        proxy: proxy.name.clone(),
        number: 0,
        parent: None,
        time: MicroTime(Timestamp::now()),
        causes: Vec::new(),
        change_count: 0,
        changes: Vec::new(),
        refusals: Vec::new(),
        snapshot: Some(part),
    };
    let mut object = ConfigRevision::new(&name, spec);
    object.metadata.namespace = Some(proxy.namespace.clone());
    object.metadata.owner_references = owner(proxy, chain.uid());
    object
}

/// A gateway isn't pinned any more: what was kept for that goes.
pub(super) async fn unpin(client: &Client, chain: &mut Chain, proxy: &ProxyRef) {
    chain.pin(None, None);
    super::remove(client, proxy, chain.take_surplus()).await;
}
