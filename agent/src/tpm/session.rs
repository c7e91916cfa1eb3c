//! The two kinds of session that keys under the EK need. Everything else uses empty passwords.

use touchstone_evidence::tpm::template::{
    POLICY_A_SHA256, POLICY_A_SHA384, POLICY_C_SHA256, POLICY_C_SHA384,
};
use tss_esapi::Context;
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::SessionType;
use tss_esapi::handles::{AuthHandle, KeyHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{Digest, DigestList, SymmetricDefinition};
use tss_esapi::{Error as TssError, WrapperErrorKind};

use super::Result;
use super::error::during;
use super::template::EkTemplate;

/// The authorization of every command, where no session is needed: an empty password.
pub(super) const PASSWORD: Option<AuthSession> = Some(AuthSession::Password);

/// A policy session that satisfies the policy of a default EK, once: PolicyA, PolicySecret(endorsement),
/// and for the high range PolicyB, PolicyOR over PolicyA and PolicyC (EK Credential Profile 2.5, annex B).
pub(super) fn endorsement_policy(
    context: &mut Context,
    template: EkTemplate,
) -> Result<AuthSession> {
    let session = start(context, None, SessionType::Policy, template.hash())?;
    let policy = PolicySession::try_from(session).map_err(during("TPM2_PolicySecret"))?;
    context
        .execute_with_session(PASSWORD, |context| {
            context.policy_secret(
                policy,
                AuthHandle::Endorsement,
                Default::default(),
                Default::default(),
                Default::default(),
                None,
            )
        })
        .map_err(during("TPM2_PolicySecret"))?;
    if template.is_high() {
        choose_policy_a(context, policy, template.hash()).map_err(during("TPM2_PolicyOR"))?;
    }
    Ok(session)
}

fn choose_policy_a(
    context: &mut Context,
    policy: PolicySession,
    hash: HashingAlgorithm,
) -> tss_esapi::Result<()> {
    let branches = match hash {
        HashingAlgorithm::Sha384 => [POLICY_A_SHA384, POLICY_C_SHA384],
        _ => [POLICY_A_SHA256, POLICY_C_SHA256],
    };
    let mut list = DigestList::new();
    for branch in branches {
        list.add(Digest::try_from(hex::decode(branch).unwrap_or_default())?)?;
    }
    context.execute_without_session(|context| context.policy_or(policy, list))
}

/// An HMAC session, salted with `key`, that encrypts the first parameter both ways
/// (TPM 2.0 Part 1 §19.6.8 and §21): who listens on the bus reads neither.
pub(super) fn salted(context: &mut Context, key: KeyHandle) -> Result<AuthSession> {
    let session = start(
        context,
        Some(key),
        SessionType::Hmac,
        HashingAlgorithm::Sha256,
    )?;
    let (attributes, mask) = SessionAttributesBuilder::new()
        .with_continue_session(true)
        .with_decrypt(true)
        .with_encrypt(true)
        .build();
    context
        .tr_sess_set_attributes(session, attributes, mask)
        .map_err(during("TPM2_StartAuthSession"))?;
    Ok(session)
}

fn start(
    context: &mut Context,
    key: Option<KeyHandle>,
    kind: SessionType,
    hash: HashingAlgorithm,
) -> Result<AuthSession> {
    context
        .execute_without_session(|context| {
            context.start_auth_session(
                key,
                None,
                None,
                kind,
                SymmetricDefinition::AES_128_CFB,
                hash,
            )
        })
        .and_then(|session| {
            session.ok_or(TssError::WrapperError(WrapperErrorKind::WrongValueFromTpm))
        })
        .map_err(during("TPM2_StartAuthSession"))
}
