//! What came of the lies: a table and a count, or JSON.

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use touchstone_tpm_sim::lies::{Attack, Cast, RUNTIME, Told};

/// Width where there is no terminal to ask.
const WIDTH: u16 = 110;
/// The code of what must pass, and of what nobody caught.
const NOTHING: &str = "none";

/// A lie of the catalogue.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) id: String,
    lie: String,
    expected: String,
}

impl From<Attack> for Row {
    fn from(attack: Attack) -> Self {
        let Attack {
            id, lie, expected, ..
        } = attack;
        Self { id, lie, expected }
    }
}

/// A lie and the answer to it.
#[derive(Debug, Serialize)]
struct Answered<'a> {
    #[serde(flatten)]
    row: &'a Row,
    answered: &'a str,
    as_expected: bool,
}

/// All of them.
#[derive(Debug, Serialize)]
pub(super) struct Outcome<'a> {
    lies: Vec<Answered<'a>>,
}

impl<'a> Outcome<'a> {
    /// `any_code`: a lie is caught by whatever finding or refusal.
    pub(super) fn new(rows: &'a [Row], told: &'a Told, any_code: bool) -> Self {
        let answered = |row: &'a Row| {
            let answered = told.get(row.id.as_str()).map_or("not-told", String::as_str);
            let caught = |code: &str| code != NOTHING;
            let as_expected = match any_code {
                true => caught(answered) == caught(&row.expected),
                false => answered == row.expected,
            };
            Answered {
                row,
                answered,
                as_expected,
            }
        };
        Self {
            lies: rows.iter().map(answered).collect(),
        }
    }

    pub(super) fn as_expected(&self) -> bool {
        self.lies.iter().all(|lie| lie.as_expected)
    }

    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            return print_json(self);
        }
        let mut table = table(&["lie", "what is said", "must come back", "came back", ""]);
        for lie in &self.lies {
            table.add_row([
                lie.row.id.as_str(),
                &lie.row.lie,
                &lie.row.expected,
                lie.answered,
                if lie.as_expected { "ok" } else { "NO" },
            ]);
        }
        let wrong = self.lies.iter().filter(|lie| !lie.as_expected).count();
        let told = self.lies.len();
        say(&match wrong {
            0 => format!("{table}\n{told} lies told, each answered as it must be"),
            _ => format!("{table}\n{told} lies told, {wrong} NOT answered as they must be"),
        })
    }
}

/// The catalogue, without telling anything.
pub(super) fn list(rows: &[Row], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&rows);
    }
    let mut table = table(&["lie", "what is said", "must come back"]);
    for row in rows {
        table.add_row([&row.id, &row.lie, &row.expected]);
    }
    say(&table.to_string())
}

/// What must be done at the verifier before the lies can be told to it.
pub(super) fn what_an_operator_does(cast: &Cast, place: &Path) -> anyhow::Result<()> {
    let mut text = format!(
        "The machines are made. The verifier's operator now has to\n\
         1. believe the maker of their TPMs, whose CA is in `{}`;\n\
         2. take these machines into the inventory, and give those with a place a location tag:\n",
        cast.roots().display()
    );
    for part in cast.parts().iter().filter(|part| part.role.in_inventory) {
        let [rsa, ecc] = part.ek_certificates();
        let place = if part.role.tagged {
            ", with a place"
        } else {
            ""
        };
        text.push_str(&format!(
            "   {}{place}: `{}`, `{}`\n",
            part.role.name,
            rsa.display(),
            ecc.display()
        ));
    }
    text.push_str(&format!(
        "3. accept the boot `shim_sb` as known good (tpm-sim profile reference shim_sb --life-cycle active);\n\
         4. demand `runtime` alone of {RUNTIME}, with violations refused, or its lies are left out; for Touchstone\n   \
            `tpm-sim break --policy` prints a policy for this and the boot;\n\
         5. make a join token.\n\
         Then: tpm-sim break --cast {} --join-token FILE [--any-code]",
        place.display()
    ));
    say(&text)
}

/// What goes on, on a terminal.
pub(super) fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.iter().copied());
    if !io::stdout().is_terminal() {
        table.set_width(WIDTH);
    }
    table
}

fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    say(&serde_json::to_string_pretty(value)?)
}

/// A reader that has seen enough, as of `| head`, is no failure.
pub(super) fn say(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        said => said.context("cannot write to standard output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, expected: &str) -> Row {
        Row {
            id: id.to_owned(),
            lie: String::new(),
            expected: expected.to_owned(),
        }
    }

    #[test]
    fn another_code_is_a_failure_unless_any_will_do_and_nothing_never_does() {
        let rows = [row("Q1a", "signature-invalid")];
        for (said, strict, any) in [
            ("signature-invalid", true, true),
            ("refused", false, true),
            ("none", false, false),
        ] {
            let told = Told::from([("Q1a", said.to_owned())]);
            assert_eq!(
                Outcome::new(&rows, &told, false).as_expected(),
                strict,
                "{said}"
            );
            assert_eq!(
                Outcome::new(&rows, &told, true).as_expected(),
                any,
                "{said}"
            );
        }
        assert!(!Outcome::new(&rows, &Told::new(), false).as_expected());
    }

    #[test]
    fn what_must_pass_may_not_be_refused() {
        let rows = [row("Q14b", "none")];
        let told = Told::from([("Q14b", "challenge-replayed".to_owned())]);
        assert!(!Outcome::new(&rows, &told, true).as_expected());
    }
}
