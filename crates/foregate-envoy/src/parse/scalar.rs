//! Numbers, strings, bytes and enums.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use prost_reflect::{EnumDescriptor, Kind, Value};

use super::Mapper;
use crate::descriptors::nearest;
use crate::node::{Node, NodeValue, parse_integer};

/// Either alphabet is allowed, with padding or without.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

impl Mapper {
    pub(super) fn scalar(&mut self, kind: &Kind, node: &Node) -> Option<Value> {
        match kind {
            Kind::Bool => match &node.value {
                NodeValue::Bool(flag) => Some(Value::Bool(*flag)),
                _ => {
                    self.wrong(node, "true or false");
                    None
                }
            },
            Kind::String => self.string(node).map(Value::String),
            Kind::Bytes => self.bytes(node).map(Value::Bytes),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => self.integer(node).map(Value::I32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => self.integer(node).map(Value::I64),
            Kind::Uint32 | Kind::Fixed32 => self.integer(node).map(Value::U32),
            Kind::Uint64 | Kind::Fixed64 => self.integer(node).map(Value::U64),
            Kind::Float => self.float(node).map(|number| Value::F32(number as f32)),
            Kind::Double => self.float(node).map(Value::F64),
            Kind::Enum(desc) => self.enum_number(desc, node).map(Value::EnumNumber),
            Kind::Message(_) => None,
        }
    }

    pub(super) fn string(&mut self, node: &Node) -> Option<String> {
        match &node.value {
            NodeValue::String(text) => Some(text.clone()),
            NodeValue::Number(text) => {
                self.report(node, format!("expected a string, this is a number: quote it, \"{text}\""));
                None
            }
            NodeValue::Bool(flag) => {
                self.report(node, format!("expected a string, this is a boolean: quote it, \"{flag}\""));
                None
            }
            _ => {
                self.wrong(node, "a string");
                None
            }
        }
    }

    fn bytes(&mut self, node: &Node) -> Option<Bytes> {
        let text = self.string(node)?;
        let decoded = STANDARD.decode(&text).or_else(|_| URL_SAFE.decode(&text));
        if decoded.is_err() {
            self.report(node, "expected bytes in base64".to_owned());
        }
        decoded.ok().map(Bytes::from)
    }

    fn integer<N: TryFrom<i128>>(&mut self, node: &Node) -> Option<N> {
        let text = match &node.value {
            NodeValue::Number(text) | NodeValue::String(text) => text,
            _ => {
                self.wrong(node, "an integer");
                return None;
            }
        };
        // `1e3` and `5.0` are integers too.
        let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 1.8e19).then_some(number as i128);
        let Some(number) = parse_integer(text).or_else(|| text.parse().ok().and_then(whole)) else {
            self.report(node, format!("expected an integer, this is {text:?}"));
            return None;
        };
        let fitting = N::try_from(number).ok();
        if fitting.is_none() {
            let (bits, sign) = (size_of::<N>() * 8, if N::try_from(-1).is_ok() { "" } else { " and no sign" });
            self.report(node, format!("{number} doesn't fit an integer of {bits} bits{sign}"));
        }
        fitting
    }

    fn float(&mut self, node: &Node) -> Option<f64> {
        let text = match &node.value {
            NodeValue::Number(text) | NodeValue::String(text) => text,
            _ => {
                self.wrong(node, "a number");
                return None;
            }
        };
        let number = match text.as_str() {
            "NaN" | ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
            "Infinity" | ".inf" | "+.inf" | ".Inf" | ".INF" => Some(f64::INFINITY),
            "-Infinity" | "-.inf" | "-.Inf" | "-.INF" => Some(f64::NEG_INFINITY),
            // Rust's parser takes words as well.
            text if text.contains(|c: char| c.is_ascii_alphabetic() && c != 'e' && c != 'E') => {
                parse_integer(text).map(|number| number as f64)
            }
            text => text.parse().ok(),
        };
        if number.is_none() {
            self.report(node, format!("expected a number, this is {text:?}"));
        }
        number
    }

    fn enum_number(&mut self, desc: &EnumDescriptor, node: &Node) -> Option<i32> {
        match &node.value {
            NodeValue::String(name) => {
                if let Some(value) = desc.get_value_by_name(name) {
                    return Some(value.number());
                }
                let names: Vec<String> = desc.values().map(|value| value.name().to_owned()).collect();
                let hint = match nearest(name, names.iter().map(String::as_str)) {
                    Some(hint) => format!("; did you mean {hint}?"),
                    None => format!("; it has {}", names.join(", ")),
                };
                self.report(node, format!("{name:?} is not a value of {}{hint}", desc.full_name()));
                None
            }
            NodeValue::Number(_) => self.integer(node),
            NodeValue::Null if desc.full_name() == "google.protobuf.NullValue" => Some(0),
            _ => {
                self.wrong(node, &format!("a value of {}", desc.full_name()));
                None
            }
        }
    }
}
