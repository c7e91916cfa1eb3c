//! That something is under way, on a terminal and nowhere else.

use std::future::Future;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Between two looks of a spinner.
const TICK: Duration = Duration::from_millis(100);

/// Waits for `work` while a spinner says what it is; it is gone when the work is done.
pub(super) async fn waiting<T>(what: &str, work: impl Future<Output = T>) -> T {
    let bar = match std::io::stderr().is_terminal() {
        true => ProgressBar::new_spinner().with_message(what.to_owned()),
        false => ProgressBar::hidden(),
    };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    let done = work.await;
    bar.finish_and_clear();
    done
}
