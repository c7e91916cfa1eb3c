//! Which public areas may be an endorsement key, an attestation key or a release key.

use super::hash::Hash;
use super::public::{Curve, Key, Public, Scheme, Symmetric};

/// `TPMA_OBJECT` bits (TPM 2.0 Part 2 §8.3).
pub mod attribute {
    /// The key never leaves this TPM.
    pub const FIXED_TPM: u32 = 1 << 1;
    /// The key never changes its parent.
    pub const FIXED_PARENT: u32 = 1 << 4;
    /// The TPM made the secret part itself.
    pub const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
    /// Use needs the authorisation value.
    pub const USER_WITH_AUTH: u32 = 1 << 6;
    /// Administration needs the policy.
    pub const ADMIN_WITH_POLICY: u32 = 1 << 7;
    /// Exempt from dictionary-attack protection.
    pub const NO_DA: u32 = 1 << 10;
    /// Signs or decrypts only what the TPM made.
    pub const RESTRICTED: u32 = 1 << 16;
    /// May decrypt.
    pub const DECRYPT: u32 = 1 << 17;
    /// May sign.
    pub const SIGN: u32 = 1 << 18;
}

/// Attributes of an EK by the low-range templates (TCG EK Credential Profile 2.5, L-1 and L-2).
pub const EK_LOW: u32 = attribute::FIXED_TPM
    | attribute::FIXED_PARENT
    | attribute::SENSITIVE_DATA_ORIGIN
    | attribute::ADMIN_WITH_POLICY
    | attribute::RESTRICTED
    | attribute::DECRYPT;

/// By the high-range templates (H-1 to H-7).
pub const EK_HIGH: u32 = EK_LOW | attribute::USER_WITH_AUTH;

/// An AK: it signs only what this TPM made, and cannot leave it.
const AK: u32 = attribute::FIXED_TPM
    | attribute::FIXED_PARENT
    | attribute::SENSITIVE_DATA_ORIGIN
    | attribute::USER_WITH_AUTH
    | attribute::NO_DA
    | attribute::RESTRICTED
    | attribute::SIGN;

/// A release key: it protects what was made for this TPM, and cannot leave it.
const RELEASE_KEY: u32 = attribute::FIXED_TPM
    | attribute::FIXED_PARENT
    | attribute::SENSITIVE_DATA_ORIGIN
    | attribute::USER_WITH_AUTH
    | attribute::NO_DA
    | attribute::RESTRICTED
    | attribute::DECRYPT;

/// `TPMT_PUBLIC` that `TPM2_CreatePrimary` makes a release key from, in the NULL hierarchy: ECC, SHA-256 Name, no
/// policy, AES-128-CFB, no scheme, P-256, no KDF, an empty point.
pub const RELEASE_KEY_TEMPLATE: [u8; 26] = [
    0x00, 0x23, 0x00, 0x0b, 0x00, 0x03, 0x04, 0x72, 0x00, 0x00, 0x00, 0x06, 0x00, 0x80, 0x00, 0x43,
    0x00, 0x10, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00,
];

/// PolicyA for SHA-256: `PolicySecret(TPM_RH_ENDORSEMENT)` (EK Credential Profile 2.5, annex B).
pub const POLICY_A_SHA256: &str =
    "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";
/// PolicyA for SHA-384.
pub const POLICY_A_SHA384: &str = "8bbf2266537c171cb56e403c4dc1d4b64f432611dc386e6f532050c3278c930e\
                                   143e8bb1133824ccb431053871c6db53";
/// PolicyC for SHA-256: `PolicyAuthorizeNV` with the owner's index for it.
pub const POLICY_C_SHA256: &str =
    "3767e2edd43ff45a3a7e1eaefcef78643dca964632e7aad82c673a30d8633fde";
/// PolicyC for SHA-384.
pub const POLICY_C_SHA384: &str = "d6032ce61f2fb3c240eb3cf6a33237ef2b6a16f4293c22b455e261cffd217ad5\
                                   b4947c2d73e63005eed2dc2b3593d165";
/// PolicyB for SHA-256: `PolicyOR` of PolicyA and PolicyC.
pub const POLICY_B_SHA256: &str =
    "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0";
/// PolicyB for SHA-384.
pub const POLICY_B_SHA384: &str = "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419ca\
                               cb47ba09699646150f9fc000f3f80e12";

/// Why a public area is not the kind of key that it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyTemplateError {
    /// Attributes differ.
    #[error("the object attributes are {observed:#010x} where {expected:#010x} are demanded")]
    Attributes {
        /// As in the public area.
        observed: u32,
        /// As the template demands.
        expected: u32,
    },
    /// The policy differs from the template's.
    #[error("the authorisation policy is not the template's")]
    Policy,
    /// The symmetric or signing scheme differs from the template's.
    #[error("the key's scheme is not the template's")]
    Scheme,
    /// No template has such a key.
    #[error("no template has a key of this kind with this Name algorithm")]
    Kind,
}

