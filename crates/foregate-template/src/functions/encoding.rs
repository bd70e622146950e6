//! JSON, YAML, base64 and digests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gotmpl::Value;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::{Entry, heavy};
use crate::meter::{MAX_VALUE_DEPTH, fits};
use crate::value::{depth_within, from_json, text, to_json};

pub(crate) const TABLE: &[Entry] = &[
    heavy("toJson", 1, 1, |a| Ok(text(to_json(a.any(0)).to_string()))),
    heavy("toRawJson", 1, 1, |a| Ok(text(to_json(a.any(0)).to_string()))),
    heavy("toPrettyJson", 1, 1, |a| Ok(text(format!("{:#}", to_json(a.any(0)))))),
    heavy("fromJson", 1, 1, |a| parse_json(a.str(0)?)),
    heavy("toYaml", 1, 1, |a| print_yaml(a.any(0))),
    heavy("fromYaml", 1, 1, |a| parse_yaml(a.str(0)?)),
    heavy("b64enc", 1, 1, |a| Ok(text(STANDARD.encode(a.str(0)?)))),
    heavy("b64dec", 1, 1, |a| decode(a.str(0)?)),
    heavy("sha256sum", 1, 1, |a| Ok(text(hex(&Sha256::digest(a.str(0)?))))),
];

fn parse_json(source: &str) -> Result<Value, String> {
    let json: Json = serde_json::from_str(source).map_err(|error| format!("not JSON: {error}"))?;
    checked(&json)
}

fn checked(json: &Json) -> Result<Value, String> {
    if !depth_within(json, MAX_VALUE_DEPTH) {
        return Err("the value is nested too deeply".to_owned());
    }
    Ok(from_json(json))
}

/// Without the newline at the end, as Helm's.
fn print_yaml(value: &Value) -> Result<Value, String> {
    let json = to_json(value);
    let yaml = serde_saphyr::to_string(&json).map_err(|error| error.to_string())?;
    fits(yaml.len())?;
    Ok(text(yaml.trim_end_matches('\n')))
}

fn parse_yaml(source: &str) -> Result<Value, String> {
    // YAML 1.2: `yes` is a string.
    let options = serde_saphyr::options! { strict_booleans: true };
    let json: Json = serde_saphyr::from_str_with_options(source, options).map_err(|error| {
        let at = error.location().map(|at| format!(" in line {}, column {}", at.line(), at.column()));
        format!("not YAML{}: {}", at.unwrap_or_default(), error.without_snippet())
    })?;
    checked(&json)
}

fn decode(source: &str) -> Result<Value, String> {
    let bytes = STANDARD.decode(source).map_err(|error| format!("not base64: {error}"))?;
    String::from_utf8(bytes).map(text).map_err(|_| "the decoded bytes are not UTF-8".to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
