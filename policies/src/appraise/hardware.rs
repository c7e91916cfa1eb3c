//! The TPM itself: who vouches for it, and whether its firmware has a published flaw.

mod firmware;

use touchstone_evidence::claims::{Claims, Proof};
use touchstone_evidence::endorsement::{RootClass, TpmName};
use touchstone_evidence::finding::Finding;

use super::Judged;

pub(super) fn judge(claims: &Claims) -> Judged {
    match claims.endorsement() {
        RootClass::Simulator => Judged::contraindicated(vec![Finding::new("hardware-simulated")]),
        RootClass::Manufacturer | RootClass::Cloud => match claims.quote() {
            Proof::Proven(quote) => judge_firmware(claims.tpm(), quote.firmware_version()),
            // The version is in the quote.
            Proof::Refuted(findings) => Judged::unknown(findings.clone()),
        },
    }
}

fn judge_firmware(tpm: Option<&TpmName>, version: u64) -> Judged {
    let Some(tpm) = tpm else {
        return Judged::unknown(vec![Finding::new("tpm-model-unknown")]);
    };
    match firmware::known_flaw(tpm.manufacturer, version) {
        Some(flaw) => Judged::contraindicated(vec![
            Finding::new("tpm-firmware-known-bad")
                .about(format_args!("{} {}", tpm.manufacturer, tpm.model))
                .expected(flaw.fixed)
                .observed(format_args!("{} ({})", firmware::text(version), flaw.name)),
        ]),
        None => Judged::affirming(),
    }
}

#[cfg(test)]
mod tests {
    use touchstone_evidence::result::TrustTier;

    use super::*;

    fn tpm(manufacturer: &str) -> TpmName {
        TpmName {
            manufacturer: manufacturer.parse().unwrap(),
            model: "SLB9665".to_owned(),
            version: "id:0525".to_owned(),
        }
    }

    #[test]
    fn firmware_with_a_published_flaw_is_contraindicated() {
        let infineon = tpm("id:49465800");
        let judged = judge_firmware(Some(&infineon), 0x0005_0028_0000_0000);
        assert_eq!(judged.tier, TrustTier::Contraindicated);
        let finding = &judged.findings[0];
        assert_eq!(finding.code, "tpm-firmware-known-bad");
        assert_eq!(finding.subject, "id:49465800 SLB9665");
        assert_eq!(finding.expected.as_deref(), Some("5.62 or newer"));
        assert_eq!(
            finding.observed.as_deref(),
            Some("5.40.0.0 (ROCA, CVE-2017-15361)")
        );
        let mended = judge_firmware(Some(&infineon), 0x0005_003e_0000_0000);
        assert_eq!(mended.tier, TrustTier::Affirming);
        let other = judge_firmware(Some(&tpm("id:00001014")), 0x0005_0028_0000_0000);
        assert_eq!(other.tier, TrustTier::Affirming);
    }

    #[test]
    fn a_tpm_of_unknown_make_is_not_affirmed() {
        let judged = judge_firmware(None, 1);
        assert_eq!(judged.tier, TrustTier::None);
        assert_eq!(judged.findings[0].code, "tpm-model-unknown");
    }
}
