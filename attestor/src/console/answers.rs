//! What lists in answers hold. A list that is absent is an empty one: what must be there, the attestor says in its types.

use serde_json::Value;

/// The items of a list.
pub(super) fn items<'a>(value: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let items = value.get(list).and_then(Value::as_array);
    items.into_iter().flatten()
}

/// Those that are text.
pub(super) fn strings<'a>(value: &'a Value, list: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    items(value, list).filter_map(Value::as_str)
}

/// All of them in one cell of a table, each on its line.
pub(super) fn lines(value: &Value, list: &str) -> String {
    strings(value, list).collect::<Vec<_>>().join("\n")
}

/// A row of a table for each of the items.
pub(super) fn rows(
    value: &Value,
    list: &str,
    row: impl Fn(&Value) -> Vec<String>,
) -> Vec<Vec<String>> {
    items(value, list).map(row).collect()
}
