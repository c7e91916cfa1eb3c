//! The TPM: whether it answers, what it is, and whether it has what a round takes.

use super::Check;
use crate::identity::Identity;
use crate::tpm::{Facts, Tpm};

/// An enrolled host needs its attestation key, one that is to enrol an endorsement key with a certificate.
pub(super) async fn checks(tcti: &str, identity: Option<&Identity>) -> Vec<Check> {
    const SUBJECT: &str = "TPM";
    let tpm = match Tpm::open(tcti).await {
        Ok(tpm) => tpm,
        Err(error) => return vec![Check::bad(SUBJECT, &error)],
    };
    let mut checks = match tpm.facts().await {
        Ok(facts) => vec![Check::good(SUBJECT, about(&facts, tcti)), lockout(&facts)],
        Err(error) => vec![Check::bad(SUBJECT, &error)],
    };
    checks.push(endorsement(&tpm, identity.is_some()).await);
    if let Some(identity) = identity {
        checks.push(attestation_key(&tpm, identity).await);
    }
    checks.push(location_tag(&tpm).await);
    checks
}

fn about(facts: &Facts, tcti: &str) -> String {
    format!(
        "{} at `{tcti}`, firmware {:#018x}",
        facts.maker, facts.firmware
    )
}

fn lockout(facts: &Facts) -> Check {
    const SUBJECT: &str = "lockout";
    let seen = format!(
        "{} wrong guesses of {}, one forgotten every {} s",
        facts.guesses, facts.guesses_max, facts.recovery_seconds
    );
    if facts.in_lockout {
        let next = "rounds go on, since nothing that they use counts against guessing; find out who guessed, then `tpm2_dictionarylockout --clear-lockout`";
        return Check::notice(SUBJECT, format!("the TPM is in it: {seen}"), next);
    }
    Check::good(SUBJECT, seen)
}

async fn endorsement(tpm: &Tpm, enrolled: bool) -> Check {
    const SUBJECT: &str = "endorsement key";
    match tpm.endorsement().await {
        Ok(found) => Check::good(
            SUBJECT,
            format!(
                "with its certificate at {:#010x}",
                found.ek.template.certificate_index()
            ),
        ),
        Err(error) if enrolled => Check::harmless(SUBJECT, &error),
        Err(error) => Check::bad(SUBJECT, &error),
    }
}

async fn attestation_key(tpm: &Tpm, identity: &Identity) -> Check {
    const SUBJECT: &str = "attestation key";
    match tpm.loads(&identity.keys.ak()).await {
        Ok(()) => Check::good(SUBJECT, "loads"),
        Err(error) => Check::bad(SUBJECT, &error),
    }
}

/// One that does not read, each round would ask for.
async fn location_tag(tpm: &Tpm) -> Check {
    const SUBJECT: &str = "location tag";
    match tpm.location_tag().await {
        Ok(Some(tag)) => Check::good(SUBJECT, format!("{} bytes", tag.len())),
        Ok(None) => Check::good(SUBJECT, "none"),
        Err(error) => Check::bad(SUBJECT, &error),
    }
}
