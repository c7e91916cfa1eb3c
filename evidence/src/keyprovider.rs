//! Messages of ocicrypt's key-provider protocol: what skopeo, podman, buildah and containerd send to have the key of an
//! image layer wrapped or unwrapped, as JSON on standard input or within gRPC.
//!
//! The protocol is another project's: fields that it may add are skipped, and everything that is read is bounded.

mod bytes;
pub mod grpc;

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::annotation::{ANNOTATION_MAX, KeyName, OPTIONS_MAX};
use crate::encoded::Few;
use crate::oci_digest::OciDigest;
use bytes::ProviderBytes;

pub use bytes::Form;

/// Largest message, bytes: an annotation as a list of numbers, and keys of other providers beside it.
pub const MESSAGE_MAX: usize = 256 << 10;
/// How key providers' configuration calls this one, and with it the annotation.
pub const PROVIDER: &str = "touchstone";
/// Most parameters of one provider that are read.
const PARAMETERS_MAX: usize = 16;
/// Longest parameter, bytes: the name of an image, its tag and its digest.
const PARAMETER_MAX: usize = 512;

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Wrap the key of a layer that is being encrypted.
    Wrap {
        /// The options of its cipher, with the key: JSON, at most 8 KiB.
        options: Zeroizing<Vec<u8>>,
        /// What stands after `provider:touchstone:`, once for each time that it was given.
        parameters: Vec<Vec<u8>>,
        /// How the answer's bytes are written.
        form: Form,
    },
    /// Unwrap it again.
    Unwrap {
        /// What came of wrapping it, at most 16 KiB.
        annotation: Vec<u8>,
        /// What stands after `provider:touchstone:`; none where the runtime has no such option.
        parameters: Vec<Vec<u8>>,
        /// How the answer's bytes are written.
        form: Form,
    },
}

/// Why a message is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// More than 256 KiB.
    #[error("the key-provider message has {0} bytes; at most {MESSAGE_MAX} are read")]
    TooLarge(usize),
    /// No JSON of the protocol. The text names the place, and nothing of what stands there.
    #[error("the key-provider message cannot be read: {0}")]
    Malformed(String),
    /// Neither `keywrap` nor `keyunwrap`.
    #[error(
        "the key-provider message asks for another operation than `keywrap` and `keyunwrap`, which are all that this \
         version knows"
    )]
    Operation,
    /// What is to be wrapped or unwrapped is not there.
    #[error("the key-provider message says `{0}` and holds nothing to work on")]
    Nothing(&'static str),
    /// Not exactly one key is named.
    #[error(
        "{0} keys are named for the provider `{PROVIDER}`; name one as `--encryption-key provider:{PROVIDER}:KEY`"
    )]
    Keys(usize),
    /// It cannot be the name of a key.
    #[error(
        "the parameter of `provider:{PROVIDER}:` names no key; a key has 1 to 63 of `a-z`, `0-9`, `-` and `.`, and \
         `touchstone key list` shows them"
    )]
    Name,
    /// Something else stands where the digest of a manifest would.
    #[error(
        "what follows the last `@` in the parameter of `provider:{PROVIDER}:` is no manifest's digest; write \
         `--decryption-key provider:{PROVIDER}:IMAGE@sha256:…`, or `provider:{PROVIDER}:node` to name none"
    )]
    Manifest,
    /// More than one manifest is named.
    #[error(
        "{0} manifests are named for the provider `{PROVIDER}`; name the one of the image that is pulled"
    )]
    Manifests(usize),
}

#[derive(Deserialize)]
struct Message {
    op: String,
    #[serde(default)]
    keywrapparams: Option<WrapParameters>,
    #[serde(default)]
    keyunwrapparams: Option<UnwrapParameters>,
}

#[derive(Deserialize)]
struct WrapParameters {
    #[serde(default)]
    ec: Option<Config>,
    #[serde(default)]
    optsdata: Option<ProviderBytes<OPTIONS_MAX>>,
}

