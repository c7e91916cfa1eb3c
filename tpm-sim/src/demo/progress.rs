//! Says what goes on: a spinner on a terminal, and lines that stay.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// How long one stage took.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StageTime {
    pub(super) name: &'static str,
    pub(super) seconds: f64,
}

/// The teller.
pub(super) struct Progress {
    /// Standard output is for JSON alone.
    json: bool,
    began: Instant,
    stage: Option<(&'static str, Instant)>,
    spinner: Option<ProgressBar>,
    times: Vec<StageTime>,
}

impl Progress {
    pub(super) fn start(json: bool) -> Self {
        Self {
            json,
            began: Instant::now(),
            stage: None,
            spinner: None,
            times: Vec::new(),
        }
    }

    /// Ends the stage before, if there is one, and begins another.
    pub(super) fn stage(&mut self, name: &'static str, about: &str) {
        self.end_stage();
        self.say(&format!("\n{name}: {about}"));
        self.stage = Some((name, Instant::now()));
    }

    /// What is being done now: shown while it lasts.
    pub(super) fn doing(&mut self, what: &'static str) {
        if !io::stderr().is_terminal() {
            return;
        }
        let spinner = self.spinner.get_or_insert_with(|| {
            let spinner = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg} ({elapsed})") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        spinner.set_message(what);
        spinner.reset_elapsed();
    }

    /// A line of the stage that stays.
    pub(super) fn note(&mut self, line: &str) {
        self.say(&format!("  {line}"));
    }

    /// Ends the last stage; every stage's time and the whole in seconds.
    pub(super) fn finish(mut self) -> (Vec<StageTime>, f64) {
        self.end_stage();
        (
            std::mem::take(&mut self.times),
            self.began.elapsed().as_secs_f64(),
        )
    }

    fn end_stage(&mut self) {
        self.clear();
        if let Some((name, began)) = self.stage.take() {
            let seconds = began.elapsed().as_secs_f64();
            self.note(&format!("({seconds:.1} s)"));
            self.times.push(StageTime { name, seconds });
        }
    }

    /// A line of no stage. Where nobody reads, nothing is lost.
    pub(super) fn say(&mut self, line: &str) {
        self.clear();
        let _ = match self.json {
            true => writeln!(io::stderr(), "{line}"),
            false => writeln!(io::stdout(), "{line}"),
        };
    }

    fn clear(&mut self) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
