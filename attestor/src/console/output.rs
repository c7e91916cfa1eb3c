//! How answers look: a table, or the JSON that it was made from.

use std::io::{ErrorKind, Write as _};

use anyhow::Context as _;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Prints `text` as it is. A reader that has seen enough, as of `| head`, is no failure.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Prints one line, or the JSON.
pub(super) fn line(json: bool, value: &Value, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    match json {
        true => print(&format!("{value}\n")),
        false => print(&format!("{}\n", text())),
    }
}

/// Prints a table of `rows`, or the JSON that they come from.
pub(super) fn table(
    json: bool,
    value: &Value,
    header: &[&str],
    rows: Vec<Vec<String>>,
) -> anyhow::Result<()> {
    line(json, value, || grid(header, rows))
}

/// A table as text.
pub(super) fn grid(header: &[&str], rows: Vec<Vec<String>>) -> String {
    arranged(header, rows, width())
}

fn arranged(header: &[&str], rows: Vec<Vec<String>>, width: Option<u16>) -> String {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    if let Some(width) = width {
        table.set_width(width);
    }
    let whole: Vec<bool> = (0..header.len())
        .map(|column| {
            let mut cells = rows.iter().filter_map(|row| row.get(column));
            cells.any(|cell| is_whole(cell))
        })
        .collect();
    for row in rows {
        table.add_row(row);
    }
    for (column, _) in table
        .column_iter_mut()
        .zip(whole)
        .filter(|(_, whole)| *whole)
    {
        // With a blank at either side.
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(COPIED + 2)));
    }
    table.to_string()
}

/// Columns of a time, `2027-01-15T08:00:00Z`.
const COPIED: u16 = 20;

/// Digits of a digest that a list shows: enough to name one, and short enough not to be broken.
const DIGITS: usize = 16;

/// The first digits of a digest, for a list; `--json` and the views of one thing have all.
pub(super) fn digits(digest: &str) -> String {
    digest.chars().take(DIGITS).collect()
}

/// The same, which says that it is cut, for a digest that nobody types.
pub(super) fn cut(digest: &str) -> String {
    let digest = digest.trim_start_matches("sha256:");
    match digest.len() > DIGITS {
        true => format!("{}…", digits(digest)),
        false => digest.to_owned(),
    }
}

/// Whether `text` holds a word that is no longer a time or a digest's digits when a line breaks in it.
fn is_whole(text: &str) -> bool {
    text.split_whitespace().any(|word| {
        let word = word.trim_end_matches('…');
        let time = word.len() == usize::from(COPIED) && word.ends_with('Z') && word.contains('T');
        time || (word.len() == DIGITS && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_digests_are_not_broken() {
        let time = "2027-01-15T08:00:00Z";
        let digest = cut(&"0123456789abcdef".repeat(4));
        let words = "word ".repeat(40);
        let row = [
            digest.as_str(),
            &words,
            &words,
            &format!("9 times\nlast {time}"),
            &words,
        ];
        let row = row.map(str::to_owned).to_vec();
        let shown = arranged(&["a", "b", "c", "d", "e"], vec![row], Some(80));
        assert!(shown.contains(time) && shown.contains(&digest), "{shown}");
        assert!(
            shown.lines().all(|line| line.chars().count() <= 80),
            "{shown}"
        );
    }
}
