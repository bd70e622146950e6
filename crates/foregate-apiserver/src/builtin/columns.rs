//! What `kubectl get` prints of built-in kinds: headings and cells as upstream's.

use jiff::Timestamp;
use serde_json::{Value, json};

/// One column of a Table.
pub struct Column {
    /// The heading.
    pub name: &'static str,
    /// OpenAPI type of the cells.
    pub kind: &'static str,
    /// OpenAPI format: `name` for the object's name.
    pub format: &'static str,
    /// 0 always shows, 1 with `-o wide`.
    pub priority: i32,
    /// The cell of an object at a moment.
    pub cell: fn(&Value, Timestamp) -> Value,
}

impl std::fmt::Debug for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Column").field(&self.name).finish()
    }
}

const fn column(name: &'static str, priority: i32, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column { name, kind: "string", format: "", priority, cell }
}

const NAME: Column = Column {
    name: "Name",
    kind: "string",
    format: "name",
    priority: 0,
    cell: |object, _| text(object, "/metadata/name"),
};
const AGE: Column = column("Age", 0, |object, now| age(object.pointer("/metadata/creationTimestamp"), now).into());
const CREATED_AT: Column = column("Created At", 0, |object, _| text(object, "/metadata/creationTimestamp"));

pub(super) const PLAIN: &[Column] = &[NAME, AGE];
pub(super) const CREATED: &[Column] = &[NAME, CREATED_AT];
pub(super) const ADMISSION_POLICY: &[Column] = &[
    NAME,
    Column { kind: "integer", ..column("Validations", 0, |object, _| items(object, "/spec/validations")) },
    column("ParamKind", 0, |object, _| or_none(raw(object, "/spec/paramKind/kind").to_string())),
    AGE,
];
pub(super) const ADMISSION_BINDING: &[Column] = &[
    NAME,
    column("PolicyName", 0, |object, _| text(object, "/spec/policyName")),
    column("ParamRef", 0, |object, _| or_none(raw(object, "/spec/paramRef/name").to_string())),
    AGE,
];
pub(super) const NAMESPACE: &[Column] = &[NAME, column("Status", 0, |object, _| text(object, "/status/phase")), AGE];
pub(super) const SECRET: &[Column] = &[
    NAME,
    column("Type", 0, |object, _| text(object, "/type")),
    Column { kind: "integer", ..column("Data", 0, |object, _| entries(object, &["data"])) },
    AGE,
];
pub(super) const CONFIG_MAP: &[Column] =
    &[NAME, Column { kind: "integer", ..column("Data", 0, |object, _| entries(object, &["data", "binaryData"])) }, AGE];
pub(super) const SERVICE: &[Column] = &[
    NAME,
    column("Type", 0, |object, _| text(object, "/spec/type")),
    column("Cluster-IP", 0, |object, _| or_none(raw(object, "/spec/clusterIP").to_string())),
    column("External-IP", 0, |object, _| external_ip(object).into()),
    column("Port(s)", 0, |object, _| or_none(service_ports(object))),
    AGE,
    column("Selector", 1, |object, _| or_none(selector(object))),
];
pub(super) const ENDPOINT_SLICE: &[Column] = &[
    NAME,
    column("AddressType", 0, |object, _| text(object, "/addressType")),
    column("Ports", 0, |object, _| slice_ports(object)),
    column("Endpoints", 0, |object, _| slice_endpoints(object)),
    AGE,
];
pub(super) const LEASE: &[Column] = &[NAME, column("Holder", 0, |object, _| text(object, "/spec/holderIdentity")), AGE];
pub(super) const BINDING: &[Column] = &[
    NAME,
    column("Role", 0, |object, _| format!("{}/{}", raw(object, "/roleRef/kind"), raw(object, "/roleRef/name")).into()),
    AGE,
    column("Users", 1, |object, _| subjects(object, "User")),
    column("Groups", 1, |object, _| subjects(object, "Group")),
    column("ServiceAccounts", 1, |object, _| subjects(object, "ServiceAccount")),
];
pub(super) const EVENT: &[Column] = &[
    column("Last Seen", 0, |object, now| last_seen(object, now).into()),
    column("Type", 0, |object, _| text(object, "/type")),
    column("Reason", 0, |object, _| text(object, "/reason")),
    column("Object", 0, |object, _| event_object(object)),
    column("Subobject", 1, |object, _| event_reference(object).map_or("".into(), |about| text(about, "/fieldPath"))),
    column("Source", 1, |object, _| event_source(object)),
    column("Message", 0, |object, _| first(object, &["/message", "/note"]).trim().into()),
    column("First Seen", 1, |object, now| first_seen(object, now).into()),
    column("Count", 1, |object, _| event_count(object)),
    Column { priority: 1, ..NAME },
];

/// Time since `stamp` (RFC 3339), as kubectl prints it: `5s`, `3m12s`, `2d4h`; `<unknown>` without one.
pub fn age(stamp: Option<&Value>, now: Timestamp) -> String {
    match stamp.and_then(Value::as_str).and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(since) => span(now.as_second() - since.as_second()),
        None => "<unknown>".to_string(),
    }
}

