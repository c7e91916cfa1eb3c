//! What a host booted: a log, what its kernel measured since, and the PCRs that both lead to.

use std::sync::Arc;

use anyhow::Context as _;
use touchstone_evidence::boot_log::{Bank, BankDigest, BootLog, kind};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::ima::ImaList;
use touchstone_evidence::pcr::{PcrSelection, PcrValues};

use super::recording::Recording;

/// Where a log of its own differs: a PCR that systemd-stub measures extensions into, and that no reference values
/// name (UAPI TPM PCR registry).
const OWN_PCR: u8 = 13;
/// Where the kernel measures.
const RUNTIME_PCR: u8 = 10;

/// A boot.
pub(crate) struct Boot {
    pub(crate) log: Vec<u8>,
    pub(crate) digest: Sha256Digest,
    /// The kernel's runtime list; `None`: it has none.
    pub(crate) runtime_list: Option<&'static [u8]>,
    values: PcrValues,
}

impl Boot {
    /// The boot of `recording`, with the runtime list that goes with it if the kernel measures.
    pub(crate) fn recorded(recording: &Recording, measures: bool) -> anyhow::Result<Arc<Self>> {
        let list = recording.runtime_list.filter(|_| measures);
        Self::of(recording.boot_log.clone(), list).map(Arc::new)
    }

    /// The same with one more event, which measures `text`.
    pub(crate) fn marked(&self, text: &str) -> anyhow::Result<Arc<Self>> {
        // TCG_PCR_EVENT2 (PFP §10.2.2) with one digest.
        let mut log = self.log.clone();
        let data = text.as_bytes();
        log.extend(u32::from(OWN_PCR).to_le_bytes());
        log.extend(kind::IPL.to_le_bytes());
        log.extend(1_u32.to_le_bytes());
        log.extend(Bank::Sha256.id().to_le_bytes());
        log.extend(Sha256Digest::of(data).0);
        log.extend(u32::try_from(data.len())?.to_le_bytes());
        log.extend(data);
        Self::of(log, self.runtime_list).map(Arc::new)
    }

    fn of(log: Vec<u8>, runtime_list: Option<&'static [u8]>) -> anyhow::Result<Self> {
        let parsed = BootLog::parse(&log).context("the recorded boot log does not parse")?;
        let replayed = parsed.replay(Bank::Sha256).unwrap_or_default();
        let value = |pcr| replayed.get(&pcr).and_then(BankDigest::sha256);
        let all = (0..24).map(|pcr| (pcr, value(pcr).unwrap_or_default()));
        let mut values = PcrValues(all.collect());
        if let Some(list) = runtime_list {
            let list = ImaList::parse(list).context("the recorded runtime list does not parse")?;
            let extend = |value: Sha256Digest, measured: Sha256Digest| value.extend(&measured.0);
            let value = list.untrusted_extends().fold(Sha256Digest::ZERO, extend);
            values.0.insert(RUNTIME_PCR, value);
        }
        Ok(Self {
            digest: Sha256Digest::of(&log),
            runtime_list,
            values,
            log,
        })
    }

    /// What all PCRs hold.
    pub(crate) fn all(&self) -> &PcrValues {
        &self.values
    }

    /// What the PCRs of a selection hold.
    pub(crate) fn values(&self, pcrs: PcrSelection) -> PcrValues {
        let selected = self.values.0.iter().filter(|(pcr, _)| pcrs.contains(**pcr));
        PcrValues(selected.map(|(pcr, value)| (*pcr, *value)).collect())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use touchstone_evidence::boot_log::BOOT_PCRS;

    use super::*;

    #[test]
    fn a_log_of_its_own_leads_to_the_same_boot_pcrs_and_another_digest() {
        let recorded = Boot::recorded(&Recording::choose(None).unwrap(), false).unwrap();
        let [one, other] = ["load-1", "load-2"].map(|name| recorded.marked(name).unwrap());
        assert_ne!(one.digest, other.digest);
        assert_ne!(one.digest, recorded.digest);
        let boot = PcrSelection::try_from(BOOT_PCRS.to_vec()).unwrap();
        assert_eq!(one.values(boot), recorded.values(boot));
        let measured = Sha256Digest::of(b"load-1");
        let extended = Sha256Digest::ZERO.extend(&measured.0);
        assert_eq!(one.values.value(OWN_PCR), Some(&extended));
    }
}
