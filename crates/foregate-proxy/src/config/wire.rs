//! Takes an encoded message apart at the top level, without decoding what is inside.

use prost::encoding::{WireType, decode_key, decode_varint};

/// The occurrences of one length-delimited field, and the rest of the message without them.
pub(crate) fn split(body: &[u8], field: u32) -> Option<(Vec<u8>, Vec<&[u8]>)> {
    let mut rest = Vec::with_capacity(256);
    let mut found = Vec::new();
    let mut at = body;
    while !at.is_empty() {
        let start = at;
        let (number, kind) = decode_key(&mut at).ok()?;
        let length = match kind {
            WireType::Varint => {
                decode_varint(&mut at).ok()?;
                0
            }
            WireType::ThirtyTwoBit => 4,
            WireType::SixtyFourBit => 8,
            WireType::LengthDelimited => usize::try_from(decode_varint(&mut at).ok()?).ok()?,
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        let value = at.get(..length)?;
        at = &at[length..];
        if number == field && kind == WireType::LengthDelimited {
            found.push(value);
        } else {
            rest.extend_from_slice(&start[..start.len() - at.len()]);
        }
    }
    Some((rest, found))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use foregate_envoy::pb::envoy::config::route::v3 as route;
    use prost::Message;

    use super::*;

    #[test]
    fn routes_are_split_off() {
        let routes = vec![
            route::Route { name: "a".into(), ..Default::default() },
            route::Route { name: "b".into(), ..Default::default() },
        ];
        let host = route::VirtualHost {
            name: "h".into(),
            routes: routes.clone(),
            include_request_attempt_count: true,
            ..Default::default()
        };
        let body = host.encode_to_vec();
        let (rest, found) = split(&body, 3).unwrap();
        let rest = route::VirtualHost::decode(&*rest).unwrap();
        assert_eq!(rest, route::VirtualHost { routes: Vec::new(), ..host });
        let found: Vec<_> = found.into_iter().map(|body| route::Route::decode(body).unwrap()).collect();
        assert_eq!(found, routes);
        for cut in 1..body.len() {
            let _ = split(&body[..cut], 3);
        }
    }
}
