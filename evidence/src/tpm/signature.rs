//! `TPMT_SIGNATURE` (TPM 2.0 Part 2 §11.3.4) and its verification.
//!
//! RSASSA-PSS is accepted with a salt as long as the hash (Part 1 §B.7 for keys under FIPS rules, and
//! what swtpm makes); TPMs that use the longest salt must make another kind of AK.

use aws_lc_rs::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};

use super::hash::Hash;
use super::public::{ALG_ECDSA, ALG_RSAPSS, ALG_RSASSA, Curve, Key, Public, RSA_EXPONENT, Scheme};
use super::reader::{Reader, TpmFormatError};

/// A parsed signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    scheme: Scheme,
    value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    /// Big-endian, leading zeros as the TPM left them.
    Ecdsa {
        r: Vec<u8>,
        s: Vec<u8>,
    },
    Rsa(Vec<u8>),
}

/// The signature is not one by this key over these bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify under the key")]
pub struct BadSignature;

impl Signature {
    /// Parses the whole of `bytes`. A SHA-1 signature does not parse.
    pub fn parse(bytes: &[u8]) -> Result<Self, TpmFormatError> {
        let mut reader = Reader::new(bytes);
        let algorithm = reader.u16()?;
        let hash =
            Hash::from_id(reader.u16()?).ok_or(TpmFormatError::Unknown("signature's hash"))?;
        let scheme = match algorithm {
            ALG_ECDSA => Scheme::Ecdsa(hash),
            ALG_RSASSA => Scheme::Rsassa(hash),
            ALG_RSAPSS => Scheme::RsaPss(hash),
            _ => return Err(TpmFormatError::Unknown("signature scheme")),
        };
        let value = match scheme {
            Scheme::Ecdsa(_) => Value::Ecdsa {
                r: reader.sized(48, "signature's r")?.to_vec(),
                s: reader.sized(48, "signature's s")?.to_vec(),
            },
            Scheme::Rsassa(_) | Scheme::RsaPss(_) => {
                Value::Rsa(reader.sized(384, "signature")?.to_vec())
            }
        };
        reader.finish()?;
        Ok(Self { scheme, value })
    }

    /// How it was made.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Verifies it over `message`. The scheme must be the kind that `key` makes, and the one that it
    /// fixes if it fixes one.
    pub fn verify(&self, key: &Public, message: &[u8]) -> Result<(), BadSignature> {
        if key.scheme().is_some_and(|fixed| fixed != self.scheme) {
            return Err(BadSignature);
        }
        match (&self.value, key.key()) {
            (Value::Ecdsa { r, s }, Key::Ec { curve, .. }) => {
                let point = key.key().point().ok_or(BadSignature)?;
                let fixed = fixed_size(r, s, curve.size()).ok_or(BadSignature)?;
                let algorithm = match (curve, self.scheme.hash()) {
                    (Curve::P256, Hash::Sha256) => &signature::ECDSA_P256_SHA256_FIXED,
                    (Curve::P384, Hash::Sha384) => &signature::ECDSA_P384_SHA384_FIXED,
                    _ => return Err(BadSignature),
                };
                UnparsedPublicKey::new(algorithm, point).verify(message, &fixed)
            }
            (Value::Rsa(value), Key::Rsa { modulus }) => {
                let exponent = RSA_EXPONENT.to_be_bytes();
                let components = RsaPublicKeyComponents {
                    n: modulus.as_slice(),
                    e: exponent.get(1..).unwrap_or_default(),
                };
                let parameters = rsa_parameters(self.scheme).ok_or(BadSignature)?;
                components.verify(parameters, message, value)
            }
            _ => return Err(BadSignature),
        }
        .map_err(|_| BadSignature)
    }
}

fn rsa_parameters(scheme: Scheme) -> Option<&'static RsaParameters> {
    match scheme {
        Scheme::Rsassa(Hash::Sha256) => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Scheme::Rsassa(Hash::Sha384) => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Scheme::RsaPss(Hash::Sha256) => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Scheme::RsaPss(Hash::Sha384) => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Scheme::Ecdsa(_) => None,
    }
}

/// Both halves at the full size of a coordinate.
fn fixed_size(r: &[u8], s: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut fixed = vec![0; size.checked_mul(2)?];
    let (left, right) = fixed.split_at_mut_checked(size)?;
    pad_left(left, r)?;
    pad_left(right, s)?;
    Some(fixed)
}

