//! Names of TPM objects and NV indices (TPM 2.0 Part 1 §16): the algorithm and the digest of the
//! public area.

use super::hash::Hash;

/// A Name or a Qualified Name: `TPM_ALG_ID` and digest, 34 or 50 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    hash: Hash,
    bytes: Vec<u8>,
}

impl Name {
    /// The Name of the entity whose public area is `public`, under its Name algorithm.
    #[must_use]
    pub fn of(hash: Hash, public: &[u8]) -> Self {
        Self::over(hash, &[public])
    }

    /// The Qualified Name of a primary key with this Name under `hierarchy`: digest over the
    /// hierarchy's handle and the Name.
    #[must_use]
    pub fn qualified_under_hierarchy(&self, hierarchy: u32) -> Self {
        Self::over(self.hash, &[&hierarchy.to_be_bytes(), &self.bytes])
    }

    /// The Qualified Name of a key with this Name under a parent with that Qualified Name.
    #[must_use]
    pub fn qualified_under(&self, parent: &Self) -> Self {
        Self::over(self.hash, &[&parent.bytes, &self.bytes])
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn over(hash: Hash, parts: &[&[u8]]) -> Self {
        let mut bytes = hash.id().to_be_bytes().to_vec();
        bytes.extend(hash.digest(parts));
        Self { hash, bytes }
    }
}
