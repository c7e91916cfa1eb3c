//! `tpm-sim break`: tells a verifier every lie of the attack catalogue that a host can tell, and compares
//! what comes back with what must come back.

mod outcome;
mod verifier;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use touchstone_tpm_sim::lies::{Answers, Cast, Group, RUNTIME, catalogue};
use touchstone_tpm_sim::swtpm;

use crate::cli::Break;
use outcome::{Outcome, Row};
use verifier::Verifier;

/// As clap ends with a command line that it does not take.
const WRONG_COMMAND_LINE: u8 = 2;

/// An id that begins none of those in the catalogue that can be told here.
#[derive(Debug, thiserror::Error)]
#[error("no lie that is told here is called `{0}`; `tpm-sim break --list` shows them")]
struct NoSuchLie(String);

/// Tells the lies. Exit code 1: some answer was not the one that is due.
pub(crate) fn run(options: &Break) -> anyhow::Result<ExitCode> {
    if options.policy {
        outcome::say(verifier::policy().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = match chosen(&options.ids) {
        Err(error) if error.is::<NoSuchLie>() => {
            eprintln!("tpm-sim: {error}");
            return Ok(ExitCode::from(WRONG_COMMAND_LINE));
        }
        rows => rows?,
    };
    if options.list {
        outcome::list(&rows, options.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    swtpm::available()?;
    let folder = tempfile::Builder::new()
        .prefix("touchstone-break-")
        .tempdir()?;
    let place = options.cast.as_deref().unwrap_or(folder.path());
    if options.join_token.is_some() && !place.join("maker.pem").exists() {
        bail!(
            "there are no machines in `{0}`; make them first: tpm-sim break --cast {0}",
            place.display()
        );
    }
    if let Some(server) = verifier::server(options)? {
        eprintln!("lying to {server}");
    }
    std::fs::create_dir_all(place).with_context(|| format!("cannot make `{}`", place.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(tell(options, &rows, place))
}

async fn tell(options: &Break, rows: &[Row], place: &Path) -> anyhow::Result<ExitCode> {
    let progress = outcome::spinner();
    let cast = Cast::boot(place, |name| {
        progress.set_message(format!("switching on {name}"))
    })?;
    if options.cast.is_some() && options.join_token.is_none() && options.operator.is_none() {
        progress.finish_and_clear();
        outcome::what_an_operator_does(&cast, place)?;
        return Ok(ExitCode::SUCCESS);
    }
    progress.set_message("telling the verifier about the machines");
    let verifier = Verifier::of(options, place, &cast).await?;
    let groups: Vec<Group> = Group::ALL
        .into_iter()
        .filter(|group| {
            rows.iter()
                .any(|row| group.ids().contains(&row.id.as_str()))
        })
        .collect();
    progress.set_message("enrolling honestly");
    let answers = cast
        .tell(verifier.token(), &groups, |_, told| {
            progress.set_message(format!("{} lies told", told.len()));
        })
        .await?;
    progress.finish_and_clear();
    verifier.stop().await?;
    let rows = shown(rows, &answers);
    if rows.is_empty() {
        bail!("no lie was told");
    }
    let outcome = Outcome::new(&rows, &answers.told, options.any_code);
    outcome.print(options.json)?;
    Ok(match outcome.as_expected() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The rows without those about runtime lists where policy does not let them show; that is said.
fn shown(rows: &[Row], answers: &Answers) -> Vec<Row> {
    let mut shown = rows.to_vec();
    let Some(said) = &answers.runtime_unjudged else {
        return shown;
    };
    let ids = Group::RuntimeLists.ids();
    shown.retain(|row| !ids.contains(&row.id.as_str()));
    eprintln!(
        "tpm-sim: {} lies about runtime lists are left out, since they would not show: the honest round of {RUNTIME} \
         says {said}. One `HostPolicy` must match {RUNTIME}, no second one, and demand `runtime` alone, with \
         violations `refused`; `tpm-sim break --policy` prints one that does",
        rows.len() - shown.len()
    );
    shown
}

/// The rows of the catalogue that can be told here and whose id begins with one of `ids`; all, if there are none.
fn chosen(ids: &[String]) -> anyhow::Result<Vec<Row>> {
    let tellable: Vec<&str> = Group::ALL.map(Group::ids).concat();
    let mut attacks = catalogue()?;
    attacks.retain(|attack| tellable.contains(&attack.id.as_str()));
    let unknown = |id: &&String| !attacks.iter().any(|attack| is_of(&attack.id, id));
    if let Some(unknown) = ids.iter().find(unknown) {
        return Err(NoSuchLie(unknown.clone()).into());
    }
    attacks.retain(|attack| ids.is_empty() || ids.iter().any(|id| is_of(&attack.id, id)));
    Ok(attacks.into_iter().map(Row::from).collect())
}

/// `Q1` means Q1 and Q1a, not Q10; `Q` means all of Q.
fn is_of(id: &str, wanted: &str) -> bool {
    let rest = id.strip_prefix(wanted);
    rest.is_some_and(|rest| {
        let number = wanted.ends_with(|last: char| last.is_ascii_digit());
        !(number && rest.starts_with(|next: char| next.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::is_of;

    #[test]
    fn a_number_is_whole() {
        assert!(is_of("Q1a", "Q1") && is_of("Q1a", "Q") && is_of("Q10a", "Q10"));
        assert!(!is_of("Q10a", "Q1") && !is_of("E1a", "Q"));
    }
}
