//! What admission knows of images: by their manifests, in registries and in the register, never by a pod's own word.

mod containers;
mod registries;

use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_tests::containers::image::Image;
use touchstone_tests::containers::keys::Pair;
use touchstone_tests::containers::registry::Registry as RealRegistry;
use touchstone_tests::containers::skopeo;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::registry::Registry;
use touchstone_tests::review::{binding, pod, running};
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World};

use super::{attestor, demanding};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const PLAIN: &str = "--plain-http-registry";
const ENCRYPTED: &str = "{encrypted: true}";

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256Digest::of(bytes))
}

/// A manifest of one layer; `end`: of its media type.
fn manifest(end: &str) -> Vec<u8> {
    let digest = digest(end.as_bytes());
    let layer = json!({ "mediaType": format!("application/vnd.oci.image.layer.v1.tar+gzip{end}"), "digest": digest });
    let manifest = json!({ "schemaVersion": 2, "config": { "digest": digest }, "layers": [layer] });
    manifest.to_string().into_bytes()
}

/// Puts a manifest under its digest: the image's name.
fn put(registry: &Registry, manifest: &[u8]) -> String {
    let digest = digest(manifest);
    registry.put("payments", &digest, MANIFEST, manifest);
    format!("{}/payments@{digest}", registry.name())
}

/// What becomes of a pod with this image.
async fn judged(server: &Server, image: &str) -> Value {
    server.refusals(&pod("u1", &running(image))).await
}

/// Real images, in a registry.
struct Pushed {
    registry: RealRegistry,
    /// By their digests.
    plain: String,
    half: String,
    whole: String,
}

impl Pushed {
    fn new() -> Self {
        let (image, registry) = (Image::saying("a secret"), RealRegistry::start());
        let pair = Pair::new();
        let key = pair.public();
        let names = ["tiny:plain", "tiny:half", "tiny:whole"].map(|name| registry.image(name));
        let [plain, half, whole] = &names;
        let _said = skopeo::push(&image, plain).good();
        let _said = skopeo::encrypt_own_layer(&image, half, &key).good();
        let _said = skopeo::encrypt(&image, whole, &key).good();
        let by_digest = |name: &String| {
            let manifest = skopeo::raw_manifest(name);
            registry.image(&format!("tiny@{}", digest(manifest.as_bytes())))
        };
        let [plain, half, whole] = names.each_ref().map(by_digest);
        Self {
            registry,
            plain,
            half,
            whole,
        }
    }