/// Two units at most, and only one where the second says little.
fn span(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |unit: i64, name: &str, below: i64, second: &str| match (seconds % unit) / below {
        0 => format!("{}{name}", seconds / unit),
        rest => format!("{}{name}{rest}{second}", seconds / unit),
    };
    match seconds {
        ..-1 => "<invalid>".to_string(),
        -1..0 => "0s".to_string(),
        _ if seconds < 2 * MINUTE => format!("{seconds}s"),
        _ if seconds < 10 * MINUTE => two(MINUTE, "m", 1, "s"),
        _ if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < 8 * HOUR => two(HOUR, "h", MINUTE, "m"),
        _ if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        _ if seconds < 8 * DAY => two(DAY, "d", HOUR, "h"),
        _ if seconds < 2 * YEAR => format!("{}d", seconds / DAY),
        _ if seconds < 8 * YEAR => two(YEAR, "y", DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

fn raw<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn text(object: &Value, pointer: &str) -> Value {
    raw(object, pointer).into()
}

fn first<'a>(object: &'a Value, pointers: &[&str]) -> &'a str {
    pointers.iter().map(|pointer| raw(object, pointer)).find(|text| !text.is_empty()).unwrap_or_default()
}

fn or_none(text: String) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn entries(object: &Value, fields: &[&str]) -> Value {
    let count = |field: &&str| object.get(*field).and_then(Value::as_object).map_or(0, |map| map.len());
    json!(fields.iter().map(count).sum::<usize>())
}

fn items(object: &Value, path: &str) -> Value {
    json!(object.pointer(path).and_then(Value::as_array).map_or(0, Vec::len))
}

/// The first three, and how many more.
fn shortened(mut items: Vec<String>) -> Value {
    const SHOWN: usize = 3;
    let more = items.len().saturating_sub(SHOWN);
    items.truncate(SHOWN);
    match (items.is_empty(), more) {
        (true, _) => "<unset>".into(),
        (false, 0) => items.join(",").into(),
        (false, more) => format!("{} + {more} more...", items.join(",")).into(),
    }
}

fn service_ports(object: &Value) -> String {
    let port = |port: &Value| {
        let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
        match port.get("nodePort").and_then(Value::as_i64).filter(|node| *node > 0) {
            Some(node) => format!("{}:{node}/{protocol}", port["port"]),
            None => format!("{}/{protocol}", port["port"]),
        }
    };
    list(object, "/spec/ports").iter().map(port).collect::<Vec<_>>().join(",")
}

fn external_ip(object: &Value) -> String {
    let strings = |pointer| list(object, pointer).iter().filter_map(Value::as_str).collect::<Vec<_>>();
    let own = strings("/spec/externalIPs");
    match raw(object, "/spec/type") {
        "LoadBalancer" => {
            let given = list(object, "/status/loadBalancer/ingress").iter();
            let mut all: Vec<&str> = given.map(|ingress| first(ingress, &["/ip", "/hostname"])).collect();
            all.extend(own);
            if all.is_empty() { "<pending>".into() } else { all.join(",") }
        }
        "ExternalName" => raw(object, "/spec/externalName").to_string(),
        _ if own.is_empty() => "<none>".into(),
        _ => own.join(","),
    }
}

fn selector(object: &Value) -> String {
    let labels = object.pointer("/spec/selector").and_then(Value::as_object);
    let pair = |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or_default());
    labels.into_iter().flatten().map(pair).collect::<Vec<_>>().join(",")
}

fn slice_ports(object: &Value) -> Value {
    let port = |port: &Value| match (port.get("port"), port.get("name").and_then(Value::as_str)) {
        (Some(number), _) if number.is_number() => number.to_string(),
        (_, Some(name)) => name.to_string(),
        _ => "*".to_string(),
    };
    shortened(list(object, "/ports").iter().map(port).collect())
}

fn slice_endpoints(object: &Value) -> Value {
    let addresses = list(object, "/endpoints").iter().flat_map(|endpoint| list(endpoint, "/addresses"));
    shortened(addresses.filter_map(Value::as_str).map(str::to_string).collect())
}

fn subjects(object: &Value, kind: &str) -> Value {
    let subjects = list(object, "/subjects").iter().filter(|subject| raw(subject, "/kind") == kind);
    let name = |subject: &Value| match raw(subject, "/namespace") {
        "" => raw(subject, "/name").to_string(),
        namespace => format!("{namespace}/{}", raw(subject, "/name")),
    };
    subjects.map(name).collect::<Vec<_>>().join(", ").into()
}

fn event_reference(object: &Value) -> Option<&Value> {
    object.get("involvedObject").or_else(|| object.get("regarding"))
}

fn event_object(object: &Value) -> Value {
    let Some(about) = event_reference(object) else { return "".into() };
    let kind = raw(about, "/kind").to_lowercase();
    match raw(about, "/name") {
        "" => kind.into(),
        name => format!("{kind}/{name}").into(),
    }
}

fn event_source(object: &Value) -> Value {
    let component = first(
        object,
        &["/source/component", "/deprecatedSource/component", "/reportingComponent", "/reportingController"],
    );
    match first(object, &["/source/host", "/deprecatedSource/host", "/reportingInstance"]) {
        "" => component.into(),
        instance => format!("{component}, {instance}").into(),
    }
}

fn event_count(object: &Value) -> Value {
    let counts = ["/series/count", "/count", "/deprecatedCount"];
    let count = counts.iter().filter_map(|pointer| object.pointer(pointer)?.as_i64()).find(|count| *count > 0);
    count.unwrap_or(1).into()
}

fn stamp<'a>(object: &'a Value, pointers: &[&str]) -> Option<&'a Value> {
    pointers.iter().filter_map(|pointer| object.pointer(pointer)).find(|value| value.is_string())
}

fn first_seen(object: &Value, now: Timestamp) -> String {
    age(stamp(object, &["/firstTimestamp", "/deprecatedFirstTimestamp", "/eventTime"]), now)
}

fn last_seen(object: &Value, now: Timestamp) -> String {
    let last = ["/series/lastObservedTime", "/lastTimestamp", "/deprecatedLastTimestamp"];
    match stamp(object, &last) {
        Some(stamp) => age(Some(stamp), now),
        None => first_seen(object, now),
    }
}
