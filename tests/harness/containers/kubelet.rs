//! What a kubelet asks of containerd: to pull an image, by the Container Runtime Interface.

use reqwest::Client;

use super::containerd::Containerd;

/// `ImageService.PullImage` as gRPC has it on the wire.
const PULL_IMAGE: &str = "http://containerd/runtime.v1.ImageService/PullImage";

/// Pulls an image.
///
/// # Errors
/// What `kubectl describe pod` shows after `Failed to pull image`.
pub async fn pull(containerd: &Containerd, image: &str) -> Result<(), String> {
    // Nothing is encrypted here, and reqwest wants to know by what.
    let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = Client::builder()
        .unix_socket(containerd.socket())
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let request = client
        .post(PULL_IMAGE)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    // A `PullImageRequest` with an `ImageSpec` with the image's name, each their field 1; not compressed.
    let message = field(&field(image.as_bytes()));
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = [&[0][..], &length, &message].concat();
    let answer = request.body(body).send().await.unwrap();
    // A refusal is headers alone; the status of a success comes after the answer.
    match answer.headers().get("grpc-message") {
        Some(reason) => Err(decoded(reason.as_bytes())),
        None => {
            assert!(answer.bytes().await.unwrap().len() > 5);
            Ok(())
        }
    }
}

/// Field 1, of bytes.
fn field(content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    assert!(length < 0x80);
    [&[0x0a, length], content].concat()
}

/// gRPC writes what is not printable as `%` and two digits.
fn decoded(text: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let byte = digits.and_then(|digits| hex::decode(digits).ok());
        bytes.push(byte.as_ref().map_or(*first, |byte| byte[0]));
        rest = &after[if byte.is_some() { 2 } else { 0 }..];
    }
    String::from_utf8(bytes).unwrap()
}
