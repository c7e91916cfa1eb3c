//! The service account token of the agent's pod: by it the attestor learns from the cluster which node this host is.
//!
//! Kubelets replace the file before its token ends, so each round reads it anew. Invariant: the token is in no log and
//! no error, and in nothing that is kept.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use reqwest::header::HeaderValue;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::wire::NODE_TOKEN_MAX;
use zeroize::Zeroizing;

/// A token, as it is sent.
pub struct NodeToken {
    text: Zeroizing<Vec<u8>>,
    digest: Sha256Digest,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not read.
    #[error(
        "cannot read the node token `{path}`; see that the pod has a projected volume with a serviceAccountToken there"
    )]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is longer than any token.
    #[error("`{0}` has more than {NODE_TOKEN_MAX} bytes; name the file of a service account token")]
    TooLong(PathBuf),
    /// It is something else.
    #[error("`{0}` holds no token (RFC 7519); name the file of a service account token")]
    NotAToken(PathBuf),
}

/// Reads a token. What is around it, such as the end of a line, is none of it.
///
/// # Errors
/// [`Error`]; none of them holds a part of the file.
pub fn read(path: &Path) -> Result<NodeToken, Error> {
    let unreadable = |source| Error::Unreadable {
        path: path.to_owned(),
        source,
    };
    // Enough room at once: growing would leave copies behind. One byte more, to see that it is too many.
    let room = NODE_TOKEN_MAX.saturating_add(1);
    let most = u64::try_from(room).unwrap_or(u64::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let file = File::open(path).map_err(unreadable)?;
    file.take(most)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() > NODE_TOKEN_MAX {
        return Err(Error::TooLong(path.to_owned()));
    }
    let text = bytes.trim_ascii();
    match is_compact(text) {
        true => Ok(NodeToken {
            digest: Sha256Digest::of(text),
            text: Zeroizing::new(text.to_vec()),
        }),
        false => Err(Error::NotAToken(path.to_owned())),
    }
}

/// Three parts in base64url (RFC 7515 §3.1), so that it goes into a header as it is.
fn is_compact(text: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    let parts = text.split(|byte| *byte == b'.');
    let whole = |part: &[u8]| !part.is_empty() && part.iter().all(letter);
    parts.clone().count() == 3 && parts.into_iter().all(whole)
}

impl NodeToken {
    /// SHA-256 of it.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// As it goes beside evidence.
    pub(crate) fn header(&self) -> HeaderValue {
        let header = HeaderValue::from_bytes(&self.text);
        let mut header = header.unwrap_or(HeaderValue::from_static(""));
        header.set_sensitive(true);
        header
    }
}

impl fmt::Debug for NodeToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NodeToken({})", self.digest)
    }
}

/// The file of the token, read for each round.
#[derive(Debug)]
pub(crate) struct NodeTokenFile {
    path: Option<PathBuf>,
    /// Whether it was said that there is none.
    lacks: bool,
}

impl NodeTokenFile {
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self { path, lacks: false }
    }

    /// The token as it is now. Without it a round goes all the same, and that is said once.
    pub(crate) fn read(&mut self) -> Option<NodeToken> {
        let token = read(self.path.as_deref()?);
        match (&token, self.lacks) {
            (Err(error), false) => {
                let error: &dyn std::error::Error = error;
                tracing::warn!(error, "rounds go without a node token");
            }
            (Ok(_), true) => tracing::info!("rounds go with a node token again"),
            _ => {}
        }
        self.lacks = token.is_err();
        token.ok()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use std::fs;

    use super::*;

    fn token(text: &[u8]) -> Result<NodeToken, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn a_token_is_what_is_sent_and_what_is_hashed() {
        let read = token(b"aa-_.BB.09\n").unwrap();
        assert_eq!(read.digest(), Sha256Digest::of(b"aa-_.BB.09"));
        assert_eq!(read.header(), "aa-_.BB.09");
        assert!(read.header().is_sensitive());
        assert!(!format!("{read:?}").contains("aa-_"));
        let longest = [vec![b'a'; NODE_TOKEN_MAX - 4], b".b.c".to_vec()].concat();
        assert_eq!(
            token(&longest).unwrap().digest(),
            Sha256Digest::of(&longest)
        );
    }

    #[test]
    fn what_is_no_token_is_not_sent() {
        for text in [
            &b""[..],
            b"a.b",
            b"a.b.c.d",
            b"a..c",
            b"a.b.c d",
            b"a.b.\xc3\xa9",
        ] {
            assert!(matches!(token(text), Err(Error::NotAToken(_))), "{text:?}");
        }
        let long = [vec![b'a'; NODE_TOKEN_MAX - 3], b".b.c".to_vec()].concat();
        assert!(matches!(token(&long), Err(Error::TooLong(_))));
    }

    #[test]
    fn a_file_that_comes_and_goes_is_read_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let mut file = NodeTokenFile::new(Some(path.clone()));
        assert!(file.read().is_none() && file.lacks);
        for text in ["a.b.c", "d.e.f"] {
            fs::write(&path, text).unwrap();
            let read = file.read().unwrap();
            assert_eq!(
                (read.digest(), file.lacks),
                (Sha256Digest::of(text.as_bytes()), false)
            );
        }
        assert!(NodeTokenFile::new(None).read().is_none());
    }
}
