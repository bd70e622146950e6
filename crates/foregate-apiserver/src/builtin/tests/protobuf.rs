use proptest::prelude::*;
use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::json;

use super::super::{MAGIC, ProtobufError, decode_protobuf};

/// A message being put together by hand.
#[derive(Default, Clone)]
struct Message(Vec<u8>);

impl Message {
    fn bytes(mut self, number: u32, bytes: impl AsRef<[u8]>) -> Self {
        encode_key(number, WireType::LengthDelimited, &mut self.0);
        encode_varint(bytes.as_ref().len() as u64, &mut self.0);
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    fn number(mut self, number: u32, value: i64) -> Self {
        encode_key(number, WireType::Varint, &mut self.0);
        encode_varint(value as u64, &mut self.0);
        self
    }

    fn message(self, number: u32, message: Message) -> Self {
        self.bytes(number, message.0)
    }
}

fn text(number: u32, text: &str) -> Message {
    Message::default().bytes(number, text)
}

fn body(api_version: &str, kind: &str, object: Message) -> Vec<u8> {
    let unknown = Message::default().message(1, text(1, api_version).bytes(2, kind)).message(2, object);
    [MAGIC, &unknown.bytes(3, "").bytes(4, "").0].concat()
}

/// The bytes of `kubectl create namespace x`: Go writes every plain field, empty or not.
#[test]
fn a_namespace_byte_by_byte() {
    let bytes = b"k8s\0\
        \x0a\x0f\x0a\x02v1\x12\x09Namespace\
        \x12\x17\
        \x0a\x11\x0a\x01x\x12\x00\x1a\x00\x22\x00\x2a\x00\x32\x00\x38\x00\x42\x00\
        \x12\x00\x1a\x00\
        \x1a\x00\x22\x00";
    assert_eq!(
        decode_protobuf(bytes).unwrap(),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}})
    );
}

#[test]
fn maps_bytes_and_pointers() {
    let entry = |key: &str, value: &[u8]| text(1, key).bytes(2, value);
    let secret = Message::default()
        .message(1, text(1, "s").message(11, entry("l", b"1")))
        .message(2, entry("tls.crt", b"\x00\xff"))
        .message(2, entry("empty", b""))
        .bytes(3, "kubernetes.io/tls")
        .number(5, 0);
    assert_eq!(
        decode_protobuf(&body("v1", "Secret", secret)).unwrap(),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "labels": {"l": "1"}},
            "data": {"tls.crt": "AP8=", "empty": ""}, "type": "kubernetes.io/tls",
            "immutable": false,
        })
    );
}

#[test]
fn special_types() {
    let port = |target: Message| Message::default().number(3, 80).message(4, target).bytes(2, "TCP");
    let service = Message::default()
        .message(1, text(1, "s").message(8, Message::default().number(1, 1_767_225_600)).number(7, 3))
        .message(
            2,
            Message::default()
                .message(1, port(Message::default().number(1, 0).number(2, 8080).bytes(3, "")))
                .message(1, port(Message::default().number(1, 1).number(2, 0).bytes(3, "web"))),
        );
    let service = decode_protobuf(&body("v1", "Service", service)).unwrap();
    assert_eq!(service["metadata"], json!({"name": "s", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 3}));
    assert_eq!(
        service["spec"]["ports"],
        json!([{"port": 80, "protocol": "TCP", "targetPort": 8080}, {"port": 80, "protocol": "TCP", "targetPort": "web"}])
    );
    let lease = Message::default().message(
        2,
        text(1, "me").number(2, 15).message(4, Message::default().number(1, 1_767_225_600).number(2, 1_500_000)),
    );
    let lease = decode_protobuf(&body("coordination.k8s.io/v1", "Lease", lease)).unwrap();
    assert_eq!(
        lease["spec"],
        json!({"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.001500Z"})
    );
    let managed = text(1, "m").bytes(2, "Update").message(7, text(1, "{\"f:data\":{}}"));
    let map = Message::default().message(1, text(1, "c").message(17, managed));
    let map = decode_protobuf(&body("v1", "ConfigMap", map)).unwrap();
    assert_eq!(map["metadata"]["managedFields"][0]["fieldsV1"], json!({"f:data": {}}));
}

/// `kubectl auth can-i` and `kubectl auth whoami`.
#[test]
fn reviews() {
    let attributes = text(1, "default").bytes(2, "get").bytes(5, "pods");
    let review =
        Message::default().message(1, Message::default()).message(2, Message::default().message(1, attributes));
    let review = decode_protobuf(&body("authorization.k8s.io/v1", "SelfSubjectAccessReview", review)).unwrap();
    assert_eq!(
        review["spec"]["resourceAttributes"],
        json!({"namespace": "default", "verb": "get", "resource": "pods"})
    );
    let who = body("authentication.k8s.io/v1", "SelfSubjectReview", Message::default().message(1, Message::default()));
    assert_eq!(decode_protobuf(&who).unwrap()["kind"], "SelfSubjectReview");
    let extra =
        Message::default().message(1, text(1, "u")).message(2, Message::default().message(3, Message::default()));
    let subject =
        Message::default().message(2, text(3, "u").message(5, text(1, "k").message(2, text(1, "a").bytes(1, "b"))));
    drop(extra);
    let subject = decode_protobuf(&body("authorization.k8s.io/v1", "SubjectAccessReview", subject)).unwrap();
    assert_eq!(subject["spec"], json!({"user": "u", "extra": {"k": ["a", "b"]}}));
}

#[test]
fn bad_bodies() {
    assert_eq!(decode_protobuf(b"{}"), Err(ProtobufError::Magic));
    let unknown = decode_protobuf(&body("apps/v1", "Deployment", Message::default()));
    assert!(matches!(unknown, Err(ProtobufError::Kind { kind, .. }) if kind == "Deployment"));
    let cut = body("v1", "Namespace", text(1, "x"));
    assert!(matches!(decode_protobuf(&cut[..cut.len() - 5]), Err(ProtobufError::Wire { .. })));
    let wrong = decode_protobuf(&body("v1", "Namespace", Message::default().number(1, 1)));
    assert!(matches!(wrong, Err(ProtobufError::Wire { .. })), "{wrong:?}");
    // A length that lies.
    let lying = [MAGIC, b"\x12\xff\xff\xff\xff\x7f".as_slice()].concat();
    assert!(matches!(decode_protobuf(&lying), Err(ProtobufError::Wire { .. })));
}

proptest! {
    /// Nothing that comes from a network makes it panic.
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in "(Namespace|Secret|Service|Event|Lease)") {
        let _ = decode_protobuf(&[MAGIC, &bytes].concat());
        let group = if kind == "Lease" { "coordination.k8s.io/v1" } else { "v1" };
        let _ = decode_protobuf(&body(group, &kind, Message(bytes)));
    }
}
