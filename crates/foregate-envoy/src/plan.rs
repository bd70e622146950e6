//! What the walkers over encoded messages need to know of each message type, compiled once per type.
//!
//! Descriptors are behind locks and names; walking every change of every virtual host through them would be the
//! slowest part of its path. A plan is a flat table instead, never freed: there are as many as message types in use.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock, PoisonError, RwLock};

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::descriptors;
use crate::validate::compile;
use crate::validate::rules::FieldRules;
use crate::wire::Element;

/// One message type.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) special: Special,
    /// By number.
    pub(crate) fields: Vec<Field>,
    /// Indices of the fields whose absence may break a rule.
    pub(crate) checked_when_absent: Vec<usize>,
    /// The oneofs of which a member is required.
    pub(crate) required: Vec<Required>,
    /// Rules of this message are switched off (`validate.disabled`, `validate.ignored`).
    pub(crate) disabled: bool,
    /// Rules that this code doesn't know, e.g. `string.tuuid`; a test keeps it empty for all of Envoy's API.
    pub(crate) unknown_rules: Vec<String>,
}

/// Messages that hold a message of a type that they name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    No,
    Any,
    TypedStruct,
}

/// A oneof of which one member must be set.
#[derive(Debug)]
pub(crate) struct Required {
    pub(crate) name: String,
    /// Indices into the fields.
    pub(crate) members: Vec<usize>,
}

/// One field.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) shape: Shape,
    /// Of the value, of a list's items, of a map's values.
    pub(crate) scalar: Scalar,
    /// Of a map's keys.
    pub(crate) key: Scalar,
    /// Whether an absent value isn't the default value: oneof members, optional fields, messages.
    pub(crate) presence: bool,
    /// The oneof that it is a member of, by index: then its rules hold only when it is set.
    pub(crate) choice: Option<usize>,
    pub(crate) sensitive: bool,
    pub(crate) rules: Option<FieldRules>,
    /// Values of an enum field, for `defined_only`.
    pub(crate) defined: Vec<i32>,
    /// A number of 64 bits with fixed size.
    wide: bool,
    /// The type of a message. Its descriptor would keep all of them in memory.
    message: Option<String>,
    plan: OnceLock<Option<&'static Plan>>,
}

/// How often a field may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Single,
    List,
    Map,
}

/// How a value is written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Bool,
    Int32,
    Int64,
    Uint,
    Sint,
    Fixed,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
    Enum,
    String,
    Bytes,
    Message,
}

impl Scalar {
    fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Bool => Self::Bool,
            Kind::Int32 => Self::Int32,
            Kind::Int64 => Self::Int64,
            Kind::Uint32 | Kind::Uint64 => Self::Uint,
            Kind::Sint32 | Kind::Sint64 => Self::Sint,
            Kind::Fixed32 | Kind::Fixed64 => Self::Fixed,
            Kind::Sfixed32 => Self::Sfixed32,
            Kind::Sfixed64 => Self::Sfixed64,
            Kind::Float => Self::Float,
            Kind::Double => Self::Double,
            Kind::Enum(_) => Self::Enum,
            Kind::String => Self::String,
            Kind::Bytes => Self::Bytes,
            Kind::Message(_) => Self::Message,
        }
    }
}

impl Field {
    /// The plan of the message that the field (a map's value) is.
    pub(crate) fn message(&self) -> Option<&'static Plan> {
        let name = self.message.as_ref()?;
        *self.plan.get_or_init(|| by_name(name))
    }

    fn checked_when_absent(&self) -> bool {
        let Some(rules) = &self.rules else { return false };
        match self.shape {
            Shape::Single => self.choice.is_none() && (rules.required.is_some() || !self.presence),
            Shape::List | Shape::Map => true,
        }
    }

    /// How elements are written when a list is packed.
    pub(crate) fn element(&self) -> Option<Element> {
        match self.scalar {
            Scalar::String | Scalar::Bytes | Scalar::Message => None,
            Scalar::Float | Scalar::Sfixed32 => Some(Element::Fixed32),
            Scalar::Double | Scalar::Sfixed64 => Some(Element::Fixed64),
            Scalar::Fixed => Some(if self.wide { Element::Fixed64 } else { Element::Fixed32 }),
            _ => Some(Element::Varint),
        }
    }
}

