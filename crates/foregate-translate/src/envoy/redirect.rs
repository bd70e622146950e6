//! Redirects.

use foregate_api::route::PathEdit;
use foregate_envoy::pb::envoy::config::route::v3::RedirectAction;
use foregate_envoy::pb::envoy::config::route::v3::redirect_action::{
    PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier,
};

use super::rewrite::{self, PrefixEdit};
use crate::Problem;
use crate::ir::{Path, Redirect};

/// One redirect, for one match.
pub(super) fn build(redirect: &Redirect, path: &Path, field: &str) -> Result<RedirectAction, Problem> {
    Ok(RedirectAction {
        host_redirect: redirect.hostname.clone().unwrap_or_default(),
        port_redirect: redirect.port.map_or(0, u32::from),
        response_code: code(redirect.status_code) as i32,
        scheme_rewrite_specifier: redirect.scheme.clone().map(SchemeRewriteSpecifier::SchemeRedirect),
        path_rewrite_specifier: match &redirect.path {
            None => None,
            Some(PathEdit::ReplaceFullPath(full)) => Some(PathRewriteSpecifier::PathRedirect(rewrite::absolute(full))),
            Some(PathEdit::ReplacePrefixMatch(with)) => match rewrite::prefix(path, with, field)? {
                PrefixEdit::None => None,
                PrefixEdit::Prefix(prefix) => Some(PathRewriteSpecifier::PrefixRewrite(prefix)),
                PrefixEdit::Regex(regex) => Some(PathRewriteSpecifier::RegexRewrite(regex)),
            },
        },
        ..Default::default()
    })
}

fn code(status: u16) -> RedirectResponseCode {
    match status {
        301 => RedirectResponseCode::MovedPermanently,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        // Resolution lets nothing else through.
        _ => RedirectResponseCode::Found,
    }
}
