//! MakeCredential for every kind of EK that is understood, against TPM2_ActivateCredential on swtpm.

use touchstone_evidence::credential::{CredentialSecrets, make_credential};
use touchstone_evidence::tpm::name::Name;
use touchstone_evidence::tpm::public::Public as ParsedPublic;
use tss_esapi::Context;
use tss_esapi::abstraction::AsymmetricAlgorithmSelection;
use tss_esapi::abstraction::ek::create_ek_public_from_default_template_2;
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::SessionType;
use tss_esapi::handles::{AuthHandle, KeyHandle, SessionHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{
    EccScheme, EncryptedSecret, HashScheme, IdObject, Public, SymmetricDefinition,
};
use tss_esapi::traits::Marshall as _;
use tss_esapi::utils::create_unrestricted_signing_ecc_public;

use super::host::Host;

/// Templates L-1, L-2, H-3 and H-6; the low range needs the endorsement policy.
const KINDS: [(AsymmetricAlgorithmSelection, bool); 4] = [
    (AsymmetricAlgorithmSelection::Rsa(RsaKeyBits::Rsa2048), true),
    (AsymmetricAlgorithmSelection::Ecc(EccCurve::NistP256), true),
    (AsymmetricAlgorithmSelection::Ecc(EccCurve::NistP384), false),
    (
        AsymmetricAlgorithmSelection::Rsa(RsaKeyBits::Rsa3072),
        false,
    ),
];

#[test]
fn a_credential_opens_in_its_tpm_for_its_object_and_for_no_other() {
    let Some(host) = Host::start() else { return };
    let mut context = host.context();
    let object = primary(&mut context, Hierarchy::Owner, signing_key());
    for (kind, low_range) in KINDS {
        let template = create_ek_public_from_default_template_2(kind, None).unwrap();
        let ek = primary(&mut context, Hierarchy::Endorsement, template);
        let parsed = parsed(&mut context, ek);
        parsed.check_endorsement_template().unwrap();
        let name = self::parsed(&mut context, object).name();
        let secrets = CredentialSecrets {
            secret: zeroize::Zeroizing::new([0x5a; 32]),
            seed: zeroize::Zeroizing::new([0xa5; 32]),
        };
        let mut opened_for = |name: &Name| {
            let made = make_credential(&parsed, name, &secrets).unwrap();
            let (blob, seed) = (&made.blob, &made.encrypted_seed);
            activate(&mut context, object, ek, low_range, blob, seed)
        };
        assert_eq!(opened_for(&name), Some(vec![0x5a; 32]), "{kind:?}");
        // For the Name of another object it does not open.
        assert_eq!(opened_for(&parsed.name()), None, "{kind:?}");
        context.flush_context(ek.into()).unwrap();
    }
}

fn signing_key() -> Public {
    let scheme = EccScheme::EcDsa(HashScheme::new(HashingAlgorithm::Sha256));
    create_unrestricted_signing_ecc_public(scheme, EccCurve::NistP256).unwrap()
}

fn primary(context: &mut Context, hierarchy: Hierarchy, public: Public) -> KeyHandle {
    context
        .execute_with_nullauth_session(|context| {
            context.create_primary(hierarchy, public, None, None, None, None)
        })
        .unwrap()
        .key_handle
}

fn parsed(context: &mut Context, key: KeyHandle) -> ParsedPublic {
    let (public, _, _) = context
        .execute_without_session(|context| context.read_public(key))
        .unwrap();
    ParsedPublic::parse(&public.marshall().unwrap()).unwrap()
}

/// `None`: the TPM refuses.
fn activate(
    context: &mut Context,
    object: KeyHandle,
    ek: KeyHandle,
    low_range: bool,
    blob: &[u8],
    seed: &[u8],
) -> Option<Vec<u8>> {
    let ek_session = match low_range {
        true => endorsement_session(context),
        false => AuthSession::Password,
    };
    let sessions = (Some(AuthSession::Password), Some(ek_session), None);
    let opened = context.execute_with_sessions(sessions, |context| {
        let blob = IdObject::try_from(blob.to_vec()).unwrap();
        let seed = EncryptedSecret::try_from(seed.to_vec()).unwrap();
        context.activate_credential(object, ek, blob, seed)
    });
    if low_range {
        let _flushed_by_use = context.flush_context(SessionHandle::from(ek_session).into());
    }
    opened.ok().map(|secret| secret.to_vec())
}

fn endorsement_session(context: &mut Context) -> AuthSession {
    let session = context
        .execute_without_session(|context| {
            let null = SymmetricDefinition::AES_128_CFB;
            let hash = HashingAlgorithm::Sha256;
            context.start_auth_session(None, None, None, SessionType::Policy, null, hash)
        })
        .unwrap()
        .unwrap();
    let (attributes, mask) = SessionAttributesBuilder::new()
        .with_decrypt(true)
        .with_encrypt(true)
        .build();
    context
        .tr_sess_set_attributes(session, attributes, mask)
        .unwrap();
    let policy = PolicySession::try_from(session).unwrap();
    context
        .execute_with_nullauth_session(|context| {
            let nonce = tss_esapi::structures::Nonce::default();
            let none = tss_esapi::structures::Digest::default();
            let endorsement = AuthHandle::Endorsement;
            context.policy_secret(policy, endorsement, nonce, none, Default::default(), None)
        })
        .unwrap();
    session
}
