//! Signed tree heads: C2SP tlog-checkpoint bodies inside C2SP signed notes, Ed25519.
//!
//! Invariant: a head becomes trustworthy only as a [`VerifiedCheckpoint`]. That one root was signed
//! per size, and never another, is the sequencer's duty: compare heads of unlike origin with a
//! consistency proof.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey};

use super::{TreeHead, VerifierKey, VerifierKeyError};
use crate::digest::Sha256Digest;

/// Longest note accepted, in bytes: a body, and as many signature lines as [`MAX_SIGNATURES`].
const MAX_NOTE: usize = 16 * 1024;

/// Most signature lines looked at: ours, and a dozen of witnesses.
const MAX_SIGNATURES: usize = 16;

/// What a signature line begins with: U+2014 and a blank (C2SP signed-note).
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// A well-formed checkpoint whose signatures nobody has checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    untrusted_head: TreeHead,
    body: String,
    signatures: Vec<SignatureLine>,
}

/// A checkpoint that the given key signed. Made only by [`Checkpoint::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    origin: String,
    head: TreeHead,
}

/// The key of a log, under the log's name.
pub struct CheckpointSigner {
    key: SigningKey,
    verifier: VerifierKey,
}

/// `— name base64(key hash ‖ signature)`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SignatureLine {
    name: String,
    key_hash: [u8; 4],
    signature: Vec<u8>,
}

/// Why a note is no checkpoint, or not one that this key signed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CheckpointError {
    /// More bytes than any checkpoint has.
    #[error("a checkpoint of {0} bytes: at most {MAX_NOTE} are allowed")]
    TooLong(usize),
    /// Not UTF-8, or control characters other than line feeds.
    #[error("a checkpoint is text without control characters")]
    NotText,
    /// No empty line between body and signatures, or no line feed at the end.
    #[error("a checkpoint is a body, an empty line and signature lines, each ended by a line feed")]
    NotANote,
    /// The body is not origin, size and root. Extension lines are refused as well: this log
    /// writes none, and what nobody reads should not be signed.
    #[error("a checkpoint body is three lines: origin, size, root")]
    Body,
    /// The size is not a decimal number without leading zeros.
    #[error("`{0}` is no tree size")]
    Size(String),
    /// The root is not canonical base64 of 32 bytes.
    #[error("the root is not base64 of 32 bytes")]
    Root,
    /// A signature line is malformed, or there are more than a checkpoint needs.
    #[error("signature line {0} is malformed")]
    SignatureLine(usize),
    /// The checkpoint belongs to another log.
    #[error("the checkpoint is of `{found}`, not of `{expected}`")]
    Origin {
        /// The key's name.
        expected: String,
        /// The origin line.
        found: String,
    },
    /// None of the signatures is by this key.
    #[error("the checkpoint carries no signature by `{0}`")]
    Unsigned(String),
    /// A signature that names this key does not verify.
    #[error("the signature by `{0}` is forged, or the checkpoint was altered")]
    Forged(String),
}

impl Checkpoint {
    /// Reads a signed note (C2SP signed-note, tlog-checkpoint). Nothing is verified.
    ///
    /// # Errors
    /// Every variant but the last three.
    pub fn parse(note: &[u8]) -> Result<Self, CheckpointError> {
        if note.len() > MAX_NOTE {
            return Err(CheckpointError::TooLong(note.len()));
        }
        let text = std::str::from_utf8(note).map_err(|_| CheckpointError::NotText)?;
        if text.chars().any(|c| c.is_control() && c != '\n') {
            return Err(CheckpointError::NotText);
        }
        // The signed text ends with the line feed before the last empty line.
        let (body, lines) = text.rsplit_once("\n\n").ok_or(CheckpointError::NotANote)?;
        let lines = lines.strip_suffix('\n').ok_or(CheckpointError::NotANote)?;
        let (origin, untrusted_head) = parse_body(body)?;
        Ok(Self {
            origin,
            untrusted_head,
            body: format!("{body}\n"),
            signatures: parse_signatures(lines)?,
        })
    }