impl Plan {
    pub(crate) fn field(&self, number: u32) -> Option<usize> {
        self.fields.binary_search_by_key(&number, |field| field.number).ok()
    }
}

static PLANS: LazyLock<RwLock<HashMap<String, &'static Plan>>> = LazyLock::new(RwLock::default);

/// The plan of a type by name or type URL; none when Envoy has no such type.
pub(crate) fn by_name(type_name: &str) -> Option<&'static Plan> {
    let name = type_name.rsplit('/').next().unwrap_or_default();
    if let Some(plan) = PLANS.read().unwrap_or_else(PoisonError::into_inner).get(name) {
        return Some(plan);
    }
    descriptors::message(name).map(|desc| of(&desc))
}

/// The plan of a type.
pub(crate) fn of(desc: &MessageDescriptor) -> &'static Plan {
    if let Some(plan) = PLANS.read().unwrap_or_else(PoisonError::into_inner).get(desc.full_name()) {
        return plan;
    }
    let compiled = compile_message(desc);
    let mut plans = PLANS.write().unwrap_or_else(PoisonError::into_inner);
    // Another thread may have been faster: its plan is the one.
    plans.entry(desc.full_name().to_owned()).or_insert_with(|| Box::leak(Box::new(compiled)))
}

fn compile_message(desc: &MessageDescriptor) -> Plan {
    let mut unknown_rules = Vec::new();
    let mut fields: Vec<Field> = desc.fields().map(|field| compile_field(&field, &mut unknown_rules)).collect();
    fields.sort_by_key(|field| field.number);
    let required = desc.oneofs().filter(compile::is_required).map(|oneof| Required {
        name: oneof.name().to_owned(),
        members: oneof
            .fields()
            .filter_map(|member| fields.iter().position(|field| field.number == member.number()))
            .collect(),
    });
    let required = required.collect();
    let special = match desc.full_name() {
        "google.protobuf.Any" => Special::Any,
        "xds.type.v3.TypedStruct" | "udpa.type.v1.TypedStruct" => Special::TypedStruct,
        _ => Special::No,
    };
    let checked_when_absent = (0..fields.len()).filter(|at| fields[*at].checked_when_absent()).collect();
    Plan {
        checked_when_absent,
        name: desc.full_name().to_owned(),
        special,
        fields,
        required,
        disabled: compile::is_disabled(desc),
        unknown_rules,
    }
}

fn compile_field(field: &FieldDescriptor, unknown: &mut Vec<String>) -> Field {
    let kind = field.kind();
    let (shape, key, value) = match &kind {
        Kind::Message(entry) if field.is_map() => {
            (Shape::Map, Scalar::of(&entry.map_entry_key_field().kind()), entry.map_entry_value_field().kind())
        }
        _ if field.is_list() => (Shape::List, Scalar::String, kind.clone()),
        _ => (Shape::Single, Scalar::String, kind.clone()),
    };
    let defined = match &value {
        Kind::Enum(desc) => desc.values().map(|value| value.number()).collect(),
        _ => Vec::new(),
    };
    Field {
        number: field.number(),
        name: field.name().to_owned(),
        shape,
        scalar: Scalar::of(&value),
        key,
        presence: field.supports_presence(),
        choice: choice(field),
        sensitive: descriptors::is_sensitive(field),
        rules: compile::of_field(field, unknown),
        defined,
        wide: matches!(value, Kind::Fixed64 | Kind::Sfixed64),
        message: value.as_message().map(|desc| desc.full_name().to_owned()),
        plan: OnceLock::new(),
    }
}

fn choice(field: &FieldDescriptor) -> Option<usize> {
    let own = field.containing_oneof().filter(|oneof| !oneof.is_synthetic())?;
    field.parent_message().oneofs().position(|oneof| oneof == own)
}
