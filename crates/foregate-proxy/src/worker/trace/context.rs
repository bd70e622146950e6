//! Who a request's trace is: `traceparent` and `tracestate` (W3C Trace Context, level 2).

use http::header::HeaderMap;
use http::{HeaderName, HeaderValue};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

const SAMPLED: u8 = 1;
/// The trace's id is random: whoever got that from its parent hands it on.
const RANDOM: u8 = 2;

/// What a client says of the trace that its request is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    flags: u8,
}

impl Parent {
    /// What a request's headers say, if they are valid. Otherwise what they say of the state is nobody's, and removed.
    pub(super) fn take(headers: &mut HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(&TRACEPARENT).iter();
        let one = lines.next().filter(|_| lines.next().is_none());
        let parent = one.and_then(|line| Self::parse(line.as_bytes()));
        if parent.is_none() && headers.contains_key(&TRACESTATE) {
            headers.remove(&TRACESTATE);
        }
        parent
    }

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (head, rest) = text.split_at_checked(55)?;
        let (version, head) = (hex(&head[..2])?, &head[2..]);
        let dashes = head[0] == b'-' && head[33] == b'-' && head[50] == b'-';
        // What a later version adds stands behind another dash.
        let ends = rest.is_empty() || (version > 0 && rest[0] == b'-');
        if !dashes || !ends || version == 0xff {
            return None;
        }
        let (trace_id, span_id) = (hex(&head[1..33])?, hex(&head[34..50])?);
        let flags = hex(&head[51..53])? as u8;
        let valid = trace_id != 0 && span_id != 0;
        valid.then_some(Self { trace_id, span_id: span_id as u64, flags: flags & (SAMPLED | RANDOM) })
    }

    pub(super) fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// A number in lower case hexadecimal digits; others aren't allowed.
fn hex(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0, |number: u128, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// A span's place in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    pub(super) parent: Option<u64>,
    pub(super) sampled: bool,
    /// The parent is somebody else's.
    pub(super) is_remote: bool,
    random: u8,
}

impl Context {
    /// A new span of a parent's trace, or of a new one; `decide` says whether it is recorded.
    pub(super) fn new(parent: Option<Parent>, decide: impl FnOnce(u128) -> bool) -> Self {
        let trace_id = parent.map_or_else(new_trace_id, |parent| parent.trace_id);
        Self {
            trace_id,
            span_id: new_span_id(),
            parent: parent.map(|parent| parent.span_id),
            sampled: decide(trace_id),
            is_remote: parent.is_some(),
            random: parent.map_or(0, |parent| parent.flags & RANDOM),
        }
    }

    /// A new span below this one.
    pub(super) fn child(&self) -> Self {
        Self { span_id: new_span_id(), parent: Some(self.span_id), is_remote: false, ..*self }
    }

    /// Tells an endpoint whose span its own is below.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        let flags = u8::from(self.sampled) | self.random;
        let text = format!("00-{:032x}-{:016x}-{flags:02x}", self.trace_id, self.span_id);
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(TRACEPARENT.clone(), value);
        }
    }
}

/// The state of a trace, which others have written; several lines are one list.
pub(super) fn state(headers: &HeaderMap) -> String {
    let lines = headers.get_all(&TRACESTATE).iter().filter_map(|line| line.to_str().ok());
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(",")
}

fn new_trace_id() -> u128 {
    std::iter::repeat_with(rand::random).find(|id| *id != 0).unwrap_or(1)
}

fn new_span_id() -> u64 {
    std::iter::repeat_with(rand::random).find(|id| *id != 0).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn parents() {
        let parent = |flags| {
            let (trace_id, span_id) = (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331);
            Some(Parent { trace_id, span_id, flags })
        };
        for (text, want) in [
            (GOOD.to_owned(), parent(1)),
            (GOOD.replace("-01", "-00"), parent(0)),
            (GOOD.replace("-01", "-03"), parent(3)),
            (GOOD.replace("-01", "-fd"), parent(1)),
            (GOOD.replacen("00-", "01-", 1), parent(1)),
            (GOOD.replacen("00-", "cc-", 1) + "-what-the-future-will-be-like", parent(1)),
            (GOOD.replacen("00-", "cc-", 1) + ".what", None),
            (GOOD.replacen("00-", "ff-", 1), None),
            (GOOD.to_owned() + "-more", None),
            (GOOD.to_owned() + "-", None),
            (GOOD.to_uppercase(), None),
            (GOOD.replace('-', "_"), None),
            (GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)), None),
            (GOOD.replace("b7ad6b7169203331", &"0".repeat(16)), None),
            (GOOD[..54].to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(Parent::parse(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn state_of_nobody_is_dropped() {
        let good = HeaderValue::from_static(GOOD);
        for (lines, want) in [(vec![good.clone()], true), (vec![good.clone(), good], false), (vec![], false)] {
            let mut headers = HeaderMap::new();
            headers.append(&TRACESTATE, HeaderValue::from_static("a=1"));
            headers.append(&TRACESTATE, HeaderValue::from_static("b=2,c=3"));
            for line in lines {
                headers.append(&TRACEPARENT, line);
            }
            assert_eq!(Parent::take(&mut headers).is_some(), want);
            assert_eq!(state(&headers), if want { "a=1,b=2,c=3" } else { "" });
        }
    }

    #[test]
    fn what_is_told_is_what_is_read() {
        let context = Context::new(Parent::parse(GOOD.replace("-01", "-02").as_bytes()), |_| true);
        let mut headers = HeaderMap::new();
        context.child().tell(&mut headers);
        let parent = Parent::take(&mut headers).unwrap();
        assert_eq!((parent.trace_id, parent.flags), (context.trace_id, 3));
        assert_ne!(parent.span_id, context.span_id);
        assert_eq!(context.child().parent, Some(context.span_id));
        assert_eq!(context.parent, Some(0xb7ad_6b71_6920_3331));
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(text in "(00|01|ff|0F)-[0-9a-g]{31,33}-[0-9a-f]{15,17}-[0-9a-f]{1,3}(-[a-z]{0,3})?|.{0,60}") {
            if let Some(parent) = Parent::parse(text.as_bytes()) {
                prop_assert!(parent.trace_id != 0 && parent.span_id != 0);
            }
        }
    }
}
