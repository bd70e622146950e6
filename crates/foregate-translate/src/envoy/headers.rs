//! Changes to headers.

use core::header_value_option::HeaderAppendAction;
use foregate_api::route::{Header, HeaderEdit};
use foregate_envoy::pb::envoy::config::core::v3 as core;

/// What is set and added. Envoy removes first, so that setting what is removed works.
pub(super) fn to_add(edit: &HeaderEdit) -> Vec<core::HeaderValueOption> {
    let set = edit.set.iter().map(|header| option(header, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let add = edit.add.iter().map(|header| option(header, HeaderAppendAction::AppendIfExistsOrAdd));
    set.chain(add).collect()
}

fn option(header: &Header, action: HeaderAppendAction) -> core::HeaderValueOption {
    core::HeaderValueOption {
        header: Some(core::HeaderValue {
            key: header.name.clone(),
            // `%` starts a command of Envoy's; users' values are plain text.
            value: header.value.replace('%', "%%"),
            ..Default::default()
        }),
        append_action: action as i32,
        keep_empty_value: header.value.is_empty(),
        ..Default::default()
    }
}
