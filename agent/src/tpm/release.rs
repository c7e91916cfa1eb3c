//! The release key of this boot, and what is sealed to it.
//!
//! The key is the primary of the NULL hierarchy, whose seed the TPM replaces at each reset: nothing of it is stored,
//! and deriving it again gives the same key until then. It takes a slot only while it is used.

use touchstone_evidence::sealed_release::{ReleasePolicy, check_object};
use touchstone_evidence::tpm::template::RELEASE_KEY_TEMPLATE;
use touchstone_evidence::wire::SealedRelease;
use tss_esapi::constants::response_code::Tss2ResponseCodeKind;
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::structures::{Attest, Data, Public, SignatureScheme};
use tss_esapi::traits::{Marshall as _, UnMarshall as _};
use zeroize::Zeroizing;

use super::attest::{ATTEMPTS, marshalled};
use super::error::{during, during_or, kind};
use super::esys::{Halt, Step, open_release, pcrs_changed};
use super::session::PASSWORD;
use super::visit::{Owner, Visit};
use super::{AkBlob, Error, Result, Signed};

impl Owner {
    /// `TPMT_PUBLIC` of the release key.
    pub(super) fn release_key(&mut self) -> Result<Vec<u8>> {
        let mut visit = self.visit()?;
        let (handle, public) = visit.load_release_key()?;
        visit.flush(handle.into())?;
        Ok(public)
    }

    /// The secret in `sealed`, if the TPM is in the state of `policy`.
    pub(super) fn open_release(
        &mut self,
        sealed: &SealedRelease,
        policy: &ReleasePolicy,
    ) -> Result<Zeroizing<[u8; 32]>> {
        // An object that opens in other ways would be the host's to give away.
        check_object(&sealed.public, policy).map_err(Error::NotTheObject)?;
        let mut opened = self.try_open(sealed, policy)?;
        // The saved key is of another boot, or the TPM lost it: it is derived anew, once.
        if matches!(&opened, Err(halt) if halt.at == Step::Begin) {
            self.saved.release_key = None;
            opened = self.try_open(sealed, policy)?;
        }
        let secret = opened.map_err(refusal)?;
        let secret = secret.as_slice().try_into();
        secret.map(Zeroizing::new).map_err(|_| Error::SecretSize)
    }

    fn try_open(
        &mut self,
        sealed: &SealedRelease,
        policy: &ReleasePolicy,
    ) -> Result<std::result::Result<Zeroizing<Vec<u8>>, Halt>> {
        if self.saved.release_key.is_none() {
            self.release_key()?;
        }
        let Some((_, parent)) = self.saved.release_key.clone() else {
            return Err(Error::Gone);
        };
        Ok(open_release(self.tcti(), parent, sealed, policy, ATTEMPTS))
    }
}

impl Visit<'_> {
    /// The release key, loaded, and its public area. Takes one transient slot.
    fn load_release_key(&mut self) -> Result<(KeyHandle, Vec<u8>)> {
        if let Some((public, context)) = self.saved.release_key.take()
            && let Ok(handle) = self.context.context_load(context.clone())
        {
            self.saved.release_key = Some((public.clone(), context));
            return Ok((handle.into(), public));
        }
        let template = Public::unmarshall(&RELEASE_KEY_TEMPLATE)
            .map_err(during("the release key template"))?;
        let created = self
            .context
            .execute_with_session(PASSWORD, |context| {
                context.create_primary(Hierarchy::Null, template, None, None, None, None)
            })
            .map_err(during("TPM2_CreatePrimary"))?;
        let public = created.out_public.marshall();
        let public = public.map_err(during("TPM2_CreatePrimary"))?;
        let saved = self.save(created.key_handle)?;
        self.saved.release_key = Some((public.clone(), saved));
        Ok((created.key_handle, public))
    }

    /// Has the AK certify the release key with this public area.
    pub(super) fn certify_release_key(
        &mut self,
        ak: &AkBlob,
        public: &[u8],
        qualifying: &[u8; 32],
    ) -> Result<(Attest, Signed)> {
        let (key, found) = self.load_release_key()?;
        if found != public {
            return Err(Error::ReleaseKeyLost);
        }
        let ak = self.ak(ak)?;
        let (attest, signature) = self
            .context
            .execute_with_sessions((PASSWORD, PASSWORD, None), |context| {
                let qualifying = Data::try_from(qualifying.as_slice())?;
                context.certify(key.into(), ak, qualifying, SignatureScheme::Null)
            })
            .map_err(during("TPM2_Certify"))?;
        self.flush(ak.into())?;
        self.flush(key.into())?;
        let signed = marshalled(&attest, &signature).map_err(during("TPM2_Certify"))?;
        Ok((attest, signed))
    }
}

/// What it means that the TPM would not go on.
fn refusal(halt: Halt) -> Error {
    let Halt { at, why } = halt;
    let refused = kind(why);
    match at {
        _ if pcrs_changed(why) => Error::PcrsChanged { attempts: ATTEMPTS },
        Step::Begin => during("TPM2_StartAuthSession")(why),
        Step::Import => during_or("TPM2_Import", Error::OtherRelease)(why),
        Step::Pcrs if refused == Some(Tss2ResponseCodeKind::Value) => Error::OtherPcrs(why),
        Step::Pcrs => during("TPM2_PolicyPCR")(why),
        Step::Counters if refused == Some(Tss2ResponseCodeKind::Policy) => Error::OtherBoot(why),
        Step::Lease if refused == Some(Tss2ResponseCodeKind::Policy) => Error::LeaseOver(why),
        Step::Counters | Step::Lease => during("TPM2_PolicyCounterTimer")(why),
        Step::Unseal => during("TPM2_Unseal")(why),
    }
}