impl Public {
    /// Whether it is an endorsement key by a default template: L-1, L-2 (RSA-2048, P-256),
    /// H-1, H-2 (the same, high range), H-3 (P-384) or H-6 (RSA-3072).
    pub fn check_endorsement_template(&self) -> Result<(), KeyTemplateError> {
        let small = match (self.key(), self.name_hash) {
            (Key::Rsa { modulus }, hash) => match (modulus.len(), hash) {
                (256, Hash::Sha256) => true,
                (384, Hash::Sha384) => false,
                _ => return Err(KeyTemplateError::Kind),
            },
            (
                Key::Ec {
                    curve: Curve::P256, ..
                },
                Hash::Sha256,
            ) => true,
            (
                Key::Ec {
                    curve: Curve::P384, ..
                },
                Hash::Sha384,
            ) => false,
            _ => return Err(KeyTemplateError::Kind),
        };
        let policy = hex::encode(&self.policy);
        let low = small && policy == POLICY_A_SHA256;
        self.check_attributes(if low { EK_LOW } else { EK_HIGH })?;
        let (high_policy, symmetric) = match small {
            true => (POLICY_B_SHA256, Symmetric::Aes128),
            false => (POLICY_B_SHA384, Symmetric::Aes256),
        };
        if !low && policy != high_policy {
            return Err(KeyTemplateError::Policy);
        }
        if self.symmetric != Some(symmetric) || self.scheme.is_some() {
            return Err(KeyTemplateError::Scheme);
        }
        Ok(())
    }

    /// Whether it is an attestation key as the agent makes it; returns how it signs.
    pub fn check_attestation_template(&self) -> Result<Scheme, KeyTemplateError> {
        self.check_attributes(AK)?;
        if !self.policy.is_empty() {
            return Err(KeyTemplateError::Policy);
        }
        if matches!(self.key(), Key::Rsa { modulus } if modulus.len() < 256) {
            return Err(KeyTemplateError::Kind);
        }
        let fits = match (self.key(), self.scheme) {
            (Key::Rsa { .. }, Some(Scheme::Rsassa(_) | Scheme::RsaPss(_))) => true,
            (
                Key::Ec {
                    curve: Curve::P256, ..
                },
                Some(Scheme::Ecdsa(hash)),
            ) => hash == Hash::Sha256,
            (
                Key::Ec {
                    curve: Curve::P384, ..
                },
                Some(Scheme::Ecdsa(hash)),
            ) => hash == Hash::Sha384,
            _ => false,
        };
        match self.scheme {
            Some(scheme) if fits && self.symmetric.is_none() => Ok(scheme),
            _ => Err(KeyTemplateError::Scheme),
        }
    }

    /// Whether it is a release key as the agent makes it ([`RELEASE_KEY_TEMPLATE`]).
    pub fn check_release_template(&self) -> Result<(), KeyTemplateError> {
        self.check_attributes(RELEASE_KEY)?;
        if !self.policy.is_empty() {
            return Err(KeyTemplateError::Policy);
        }
        match (self.key(), self.name_hash) {
            (
                Key::Ec {
                    curve: Curve::P256, ..
                },
                Hash::Sha256,
            ) => {}
            _ => return Err(KeyTemplateError::Kind),
        }
        if self.symmetric != Some(Symmetric::Aes128) || self.scheme.is_some() {
            return Err(KeyTemplateError::Scheme);
        }
        Ok(())
    }

    /// Whether its attributes let the key, or a copy of it, be anywhere but where this TPM made it.
    #[must_use]
    pub fn may_leave_its_tpm(&self) -> bool {
        let bound =
            attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::SENSITIVE_DATA_ORIGIN;
        self.attributes & bound != bound
    }

