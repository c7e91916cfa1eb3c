//! Who asks to be enrolled, and whether the join token lets it.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::EnrolmentError;
use crate::store::{HostRecord, JoinTokenRecord, Tx};

/// Who asks: the join token that was shown, and the TLS key that is to be enrolled.
#[derive(Clone, Debug)]
pub(crate) struct Joining {
    pub(crate) token: JoinTokenRecord,
    pub(crate) tls_key: Sha256Digest,
}

impl Joining {
    /// The token as it is now: it was shown before the body came.
    pub(super) async fn still_in_force(
        &self,
        tx: &mut Tx,
        now: i64,
    ) -> Result<Self, EnrolmentError> {
        let token = tx.join_token_in_force(&self.token.hash, now).await?;
        Ok(Self {
            token: token.ok_or(EnrolmentError::TokenOver)?,
            tls_key: self.tls_key,
        })
    }

    /// Before any work is done for the caller or anything is noted of its TPM: a token that would not let it
    /// in does nothing else either.
    pub(super) async fn check(
        &self,
        tx: &mut Tx,
        ek_digest: &Sha256Digest,
        ak_public: &[u8],
    ) -> Result<(), EnrolmentError> {
        let host = tx.machine_of(ek_digest).await?.map(|(host, _)| host);
        self.check_host(host.as_ref())?;
        let enrolled = match &host {
            Some(host) => tx.host(host).await?,
            None => None,
        };
        let same = |record: HostRecord| {
            let identity = record.identity;
            identity.has_keys(ek_digest, ak_public, &self.tls_key)
        };
        match enrolled.is_some_and(same) {
            true => Ok(()),
            false => self.check_uses(),
        }
    }

    /// A token that names a machine is for no other, and for none that nobody knows.
    pub(super) fn check_host(&self, host: Option<&HostId>) -> Result<(), EnrolmentError> {
        match &self.token.host {
            Some(bound) if Some(bound) != host => {
                Err(EnrolmentError::TokenOfOtherHost(bound.clone()))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_uses(&self) -> Result<(), EnrolmentError> {
        match self.token.uses_max {
            Some(most) if self.token.uses >= most => Err(EnrolmentError::TokenUsedUp),
            _ => Ok(()),
        }
    }
}
