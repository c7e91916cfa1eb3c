//! Signing and verifying the compact JWS.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{AttestationResult, NodeStatement};
use crate::digest::Sha256Digest;

/// Largest token that is read, bytes.
const TOKEN_MAX: usize = 256 * 1024;
/// `typ` of a result's token.
const RESULT_TYPE: &str = "ear+jwt";
/// `typ` of a token about a node: neither passes for the other.
const NODE_TYPE: &str = "touchstone-node+jwt";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// Signs results, and what is said of nodes by them. The key signs nothing else.
pub struct ResultSigner {
    key: SigningKey,
}

impl ResultSigner {
    /// From the 32 secret bytes.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self {
            key: SigningKey::from_bytes(secret),
        }
    }

    /// The key that verifies its results.
    #[must_use]
    pub fn public_key(&self) -> ResultKey {
        ResultKey(self.key.verifying_key())
    }

    /// The compact JWS of `result`; an error only if it cannot be put into JSON.
    pub fn sign(&self, result: &AttestationResult) -> Result<String, serde_json::Error> {
        self.sign_claims(RESULT_TYPE, result)
    }

    /// The compact JWS of what is said of a node; an error only if it cannot be put into JSON.
    pub fn sign_node(&self, statement: &NodeStatement) -> Result<String, serde_json::Error> {
        self.sign_claims(NODE_TYPE, statement)
    }

    fn sign_claims(&self, typ: &str, claims: &impl Serialize) -> Result<String, serde_json::Error> {
        let header = Header {
            alg: "EdDSA".to_owned(),
            typ: typ.to_owned(),
            kid: self.public_key().id(),
        };
        let mut token = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header)?);
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?));
        let signature = self.key.sign(token.as_bytes());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature.to_bytes()));
        Ok(token)
    }
}

/// Verifies results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultKey(VerifyingKey);

/// Why a token is not a result in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResultError {
    /// Not three parts, not base64url, not the JSON that it should be, or too large.
    #[error("the token is malformed")]
    Malformed,
    /// Another algorithm or another key.
    #[error("the token is not signed by the key `{0}`")]
    OtherKey(String),
    /// The signature is wrong.
    #[error("the token's signature does not verify")]
    BadSignature,
    /// Its time is over.
    #[error("the result expired at {0}")]
    Expired(i64),
}

impl ResultKey {
    /// From 32 bytes; `None` when they are no key.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        VerifyingKey::from_bytes(bytes).ok().map(Self)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The `kid`: first 16 hexadecimal digits of the key's SHA-256.
    #[must_use]
    pub fn id(&self) -> String {
        let mut id = Sha256Digest::of(self.0.as_bytes()).to_string();
        id.truncate(16);
        id
    }
}

/// A result that the attestor signed and that had not expired at the time given.
#[derive(Debug, Clone)]
pub struct VerifiedResult {
    result: AttestationResult,
}

impl VerifiedResult {
    /// Verifies signature and expiry; `now` in seconds since 1970.
    pub fn verify(token: &str, key: &ResultKey, now: i64) -> Result<Self, ResultError> {
        let result: AttestationResult = verified_claims(token, RESULT_TYPE, key)?;
        if now >= result.expires_at {
            return Err(ResultError::Expired(result.expires_at));
        }
        Ok(Self { result })
    }

    /// What it says.
    #[must_use]
    pub fn result(&self) -> &AttestationResult {
        &self.result
    }
}

/// What a node's status says, signed by the attestor and not yet expired at the time given.
#[derive(Debug, Clone)]
pub struct VerifiedNode {
    statement: NodeStatement,
}

impl VerifiedNode {
    /// Verifies signature and expiry; `now` in seconds since 1970. Whether the node of that uid is the one that carries
    /// it, the caller must look.
    pub fn verify(token: &str, key: &ResultKey, now: i64) -> Result<Self, ResultError> {
        let statement: NodeStatement = verified_claims(token, NODE_TYPE, key)?;
        if now >= statement.expires_at {
            return Err(ResultError::Expired(statement.expires_at));
        }
        Ok(Self { statement })
    }

    /// What it says.
    #[must_use]
    pub fn statement(&self) -> &NodeStatement {
        &self.statement
    }
}

