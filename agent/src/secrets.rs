//! `touchstone-agent transit`: a secret on standard input, what came of it on standard output.

use std::io::{self, Read as _};

use anyhow::{Context as _, ensure};
use touchstone_agent::transit::ask::{Daemon, Error};
use touchstone_evidence::secret::TEXT_MAX;
use zeroize::Zeroizing;

use crate::arguments::Transit;
use crate::output;

/// Bytes that are read, which is more than anything here takes: the longest text, and line breaks.
const INPUT_MAX: usize = TEXT_MAX + 1024;

pub(crate) async fn transit(
    act: &Transit,
    daemon: &Daemon<'_>,
    associated: &str,
) -> anyhow::Result<()> {
    // Room for all of it: what grows leaves copies behind.
    let mut input = Zeroizing::new(Vec::with_capacity(INPUT_MAX));
    let most = u64::try_from(INPUT_MAX)?;
    let read = io::stdin().lock().take(most).read_to_end(&mut input);
    read.context("cannot read standard input")?;
    match act {
        Transit::Encrypt { key, allow_empty } => {
            ensure!(*allow_empty || !input.is_empty(), Error::Empty);
            let text = daemon.encrypt(key, &input, associated).await?;
            output::secret(format!("{text}\n").as_bytes())
        }
        Transit::Decrypt { key } => output::secret(&daemon.decrypt(key, &input, associated).await?),
    }
}