    /// Puts an index of these images beside them: its name by its digest.
    async fn index(&self, images: &[&str]) -> String {
        let listed = images.iter().map(|image| {
            let manifest = skopeo::raw_manifest(image);
            json!({ "mediaType": MANIFEST, "digest": digest(manifest.as_bytes()), "size": manifest.len(),
                "platform": { "os": "linux", "architecture": "amd64" } })
        });
        let listed: Vec<Value> = listed.collect();
        let index =
            json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed }).to_string();
        let digest = digest(index.as_bytes());
        let url = format!(
            "http://{}/v2/tiny/manifests/{digest}",
            self.registry.address()
        );
        let http = touchstone_tests::server::plain_client();
        let put = http.put(url).header(CONTENT_TYPE, INDEX).body(index);
        assert_eq!(put.send().await.unwrap().status(), 201);
        self.registry.image(&format!("tiny@{digest}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_encrypted_as_its_registry_has_it() {
    let pushed = Pushed::new();
    let server = attestor(ENCRYPTED, &[PLAIN, pushed.registry.address()]);
    assert_eq!(judged(&server, &pushed.whole).await, "none");
    for image in [&pushed.plain, &pushed.half] {
        assert_eq!(judged(&server, image).await, json!(["image-not-encrypted"]));
    }
    let both = pushed.index(&[&pushed.whole, &pushed.half]).await;
    assert_eq!(judged(&server, &both).await, json!(["image-not-encrypted"]));
    let one = pushed.index(&[&pushed.whole]).await;
    assert_eq!(judged(&server, &one).await, "none");
    // Whatever the pod says of itself.
    let mut boasting = pod("u1", &running(&pushed.plain));
    boasting["request"]["object"]["metadata"]["annotations"] = json!({ "touchstone.dev/encrypted": "true", "org.opencontainers.image.enc.keys.provider.touchstone": "YQ==" });
    assert_eq!(
        server.refusals(&boasting).await,
        json!(["image-not-encrypted"])
    );
    // What was read once is known, also when the registry is away.
    drop(pushed.registry);
    assert_eq!(judged(&server, &pushed.whole).await, "none");
    assert_eq!(judged(&server, &one).await, "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_by_tag_is_refused_whatever_it_is() {
    let registry = Registry::start();
    let whole = manifest("+encrypted");
    registry.put("payments", "1", MANIFEST, &whole);
    let by_digest = put(&registry, &whole);
    let server = attestor(ENCRYPTED, &[PLAIN, &registry.name()]);
    let name = format!("{}/payments", registry.name());
    let sha512 = format!("{name}@sha512:{}", "0a".repeat(64));
    for tag in [name.clone(), format!("{name}:1"), sha512] {
        assert_eq!(judged(&server, &tag).await, json!(["image-by-tag"]));
    }
    // A tag beside a digest says nothing: it may be moved as one likes.
    let both = by_digest.replace("@", ":1@");
    assert_eq!(judged(&server, &both).await, "none");
    registry.put("payments", "1", MANIFEST, &manifest(""));
    assert_eq!(judged(&server, &both).await, "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_may_be_registered_after_it_was_refused() {
    let registry = Registry::start();
    let (whole, plain) = (manifest("+encrypted"), manifest(""));
    let (image, other) = (put(&registry, &whole), put(&registry, &plain));
    let server = attestor(
        "{encrypted: true, registered: true}",
        &[PLAIN, &registry.name()],
    );
    assert_eq!(
        judged(&server, &image).await,
        json!(["image-not-registered"])
    );
    let all = json!({ "manifests": [{ "digest": digest(&whole) }] }).to_string();
    let index = put(&registry, all.as_bytes());
    assert_eq!(
        judged(&server, &index).await,
        json!(["image-not-registered"])
    );
    let register = |image: &str| server.command(&["image", "register", "--plain-http", image]);
    register(&image);
    assert_eq!(judged(&server, &image).await, "none");
    assert_eq!(judged(&server, &index).await, "none");
    register(&other);
    assert_eq!(
        judged(&server, &other).await,
        json!(["image-not-encrypted"])
    );
    // Its registry is asked no more.
    registry.fall_silent();
    let database = server.database();
    let server = server.restart(&database);
    assert_eq!(judged(&server, &image).await, "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_bound_where_both_its_images_and_its_host_are_as_demanded() {
    let registry = Registry::start();
    let maker = Maker::new();
    let server = Server::start_with(&Database::under_test(), &[PLAIN, &registry.name()]);
    let world = World::on(server, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    world.join(&host, Some("DE")).await;
    world.apply(&demanding("{encrypted: true, registered: true}"));
    let server = &world.server;
    let image = put(&registry, &manifest("+encrypted"));
    server.command(&["image", "register", "--plain-http", &image]);
    let review = pod("u1", &running(&image));
    assert_eq!(server.refusals(&review).await, "none");
    let bound = |node: &str| binding(Some("u1"), "payments", node);
    assert_eq!(
        server.refusals(&bound("nowhere")).await,
        json!(["node-unmapped"])
    );
    assert_eq!(server.refusals(&bound("node-de-1")).await, "none");
    let entry = server.decisions().pop().unwrap();
    let (_, digest) = image.split_once('@').unwrap();
    assert_eq!(entry["images"], json!([digest]));
    // Both reasons are told at once.
    let other = put(&registry, &manifest("x"));
    let mut spec = running(&other);
    spec["nodeName"] = json!("nowhere");
    assert_eq!(
        server.refusals(&pod("u2", &spec)).await,
        json!([
            "image-not-encrypted",
            "image-not-registered",
            "node-unmapped"
        ])
    );
}
