//! Earlier forms of the stock template.
//!
//! A gateway keeps the copy of its template that it was made with. Where that is the stock one and nobody has edited it,
//! nobody wants to keep it either: what later versions can do, its listeners can't.

use foregate_api::template::GatewayTemplateSpec;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::default_template;

/// Hashes of the stock template's Envoy configuration and values in all its forms. Whoever changes
/// `templates/default.yaml` adds the new one; the test says it.
const FORMS: [u64; 11] = [
    0x2f75_df40_ef7c_97c4,
    0x6a5f_788e_15ee_16f9,
    0xe661_b189_e9b1_355d,
    0xdd83_0de4_9d4c_680b,
    0x38d9_36cd_1566_5509,
    0x507e_ae51_d79b_b101,
    0xdfa7_7386_6ce6_83b5,
    0x0ea8_05ec_407f_7524,
    0x5fd8_cefe_cab5_8bc7,
    0x3b08_21ad_fb8e_0f33,
    0xf848_7ec3_bc82_dd77,
];

/// The present stock template's Envoy configuration and values in the place of an earlier stock template's; none: they
/// are the present ones, or somebody has edited them. Pool, engine and replicas are the operator's in any case.
pub fn renewed(spec: &GatewayTemplateSpec) -> Option<GatewayTemplateSpec> {
    if !FORMS.contains(&hash(spec)) {
        return None;
    }
    let present = default_template().spec;
    let renewed = GatewayTemplateSpec { envoy: present.envoy, values: present.values, ..spec.clone() };
    (renewed != *spec).then_some(renewed)
}

/// Hash of what of a template is Envoy's configuration.
fn hash(spec: &GatewayTemplateSpec) -> u64 {
    let mut text = String::new();
    write(&json!({ "envoy": spec.envoy, "values": spec.values }), &mut text);
    xxh3_64(text.as_bytes())
}

/// JSON, with fields in the order of their names: that of a map depends on how serde_json was built.
fn write(value: &Value, into: &mut String) {
    let comma = |at: usize, into: &mut String| into.push_str(if at > 0 { "," } else { "" });
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            into.push('{');
            for (at, (name, value)) in fields.into_iter().enumerate() {
                comma(at, into);
                into.push_str(&json!(name).to_string());
                into.push(':');
                write(value, into);
            }
            into.push('}');
        }
        Value::Array(items) => {
            into.push('[');
            for (at, item) in items.iter().enumerate() {
                comma(at, into);
                write(item, into);
            }
            into.push(']');
        }
        other => into.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// A stock template of before there were UDP, CORS and HTTP/2 over TLS, as a gateway of then has it.
    const EARLIER: &str = include_str!("../tests/support/stock-59a1b14.yaml");

    #[test]
    fn the_present_form_is_listed() {
        let present = hash(&default_template().spec);
        assert!(FORMS.contains(&present), "add 0x{present:016x} to FORMS: the stock template has changed");
        assert_eq!(renewed(&default_template().spec), None);
    }

    #[test]
    fn an_earlier_form_is_renewed_unless_it_was_edited() {
        let earlier: foregate_api::GatewayTemplate = serde_saphyr::from_str(EARLIER).unwrap();
        let mut earlier = earlier.spec;
        (earlier.pool, earlier.replicas) = ("mine".to_owned(), 3);
        let renewed = renewed(&earlier).unwrap();
        let present = default_template().spec;
        assert_eq!((renewed.envoy, renewed.values), (present.envoy, present.values));
        assert_eq!((renewed.pool.as_str(), renewed.replicas), ("mine", 3));

        let mut edited = earlier.clone();
        edited.envoy.listener.push('\n');
        assert_eq!(super::renewed(&edited), None);
        earlier.values.as_mut().unwrap()["idleTimeout"] = "1s".into();
        assert_eq!(super::renewed(&earlier), None);
    }
}