#[derive(Deserialize)]
struct UnwrapParameters {
    #[serde(default)]
    dc: Option<Config>,
    #[serde(default)]
    annotation: Option<ProviderBytes<ANNOTATION_MAX>>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "Parameters", default)]
    parameters: Option<Parameters>,
}

/// Those of other providers, which may be private keys, are skipped.
#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    touchstone: Option<Few<ProviderBytes<PARAMETER_MAX>, PARAMETERS_MAX>>,
}

impl Request {
    /// Reads a message. Byte strings may come as base64 or as lists of numbers.
    pub fn parse(json: &[u8]) -> Result<Self, MessageError> {
        if json.len() > MESSAGE_MAX {
            return Err(MessageError::TooLarge(json.len()));
        }
        let message: Message = serde_json::from_slice(json).map_err(|error| malformed(&error))?;
        match message.op.as_str() {
            "keywrap" => wrap(message.keywrapparams),
            "keyunwrap" => unwrap(message.keyunwrapparams),
            _ => Err(MessageError::Operation),
        }
    }
}

fn wrap(parameters: Option<WrapParameters>) -> Result<Request, MessageError> {
    let nothing = MessageError::Nothing("keywrap");
    let WrapParameters { ec, optsdata } = parameters.ok_or(nothing.clone())?;
    let ProviderBytes { bytes, form } = optsdata.ok_or(nothing)?;
    Ok(Request::Wrap {
        options: bytes,
        parameters: ours(ec),
        form,
    })
}

fn unwrap(parameters: Option<UnwrapParameters>) -> Result<Request, MessageError> {
    let nothing = MessageError::Nothing("keyunwrap");
    let UnwrapParameters { dc, annotation } = parameters.ok_or(nothing.clone())?;
    let ProviderBytes { bytes, form } = annotation.ok_or(nothing)?;
    Ok(Request::Unwrap {
        annotation: bytes.to_vec(),
        parameters: ours(dc),
        form,
    })
}

fn ours(config: Option<Config>) -> Vec<Vec<u8>> {
    let parameters = config.and_then(|config| config.parameters?.touchstone);
    let parameters = parameters.unwrap_or_default().0.into_iter();
    parameters.map(|one| one.bytes.to_vec()).collect()
}

/// Where it broke, without the words of the reader, which may quote a key.
fn malformed(error: &serde_json::Error) -> MessageError {
    MessageError::Malformed(format!("line {}, column {}", error.line(), error.column()))
}

/// The one key that the parameters name.
pub fn key_of(parameters: &[Vec<u8>]) -> Result<KeyName, MessageError> {
    let [only] = parameters else {
        return Err(MessageError::Keys(parameters.len()));
    };
    let text = str::from_utf8(only).ok();
    text.and_then(|text| text.parse().ok())
        .ok_or(MessageError::Name)
}

/// The manifest that the parameters name, if any does: what follows the last `@`.
pub fn manifest_of(parameters: &[Vec<u8>]) -> Result<Option<OciDigest>, MessageError> {
    let named = parameters.iter().filter_map(|one| {
        let at = one.iter().rposition(|byte| *byte == b'@')?;
        let digest = str::from_utf8(one.get(at.saturating_add(1)..)?).ok();
        Some(digest.and_then(|digest| digest.parse().ok()))
    });
    let named: Vec<Option<OciDigest>> = named.collect();
    match named.as_slice() {
        [] => Ok(None),
        [only] => only.map(Some).ok_or(MessageError::Manifest),
        several => Err(MessageError::Manifests(several.len())),
    }
}

/// The answer to [`Request::Wrap`], JSON.
#[must_use]
pub fn wrapped(annotation: &[u8], form: Form) -> Vec<u8> {
    bytes::answer("keywrapresults", "annotation", annotation, form).to_vec()
}

/// The answer to [`Request::Unwrap`], JSON.
#[must_use]
pub fn unwrapped(options: &[u8], form: Form) -> Zeroizing<Vec<u8>> {
    bytes::answer("keyunwrapresults", "optsdata", options, form)
}

#[cfg(test)]
mod tests;
