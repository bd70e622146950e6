//! Whatever a client sends, nothing panics, and what is prepared once stays as it is.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::{json as json_patch, managed, merge, strategic};
use super::{schema, writer};
use crate::builtin::KINDS;
use crate::schema::{FieldValidation, validate_metadata};

/// JSON of any form, with names that the kinds know among others.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2..90_000i64).prop_map(Value::from),
        "[a-z.]{0,4}".prop_map(Value::from),
        Just(json!("None")),
        Just(json!("delete")),
    ];
    let name = prop_oneof![
        "(metadata|name|namespace|labels|annotations|finalizers|ownerReferences|managedFields|uid|fieldsV1|operation)",
        "(spec|status|ports|port|type|data|stringData|endpoints|addresses|conditions|rules|subjects|roleRef|versions)",
        "(\\$patch|\\$retainKeys|\\$setElementOrder/ports|\\$deleteFromPrimitiveList/finalizers|f:x|listeners|hosts|free)",
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(name.clone(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<String, Value>>())),
        ]
    })
}

proptest! {
    #[test]
    fn built_in_kinds_take_anything(value in values(), patch in values(), which in 0..KINDS.len()) {
        let kind = &KINDS[which];
        let schema = kind.schema().unwrap();
        let mut object = value;
        schema.prepare(&mut object, FieldValidation::Ignore).unwrap();
        kind.complete(&mut object);
        let once = object.clone();
        prop_assert!(schema.prepare(&mut object, FieldValidation::Strict).is_ok());
        kind.complete(&mut object);
        prop_assert_eq!(&object, &once);
        schema.validate(&object, None);
        kind.validate(&object, Some(&patch));
        validate_metadata(&object, kind.names, kind.namespaced);
        for column in kind.columns {
            (column.cell)(&object, jiff::Timestamp::UNIX_EPOCH);
        }
        let _ = strategic(schema, &object, &patch);
        let _ = merge(&object, &patch);
        let _ = json_patch(&object, &patch);
    }

    #[test]
    fn ownership_takes_anything(live in values(), applied in values(), force in any::<bool>()) {
        let schema = schema();
        let writer = writer(&schema, "one");
        if let Ok(new) = managed::apply(&writer, Some(&live), &applied, force) {
            let again = managed::apply(&writer, Some(&new), &applied, false);
            prop_assert!(again.is_ok(), "{again:?}");
        }
        let mut new = applied;
        managed::update(&writer, Some(&live), &mut new);
    }
}
