//! Makes the attestation key, and proves with it that it lives beside the EK.

use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::structures::{
    EccPoint, EccScheme, EncryptedSecret, HashScheme, IdObject, KeyDerivationFunctionScheme,
    Public, PublicBuilder, PublicEccParametersBuilder, SymmetricDefinitionObject,
};
use tss_esapi::traits::Marshall as _;
use zeroize::Zeroizing;

use super::error::{during, during_or};
use super::session;
use super::visit::Visit;
use super::{AkBlob, Error, Result};

impl Visit<'_> {
    /// A new AK under the EK.
    pub(super) fn create_ak(&mut self) -> Result<AkBlob> {
        let template = template().map_err(during("the AK template"))?;
        let reference = self.chosen_ek()?;
        let ek = self.ek(&reference)?.handle();
        let policy = session::endorsement_policy(&mut self.context, reference.template)?;
        let created = self
            .context
            .execute_with_session(Some(policy), |context| {
                context.create(ek, template, None, None, None, None)
            })
            .map_err(during("TPM2_Create"))?;
        Ok(AkBlob {
            public: created
                .out_public
                .marshall()
                .map_err(during("TPM2_Create"))?,
            private: created.out_private.to_vec(),
            ek: reference,
        })
    }

    /// The secret in a credential for this EK and AK.
    pub(super) fn activate(
        &mut self,
        ak: &AkBlob,
        blob: Vec<u8>,
        secret: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let blob = IdObject::try_from(blob).map_err(Error::Credential)?;
        let secret = EncryptedSecret::try_from(secret).map_err(Error::Credential)?;
        let reference = &ak.ek;
        let ak = self.ak(ak)?;
        let ek = self.ek(reference)?.handle();
        let salted = session::salted(&mut self.context, ek)?;
        let policy = session::endorsement_policy(&mut self.context, reference.template)?;
        self.context
            .execute_with_sessions((Some(salted), Some(policy), None), |context| {
                context.activate_credential(ak, ek, blob, secret)
            })
            .map(|secret| Zeroizing::new(secret.to_vec()))
            .map_err(during_or("TPM2_ActivateCredential", Error::Credential))
    }
}

/// A restricted signing key that never leaves this TPM. noDA, so that a host in lockout still attests;
/// userWithAuth with an empty value, so that a quote needs no session.
fn template() -> tss_esapi::Result<Public> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_restricted(true)
        .with_sign_encrypt(true)
        .build()?;
    let ecdsa_p256 = PublicEccParametersBuilder::new()
        .with_symmetric(SymmetricDefinitionObject::Null)
        .with_ecc_scheme(EccScheme::EcDsa(HashScheme::new(HashingAlgorithm::Sha256)))
        .with_curve(EccCurve::NistP256)
        .with_key_derivation_function_scheme(KeyDerivationFunctionScheme::Null)
        .with_is_signing_key(true)
        .with_is_decryption_key(false)
        .with_restricted(true)
        .build()?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(ecdsa_p256)
        .with_ecc_unique_identifier(EccPoint::default())
        .build()
}