fn verified_claims<T: DeserializeOwned>(
    token: &str,
    typ: &str,
    key: &ResultKey,
) -> Result<T, ResultError> {
    if token.len() > TOKEN_MAX {
        return Err(ResultError::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(ResultError::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(ResultError::Malformed)?;
    let header: Header = parse(header)?;
    if header.alg != "EdDSA" || header.typ != typ || header.kid != key.id() {
        return Err(ResultError::OtherKey(key.id()));
    }
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .ok()
        .and_then(|bytes| Signature::from_slice(&bytes).ok())
        .ok_or(ResultError::Malformed)?;
    key.0
        .verify_strict(signed.as_bytes(), &signature)
        .map_err(|_| ResultError::BadSignature)?;
    parse(payload)
}

fn parse<T: DeserializeOwned>(part: &str) -> Result<T, ResultError> {
    let json = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| ResultError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| ResultError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::VerifierId;

    fn result() -> AttestationResult {
        AttestationResult {
            id: "00".repeat(16),
            eat_profile: AttestationResult::PROFILE.to_owned(),
            verifier: VerifierId {
                build: "touchstone".to_owned(),
                developer: "attestor".to_owned(),
            },
            issued_at: 100,
            expires_at: 200,
            submods: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn a_result_verifies_until_it_expires() {
        let signer = ResultSigner::from_secret(&[1; 32]);
        let token = signer.sign(&result()).unwrap();
        let key = signer.public_key();
        assert_eq!(
            VerifiedResult::verify(&token, &key, 199).unwrap().result(),
            &result()
        );
        assert_eq!(
            VerifiedResult::verify(&token, &key, 200).unwrap_err(),
            ResultError::Expired(200)
        );
    }

    #[test]
    fn another_key_or_a_changed_token_is_refused() {
        let signer = ResultSigner::from_secret(&[1; 32]);
        let token = signer.sign(&result()).unwrap();
        let other = ResultSigner::from_secret(&[2; 32]).public_key();
        assert!(VerifiedResult::verify(&token, &other, 150).is_err());
        let key = signer.public_key();
        for (position, byte) in token.bytes().enumerate() {
            let mut changed = token.clone().into_bytes();
            changed[position] = if byte == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(
                VerifiedResult::verify(&changed, &key, 150).is_err(),
                "byte {position}"
            );
        }
    }

    #[test]
    fn a_statement_on_a_node_is_no_result_and_a_result_is_none() {
        let signer = ResultSigner::from_secret(&[1; 32]);
        let key = signer.public_key();
        let statement = NodeStatement {
            node: "worker-1".to_owned(),
            node_uid: "u1".to_owned(),
            host: "de-1".parse().unwrap(),
            tier: crate::result::TrustTier::Affirming,
            reset_count: 7,
            restart_count: 0,
            entry: Sha256Digest::ZERO,
            issued_at: 100,
            expires_at: 200,
        };
        let token = signer.sign_node(&statement).unwrap();
        let verified = VerifiedNode::verify(&token, &key, 199).unwrap();
        assert_eq!(verified.statement(), &statement);
        let expired = VerifiedNode::verify(&token, &key, 200).unwrap_err();
        assert_eq!(expired, ResultError::Expired(200));
        assert!(VerifiedResult::verify(&token, &key, 150).is_err());
        let result = signer.sign(&result()).unwrap();
        assert!(VerifiedNode::verify(&result, &key, 150).is_err());
    }

    #[test]
    fn another_kind_of_token_by_the_same_key_is_refused() {
        let signer = ResultSigner::from_secret(&[1; 32]);
        let key = signer.public_key();
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&result()).unwrap());
        let verify = |alg: &str, typ: &str, kid: &str| {
            let header = serde_json::json!({ "alg": alg, "typ": typ, "kid": kid });
            let signed = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(header.to_string()));
            let signature = signer.key.sign(signed.as_bytes()).to_bytes();
            let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
            VerifiedResult::verify(&token, &key, 150).map(drop)
        };
        let kid = key.id();
        assert_eq!(verify("EdDSA", "ear+jwt", &kid), Ok(()));
        let other = Err(ResultError::OtherKey(kid.clone()));
        assert_eq!(verify("none", "ear+jwt", &kid), other);
        assert_eq!(verify("EdDSA", "jwt", &kid), other);
        assert_eq!(verify("EdDSA", "ear+jwt", "0"), other);
    }
}
