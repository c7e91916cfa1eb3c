//! Its process, and the first line that it says.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::database::Database;
use crate::programs;

/// Wherever there is room.
pub(super) const ANY_PORT: &str = "127.0.0.1:0";

pub(super) fn serve(
    data: &Path,
    database: &Database,
    listen: &str,
    more: &[&str],
) -> (Child, String) {
    serve_in(&[], data, database.url().as_deref(), listen, more)
}

pub(super) fn serve_in(
    env: &[(&str, &str)],
    data: &Path,
    database: Option<&str>,
    listen: &str,
    more: &[&str],
) -> (Child, String) {
    run_in("serve", env, data, database, listen, more)
}

/// The same of another command that serves.
pub(super) fn run_in(
    subcommand: &str,
    env: &[(&str, &str)],
    data: &Path,
    database: Option<&str>,
    listen: &str,
    more: &[&str],
) -> (Child, String) {
    let mut command = programs::command(&programs::path("touchstone"));
    command
        .args([subcommand, "--listen", listen, "--data"])
        .arg(data)
        .args(more)
        .env("RUST_LOG", "warn")
        .envs(env.iter().copied())
        .stdout(Stdio::piped());
    if let Some(url) = database {
        command.env("TOUCHSTONE_DATABASE", url);
    }
    let mut process = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let url = line
        .trim()
        .strip_prefix("listening on ")
        .unwrap_or_else(|| panic!("the attestor did not start on {database:?}"))
        .to_owned();
    (process, url)
}

/// What a server says of itself: to operators, or of a cluster apart to whoever has its folder.
pub(super) fn operator_file(data: &Path) -> Value {
    let operators = std::fs::read(data.join("operator.json"));
    let file = operators.or_else(|_| std::fs::read(data.join("cluster.json")));
    serde_json::from_slice(&file.unwrap()).unwrap()
}
