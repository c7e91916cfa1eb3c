//! The default templates of endorsement keys (TCG EK Credential Profile 2.5, §2.2.1.4 and annex B).

use serde::{Deserialize, Serialize};
use touchstone_evidence::tpm::template::{
    EK_HIGH, EK_LOW, POLICY_A_SHA256, POLICY_B_SHA256, POLICY_B_SHA384,
};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::Public;
use tss_esapi::traits::UnMarshall as _;

/// A default EK: its template, and with it where its certificate is and how its use is authorised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EkTemplate {
    /// L-1: RSA-2048, low range. The default of what was kept before others were known.
    #[default]
    LowRsa2048,
    /// L-2: P-256, low range.
    LowP256,
    /// H-1: RSA-2048, high range.
    HighRsa2048,
    /// H-2: P-256, high range.
    HighP256,
    /// H-3: P-384.
    HighP384,
    /// H-6: RSA-3072.
    HighRsa3072,
}

impl EkTemplate {
    /// In the order in which they are looked for, which is that of their NV indices: first the low range,
    /// whose RSA-2048 EK is the one that makers certify everywhere and that inventories list. P-384
    /// comes before RSA-3072, which takes a TPM minutes to derive.
    pub(super) const ALL: [Self; 6] = [
        Self::LowRsa2048,
        Self::LowP256,
        Self::HighRsa2048,
        Self::HighP256,
        Self::HighP384,
        Self::HighRsa3072,
    ];

    /// The NV index of its certificate.
    pub(crate) fn certificate_index(self) -> u32 {
        match self {
            Self::LowRsa2048 => 0x01c0_0002,
            Self::LowP256 => 0x01c0_000a,
            Self::HighRsa2048 => 0x01c0_0012,
            Self::HighP256 => 0x01c0_0014,
            Self::HighP384 => 0x01c0_0016,
            Self::HighRsa3072 => 0x01c0_001c,
        }
    }

    /// Whether its policy is PolicyB, a choice of two, and its Name algorithm the larger one where the key is.
    pub(super) fn is_high(self) -> bool {
        !matches!(self, Self::LowRsa2048 | Self::LowP256)
    }

    /// Its Name algorithm, and that of its policy.
    pub(super) fn hash(self) -> HashingAlgorithm {
        match self {
            Self::HighP384 | Self::HighRsa3072 => HashingAlgorithm::Sha384,
            _ => HashingAlgorithm::Sha256,
        }
    }

    /// The same, as tpm2-tss has it.
    pub(super) fn public(self) -> tss_esapi::Result<Public> {
        Public::unmarshall(&self.bytes())
    }

    /// What `TPM2_CreatePrimary` takes: `TPMT_PUBLIC` (TPM 2.0 Part 2 §12.2.4). The low range asks for a unique field of zeros, the high
    /// range for an empty one.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        let (small, is_rsa, size) = match self {
            Self::LowRsa2048 | Self::HighRsa2048 => (true, true, 2048),
            Self::LowP256 | Self::HighP256 => (true, false, P256),
            Self::HighP384 => (false, false, P384),
            Self::HighRsa3072 => (false, true, 3072),
        };
        let (attributes, policy) = match (self.is_high(), small) {
            (false, _) => (EK_LOW, POLICY_A_SHA256),
            (true, true) => (EK_HIGH, POLICY_B_SHA256),
            (true, false) => (EK_HIGH, POLICY_B_SHA384),
        };
        let policy = hex::decode(policy).unwrap_or_default();
        let unique = |length: usize| vec![0; if self.is_high() { 0 } else { length }];
        let (name, aes): (u16, u16) = match small {
            true => (0x000b, 128),
            false => (0x000c, 256),
        };
        let mut bytes = Vec::new();
        let kind: u16 = if is_rsa { 0x0001 } else { 0x0023 };
        for word in [kind, name] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(attributes.to_be_bytes());
        sized(&mut bytes, &policy);
        // AES in CFB mode, no scheme, then the size or the curve.
        for word in [0x0006, aes, 0x0043, 0x0010, size] {
            bytes.extend(word.to_be_bytes());
        }
        if is_rsa {
            // The default exponent.
            bytes.extend(0_u32.to_be_bytes());
            sized(&mut bytes, &unique(256));
        } else {
            // No key derivation.
            bytes.extend(0x0010_u16.to_be_bytes());
            sized(&mut bytes, &unique(32));
            sized(&mut bytes, &unique(32));
        }
        bytes
    }
}

/// `TPM_ECC_NIST_P256` and `TPM_ECC_NIST_P384`.
const P256: u16 = 0x0003;
const P384: u16 = 0x0004;

fn sized(bytes: &mut Vec<u8>, contents: &[u8]) {
    let length = u16::try_from(contents.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.extend_from_slice(contents);
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;
    use tss_esapi::abstraction::AsymmetricAlgorithmSelection;
    use tss_esapi::abstraction::ek::create_ek_public_from_default_template_2;
    use tss_esapi::interface_types::ecc::EccCurve;
    use tss_esapi::interface_types::key_bits::RsaKeyBits;
    use tss_esapi::traits::Marshall as _;

    #[test]
    fn templates_are_those_that_others_know() {
        for (ours, theirs) in [
            (
                EkTemplate::LowRsa2048,
                AsymmetricAlgorithmSelection::Rsa(RsaKeyBits::Rsa2048),
            ),
            (
                EkTemplate::LowP256,
                AsymmetricAlgorithmSelection::Ecc(EccCurve::NistP256),
            ),
            (
                EkTemplate::HighP384,
                AsymmetricAlgorithmSelection::Ecc(EccCurve::NistP384),
            ),
            (
                EkTemplate::HighRsa3072,
                AsymmetricAlgorithmSelection::Rsa(RsaKeyBits::Rsa3072),
            ),
        ] {
            let theirs = create_ek_public_from_default_template_2(theirs, None).unwrap();
            let ours = ours.public().unwrap();
            assert_eq!(ours.marshall().unwrap(), theirs.marshall().unwrap());
        }
    }

    #[test]
    fn names_in_the_state_folder_stay() {
        let names: Vec<_> = EkTemplate::ALL
            .iter()
            .map(|template| serde_json::to_string(template).unwrap())
            .collect();
        assert_eq!(
            names.join(" "),
            r#""low-rsa2048" "low-p256" "high-rsa2048" "high-p256" "high-p384" "high-rsa3072""#
        );
    }
}