    /// The log that the checkpoint claims to be of.
    #[must_use]
    pub fn untrusted_origin(&self) -> &str {
        &self.origin
    }

    /// The head that the checkpoint claims.
    #[must_use]
    pub fn untrusted_head(&self) -> TreeHead {
        self.untrusted_head
    }

    /// Checks that `key` signed the checkpoint and that it is of the log of that name.
    /// Signatures by other keys, such as witnesses', are not looked at.
    ///
    /// # Errors
    /// [`CheckpointError::Origin`], [`CheckpointError::Unsigned`], [`CheckpointError::Forged`]:
    /// the last also when only one of several lines under this key is wrong.
    pub fn verify(&self, key: &VerifierKey) -> Result<VerifiedCheckpoint, CheckpointError> {
        if self.origin != key.name() {
            return Err(CheckpointError::Origin {
                expected: key.name().to_owned(),
                found: self.origin.clone(),
            });
        }
        let mut signed = false;
        for line in &self.signatures {
            if line.name != key.name() || line.key_hash != key.hash() {
                continue;
            }
            Signature::from_slice(&line.signature)
                .and_then(|signature| key.key().verify_strict(self.body.as_bytes(), &signature))
                .map_err(|_| CheckpointError::Forged(key.name().to_owned()))?;
            signed = true;
        }
        if !signed {
            return Err(CheckpointError::Unsigned(key.name().to_owned()));
        }
        Ok(VerifiedCheckpoint {
            origin: self.origin.clone(),
            head: self.untrusted_head,
        })
    }
}

impl VerifiedCheckpoint {
    /// The log that signed.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The head that was signed.
    #[must_use]
    pub fn head(&self) -> &TreeHead {
        &self.head
    }
}

impl CheckpointSigner {
    /// A signer for the log called `name`, which becomes the origin line.
    ///
    /// # Errors
    /// [`VerifierKeyError::Name`].
    pub fn new(name: &str, key: SigningKey) -> Result<Self, VerifierKeyError> {
        let verifier = VerifierKey::new(name, key.verifying_key())?;
        Ok(Self { key, verifier })
    }

    /// The public half, to be handed to auditors.
    #[must_use]
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The signed note over `head`. Ed25519 is deterministic: one head, one note.
    /// The caller has stored `head` before, and never signs another root of the same size.
    #[must_use]
    pub fn sign(&self, head: &TreeHead) -> String {
        let body = self.body(head);
        format!("{body}\n{}", self.signature_line(&body))
    }

    /// The note over `head` that both this key and `next`, the key after it, sign: a handover. From there on the
    /// log's heads are signed by `next`, a signer of the same name.
    ///
    /// The last entry below `head` names `next`. The caller has stored `head` before, as for
    /// [`CheckpointSigner::sign`], and signs nothing larger with this key.
    #[must_use]
    pub fn hand_over(&self, head: &TreeHead, next: &Self) -> String {
        let body = self.body(head);
        let (old, new) = (self.signature_line(&body), next.signature_line(&body));
        format!("{body}\n{old}{new}")
    }

    /// What is signed: origin, size and root.
    fn body(&self, head: &TreeHead) -> String {
        let root = STANDARD.encode(head.root.as_bytes());
        format!("{}\n{}\n{root}\n", self.verifier.name(), head.size)
    }

    fn signature_line(&self, body: &str) -> String {
        let mut signature = self.verifier.hash().to_vec();
        signature.extend_from_slice(&self.key.sign(body.as_bytes()).to_bytes());
        let signature = STANDARD.encode(signature);
        format!("{SIGNATURE_PREFIX}{} {signature}\n", self.verifier.name())
    }
}

impl fmt::Debug for CheckpointSigner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CheckpointSigner({})", self.verifier)
    }
}

