//! What admission knows of images: by their manifests, in registries and in the register, never by a pod's own word.

use std::time::{Duration, Instant};

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
use touchstone_tests::review::{binding, debug, pod, running};
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
async fn every_container_of_a_pod_is_looked_at_alone() {
    let registry = Registry::start();
    let (whole, plain) = (
        put(&registry, &manifest("+encrypted")),
        put(&registry, &manifest("")),
    );
    let server = attestor(ENCRYPTED, &[PLAIN, &registry.name()]);
    let one = |image: &str| json!([{ "name": "x", "image": image }]);
    let with = |field: &str, value: Value| {
        let mut spec = running(&whole);
        spec[field] = value;
        pod("u1", &spec)
    };
    let mut sidecar = one(&plain);
    sidecar[0]["restartPolicy"] = json!("Always");
    let mounted = json!([{ "name": "x", "image": { "reference": plain } }]);
    for review in [
        with("containers", one(&plain)),
        with("initContainers", one(&plain)),
        with("initContainers", sidecar),
        with("ephemeralContainers", one(&plain)),
        with("volumes", mounted),
    ] {
        assert_eq!(
            server.refusals(&review).await,
            json!(["image-not-encrypted"])
        );
    }
    let good = with("initContainers", one(&whole));
    assert_eq!(server.refusals(&good).await, "none");
}

/// The encrypted image is in one container of the pod alone: its policy is for the whole pod all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_for_an_image_is_for_whichever_container_carries_it() {
    let server = Server::start(&Database::under_test());
    let policy = demanding("{}").replace(
        "    labels:\n      app: payments\n",
        "    images: [registry.example/payments/]\n",
    );
    let file = server.file("policy.yaml", &policy);
    server.command(&["policy", "apply", &file, "--drain"]);
    let secret = format!(
        "Registry.example:443/payments/api@sha256:{}",
        "0a".repeat(32)
    );
    let other = format!("registry.example/tools/log@sha256:{}", "0b".repeat(32));
    let mut base = running(&other);
    base["nodeName"] = json!("nowhere");
    assert_eq!(server.refusals(&pod("u1", &base)).await, "none");
    let one = json!([{ "name": "x", "image": secret }]);
    let mut sidecar = one.clone();
    sidecar[0]["restartPolicy"] = json!("Always");
    let mounted = json!([{ "name": "x", "image": { "reference": secret } }]);
    for (field, value) in [
        ("initContainers", one.clone()),
        ("initContainers", sidecar),
        ("ephemeralContainers", one),
        ("volumes", mounted),
    ] {
        let mut spec = base.clone();
        spec[field] = value;
        assert_eq!(
            server.refusals(&pod("u1", &spec)).await,
            json!(["node-unmapped"])
        );
    }
    let added = debug(&pod("u1", &base), &secret);
    assert_eq!(server.refusals(&added).await, json!(["node-unmapped"]));
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
async fn a_registry_that_does_not_tell_is_answered_for_with_a_refusal() {
    let registry = Registry::start();
    let away = "127.0.0.1:9";
    let server = attestor(ENCRYPTED, &[PLAIN, &registry.name(), PLAIN, away]);
    let absent = format!("{away}/payments@sha256:{}", "0a".repeat(32));
    assert_eq!(
        judged(&server, &absent).await,
        json!(["image-encryption-unknown"])
    );
    let (_, why) = server.review(&pod("u1", &running(&absent))).await;
    assert!(
        why.contains("see that the registry is there") && why.contains("image register"),
        "{why}"
    );
    // Another manifest under the digest, one that is too large, one that is none, and an index within an index.
    let encrypted = manifest("+encrypted");
    let lie = digest(b"another");
    registry.put("payments", &lie, MANIFEST, &encrypted);
    let lie = format!("{}/payments@{lie}", registry.name());
    assert_eq!(
        judged(&server, &lie).await,
        json!(["image-encryption-unknown"])
    );
    let huge = [&encrypted[..], &b" ".repeat(4 << 20)].concat();
    let inner = json!({ "manifests": [{ "digest": digest(&encrypted) }] }).to_string();
    put(&registry, inner.as_bytes());
    let outer = json!({ "manifests": [{ "digest": digest(inner.as_bytes()) }] }).to_string();
    for manifest in [&huge[..], b"[]", outer.as_bytes()] {
        let image = put(&registry, manifest);
        assert_eq!(
            judged(&server, &image).await,
            json!(["image-encryption-unknown"])
        );
    }
    // Not named on the command line: it is asked with TLS, which it does not speak.
    let other = Registry::start();
    let image = put(&other, &encrypted);
    assert_eq!(
        judged(&server, &image).await,
        json!(["image-encryption-unknown"])
    );
    // An API server waits three seconds.
    let image = put(&registry, &encrypted);
    registry.fall_silent();
    let asked = Instant::now();
    assert!(!server.review(&pod("u1", &running(&image))).await.0);
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_shown_the_credential_of_the_file_or_a_token_for_it() {
    let registry = Registry::start();
    let [basic, bearer, last] =
        ["1", "2", "3"].map(|number| put(&registry, &manifest(&format!("{number}+encrypted"))));
    // `ci:hush`
    registry.demand("Basic Y2k6aHVzaA==");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auth.json");
    let write = |registry: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let auths = json!({ "auths": { registry: { "auth": "Y2k6aHVzaA==" } } });
        std::fs::write(&file, auths.to_string()).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        ["--registry-credentials", file.to_str().unwrap()]
    };
    let name = registry.name();
    let plain = [PLAIN, &name];
    let other = attestor(
        ENCRYPTED,
        &[&plain[..], &write("registry.example")].concat(),
    );
    assert_eq!(
        judged(&other, &basic).await,
        json!(["image-encryption-unknown"])
    );
    let server = attestor(ENCRYPTED, &[&plain[..], &write(&registry.name())].concat());
    assert_eq!(judged(&server, &basic).await, "none");
    registry.give_tokens("t0ken");
    assert_eq!(judged(&server, &bearer).await, "none");
    assert_eq!(
        judged(&other, &last).await,
        json!(["image-encryption-unknown"])
    );
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

#[test]
fn a_start_with_what_cannot_be_used_for_registries_is_refused() {
    let database = Database::under_test();
    let mut server = Server::start(&database);
    server.stop();
    let said = server.refusal_to_start(&database, &[PLAIN, "registry.example:5000"]);
    assert!(said.contains("leave out --plain-http-registry"), "{said}");
    let file = server.file("auth.json", "{}");
    let said = server.refusal_to_start(&database, &["--registry-credentials", &file]);
    assert!(said.contains("auth.json"), "{said}");
}
