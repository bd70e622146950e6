//! Kubernetes' protobuf bodies, read into the JSON that the server works with.
//!
//! A body is `k8s\0` and a `runtime.Unknown` with the object's apiVersion, kind and bytes. The
//! messages are in `data/protobuf.json`: number → JSON name, type, and whether Go's JSON writes the
//! field's zero value. Types: a scalar, a message's full name, `*T` repeated, `{string,T}` map.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use serde_json::{Map, Value};

/// What a protobuf body begins with.
pub const MAGIC: &[u8] = b"k8s\0";

/// Messages within messages.
const DEPTH: usize = 64;
/// Values of one body: a bound for what a small body can unfold to.
const VALUES: usize = 1 << 20;

/// Why a protobuf body can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtobufError {
    /// The first four bytes are others.
    #[error("the body does not begin with Kubernetes' protobuf magic \"k8s\\0\"")]
    Magic,
    /// The wire format is broken.
    #[error("{path}: broken protobuf: {message}")]
    Wire {
        /// Where, as far as it was read.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// A kind that has no protobuf form here.
    #[error("no protobuf form of {api_version}, {kind} is known: send it as JSON")]
    Kind {
        /// `apiVersion` of the object.
        api_version: String,
        /// `kind` of the object.
        kind: String,
    },
    /// Nesting or number of values beyond what is accepted.
    #[error("the body has too many values or is nested too deeply")]
    TooLarge,
}

#[derive(Debug)]
struct Field {
    name: Box<str>,
    kind: Kind,
    /// Go's JSON writes it even if it is zero.
    keeps_zero: bool,
}

#[derive(Debug)]
enum Kind {
    Text,
    Bytes,
    Bool,
    Signed,
    Double,
    Message(Box<str>),
    Repeated(Box<Kind>),
    Map(Box<Kind>),
}

type Messages = HashMap<Box<str>, HashMap<u32, Field>>;

/// A field as it is in the file: JSON name, type, whether its zero is written.
type Row = (Box<str>, String, bool);

static MESSAGES: LazyLock<Messages> = LazyLock::new(|| {
    // The file is part of the binary and a test reads it.
    let raw: HashMap<Box<str>, HashMap<u32, Row>> =
        serde_json::from_str(include_str!("../../data/protobuf.json")).unwrap_or_default();
    let field =
        |(number, (name, kind, keeps_zero)): (u32, Row)| (number, Field { name, kind: Kind::parse(&kind), keeps_zero });
    raw.into_iter().map(|(name, fields)| (name, fields.into_iter().map(field).collect())).collect()
});

impl Kind {
    fn parse(text: &str) -> Self {
        if let Some(item) = text.strip_prefix('*') {
            return Self::Repeated(Box::new(Self::parse(item)));
        }
        if let Some(value) = text.strip_prefix("{string,").and_then(|rest| rest.strip_suffix('}')) {
            return Self::Map(Box::new(Self::parse(value)));
        }
        match text {
            "string" => Self::Text,
            "bytes" => Self::Bytes,
            "bool" => Self::Bool,
            "int32" | "int64" | "uint32" | "uint64" => Self::Signed,
            "double" | "float" => Self::Double,
            message => Self::Message(message.into()),
        }
    }
}

/// Reads a body of content type `application/vnd.kubernetes.protobuf`.
///
/// # Errors
/// [`ProtobufError`] for everything that is not one whole, known object.
pub fn decode_protobuf(body: &[u8]) -> Result<Value, ProtobufError> {
    let rest = body.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut reader = Reader { rest, path: "runtime.Unknown" };
    while let Some((number, wire)) = reader.key()? {
        match (number, wire) {
            (1, WireType::LengthDelimited) => {
                let mut meta = Reader { rest: reader.bytes()?, path: "runtime.Unknown.typeMeta" };
                while let Some((number, wire)) = meta.key()? {
                    match (number, wire) {
                        (1, WireType::LengthDelimited) => api_version = meta.text()?,
                        (2, WireType::LengthDelimited) => kind = meta.text()?,
                        _ => meta.skip(number, wire)?,
                    }
                }
            }
            (2, WireType::LengthDelimited) => raw = reader.bytes()?,
            _ => reader.skip(number, wire)?,
        }
    }
    let name = message_name(&api_version, &kind);
    let unknown = || ProtobufError::Kind { api_version: api_version.clone(), kind: kind.clone() };
    let name = name.filter(|name| MESSAGES.contains_key(name.as_str())).ok_or_else(unknown)?;
    let mut decoder = Decoder { values: 0 };
    let mut object = decoder.message(raw, &name, 0)?;
    if let Value::Object(map) = &mut object {
        map.insert("apiVersion".into(), api_version.into());
        map.insert("kind".into(), kind.into());
    }
    Ok(object)
}