    fn check_attributes(&self, expected: u32) -> Result<(), KeyTemplateError> {
        if self.attributes == expected {
            return Ok(());
        }
        Err(KeyTemplateError::Attributes {
            observed: self.attributes,
            expected,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::write_sized;
    use super::super::software::{attestation_key, endorsement_key};
    use super::*;

    /// The outcome after `with` replaced `length` bytes at `at`.
    fn outcome<T>(
        key: &[u8],
        check: fn(&Public) -> Result<T, KeyTemplateError>,
        at: usize,
        length: usize,
        with: &[u8],
    ) -> &'static str {
        let mut changed = key.to_vec();
        changed.splice(at..at + length, with.iter().copied());
        match check(&Public::parse(&changed).unwrap()) {
            Ok(_) => "fits",
            Err(KeyTemplateError::Attributes { .. }) => "attributes",
            Err(KeyTemplateError::Policy) => "policy",
            Err(KeyTemplateError::Scheme) => "scheme",
            Err(KeyTemplateError::Kind) => "kind",
        }
    }

    #[test]
    fn policy_b_is_the_choice_of_the_two_others() {
        // `TPM_CC_PolicyOR`, over a policy digest of zeros (Part 3 §23.6).
        let choice = |hash: Hash, a: &str, c: &str| {
            let zeros = vec![0; hash.digest(&[]).len()];
            let [a, c] = [a, c].map(|policy| hex::decode(policy).unwrap());
            hex::encode(hash.digest(&[&zeros, &0x171_u32.to_be_bytes(), &a, &c]))
        };
        let sha256 = choice(Hash::Sha256, POLICY_A_SHA256, POLICY_C_SHA256);
        assert_eq!(sha256, POLICY_B_SHA256);
        let sha384 = choice(Hash::Sha384, POLICY_A_SHA384, POLICY_C_SHA384);
        assert_eq!(sha384, POLICY_B_SHA384);
    }

    #[test]
    fn every_part_of_an_endorsement_key_is_demanded() {
        let low = endorsement_key();
        let mut high = low.clone();
        high[7] |= 0x40;
        high.splice(10..42, hex::decode(POLICY_B_SHA256).unwrap());
        for key in [&low, &high] {
            let changed = |at, length, with: &[u8]| {
                outcome(key, Public::check_endorsement_template, at, length, with)
            };
            assert_eq!(changed(0, 0, &[]), "fits");
            for bit in 0..32 {
                let at = 4 + bit / 8;
                assert_eq!(changed(at, 1, &[key[at] ^ (1 << (bit % 8))]), "attributes");
            }
            assert_eq!(changed(2, 2, &[0, 0x0c]), "kind");
            // AES-256, no symmetric algorithm, a signing scheme.
            assert_eq!(changed(44, 2, &[1, 0]), "scheme");
            assert_eq!(changed(42, 6, &[0, 0x10]), "scheme");
            assert_eq!(changed(48, 2, &[0, 0x14, 0, 0x0b]), "scheme");
        }
        let changed = |with: &[u8]| outcome(&high, Public::check_endorsement_template, 8, 34, with);
        assert_eq!(changed(&[0, 0]), "policy");
        assert_eq!(changed(&[0, 1, 7]), "policy");
    }

    #[test]
    fn a_short_rsa_key_is_none_of_ours() {
        let short = |kind: [u8; 8], middle: &[u8]| {
            let mut public = [&kind[..], middle, &[4, 0, 0, 0, 0, 0]].concat();
            write_sized(&mut public, &[0xc5; 128]).unwrap();
            Public::parse(&public).unwrap()
        };
        // No symmetric algorithm, RSASSA with SHA-256.
        let signing = short(
            [0, 1, 0, 0x0b, 0, 5, 4, 0x72],
            &[0, 0, 0, 0x10, 0, 0x14, 0, 0x0b],
        );
        let refused = signing.check_attestation_template();
        assert_eq!(refused, Err(KeyTemplateError::Kind));
        // AES-128 in CFB mode, no scheme.
        let storage = short(
            [0, 1, 0, 0x0b, 0, 3, 0, 0xb2],
            &[0, 0, 0, 6, 0, 128, 0, 0x43, 0, 0x10],
        );
        let refused = storage.check_endorsement_template();
        assert_eq!(refused, Err(KeyTemplateError::Kind));
    }

    #[test]
    fn every_part_of_an_attestation_key_is_demanded() {
        let key = attestation_key(&[4; 65]);
        let changed = |at, length, with: &[u8]| {
            outcome(&key, Public::check_attestation_template, at, length, with)
        };
        assert_eq!(changed(0, 0, &[]), "fits");
        for bit in 0..32 {
            let at = 4 + bit / 8;
            assert_eq!(changed(at, 1, &[key[at] ^ (1 << (bit % 8))]), "attributes");
        }
        assert_eq!(changed(8, 2, &[0, 1, 0]), "policy");
        // A symmetric algorithm, no scheme, another scheme, another hash.
        assert_eq!(changed(10, 2, &[0, 6, 0, 128, 0, 0x43]), "scheme");
        assert_eq!(changed(12, 4, &[0, 0x10]), "scheme");
        assert_eq!(changed(12, 2, &[0, 0x14]), "scheme");
        assert_eq!(changed(14, 2, &[0, 0x0c]), "scheme");
    }
}