/// Origin, size and root, and nothing after them.
fn parse_body(body: &str) -> Result<(String, TreeHead), CheckpointError> {
    let mut lines = body.split('\n');
    let (Some(origin), Some(size), Some(root), None) =
        (lines.next(), lines.next(), lines.next(), lines.next())
    else {
        return Err(CheckpointError::Body);
    };
    if origin.is_empty() {
        return Err(CheckpointError::Body);
    }
    let root = STANDARD.decode(root).map_err(|_| CheckpointError::Root)?;
    let root = root.try_into().map_err(|_| CheckpointError::Root)?;
    let head = TreeHead {
        size: parse_size(size)?,
        root: Sha256Digest(root),
    };
    Ok((origin.to_owned(), head))
}

/// A decimal number as it would be printed: `u64::from_str` alone would take `+1` and `01`.
fn parse_size(text: &str) -> Result<u64, CheckpointError> {
    text.parse()
        .ok()
        .filter(|size: &u64| size.to_string() == text)
        .ok_or_else(|| CheckpointError::Size(text.chars().take(40).collect()))
}

fn parse_signatures(lines: &str) -> Result<Vec<SignatureLine>, CheckpointError> {
    let mut signatures = Vec::new();
    for (number, line) in (1_usize..).zip(lines.split('\n')) {
        let signature = (number <= MAX_SIGNATURES)
            .then(|| parse_signature(line))
            .flatten()
            .ok_or(CheckpointError::SignatureLine(number))?;
        signatures.push(signature);
    }
    Ok(signatures)
}