/// The message of a kind: `v1, Secret` → `k8s.io.api.core.v1.Secret`.
fn message_name(api_version: &str, kind: &str) -> Option<String> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if matches!(kind, "DeleteOptions" | "Status") {
        return Some(format!("k8s.io.apimachinery.pkg.apis.meta.v1.{kind}"));
    }
    let package = match group {
        "" => "core",
        "rbac.authorization.k8s.io" => "rbac",
        _ => group.strip_suffix(".k8s.io")?,
    };
    Some(format!("k8s.io.api.{package}.{version}.{kind}"))
}

/// Walks one message's fields.
struct Reader<'a> {
    rest: &'a [u8],
    path: &'a str,
}

impl<'a> Reader<'a> {
    fn wire(&self, message: impl ToString) -> ProtobufError {
        ProtobufError::Wire { path: self.path.to_string(), message: message.to_string() }
    }

    fn key(&mut self) -> Result<Option<(u32, WireType)>, ProtobufError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        decode_key(&mut self.rest).map(Some).map_err(|error| self.wire(error))
    }

    fn varint(&mut self) -> Result<u64, ProtobufError> {
        decode_varint(&mut self.rest).map_err(|error| self.wire(error))
    }

    fn bytes(&mut self) -> Result<&'a [u8], ProtobufError> {
        let length = self.varint()?;
        let length = usize::try_from(length).ok().filter(|length| *length <= self.rest.len());
        let length = length.ok_or_else(|| self.wire("a length reaches beyond the end"))?;
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<String, ProtobufError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map(str::to_string).map_err(|error| self.wire(error))
    }

    fn fixed(&mut self) -> Result<u64, ProtobufError> {
        let (bytes, rest) = self.rest.split_first_chunk::<8>().ok_or_else(|| self.wire("a number is cut off"))?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    fn skip(&mut self, number: u32, wire: WireType) -> Result<(), ProtobufError> {
        skip_field(wire, number, &mut self.rest, DecodeContext::default()).map_err(|error| self.wire(error))
    }
}

struct Decoder {
    values: usize,
}

impl Decoder {
    fn message(&mut self, bytes: &[u8], name: &str, depth: usize) -> Result<Value, ProtobufError> {
        if depth > DEPTH {
            return Err(ProtobufError::TooLarge);
        }
        if let Some(value) = special(bytes, name) {
            return value;
        }
        let fields = MESSAGES.get(name).ok_or(ProtobufError::TooLarge)?;
        let mut out = Map::new();
        let mut reader = Reader { rest: bytes, path: name };
        while let Some((number, wire)) = reader.key()? {
            match fields.get(&number) {
                Some(field) => self.field(&mut reader, wire, field, &mut out, depth)?,
                None => reader.skip(number, wire)?,
            }
        }
        // Go's wrappers of a bare list: ExtraValue, Verbs.
        let wrapper = fields.len() == 1 && fields.values().all(|field| &*field.name == "items");
        if wrapper {
            return Ok(out.remove("items").unwrap_or_else(|| Value::Array(Vec::new())));
        }
        Ok(Value::Object(out))
    }

