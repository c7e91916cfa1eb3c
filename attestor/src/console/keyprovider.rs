//! `touchstone keyprovider`: ocicrypt's key provider on a build machine, as a program that it runs for each layer or as a
//! service on a Unix socket. It wraps with a publisher's credential, and unwraps nothing.

mod grpc;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use serde_json::{Value, json};
use touchstone_evidence::keyprovider::{MESSAGE_MAX, Request, key_of, wrapped};
use zeroize::Zeroizing;

use super::client::{Client, is_refusal};
use super::output::print;

/// `touchstone keyprovider`
#[derive(Args, Debug)]
pub struct KeyProvider {
    /// Serve gRPC on this Unix socket, which only its owner may use, instead of one message on standard input
    #[arg(long)]
    socket: Option<PathBuf>,
}

/// Answers one message on standard input, or serves until SIGTERM or SIGINT.
pub(super) async fn run(credential: &Path, command: KeyProvider) -> anyhow::Result<()> {
    match command.socket {
        Some(socket) => grpc::serve(credential, &socket).await,
        None => {
            let mut message = Zeroizing::new(Vec::new());
            // One more, to see that it is too many.
            let most = u64::try_from(MESSAGE_MAX)?.saturating_add(1);
            std::io::stdin()
                .lock()
                .take(most)
                .read_to_end(&mut message)?;
            let answer = answer(credential, &message).await?;
            print(str::from_utf8(&answer)?)
        }
    }
}

/// The answer to a message, JSON.
async fn answer(credential: &Path, message: &[u8]) -> anyhow::Result<Vec<u8>> {
    match Request::parse(message)? {
        Request::Wrap {
            options,
            parameters,
            form,
        } => {
            let key = key_of(&parameters)?;
            // Read anew for each: a credential may be exchanged while this serves.
            let client = Client::new(credential)?;
            let path = format!("/v1/layer-keys/{key}/wrap");
            let body = json!({ "options": URL_SAFE_NO_PAD.encode(&options[..]) });
            let answer = client.post(&path, &body).await.map_err(|error| {
                match is_refusal(&error, "role-insufficient") {
                    true => error.context(
                        "the key provider needs a publisher's credential; an operator makes one with `touchstone \
                         credential create NAME --role publisher --out FILE`",
                    ),
                    false => error,
                }
            })?;
            let annotation = answer.get("annotation").and_then(Value::as_str);
            let annotation = annotation.context("the attestor's answer holds no annotation")?;
            Ok(wrapped(&URL_SAFE_NO_PAD.decode(annotation)?, form))
        }
        Request::Unwrap { .. } => bail!(
            "this key provider only encrypts; on a host, the key provider is `touchstone-agent keyprovider`, and layers \
             are decrypted nowhere else"
        ),
    }
}