/// Copies `value` to the right end of `out`, zeros before it; `None` when it does not fit.
pub(crate) fn pad_left(out: &mut [u8], value: &[u8]) -> Option<()> {
    let at = out.len().checked_sub(value.len())?;
    out.get_mut(at..)?.copy_from_slice(value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::reader::write_sized;
    use super::*;
    use crate::quote::NotAuthentic;

    /// Made once by another tool, with a key that was thrown away, over `said by nobody`.
    const MODULUS: &str = "b6224aa8388e9fd49c74020f7f6c109564fa663718de830e1422e30ae1aba33af632f6a3b6398478efaf907b48\
        5e270e852c6295bacf73a54c800b998adc3b0533e45016a1706819f24a69bc506756ebf3e932622d8be0767bae\
        5431fc40651cab4a85d22f758c3ed1c1dbad5c3c0806b4bac36094b1c2d7ef75d7714410aa434bc525a907cf2b\
        23d4ea249d52de7e44ee120346abbf2b2e94bc6196c9ef041913cc5f40d6db2318c6540eeda60fb801d14768f2\
        d5b3a7a9f4a62288695459cb616cb16fc178c31df43c8aa7171277ef861116754c5ce7a5304209fcd5ec87673c\
        69907d15832b0de03b6b3c88b2b059673bbc994b661da8eed725313cdad675";
    const SALT_OF_32: &str = "15e950cb84af3e92d3df36bff6e4f211f9c2587d0d2acded31b7f056aa08064b3147284aae4f1e9e51ae24329e\
        ec20bc9c0518cd07773d1f45cc58a9d65e4f193f4c9f5affa753d9489c6069d6f927639d13dd5985ea414938e7\
        6faf18a7f7e5de5f22016cce5caca7f67f3e31e50e3548d5e09b24510878fc8dabb3bba3c511889a7fba3b5a02\
        3ebb775566749821f66e11574aadee02a029244397a1d57d4abbf918a420df810f6d2d438a751ef491f32d66fb\
        06328cef48cd763e052dc868c243fbd165e263cdef04cff163cc18c2292f2f073802b257678e7752ff602c2f54\
        34be655083824fbe5563e87a0d2c61cdf5d6dc331f0ae915fbbdb1a6b156dc";
    const SALT_OF_20: &str = "25210f096d749a250d1b25bdcff80e735469711a8134a942bf06fde5aa522635ca705e4aabaffb698b35362017\
        068fea1f1d9e1a87e44d5c3fbe741452c2c5f7bf6773462766fb09c919755aa872fa7e28e27678ae62117048c9\
        4dd4aa5ae39c7a2c7b9114ed03638c70f053293c52218bcd5c824036e68fa1ec9acba63717efb6baf7358e5d16\
        d8ecc8a9331c220b0e42c0b073882999cc3bfc038ca3bfbecd5aea8157ea2b785ec18be2d3ef53824b83491d72\
        69d44fa116961c75d6530d1f03e01b3d918ab2265a94bbbf813231945b68c576548b63e939dc907f8622e331b4\
        8a7ec611fb9653a69451e9db73c4b4fdc1b2231c203da7871864e5a773c5fb";
    const LONGEST_SALT: &str = "3ad803477a28ffdc721a1c646e74ac765862eaf154b54e409ee5ade3f5e58e85783df2a3f31f28ae61bcb35252\
        f5bd41971a61858c16448d5d4f48816c9700766333de671291fe41bacf9b89358301f543c667287a9b0f1ccbdb\
        6c87a12f442c7775cc9bce4d3ae572f0355971303b75282bbcc1fd87b7c5f4ac96ace1552ddb351ddb16e4a92c\
        c70a7dbf81a3888758bf856bbe9a14a6ead898456853c6f4b7d127dc31ccdf90d06098d25593ab17eac3662e06\
        846a51611c823d1c08abf8b33fbc56e3faced70acaa396f394c381821741817107fb87397e12410e62f98efb39\
        e0c0c465fe3e0ff4099cbabefe5fab4efb4342f8f3eb83ea987180819af12e";
    const NO_SALT: &str = "1ffb8afe203c3b74448fe16ef75dc5c44e2e4b67e6e1f2f0e2e814ec3d25d9b5f99af9b11e3d37d2a47e1ad359\
        2d44759ab8f7a1be58b4ad482ece9a5b6046e0f3cdf8150d23325d03fd960de7bc50de44aa40bfd751e2b4251a\
        6941cf567f8d0207267d081eac23df4b33d460f29f465f84a3bc21dee7b4146b06b9ae046687061fb8704b21f5\
        675997ea02f4917aa947ba1cf87e035f8a0d119ef2496415a9f1f27035c7ca217eef0e941d38be30f504c89eb0\
        17f9a0a25882a0a2f43032b329fb4290de783a5e923af36aa20b9fd0b49b87df19c13717c53982c42db1788906\
        d182e66bf4884a16215b328001c68305cf276485af7ad89820fc7732b14b3a";

    fn key() -> Public {
        // RSAPSS with SHA-256, 2048 bits, the default exponent.
        let mut public = vec![0, 0x01, 0, 0x0b, 0, 0x05, 0x04, 0x72, 0, 0, 0, 0x10];
        public.extend([0, 0x16, 0, 0x0b, 8, 0, 0, 0, 0, 0]);
        write_sized(&mut public, &hex::decode(MODULUS).unwrap()).unwrap();
        Public::parse(&public).unwrap()
    }

    fn verify(scheme: u8, value: &str) -> Result<(), BadSignature> {
        let mut signature = vec![0, scheme, 0, 0x0b];
        write_sized(&mut signature, &hex::decode(value).unwrap()).unwrap();
        Signature::parse(&signature)
            .unwrap()
            .verify(&key(), b"said by nobody")
    }

    #[test]
    fn a_pss_salt_is_as_long_as_the_hash() {
        key().check_attestation_template().unwrap();
        assert_eq!(verify(0x16, SALT_OF_32), Ok(()));
        for odd in [SALT_OF_20, LONGEST_SALT, NO_SALT] {
            assert_eq!(verify(0x16, odd), Err(BadSignature));
        }
        // What a quote with such a signature is refused for.
        assert_eq!(NotAuthentic::BadSignature.code(), "signature-invalid");
        // The right one, called RSASSA.
        assert_eq!(verify(0x14, SALT_OF_32), Err(BadSignature));
    }
}
