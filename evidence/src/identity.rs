//! The attestation key of a host, as far as public areas alone can show it.
//!
//! Not established here: that the TPM really holds both keys. Credential activation at enrolment
//! shows that (docs/architecture.md, Rules), and the attestor keeps only keys that passed it.

use crate::tpm::name::Name;
use crate::tpm::public::{Public, Scheme};
use crate::tpm::template::KeyTemplateError;

/// `TPM_RH_ENDORSEMENT` (TPM 2.0 Part 2 §7.4).
const RH_ENDORSEMENT: u32 = 0x4000_000b;

/// An AK with the attributes of the template and its place under the EK.
#[derive(Clone, Debug)]
pub struct AttestationKey {
    public: Public,
    scheme: Scheme,
    qualified_name: Name,
}

impl AttestationKey {
    /// Checks both public areas against their templates and computes the AK's Qualified Name.
    pub fn under(ek: &Public, ak: Public) -> Result<Self, KeyTemplateError> {
        ek.check_endorsement_template()?;
        let scheme = ak.check_attestation_template()?;
        let parent = ek.name().qualified_under_hierarchy(RH_ENDORSEMENT);
        Ok(Self {
            qualified_name: ak.name().qualified_under(&parent),
            scheme,
            public: ak,
        })
    }

    /// The public area.
    #[must_use]
    pub fn public(&self) -> &Public {
        &self.public
    }

    /// How it signs. Its hash is also that over the PCRs in a quote (TPM 2.0 Part 3 §18.4).
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// What an attestation by this key names as its signer.
    #[must_use]
    pub fn qualified_name(&self) -> &Name {
        &self.qualified_name
    }
}
