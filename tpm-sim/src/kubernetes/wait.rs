//! Waits for what shows only by looking.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Error, Result};

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(25);

/// Looks until there is something, or until `look` fails.
///
/// # Errors
/// [`Error::Late`] names `what`; whatever `look` says.
pub async fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look().await? {
            return Ok(seen);
        }
        if begun.elapsed() > patience {
            return Err(Error::Late {
                what: what.to_owned(),
                patience,
            });
        }
        sleep(LOOK).await;
    }
}
