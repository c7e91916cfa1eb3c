//! Why a key in a token cannot be used.

use std::path::PathBuf;

use cryptoki::error::Error as Pkcs11Error;

use super::uri::UriError;
use crate::keys::KeyError;

/// Why not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error(transparent)]
    Uri(#[from] UriError),
    #[error("`{path}` cannot be loaded as a PKCS#11 module; mend `module-path`")]
    Module { path: PathBuf, source: Pkcs11Error },
    #[error(
        "the PKCS#11 module `{path}` does not begin its work; see that whatever it speaks to runs"
    )]
    Beginning { path: PathBuf, source: Pkcs11Error },
    #[error("no token is called `{wanted}`; there {}", listed(.there))]
    NoToken { wanted: String, there: Vec<String> },
    #[error("several tokens are called `{0}`; say which with `serial=`")]
    SeveralTokens(String),
    #[error(transparent)]
    Pin(#[from] KeyError),
    #[error("the file of the PIN, `{0}`, holds no PIN: one line of text")]
    NoPin(PathBuf),
    #[error("the token `{0}` wants a PIN; name the file that holds it with `pin-source=`")]
    PinWanted(String),
    #[error(
        "the token `{0}` refuses the PIN, and is not asked again, since it may lock itself; mend the file of the PIN, \
         then start the attestor again"
    )]
    PinRefused(String),
    #[error(
        "one more wrong PIN locks the token `{0}`; log in by hand with the right one, for instance with `p11tool --login \
         --list-all`, then start the attestor again"
    )]
    PinAtStake(String),
    #[error(
        "the token `{token}` has no secret key called `{object}`, and none is made where keys in the database are \
         encrypted already; bring it back from the token's backup, or name the master key of before with \
         --previous-master-key"
    )]
    KeyMissing { token: String, object: String },
    #[error(
        "the token `{token}` has several secret keys called `{object}`; rename all but the one that is meant"
    )]
    SeveralKeys { token: String, object: String },
    #[error(
        "the key `{object}` is none that only its token knows and that computes HMAC-SHA256: {what}; make another under \
         another name"
    )]
    Unfit { object: String, what: &'static str },
    #[error("the token `{token}` has another key called `{object}` than before")]
    Exchanged { token: String, object: String },
    #[error("the token `{token}` does not do what it is asked")]
    Failed { token: String, source: Pkcs11Error },
    #[error("the token `{0}` did not answer in time")]
    Slow(String),
    #[error("no thread could be started for the token")]
    NoThread,
}

fn listed(there: &[String]) -> String {
    match there {
        [] => "is none at all".to_owned(),
        [one] => format!("is `{one}`"),
        many => format!("are `{}`", many.join("`, `")),
    }
}
