//! Who this host is to its attestor, as one record: it exists whole or not at all.

use serde::{Deserialize, Serialize};
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::host_id::HostId;

use crate::tls::TlsKey;
use crate::tpm::{AkBlob, EkReference};

/// The keys that a host enrols. Kept from before the first request on, so that an enrolment whose last
/// answer was lost can be repeated with the same keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Authenticates the connection.
    pub tls: TlsKey,
    ak_public: Bytes<1024>,
    ak_private: Bytes<1024>,
    /// Absent in what was kept before there was a choice.
    #[serde(default)]
    ek: EkReference,
}

impl Keys {
    /// Puts both keys together.
    #[must_use]
    pub fn new(tls: TlsKey, ak: AkBlob) -> Self {
        Self {
            tls,
            ak_public: ak.public.into(),
            ak_private: ak.private.into(),
            ek: ak.ek,
        }
    }

    /// The attestation key, as the TPM takes it.
    #[must_use]
    pub fn ak(&self) -> AkBlob {
        AkBlob {
            public: self.ak_public.to_vec(),
            private: self.ak_private.to_vec(),
            ek: self.ek.clone(),
        }
    }
}

/// An enrolled host.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Who the attestor says it is.
    pub host: HostId,
    /// Base URL of the attestor.
    pub server: String,
    /// The only CA certificates that are believed, PEM; from the join token, or from the attestor that they
    /// authenticated.
    pub ca: String,
    /// Its keys.
    pub keys: Keys,
}
