//! One encoding for one content: fields in the order of their numbers, map entries in the order of their keys.
//!
//! Maps are hash maps in every Rust message type, so that plain encoding gives other bytes in every process; and typed
//! messages write a oneof where its first member stands. But the version of a resource is the hash of its bytes, and
//! replicas must agree on it.

use std::ops::Range;

use prost::Message as _;
use prost_reflect::{DynamicMessage, ReflectMessage as _};
use smallvec::SmallVec;

use crate::plan::{self, Field, Plan, Shape, Special};
use crate::validate::any_parts;
use crate::wire::{Malformed, Raw, Reader};

/// Messages inside messages, as protobuf decoders limit them.
const MAX_DEPTH: usize = 100;

/// Encodes a message canonically.
pub fn encode(message: &DynamicMessage) -> Vec<u8> {
    let mut body = message.encode_to_vec();
    // What has just been encoded is well-formed.
    let _ = sort_message(plan::of(&message.descriptor()), &mut body, 0);
    body
}

/// Brings an encoded message of that type (a full name or a type URL) into canonical form, in place, through Anys.
///
/// Sorting changes no length. A type that isn't known, and what doesn't decode, is left as it is.
pub fn sort(type_name: &str, body: &mut [u8]) {
    if let Some(plan) = plan::by_name(type_name) {
        let _ = sort_message(plan, body, 0);
    }
}

fn sort_message(plan: &'static Plan, body: &mut [u8], depth: usize) -> Result<(), Malformed> {
    if depth >= MAX_DEPTH {
        return Ok(());
    }
    if plan.special == Special::Any {
        let (url, value) = any_parts(body)?;
        let (Some(plan), Some(range)) = (plan::by_name(url), range_within(body, value)) else { return Ok(()) };
        return body.get_mut(range).map_or(Ok(()), |inner| sort_message(plan, inner, depth + 1));
    }
    // Sorting must not begin while the reader borrows the bytes.
    let mut parts: SmallVec<[Part; 16]> = SmallVec::new();
    let mut nested: SmallVec<[(&'static Plan, Range<usize>); 8]> = SmallVec::new();
    let mut reader = Reader::new(body);
    while let Some((number, raw, whole)) = reader.field()? {
        let field = plan.field(number).map(|at| &plan.fields[at]);
        let map = field.is_some_and(|field| field.shape == Shape::Map);
        if let (Some(plan), Raw::Bytes(bytes)) = (field.and_then(Field::message), raw) {
            let inner = whole.end - bytes.len()..whole.end;
            let value = if map { map_value(bytes)?.map(|range| shift(range, inner.start)) } else { Some(inner) };
            nested.extend(value.map(|range| (plan, range)));
        }
        parts.push(Part { number, map, whole });
    }
    for (plan, range) in nested {
        if let Some(inner) = body.get_mut(range) {
            sort_message(plan, inner, depth + 1)?;
        }
    }
    sort_parts(plan, body, &parts)
}

/// One field as it is written.
struct Part {
    number: u32,
    map: bool,
    whole: Range<usize>,
}

/// Brings a message's fields into order; items of a list keep theirs.
fn sort_parts(plan: &Plan, body: &mut [u8], parts: &[Part]) -> Result<(), Malformed> {
    let maps = parts.windows(2).any(|pair| pair[0].map && pair[0].number == pair[1].number);
    if (!maps && parts.is_sorted_by_key(|part| part.number)) || has_conflict(plan, parts) {
        return Ok(());
    }
    let mut keyed: Vec<(u32, Vec<u8>, &Range<usize>)> = Vec::with_capacity(parts.len());
    for part in parts {
        let bytes = body.get(part.whole.clone()).ok_or(Malformed)?;
        keyed.push((part.number, if part.map { key_bytes(bytes)? } else { Vec::new() }, &part.whole));
    }
    if keyed.is_sorted_by(|a, b| (a.0, &a.1) <= (b.0, &b.1)) {
        return Ok(());
    }
    keyed.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let sorted: Vec<u8> =
        keyed.iter().filter_map(|(_, _, range)| body.get((*range).clone())).flatten().copied().collect();
    if sorted.len() == body.len() {
        body.copy_from_slice(&sorted);
    }
    Ok(())
}

/// Whether several members of a oneof are there: the last one holds, so that their order has a meaning. Encoders write
/// only one.
fn has_conflict(plan: &Plan, parts: &[Part]) -> bool {
    let choice = |part: &Part| Some((plan.fields[plan.field(part.number)?].choice?, part.number));
    let mut choices: SmallVec<[(usize, u32); 8]> = parts.iter().filter_map(choice).collect();
    choices.sort_unstable();
    choices.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1)
}

/// The key of an encoded map field, as bytes that sort.
fn key_bytes(field: &[u8]) -> Result<Vec<u8>, Malformed> {
    let Some((_, Raw::Bytes(entry), _)) = Reader::new(field).field()? else { return Err(Malformed) };
    let mut key = Vec::new();
    let mut reader = Reader::new(entry);
    while let Some((number, raw, _)) = reader.field()? {
        if number == 1 {
            key = match raw {
                Raw::Bytes(bytes) => bytes.to_vec(),
                Raw::Varint(bits) | Raw::Fixed64(bits) => bits.to_be_bytes().to_vec(),
                Raw::Fixed32(bits) => bits.to_be_bytes().to_vec(),
            };
        }
    }
    Ok(key)
}

/// Where the value of a map entry lies in it.
fn map_value(entry: &[u8]) -> Result<Option<Range<usize>>, Malformed> {
    let mut value = None;
    let mut reader = Reader::new(entry);
    while let Some((number, raw, whole)) = reader.field()? {
        if let (2, Raw::Bytes(bytes)) = (number, raw) {
            value = Some(whole.end - bytes.len()..whole.end);
        }
    }
    Ok(value)
}

fn shift(range: Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

/// Where a part of a slice lies in it.
fn range_within(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    (start + part.len() <= whole.len()).then_some(start..start + part.len())
}
