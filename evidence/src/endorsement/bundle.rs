//! What an operator imports, taken apart: certificates and revocation lists out of PEM or DER.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::pem::Pem;

use super::certificate::Certificate;
use super::crl::RevocationList;
use super::roots::RootImportError;
use crate::digest::Sha256Digest;

/// Most blocks of one bundle.
const MAX_BLOCKS: usize = 4096;

/// The DER of certificates and revocation lists, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Certificates, with their numbers among all blocks, counting from 1.
    pub(super) certificates: Vec<(usize, Vec<u8>)>,
    /// Revocation lists, likewise.
    pub(super) lists: Vec<(usize, Vec<u8>)>,
}

impl Bundle {
    /// Takes a PEM bundle apart; text between the blocks is ignored.
    ///
    /// # Errors
    /// [`RootImportError::Pem`] for a broken block or one of another kind than `CERTIFICATE` and
    /// `X509 CRL`, [`RootImportError::TooMany`], [`RootImportError::Empty`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, RootImportError> {
        let mut bundle = Self::default();
        for (number, block) in (1..).zip(Pem::iter_from_buffer(pem)) {
            if number > MAX_BLOCKS {
                return Err(RootImportError::TooMany(MAX_BLOCKS));
            }
            let block = block.map_err(|_| RootImportError::Pem(number))?;
            match block.label.as_str() {
                "CERTIFICATE" => bundle.certificates.push((number, block.contents)),
                "X509 CRL" => bundle.lists.push((number, block.contents)),
                _ => return Err(RootImportError::Pem(number)),
            }
        }
        if bundle.certificates.is_empty() && bundle.lists.is_empty() {
            return Err(RootImportError::Empty);
        }
        Ok(bundle)
    }

    /// Whether there is a certificate in it.
    #[must_use]
    pub fn has_certificates(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// Refuses certificates that are no CA's, and so could never stand in a path: an EK certificate is not
    /// imported, its CA is.
    ///
    /// # Errors
    /// [`RootImportError::NotCa`], [`RootImportError::Malformed`].
    pub fn check_authorities(&self) -> Result<(), RootImportError> {
        for (number, der) in &self.certificates {
            let number = *number;
            let certificate = Certificate::parse(der)
                .map_err(|source| RootImportError::Malformed { number, source })?;
            if !certificate.extensions.is_ca {
                let subject = certificate.subject.to_string();
                return Err(RootImportError::NotCa { number, subject });
            }
        }
        Ok(())
    }

    /// The DER of the revocation list with this digest.
    #[must_use]
    pub fn list(&self, digest: &Sha256Digest) -> Option<&[u8]> {
        let mut lists = self.lists.iter().map(|(_, der)| der.as_slice());
        lists.find(|der| Sha256Digest::of(der) == *digest)
    }

    /// Its certificates as PEM, without anything else; empty if there are none.
    #[must_use]
    pub fn certificates_pem(&self) -> String {
        let blocks = self.certificates.iter();
        blocks
            .map(|(_, der)| Self::pem_block("CERTIFICATE", der))
            .collect()
    }

    /// One PEM block (RFC 7468).
    #[must_use]
    pub fn pem_block(label: &str, der: &[u8]) -> String {
        let text = STANDARD.encode(der);
        let mut block = format!("-----BEGIN {label}-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at_checked(64).unwrap_or((rest, ""));
            block.push_str(line);
            block.push('\n');
            rest = after;
        }
        block.push_str(&format!("-----END {label}-----\n"));
        block
    }

    /// The PEM of a file that may be PEM, a DER certificate or a DER revocation list: which of
    /// the two is seen by what it parses as. `None`: it is none of them.
    #[must_use]
    pub fn pem_of_file(bytes: &[u8]) -> Option<String> {
        match bytes {
            // A DER SEQUENCE; PEM is text, and `0` begins no block.
            [0x30, ..] if Certificate::parse(bytes).is_ok() => {
                Some(Self::pem_block("CERTIFICATE", bytes))
            }
            [0x30, ..] if RevocationList::parse(bytes).is_ok() => {
                Some(Self::pem_block("X509 CRL", bytes))
            }
            _ => std::str::from_utf8(bytes).ok().map(str::to_owned),
        }
    }
}