    fn field(
        &mut self,
        reader: &mut Reader<'_>,
        wire: WireType,
        field: &Field,
        out: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), ProtobufError> {
        let name = field.name.to_string();
        match &field.kind {
            Kind::Repeated(item) => {
                let value = self.value(reader, wire, item, depth)?;
                let list = out.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    list.push(value);
                }
            }
            Kind::Map(item) => {
                let (key, value) = self.entry(reader, wire, item, depth)?;
                let map = out.entry(name).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(map) = map {
                    map.insert(key, value);
                }
            }
            kind => {
                let value = self.value(reader, wire, kind, depth)?;
                if !value.is_null() && (field.keeps_zero || !is_zero(&value)) {
                    out.insert(name, value);
                } else {
                    out.remove(&name);
                }
            }
        }
        Ok(())
    }

    fn value(
        &mut self,
        reader: &mut Reader<'_>,
        wire: WireType,
        kind: &Kind,
        depth: usize,
    ) -> Result<Value, ProtobufError> {
        self.values += 1;
        if self.values > VALUES {
            return Err(ProtobufError::TooLarge);
        }
        Ok(match (kind, wire) {
            (Kind::Text, WireType::LengthDelimited) => reader.text()?.into(),
            (Kind::Bytes, WireType::LengthDelimited) => {
                base64::engine::general_purpose::STANDARD.encode(reader.bytes()?).into()
            }
            (Kind::Message(name), WireType::LengthDelimited) => self.message(reader.bytes()?, name, depth + 1)?,
            (Kind::Bool, WireType::Varint) => (reader.varint()? != 0).into(),
            (Kind::Signed, WireType::Varint) => (reader.varint()? as i64).into(),
            (Kind::Double, WireType::SixtyFourBit) => f64::from_bits(reader.fixed()?).into(),
            _ => return Err(reader.wire(format!("a field of type {kind:?} can't be on the wire as {wire:?}"))),
        })
    }

    fn entry(
        &mut self,
        reader: &mut Reader<'_>,
        wire: WireType,
        kind: &Kind,
        depth: usize,
    ) -> Result<(String, Value), ProtobufError> {
        if wire != WireType::LengthDelimited {
            return Err(reader.wire("a map entry must be a message"));
        }
        let mut entry = Reader { rest: reader.bytes()?, path: reader.path };
        let (mut key, mut value) = (String::new(), None);
        while let Some((number, wire)) = entry.key()? {
            match number {
                1 if wire == WireType::LengthDelimited => key = entry.text()?,
                2 => value = Some(self.value(&mut entry, wire, kind, depth + 1)?),
                _ => entry.skip(number, wire)?,
            }
        }
        let zero = || match kind {
            Kind::Message(_) => Value::Object(Map::new()),
            Kind::Bool => false.into(),
            Kind::Signed | Kind::Double => 0.into(),
            _ => "".into(),
        };
        Ok((key, value.unwrap_or_else(zero)))
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// Messages whose JSON is not an object of their fields.
fn special(bytes: &[u8], name: &str) -> Option<Result<Value, ProtobufError>> {
    let short = name.strip_prefix("k8s.io.apimachinery.pkg.")?;
    Some(match short {
        "apis.meta.v1.Time" => time(bytes, name, false),
        "apis.meta.v1.MicroTime" => time(bytes, name, true),
        "util.intstr.IntOrString" => int_or_string(bytes, name),
        "api.resource.Quantity" => single(bytes, name).map(|bytes| String::from_utf8_lossy(bytes).into()),
        "apis.meta.v1.FieldsV1" | "runtime.RawExtension" => single(bytes, name).and_then(|bytes| embedded(bytes, name)),
        _ => return None,
    })
}

/// Seconds and nanoseconds since 1970, as RFC 3339; nothing at all is Go's zero time: null.
fn time(bytes: &[u8], name: &str, micro: bool) -> Result<Value, ProtobufError> {
    let mut reader = Reader { rest: bytes, path: name };
    let (mut seconds, mut nanos) = (None, 0);
    while let Some((number, wire)) = reader.key()? {
        match (number, wire) {
            (1, WireType::Varint) => seconds = Some(reader.varint()? as i64),
            (2, WireType::Varint) => nanos = reader.varint()? as i32,
            _ => reader.skip(number, wire)?,
        }
    }
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    let stamp = jiff::Timestamp::new(seconds, if micro { nanos } else { 0 }).map_err(|error| reader.wire(error))?;
    Ok(if micro { format!("{stamp:.6}") } else { format!("{stamp:.0}") }.into())
}

fn int_or_string(bytes: &[u8], name: &str) -> Result<Value, ProtobufError> {
    let mut reader = Reader { rest: bytes, path: name };
    let (mut kind, mut number_value, mut text) = (0, 0, String::new());
    while let Some((number, wire)) = reader.key()? {
        match (number, wire) {
            (1, WireType::Varint) => kind = reader.varint()?,
            (2, WireType::Varint) => number_value = reader.varint()? as i64,
            (3, WireType::LengthDelimited) => text = reader.text()?,
            _ => reader.skip(number, wire)?,
        }
    }
    Ok(if kind == 1 { text.into() } else { number_value.into() })
}

/// The bytes of field 1.
fn single<'a>(bytes: &'a [u8], name: &'a str) -> Result<&'a [u8], ProtobufError> {
    let mut reader = Reader { rest: bytes, path: name };
    let mut found: &[u8] = &[];
    while let Some((number, wire)) = reader.key()? {
        match (number, wire) {
            (1, WireType::LengthDelimited) => found = reader.bytes()?,
            _ => reader.skip(number, wire)?,
        }
    }
    Ok(found)
}

fn embedded(bytes: &[u8], name: &str) -> Result<Value, ProtobufError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(bytes)
        .map_err(|error| ProtobufError::Wire { path: name.to_string(), message: format!("not JSON: {error}") })
}
