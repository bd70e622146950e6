//! Rules as the checker wants them; the fields are those of validate.proto.

use regex::Regex;

/// The rules of one field.
#[derive(Debug, Default)]
pub(crate) struct FieldRules {
    /// `message.skip`: what is inside isn't checked.
    pub(crate) skip: bool,
    /// `message.required`, or required by Any, duration or timestamp rules; with the rule's name.
    pub(crate) required: Option<&'static str>,
    pub(crate) value: ValueRules,
}

/// The rules of a value, by its kind.
#[derive(Debug, Default)]
pub(crate) enum ValueRules {
    #[default]
    None,
    Int(&'static str, NumberRules<i128>),
    Float(&'static str, NumberRules<f64>),
    Bool(Option<bool>),
    String(Box<StringRules>),
    Bytes(Box<BytesRules>),
    Enum(EnumRules),
    List(Box<ListRules>),
    Map(Box<MapRules>),
    Any(AnyRules),
    /// In nanoseconds.
    Duration(NumberRules<i128>),
    /// In nanoseconds since 1970.
    Timestamp(Box<TimestampRules>),
}

#[derive(Debug)]
pub(crate) struct NumberRules<N> {
    pub(crate) constant: Option<N>,
    pub(crate) lt: Option<N>,
    pub(crate) lte: Option<N>,
    pub(crate) gt: Option<N>,
    pub(crate) gte: Option<N>,
    pub(crate) within: Vec<N>,
    pub(crate) not_in: Vec<N>,
    pub(crate) ignore_empty: bool,
}

impl<N> Default for NumberRules<N> {
    fn default() -> Self {
        Self {
            constant: None,
            lt: None,
            lte: None,
            gt: None,
            gte: None,
            within: Vec::new(),
            not_in: Vec::new(),
            ignore_empty: false,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct StringRules {
    pub(crate) constant: Option<String>,
    pub(crate) len: Option<u64>,
    pub(crate) min_len: Option<u64>,
    pub(crate) max_len: Option<u64>,
    pub(crate) len_bytes: Option<u64>,
    pub(crate) min_bytes: Option<u64>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) pattern: Option<Regex>,
    pub(crate) prefix: Option<String>,
    pub(crate) suffix: Option<String>,
    pub(crate) contains: Option<String>,
    pub(crate) not_contains: Option<String>,
    pub(crate) within: Vec<String>,
    pub(crate) not_in: Vec<String>,
    pub(crate) form: Option<Form>,
    pub(crate) ignore_empty: bool,
}

/// The well-known forms of strings and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Email,
    Hostname,
    Ip,
    Ipv4,
    Ipv6,
    Uri,
    UriRef,
    Address,
    Uuid,
    /// Strict or not.
    HeaderName(bool),
    /// Strict or not.
    HeaderValue(bool),
}

#[derive(Debug, Default)]
pub(crate) struct BytesRules {
    pub(crate) constant: Option<Vec<u8>>,
    pub(crate) len: Option<u64>,
    pub(crate) min_len: Option<u64>,
    pub(crate) max_len: Option<u64>,
    pub(crate) pattern: Option<regex::bytes::Regex>,
    pub(crate) prefix: Option<Vec<u8>>,
    pub(crate) suffix: Option<Vec<u8>>,
    pub(crate) contains: Option<Vec<u8>>,
    pub(crate) within: Vec<Vec<u8>>,
    pub(crate) not_in: Vec<Vec<u8>>,
    pub(crate) form: Option<Form>,
    pub(crate) ignore_empty: bool,
}

#[derive(Debug, Default)]
pub(crate) struct EnumRules {
    pub(crate) constant: Option<i32>,
    pub(crate) defined_only: bool,
    pub(crate) within: Vec<i32>,
    pub(crate) not_in: Vec<i32>,
}

#[derive(Debug, Default)]
pub(crate) struct ListRules {
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) unique: bool,
    pub(crate) items: FieldRules,
    pub(crate) ignore_empty: bool,
}

#[derive(Debug, Default)]
pub(crate) struct MapRules {
    pub(crate) min_pairs: Option<u64>,
    pub(crate) max_pairs: Option<u64>,
    pub(crate) no_sparse: bool,
    pub(crate) keys: FieldRules,
    pub(crate) values: FieldRules,
    pub(crate) ignore_empty: bool,
}

#[derive(Debug, Default)]
pub(crate) struct AnyRules {
    pub(crate) within: Vec<String>,
    pub(crate) not_in: Vec<String>,
}

#[derive(Debug, Default)]
pub(crate) struct TimestampRules {
    pub(crate) range: NumberRules<i128>,
    pub(crate) lt_now: bool,
    pub(crate) gt_now: bool,
    /// At most so many nanoseconds from now.
    pub(crate) within: Option<i128>,
}
