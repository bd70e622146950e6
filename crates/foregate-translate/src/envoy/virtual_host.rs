//! Virtual hosts and the shells of route configurations.

use std::sync::LazyLock;

use bytes::Bytes;
use foregate_envoy::pb::envoy::config::route::v3 as pb;
use prost::Message;

use super::{check, patch, retries};
use crate::Problem;

/// Name of the message.
pub(crate) const TYPE: &str = "envoy.config.route.v3.VirtualHost";

/// A virtual host without routes.
pub(crate) fn head(name: &str, domain: &str) -> Bytes {
    pb::VirtualHost { name: name.to_owned(), domains: vec![domain.to_owned()], ..Default::default() }
        .encode_to_vec()
        .into()
}

/// What follows a virtual host's routes: retries for those that say nothing about them.
pub(crate) fn tail() -> Bytes {
    static TAIL: LazyLock<Bytes> = LazyLock::new(|| {
        let host = pb::VirtualHost { retry_policy: Some(retries::by_default()), ..Default::default() };
        host.encode_to_vec().into()
    });
    TAIL.clone()
}

/// Checks what a route's host name makes of a virtual host.
pub(crate) fn check_head(name: &str, domain: &str) -> Result<(), Problem> {
    check(TYPE, &head(name, domain), "spec.attachments")
}

/// What follows the routes of a virtual host that a gateway's template adds something to, checked together with its
/// head. Retries that the template has take the place of what there is otherwise.
pub(crate) fn patched(
    head: &[u8],
    name: &str,
    domain: &str,
    patch: &patch::VirtualHostPatch<'_>,
) -> Result<Bytes, Problem> {
    let mut tail = patch.render(name, domain)?;
    let retries = pb::VirtualHost::decode(&*tail).is_ok_and(|host| host.retry_policy.is_some());
    if !retries {
        tail.extend_from_slice(&self::tail());
        foregate_envoy::canonical::sort(TYPE, &mut tail);
    }
    check(TYPE, &[head, &tail].concat(), patch::VIRTUAL_HOST_FIELD).map_err(Problem::into_template)?;
    Ok(tail.into())
}

/// A virtual host by concatenation: protobuf merges what follows into what came before.
pub(crate) fn concatenate<'a>(head: &[u8], routes: impl Iterator<Item = &'a Bytes> + Clone, tail: &[u8]) -> Bytes {
    let size = head.len() + tail.len() + routes.clone().map(Bytes::len).sum::<usize>();
    let mut body = Vec::with_capacity(size);
    body.extend_from_slice(head);
    routes.for_each(|route| body.extend_from_slice(route));
    body.extend_from_slice(tail);
    body.into()
}

/// A route configuration without its virtual hosts. They are added by whoever serves it, one by one (VHDS) or all.
pub(crate) fn shell(name: &str) -> pb::RouteConfiguration {
    pb::RouteConfiguration {
        name: name.to_owned(),
        // Clients send `Host: name:port` on any port but the well-known ones.
        ignore_port_in_host_matching: true,
        ..Default::default()
    }
}
