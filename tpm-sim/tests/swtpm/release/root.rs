//! What a root of the host may try with the TPM in hand and a sealed release before it, past the agent.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use touchstone_evidence::sealed_release::{Comparison, RELEASE_PCRS, ReleasePolicy};
use touchstone_evidence::tpm::template::RELEASE_KEY_TEMPLATE;
use touchstone_evidence::wire::SealedRelease;
use tss_esapi::constants::response_code::Tss2ResponseCodeKind;
use tss_esapi::constants::{CapabilityType, SessionType};
use tss_esapi::handles::{KeyHandle, ObjectHandle, SessionHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{
    Auth, CapabilityData, Data, Digest, EccScheme, EncryptedSecret, HashScheme, PcrSelectionList,
    PcrSlot, Private, Public, SignatureScheme, SymmetricDefinition, SymmetricDefinitionObject,
};
use tss_esapi::traits::UnMarshall as _;
use tss_esapi::utils::create_unrestricted_signing_ecc_public;
use tss_esapi::{Context, Error, Result};

const PASSWORD: Option<AuthSession> = Some(AuthSession::Password);

/// What the TPM blames.
pub(crate) fn blamed(error: Error) -> Tss2ResponseCodeKind {
    match error {
        Error::Tss2Error(code) => code.kind().unwrap(),
        Error::WrapperError(error) => panic!("{error:?}"),
    }
}

/// Imports and loads the object, shows `compared` to the TPM after the PCRs as they are, and unseals.
pub(crate) fn unseal(
    context: &mut Context,
    port: u16,
    sealed: &SealedRelease,
    compared: &[Comparison],
) -> std::result::Result<Vec<u8>, Tss2ResponseCodeKind> {
    let parent = primary(context, Hierarchy::Null);
    let object = import(context, parent, sealed).unwrap();
    let session = policy_session(context, port, compared);
    let secret =
        context.execute_with_session(Some(session), |context| context.unseal(object.into()));
    end(context, session);
    for handle in [object, parent] {
        context.flush_context(handle.into()).unwrap();
    }
    secret.map(|secret| secret.to_vec()).map_err(blamed)
}

/// By password, by half of the policy, by a copy, by a change of its authorization.
pub(crate) fn cannot_use_it_otherwise(
    context: &mut Context,
    port: u16,
    sealed: &SealedRelease,
    policy: &ReleasePolicy,
) {
    let whole = [policy.same_boot(), policy.within_lease()];
    // A root of a good host reads what the host may read.
    unseal(context, port, sealed, &whole).unwrap();
    for half in [&whole[..0], &whole[..1], &whole[1..]] {
        let refused = unseal(context, port, sealed, half);
        assert_eq!(refused, Err(Tss2ResponseCodeKind::PolicyFail));
    }
    let parent = primary(context, Hierarchy::Null);
    let object = import(context, parent, sealed).unwrap();
    let by_password =
        context.execute_with_session(PASSWORD, |context| context.unseal(object.into()));
    let refused = blamed(by_password.unwrap_err());
    assert_eq!(refused, Tss2ResponseCodeKind::AuthUnavailable);

    // Duplication and administration are of their own roles, which need a policy that names the command.
    for by_policy in [false, true] {
        let mut refused = |command: fn(&mut Context, [KeyHandle; 2]) -> Result<()>| {
            let session = by_policy.then(|| policy_session(context, port, &whole));
            let used = session.or(PASSWORD);
            let outcome =
                context.execute_with_session(used, |context| command(context, [object, parent]));
            if let Some(session) = session {
                end(context, session);
            }
            blamed(outcome.unwrap_err())
        };
        let expected = match by_policy {
            true => Tss2ResponseCodeKind::PolicyFail,
            false => Tss2ResponseCodeKind::AuthType,
        };
        let copied = refused(|context, [object, _]| {
            let none = SymmetricDefinitionObject::Null;
            context
                .duplicate(object.into(), ObjectHandle::Null, None, none)
                .map(drop)
        });
        assert_eq!(copied, expected);
        let changed = refused(|context, [object, parent]| {
            let auth = Auth::try_from(vec![1])?;
            context
                .object_change_auth(object.into(), parent.into(), auth)
                .map(drop)
        });
        assert_eq!(changed, expected);
    }
    for handle in [object, parent] {
        context.flush_context(handle.into()).unwrap();
    }
}

/// The same template under another hierarchy is another key, of the same TPM.
pub(crate) fn cannot_import_it_elsewhere(context: &mut Context, sealed: &SealedRelease) {
    for hierarchy in [Hierarchy::Owner, Hierarchy::Endorsement] {
        let parent = primary(context, hierarchy);
        let refused = blamed(import(context, parent, sealed).unwrap_err());
        assert_eq!(refused, Tss2ResponseCodeKind::Integrity, "{hierarchy:?}");
        context.flush_context(parent.into()).unwrap();
    }
}

/// Any public area can be loaded into the NULL hierarchy, that of another TPM's key among them. Its Name and
/// Qualified Name are then those of a release key, but no TPM certifies it.
pub(crate) fn cannot_certify_a_key_without_its_private_part(context: &mut Context) {
    let scheme = EccScheme::EcDsa(HashScheme::new(HashingAlgorithm::Sha256));
    let signing = create_unrestricted_signing_ecc_public(scheme, EccCurve::NistP256).unwrap();
    let signer = context
        .execute_with_session(PASSWORD, |context| {
            context.create_primary(Hierarchy::Endorsement, signing, None, None, None, None)
        })
        .unwrap()
        .key_handle;
    let certify = |context: &mut Context, key: KeyHandle| {
        context.execute_with_sessions((PASSWORD, PASSWORD, None), |context| {
            let data = Data::try_from(vec![1])?;
            context.certify(key.into(), signer, data, SignatureScheme::Null)
        })
    };
    let own = primary(context, Hierarchy::Null);
    certify(context, own).unwrap();
    context.flush_context(own.into()).unwrap();

    let theirs = PrivateKey::generate(&ECDH_P256).unwrap();
    let point = theirs.compute_public_key().unwrap().as_ref().to_vec();
    let (head, _empty_point) = RELEASE_KEY_TEMPLATE.split_at(22);
    let (x, y) = point[1..].split_at(32);
    let public = [head, &[0, 32], x, &[0, 32], y].concat();
    let foreign = context
        .load_external_public(Public::unmarshall(&public).unwrap(), Hierarchy::Null)
        .unwrap();
    let refused = blamed(certify(context, foreign).unwrap_err());
    assert_eq!(refused, Tss2ResponseCodeKind::AuthUnavailable);
    for handle in [foreign, signer] {
        context.flush_context(handle.into()).unwrap();
    }
}

fn primary(context: &mut Context, hierarchy: Hierarchy) -> KeyHandle {
    let template = Public::unmarshall(&RELEASE_KEY_TEMPLATE).unwrap();
    context
        .execute_with_session(PASSWORD, |context| {
            context.create_primary(hierarchy, template, None, None, None, None)
        })
        .unwrap()
        .key_handle
}

fn import(context: &mut Context, parent: KeyHandle, sealed: &SealedRelease) -> Result<KeyHandle> {
    let public = Public::unmarshall(&sealed.public)?;
    let duplicate = Private::try_from(&sealed.duplicate[..])?;
    let seed = EncryptedSecret::try_from(&sealed.encrypted_seed[..])?;
    context.execute_with_session(PASSWORD, |context| {
        let none = SymmetricDefinitionObject::Null;
        let private = context.import(parent.into(), None, public.clone(), duplicate, seed, none)?;
        context.load(parent, private, public)
    })
}

/// A policy session for the PCRs as they are and for what `compared` says, which must be so.
fn policy_session(context: &mut Context, port: u16, compared: &[Comparison]) -> AuthSession {
    let session = context
        .execute_without_session(|context| {
            let symmetric = SymmetricDefinition::AES_128_CFB;
            let hash = HashingAlgorithm::Sha256;
            context.start_auth_session(None, None, None, SessionType::Policy, symmetric, hash)
        })
        .unwrap()
        .unwrap();
    let slots = RELEASE_PCRS.map(|pcr| PcrSlot::try_from(1_u32 << pcr).unwrap());
    let selection = PcrSelectionList::builder()
        .with_selection(HashingAlgorithm::Sha256, &slots)
        .build()
        .unwrap();
    let policy = PolicySession::try_from(session).unwrap();
    context
        .execute_without_session(|context| context.policy_pcr(policy, Digest::default(), selection))
        .unwrap();
    let handle = only_session(context);
    for comparison in compared {
        compare(port, handle, comparison);
    }
    session
}

/// The TPM's handle of the one session that is loaded (TPM 2.0 Part 2 §7.2).
fn only_session(context: &mut Context) -> u32 {
    let loaded = context.execute_without_session(|context| {
        context.get_capability(CapabilityType::Handles, 0x0200_0000, 16)
    });
    let (CapabilityData::Handles(loaded), _) = loaded.unwrap() else {
        panic!("not a list of handles");
    };
    let [only] = loaded.as_ref() else {
        panic!("{loaded:?}");
    };
    u32::from(*only)
}

/// `TPM2_PolicyCounterTimer` (Part 3 §23.10), which tss-esapi does not have.
fn compare(port: u16, session: u32, comparison: &Comparison) {
    let mut command = vec![0x80, 0x01, 0, 0, 0, 28, 0, 0, 0x01, 0x6d];
    command.extend(session.to_be_bytes());
    command.extend([0, 8]);
    command.extend(comparison.operand);
    command.extend(comparison.offset.to_be_bytes());
    command.extend(comparison.operation.to_be_bytes());
    let mut tpm = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    tpm.write_all(&command).unwrap();
    let mut answer = [0; 10];
    tpm.read_exact(&mut answer).unwrap();
    assert_eq!(answer[6..], [0; 4], "TPM2_PolicyCounterTimer");
}

fn end(context: &mut Context, session: AuthSession) {
    // One that was used is gone already: it was not to be continued.
    let _gone = context.flush_context(SessionHandle::from(session).into());
}