fn parse_signature(line: &str) -> Option<SignatureLine> {
    let (name, encoded) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
    let bytes = STANDARD.decode(encoded).ok()?;
    let (key_hash, signature) = bytes.split_first_chunk::<4>()?;
    if name.is_empty() || name.contains('+') || signature.is_empty() {
        return None;
    }
    Some(SignatureLine {
        name: name.to_owned(),
        key_hash: *key_hash,
        signature: signature.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reference::{leaves, root};
    use super::*;

    fn signer(seed: u8) -> CheckpointSigner {
        CheckpointSigner::new("log.example/audit", SigningKey::from_bytes(&[seed; 32])).unwrap()
    }

    fn verify(note: &str, by: &CheckpointSigner) -> Result<VerifiedCheckpoint, CheckpointError> {
        Checkpoint::parse(note.as_bytes())?.verify(by.verifier_key())
    }

    fn note() -> String {
        signer(1).sign(&root(&leaves(10)))
    }

    #[test]
    fn what_is_signed_verifies_and_reads_as_the_standard_says() {
        let verified = verify(&note(), &signer(1)).unwrap();
        assert_eq!(verified.head(), &root(&leaves(10)));
        assert_eq!(verified.origin(), "log.example/audit");

        let note = note();
        let lines: Vec<&str> = note.split('\n').collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[..2], ["log.example/audit", "10"]);
        assert_eq!(lines[2].len(), 44);
        assert_eq!(lines[3], "");
        assert!(lines[4].starts_with("— log.example/audit "));
        assert_eq!(lines[5], "");
    }

    #[test]
    fn a_note_by_another_implementation_verifies() {
        // The worked example of the Go note package: same key hash, same signature line.
        let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let line = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
        let body = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n";
        let note = Checkpoint {
            origin: "PeterNeumann".to_owned(),
            untrusted_head: TreeHead::empty(),
            body: body.to_owned(),
            signatures: vec![parse_signature(line).unwrap()],
        };
        assert!(note.verify(&key.parse().unwrap()).is_ok());
    }

    #[test]
    fn another_key_under_the_same_name_is_not_ours() {
        assert_eq!(
            verify(&note(), &signer(2)),
            Err(CheckpointError::Unsigned("log.example/audit".to_owned()))
        );
    }

    #[test]
    fn a_line_that_borrows_our_name_and_hash_is_a_forgery() {
        let theirs = signer(2).sign(&root(&leaves(10)));
        let foreign = Checkpoint::parse(theirs.as_bytes()).unwrap();
        let mut borrowed = signer(1).verifier_key().hash().to_vec();
        borrowed.extend_from_slice(&foreign.signatures[0].signature);
        let line = format!("— log.example/audit {}\n", STANDARD.encode(borrowed));
        let forged = Err(CheckpointError::Forged("log.example/audit".to_owned()));

        let (body, _) = theirs.split_once("\n\n").unwrap();
        assert_eq!(verify(&format!("{body}\n\n{line}"), &signer(1)), forged);
        // Nor does it help to stand beside the true one.
        assert_eq!(verify(&format!("{}{line}", note()), &signer(1)), forged);
    }

    #[test]
    fn witnesses_beside_us_do_not_disturb() {
        let witness = format!("— witness.example {}\n", STANDARD.encode([9; 76]));
        assert!(verify(&format!("{}{witness}", note()), &signer(1)).is_ok());
        let crowd = witness.repeat(MAX_SIGNATURES);
        assert_eq!(
            verify(&format!("{}{crowd}", note()), &signer(1)),
            Err(CheckpointError::SignatureLine(17))
        );
    }

    #[test]
    fn a_handover_verifies_by_either_key_and_by_no_other() {
        let head = root(&leaves(10));
        let note = signer(1).hand_over(&head, &signer(2));
        for seed in [1, 2] {
            assert_eq!(verify(&note, &signer(seed)).unwrap().head(), &head);
        }
        assert!(verify(&note, &signer(3)).is_err());
        // Word for word the checkpoint of the old key, and one line more.
        let (_, line) = signer(2).sign(&head).rsplit_once("\n\n").map(own).unwrap();
        assert_eq!(note, format!("{}{line}", signer(1).sign(&head)));
    }

    fn own((one, two): (&str, &str)) -> (String, String) {
        (one.to_owned(), two.to_owned())
    }

    #[test]
    fn another_log_is_refused_even_under_the_same_key() {
        let other = CheckpointSigner::new("other", SigningKey::from_bytes(&[1; 32])).unwrap();
        assert!(matches!(
            verify(&note(), &other),
            Err(CheckpointError::Origin { .. })
        ));
    }

    #[test]
    fn every_damage_has_its_error() {
        let damaged = |from: &str, to: &str| {
            let damaged = note().replacen(from, to, 1);
            assert_ne!(damaged, note());
            verify(&damaged, &signer(1))
        };
        let forged = Err(CheckpointError::Forged("log.example/audit".to_owned()));
        assert_eq!(damaged("\n10\n", "\n11\n"), forged);
        for size in ["010", "+10", " 10", "-1", "", "18446744073709551616", "1e1"] {
            assert_eq!(
                damaged("\n10\n", &format!("\n{size}\n")),
                Err(CheckpointError::Size(size.to_owned())),
                "{size}"
            );
        }
        assert_eq!(damaged("=\n", "\n"), Err(CheckpointError::Root));
        assert_eq!(damaged("=\n", "=\nmore\n"), Err(CheckpointError::Body));
        assert_eq!(damaged("=\n", "=\r\n"), Err(CheckpointError::NotText));
        assert_eq!(
            damaged("\u{2014}", "-"),
            Err(CheckpointError::SignatureLine(1))
        );
        assert_eq!(
            verify(&format!("{}x", note()), &signer(1)),
            Err(CheckpointError::NotANote)
        );
        assert_eq!(
            verify(&format!("{}x\n", note()), &signer(1)),
            Err(CheckpointError::SignatureLine(2))
        );
        assert_eq!(
            Checkpoint::parse(&vec![b'a'; MAX_NOTE + 1]),
            Err(CheckpointError::TooLong(MAX_NOTE + 1))
        );
        assert_eq!(Checkpoint::parse(&[0xff]), Err(CheckpointError::NotText));
    }

    proptest! {
        #[test]
        fn no_flipped_bit_verifies_as_another_head(position: prop::sample::Index, bit in 0_u8..8) {
            let mut bytes = note().into_bytes();
            let at = position.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let verified = Checkpoint::parse(&bytes)
                .and_then(|checkpoint| checkpoint.verify(signer(1).verifier_key()));
            prop_assert!(verified.is_err());
        }

        #[test]
        fn any_bytes_parse_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Checkpoint::parse(&bytes);
        }
    }
}
