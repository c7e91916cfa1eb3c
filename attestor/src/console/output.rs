//! How answers look: a table, or the JSON that it was made from.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Prints one line, or the JSON.
pub(super) fn line(json: bool, value: &Value, text: impl FnOnce() -> String) {
    match json {
        true => println!("{value}"),
        false => println!("{}", text()),
    }
}

/// Prints a table of `rows`, or the JSON that they come from.
pub(super) fn table(json: bool, value: &Value, header: &[&str], rows: Vec<Vec<String>>) {
    match json {
        true => println!("{value}"),
        false => println!("{}", grid(header, rows)),
    }
}

/// A table as text.
pub(super) fn grid(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    if let Some(width) = width() {
        table.set_width(width);
    }
    for row in rows {
        table.add_row(row);
    }
    table.to_string()
}

/// Columns to print into: `COLUMNS`, else those of the terminal; `None` for a file or a pipe, where
/// nothing is broken.
pub(super) fn width() -> Option<u16> {
    let asked = std::env::var("COLUMNS").ok();
    asked
        .and_then(|columns| columns.parse().ok())
        .filter(|columns| *columns >= 40)
        .or_else(|| Table::new().width())
}

/// A field of seconds since 1970, as people read time, in UTC; `-` when it is absent.
pub(super) fn moment(value: &Value, field: &str) -> String {
    value
        .get(field)
        .and_then(Value::as_i64)
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| "-".to_owned())
}

/// A field of an answer as text; `-` when it is absent.
pub(super) fn text(value: &Value, field: &str) -> String {
    match value.get(field) {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        Some(Value::Null) | None | Some(Value::String(_)) => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}
