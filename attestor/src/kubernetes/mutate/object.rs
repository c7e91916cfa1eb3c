//! Parts of an object as an API server sends it: what is not there is made, what is of another shape is left.

use serde_json::{Map, Value};

/// The object that `parent` has there, made if there is none.
pub(super) fn child<'a>(
    parent: &'a mut Map<String, Value>,
    name: &str,
) -> Option<&'a mut Map<String, Value>> {
    let value = parent.entry(name).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut()
}

/// The list that `parent` has there, made if there is none.
pub(super) fn items<'a>(
    parent: &'a mut Map<String, Value>,
    name: &str,
) -> Option<&'a mut Vec<Value>> {
    let value = parent.entry(name).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Array(Vec::new());
    }
    value.as_array_mut()
}
