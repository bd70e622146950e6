//! Objects of an API, read without what nobody here reads: who manages which field (`metadata.managedFields`), which is
//! often as large as the rest.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// Keys that lead to what is passed over.
type Path = &'static [&'static str];

const MANAGED_FIELDS: Path = &["metadata", "managedFields"];

/// An object that was read without its managed fields.
#[derive(Clone, Debug)]
pub struct Lean<K>(pub K);

impl<'de, K: Deserialize<'de>> Deserialize<'de> for Lean<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        K::deserialize(Without { inner: deserializer, path: MANAGED_FIELDS }).map(Self)
    }
}

impl<K: Resource> Resource for Lean<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }
    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }
    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }
    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }
    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

/// Passes on what another deserializer, visitor, map or seed has, but for what is at `path`.
struct Without<T> {
    inner: T,
    path: Path,
}

macro_rules! as_it_is {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(visitor)
        }
    )* };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Without<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(Without { inner: visitor, path: self.path })
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_option(Without { inner: visitor, path: self.path })
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_map(Without { inner: visitor, path: self.path })
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_struct(name, fields, Without { inner: visitor, path: self.path })
    }
    as_it_is! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit
        deserialize_seq deserialize_identifier deserialize_ignored_any
    }
    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_newtype_struct(name, visitor)
    }
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_tuple(len, visitor)
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_tuple_struct(name, len, visitor)
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_enum(name, variants, visitor)
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Without<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Members { inner: map, path: self.path, is_on_path: false })
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Without { inner: deserializer, path: self.path })
    }
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }
    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        self.inner.visit_str(text)
    }
}

/// The members of an object.
struct Members<A> {
    inner: A,
    path: Path,
    /// Whether the value of the last key leads on to what is passed over.
    is_on_path: bool,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        loop {
            let Some(MemberName(key)) = self.inner.next_key()? else { return Ok(None) };
            self.is_on_path = self.path.first().is_some_and(|first| *first == key);
            if self.is_on_path && self.path.len() == 1 {
                self.inner.next_value::<IgnoredAny>()?;
                continue;
            }
            return match key {
                Cow::Borrowed(key) => seed.deserialize(BorrowedStrDeserializer::new(key)),
                Cow::Owned(key) => seed.deserialize(StrDeserializer::new(&key)),
            }
            .map(Some);
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        if self.is_on_path {
            let path = self.path.get(1..).unwrap_or_default();
            self.inner.next_value_seed(Without { inner: seed, path })
        } else {
            self.inner.next_value_seed(seed)
        }
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Without<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Without { inner: deserializer, path: self.path })
    }
}

/// A key, borrowed where it can be.
struct MemberName<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for MemberName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = MemberName<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<MemberName<'de>, E> {
                Ok(MemberName(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<MemberName<'de>, E> {
                Ok(MemberName(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use foregate_api::gateway::HTTPRoute;
    use k8s_openapi::api::core::v1::Service;
    use kube::core::{ObjectList, WatchEvent};
    use serde_json::{Value, json};

    use super::*;

    fn metadata() -> Value {
        json!({
            "name": "a", "namespace": "n", "labels": { "metadata": "x", "managedFields": "y" }, "generation": 3,
            "managedFields": [{ "manager": "m", "fieldsV1": { "f:spec": {} }, "time": "no time" }],
            "annotations": { "b": "c\n" }, "creationTimestamp": "2026-01-02T03:04:05Z", "uid": null,
        })
    }

    /// What is read is what a plain reader makes of the object without managed fields.
    fn check<K>(object: Value)
    where
        K: for<'de> Deserialize<'de> + PartialEq + fmt::Debug + Clone + Resource<DynamicType = ()>,
    {
        let mut without = object.clone();
        without["metadata"].as_object_mut().unwrap().remove("managedFields");
        let expected: K = serde_json::from_value(without).unwrap();
        let read: Lean<K> = serde_json::from_str(&object.to_string()).unwrap();
        assert_eq!(read.0, expected);
        assert!(read.meta().name.is_some());
        let text = json!({ "type": "MODIFIED", "object": object }).to_string();
        // Keys are sorted here: the object comes before the type.
        for text in [text, format!(r#"{{"type":"MODIFIED","object":{object}}}"#)] {
            let WatchEvent::Modified(read) = serde_json::from_str::<WatchEvent<Lean<K>>>(&text).unwrap() else {
                unreachable!()
            };
            assert_eq!(read.0, expected);
        }
        let list = json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": [object] }).to_string();
        let list: ObjectList<Lean<K>> = serde_json::from_str(&list).unwrap();
        assert_eq!(list.items[0].0, expected);
    }

    #[test]
    fn all_but_managed_fields_is_read() {
        check::<Service>(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata(),
            "spec": { "ports": [{ "port": 80, "targetPort": "http" }], "selector": { "managedFields": "z" } },
            "status": { "loadBalancer": {} },
        }));
        check::<HTTPRoute>(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata(),
            "spec": {
                "parentRefs": [{ "name": "g" }], "hostnames": ["a.test"],
                "rules": [{
                    "matches": [{ "path": { "type": "Exact", "value": "/a" } }],
                    "filters": [{ "type": "RequestHeaderModifier", "requestHeaderModifier": { "remove": ["x"] } }],
                    "backendRefs": [{ "name": "s", "port": 80, "weight": 0 }],
                }],
            },
            "status": { "parents": [] },
        }));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = serde_json::from_str::<Lean<Service>>(r#"{"metadata":{"generation":"x"}}"#).unwrap_err();
        assert!(error.to_string().contains("invalid type: string \"x\""), "{error}");
    }
}
