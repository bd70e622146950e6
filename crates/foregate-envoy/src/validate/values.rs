//! Raw values as numbers, bytes and times.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::plan::{Field, Scalar};
use crate::wire::{Malformed, Raw, Reader};

pub(super) fn default(scalar: Scalar) -> Raw<'static> {
    match scalar {
        Scalar::String | Scalar::Bytes | Scalar::Message => Raw::Bytes(&[]),
        Scalar::Float | Scalar::Sfixed32 => Raw::Fixed32(0),
        Scalar::Double | Scalar::Sfixed64 => Raw::Fixed64(0),
        Scalar::Fixed => Raw::Fixed64(0),
        _ => Raw::Varint(0),
    }
}

/// The value inside a wrapper message; other messages as they are.
pub(super) fn unwrapped<'a>(field: &Field, raw: Raw<'a>) -> Result<(Scalar, Raw<'a>), Malformed> {
    let Some(plan) = field.message() else { return Ok((Scalar::Message, raw)) };
    let (true, [inner]) = (plan.name.starts_with("google.protobuf.") && plan.name.ends_with("Value"), &plan.fields[..])
    else {
        return Ok((Scalar::Message, raw));
    };
    let mut value = default(inner.scalar);
    let mut reader = Reader::new(bytes(raw)?);
    while let Some((number, raw, _)) = reader.field()? {
        if number == 1 {
            value = raw;
        }
    }
    Ok((inner.scalar, value))
}

pub(super) fn integer(scalar: Scalar, raw: Raw<'_>) -> Result<i128, Malformed> {
    Ok(match (scalar, raw) {
        (Scalar::Int32 | Scalar::Enum, Raw::Varint(bits)) => i128::from(bits as i32),
        (Scalar::Int64, Raw::Varint(bits)) => i128::from(bits as i64),
        (Scalar::Sint, Raw::Varint(bits)) => i128::from((bits >> 1) as i64 ^ -((bits & 1) as i64)),
        (Scalar::Uint | Scalar::Bool, Raw::Varint(bits)) => i128::from(bits),
        (Scalar::Fixed, Raw::Fixed32(bits)) => i128::from(bits),
        (Scalar::Fixed, Raw::Fixed64(bits)) => i128::from(bits),
        (Scalar::Sfixed32, Raw::Fixed32(bits)) => i128::from(bits as i32),
        (Scalar::Sfixed64, Raw::Fixed64(bits)) => i128::from(bits as i64),
        _ => return Err(Malformed),
    })
}

pub(super) fn float(scalar: Scalar, raw: Raw<'_>) -> Result<f64, Malformed> {
    match (scalar, raw) {
        (Scalar::Float, Raw::Fixed32(bits)) => Ok(f64::from(f32::from_bits(bits))),
        (Scalar::Double, Raw::Fixed64(bits)) => Ok(f64::from_bits(bits)),
        _ => Err(Malformed),
    }
}

pub(super) fn bytes(raw: Raw<'_>) -> Result<&[u8], Malformed> {
    match raw {
        Raw::Bytes(bytes) => Ok(bytes),
        _ => Err(Malformed),
    }
}

/// Type URL and value of an Any, or of a TypedStruct, which has the same form.
pub(crate) fn any_parts(body: &[u8]) -> Result<(&str, &[u8]), Malformed> {
    let (mut url, mut value) = ("", &[][..]);
    let mut reader = Reader::new(body);
    while let Some((number, raw, _)) = reader.field()? {
        match number {
            1 => url = std::str::from_utf8(bytes(raw)?).map_err(|_| Malformed)?,
            2 => value = bytes(raw)?,
            _ => {}
        }
    }
    Ok((url, value))
}

/// A Duration or Timestamp.
pub(super) fn nanoseconds(body: &[u8]) -> Result<i128, Malformed> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(body);
    while let Some((number, raw, _)) = reader.field()? {
        match number {
            1 => seconds = integer(Scalar::Int64, raw)?,
            2 => nanos = integer(Scalar::Int32, raw)?,
            _ => {}
        }
    }
    Ok(seconds * 1_000_000_000 + nanos)
}

pub(super) fn now() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i128::try_from(since.as_nanos()).unwrap_or(i128::MAX))
}

pub(super) fn shown_key(scalar: Scalar, raw: Raw<'_>) -> String {
    match raw {
        Raw::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        raw => integer(scalar, raw).map(|number| number.to_string()).unwrap_or_default(),
    }
}
