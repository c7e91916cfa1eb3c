//! Images that policy wants signed: by cosign's signatures in a real registry, made by openssl.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tempfile::TempDir;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_tests::containers::image::Image;
use touchstone_tests::containers::registry::Registry;
use touchstone_tests::containers::{skopeo, tool};
use touchstone_tests::review::{pod, running};
use touchstone_tests::server::{Server, plain_client};

use super::attestor;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const PLAIN: &str = "--plain-http-registry";

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256Digest::of(bytes))
}

/// A publisher's key pair.
struct Publisher {
    folder: TempDir,
    elliptic: bool,
}

impl Publisher {
    fn new(elliptic: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let publisher = Self { folder, elliptic };
        let key = publisher.path("key.pem");
        let kind: &[&str] = match elliptic {
            true => &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            false => &["ED25519"],
        };
        let make = ["genpkey", "-out", key.to_str().unwrap(), "-algorithm"];
        let mut openssl = Command::new("openssl");
        let _said = tool::run(openssl.args(make).args(kind)).good();
        publisher
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// As PEM.
    fn public(&self) -> String {
        let mut openssl = Command::new("openssl");
        let command = openssl
            .args(["pkey", "-pubout", "-in"])
            .arg(self.path("key.pem"));
        tool::run(command).good()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let [message_file, signature] = ["message", "signature"].map(|name| self.path(name));
        std::fs::write(&message_file, message).unwrap();
        let mut openssl = Command::new("openssl");
        let command = match self.elliptic {
            true => openssl.args(["dgst", "-sha256", "-sign"]),
            false => openssl.args(["pkeyutl", "-sign", "-rawin", "-inkey"]),
        };
        command
            .arg(self.path("key.pem"))
            .arg("-out")
            .arg(&signature);
        if !self.elliptic {
            command.arg("-in");
        }
        let _said = tool::run(command.arg(message_file)).good();
        std::fs::read(signature).unwrap()
    }
}

/// What cosign signs for an image.
fn payload(image: &str) -> Vec<u8> {
    let critical = json!({
        "identity": { "docker-reference": "registry.example/payments/api" },
        "image": { "docker-manifest-digest": image },
        "type": "cosign container image signature",
    });
    json!({ "critical": critical, "optional": null })
        .to_string()
        .into_bytes()
}

/// A real registry with an image in it, and signatures beside that.
struct Signed {
    registry: Registry,
    image: String,
}

impl Signed {
    fn new() -> Self {
        let registry = Registry::start();
        let name = registry.image("tiny:1");
        let _said = skopeo::push(&Image::saying("hello"), &name).good();
        let image = digest(skopeo::raw_manifest(&name).as_bytes());
        Self { registry, image }
    }

    fn url(&self, what: &str) -> String {
        format!("http://{}/v2/tiny/{what}", self.registry.address())
    }

    async fn push_blob(&self, blob: &[u8]) {
        let http = plain_client();
        let begun = http.post(self.url("blobs/uploads/")).send().await.unwrap();
        let at = begun.headers()["location"].to_str().unwrap();
        let at = format!("{at}&digest={}", digest(blob));
        let put = http.put(at).body(blob.to_vec()).send().await.unwrap();
        assert_eq!(put.status(), 201);
    }

    /// Puts these signatures beside the image, as `cosign sign` does, in place of those that were there.
    async fn put(&self, signatures: &[(Vec<u8>, Vec<u8>)]) {
        let mut layers = Vec::new();
        for (payload, signature) in signatures {
            self.push_blob(payload).await;
            layers.push(json!({
                "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                "digest": digest(payload), "size": payload.len(),
                "annotations": { "dev.cosignproject.cosign/signature": STANDARD.encode(signature) },
            }));
        }
        self.push_blob(b"{}").await;
        let config = json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(b"{}"), "size": 2 });
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        let tag = format!("{}.sig", self.image.replace(':', "-"));
        let put = plain_client().put(self.url(&format!("manifests/{tag}")));
        let put = put
            .header(CONTENT_TYPE, MANIFEST)
            .body(manifest.to_string());
        assert_eq!(put.send().await.unwrap().status(), 201);
    }

    /// What becomes of a pod with the image.
    async fn judged(&self, server: &Server) -> Value {
        let image = self.registry.image(&format!("tiny@{}", self.image));
        server.refusals(&pod("u1", &running(&image))).await
    }

    fn attestor(&self, keys: &[&Publisher]) -> Server {
        let keys: Vec<String> = keys.iter().map(|key| key.public()).collect();
        let demands = json!({ "signedBy": keys }).to_string();
        attestor(&demands, &[PLAIN, self.registry.address()])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_admitted_once_its_publisher_has_signed_it() {
    for elliptic in [true, false] {
        let (signed, publisher) = (Signed::new(), Publisher::new(elliptic));
        let other = Publisher::new(!elliptic);
        let server = signed.attestor(&[&other, &publisher]);
        let refused = json!(["image-not-signed"]);
        assert_eq!(signed.judged(&server).await, refused);
        let payload = payload(&signed.image);
        let signature = publisher.sign(&payload);
        signed.put(&[(payload, signature)]).await;
        assert_eq!(signed.judged(&server).await, "none");
        // One that held holds, also when it is gone.
        signed.put(&[]).await;
        assert_eq!(signed.judged(&server).await, "none");
        let database = server.database();
        let server = server.restart(&database);
        assert_eq!(signed.judged(&server).await, refused);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_of_somebody_else_or_for_something_else_admits_nothing() {
    let (signed, publisher, stranger) = (Signed::new(), Publisher::new(true), Publisher::new(true));
    let server = signed.attestor(&[&publisher]);
    let good = payload(&signed.image);
    let another = payload(&digest(b"another"));
    let mut spaced = good.clone();
    spaced.push(b' ');
    let by = |publisher: &Publisher, payload: &[u8]| (payload.to_vec(), publisher.sign(payload));
    let refused = json!(["image-not-signed"]);
    let huge = [&good[..], &b" ".repeat(8 << 10)].concat();
    let many = vec![by(&publisher, &good); 17];
    for wrong in [
        vec![by(&stranger, &good)],
        vec![by(&publisher, &another)],
        vec![(spaced.clone(), publisher.sign(&good))],
        vec![by(&publisher, &huge)],
        many,
    ] {
        signed.put(&wrong).await;
        assert_eq!(signed.judged(&server).await, refused);
    }
    let (_, why) = server
        .review(&pod(
            "u1",
            &running(&signed.registry.image(&format!("tiny@{}", signed.image))),
        ))
        .await;
    assert!(why.contains("cosign sign --key"), "{why}");
    // Among others it is found.
    let among = [
        by(&stranger, &good),
        by(&publisher, &another),
        by(&publisher, &good),
    ];
    signed.put(&among).await;
    assert_eq!(signed.judged(&server).await, "none");
}
