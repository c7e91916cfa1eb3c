//! What a real attestor answers on every route, against the document: no field that nobody described.

use std::cell::RefCell;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchstone_attestor::http::routes;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::endorsement::Bundle;
use touchstone_evidence::location::{LocationAuthority, Place};
use touchstone_evidence::wire::{Activation, Challenge, EnrolmentChallenge};
use touchstone_tests::authority::Ca;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::review::{binding, create};
use touchstone_tests::world::sample_policy;

use super::callers::Callers;
use crate::endorsements::endorse;
use crate::identity::applicant;
use crate::location::signed_tag;

/// A fleet to which everything happens that the interface speaks of.
struct Story {
    callers: Callers,
    /// Routes whose answer was seen.
    told: RefCell<BTreeSet<String>>,
}

impl Story {
    /// Calls a route, which must answer as it is described; the answer.
    async fn ask(&self, method: Method, path: &str, host: &str, body: Option<Value>) -> Value {
        let callers = &self.callers;
        if let Some(body) = &body {
            let operation = callers.document.operation(&method, path);
            let schema = callers.document.request(operation).unwrap();
            callers.document.assert_valid(schema, body, path);
        }
        let answered = callers.call(&method, path, host, body.as_ref()).await;
        callers.check(&method, path, &answered);
        assert_eq!(answered.status, StatusCode::OK, "{path}: {}", answered.body);
        self.told.borrow_mut().insert(format!("{method} {path}"));
        answered.body
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(Method::POST, path, "de-1", Some(body)).await
    }

    /// Everything that can be read, as it stands now.
    async fn read_all(&self, host: &str) {
        for route in routes() {
            if route.method == Method::GET {
                self.ask(Method::GET, route.path, host, None).await;
            }
        }
    }

    async fn machine(&self, name: &str) -> Host {
        let host = Host::boot(&self.callers.maker.authority, name, Profile::Healthy);
        self.callers.world.admit(&host, None).await;
        host
    }

    /// `de-2` enrols and does not attest.
    async fn enrolment(&self) -> Host {
        let host = self.machine("de-2").await;
        let applicant = applicant(&host, &self.callers.world).await;
        let begun = self.post("/v1/enrolments", json!(applicant.request)).await;
        let begun: EnrolmentChallenge = serde_json::from_value(begun).unwrap();
        let secret = applicant.open(&begun).await.unwrap().into();
        let enrolment = begun.enrolment;
        let activation = json!(Activation { enrolment, secret });
        self.post("/v1/enrolments/activate", activation).await;
        host
    }

    /// A round of `de-1`; its tier.
    async fn round(&self) -> Value {
        let path = "/v1/challenges";
        let challenge = self.ask(Method::POST, path, "de-1", None).await;
        let challenge: Challenge = serde_json::from_value(challenge).unwrap();
        let evidence = self.callers.liar.evidence(&challenge).await;
        let answer = self.post("/v1/evidence", json!(evidence)).await;
        answer["tier"].clone()
    }

    /// `de-1` says that it purged an image.
    async fn purge(&self) {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let purge = json!({ "runtime": "podman", "digests": [digest], "complete": true });
        self.post("/v1/purges", purge).await;
    }

    /// The boot of `de-1` is bad, and becomes good once an officer says so.
    async fn policies(&self) {
        let sample = std::fs::read_to_string(sample_policy()).unwrap();
        let wrong = sample.replace("8: [\"6342", "8: [\"0042");
        let wrong = json!({ "manifests": wrong, "drain": true });
        let plan = self.post("/v1/policies/plan", wrong.clone()).await;
        assert_eq!(plan["changes"][0]["to"], "contraindicated", "{plan}");
        assert_eq!(plan["not_judged"][0]["host"], "de-2", "{plan}");
        self.ask(Method::PUT, "/v1/policies", "", Some(wrong)).await;
        assert_eq!(self.round().await, "contraindicated");
        let name = "debian-12-shim-grub";
        self.post(
            "/v1/references",
            json!({ "host": "de-1", "name": name, "anyway": true }),
        )
        .await;
        self.read_all("de-1").await;
        self.post("/v1/references/activate", json!({ "name": name }))
            .await;
        assert_eq!(self.round().await, "affirming");
    }

    /// `de-1` moves, its tag is taken back, and so is the authority of it.
    async fn places(&self) {
        let world = &self.callers.world;
        let authority = LocationAuthority::from_secret(&[7; 32]).public_key();
        let key = hex::encode(authority.to_bytes());
        let added = self
            .post("/v1/location/authorities", json!({ "public_key": key }))
            .await;
        let end = json!({ "id": added["id"], "reason": "its key was lost" });
        self.post("/v1/location/authorities/revoke", end).await;
        let elsewhere = Place::new("DE", Some("DE-HE"), "fra1").unwrap();
        let tag = signed_tag(world, "de-1", |tag| tag.place = elsewhere).await;
        let tag = json!({ "host": "de-1", "tag": URL_SAFE_NO_PAD.encode(tag) });
        self.post("/v1/location/tags", tag).await;
        // The agent writes the tag that a challenge brings.
        self.callers.host.attest(&world.server).unwrap();
        self.callers.host.attest(&world.server).unwrap();
        let path = "/v1/location/hosts/{host}/history";
        let history = self.ask(Method::GET, path, "de-1", None).await;
        assert_eq!(history["moves"][0]["to"]["site"], "fra1", "{history}");
        self.read_all("de-1").await;
        self.post("/v1/location/tags/revoke", json!({ "host": "de-1" }))
            .await;
        assert_eq!(self.round().await, "contraindicated");
    }

    /// TPMs that nobody expects, and one whose maker nobody knows.
    async fn strangers(&self) {
        let world = &self.callers.world;
        for (name, act) in [("fr-1", "approve"), ("fr-2", "reject")] {
            let host = Host::boot(&self.callers.maker.authority, name, Profile::Healthy);
            applicant(&host, world).await.begin().await.unwrap_err();
            let waiting = self.ask(Method::GET, "/v1/quarantine", "", None).await;
            let mut body = json!({ "ek_digest": waiting["quarantine"][0]["ek_digest"] });
            if act == "approve" {
                body["host"] = json!(name);
            }
            self.post(&format!("/v1/quarantine/{act}"), body).await;
        }
        let foreign = Host::boot(&self.callers.maker.authority, "foreign", Profile::Healthy);
        endorse(&foreign, &Ca::root("Nobody"), 7).await;
        world.admit(&foreign, None).await;
        let refused = applicant(&foreign, world).await.begin().await;
        assert_eq!(refused.unwrap_err(), "ek-issuer-missing");
    }

    async fn makers(&self) {
        let (oem, root) = (Ca::root("Machine Works"), Ca::root("Root"));
        let certificate = URL_SAFE_NO_PAD.encode(&oem.der);
        let adding = json!({ "certificate": certificate, "host_prefix": "rack-" });
        self.post("/v1/oems", adding).await;
        let list = Bundle::pem_block("X509 CRL", &root.revoke(1, 2050, &[]));
        let pem = root.pem() + &list;
        let makers = ["id:494E5443"];
        let import = json!({ "class": "manufacturer", "manufacturers": makers, "pem": pem });
        self.post("/v1/endorsement-roots", import).await;
    }

    async fn inventory(&self) {
        let ek = |name: &str| Sha256Digest::of(name.as_bytes());
        let machine = |name: &str| json!({ "host": name, "ek_digests": [ek(name)] });
        self.post("/v1/inventory", machine("us-1")).await;
        let machines = json!({ "machines": [machine("us-2"), machine("us-3")] });
        self.post("/v1/inventory-imports", machines).await;
        let eks = json!({ "ek_digests": [ek("another")] });
        for (path, body) in [("eks", eks), ("remove", json!({ "reason": "sold" }))] {
            let path = format!("/v1/inventory/{{host}}/{path}");
            self.ask(Method::POST, &path, "us-1", Some(body)).await;
        }
        let path = "/v1/inventory/{host}";
        let gone = self.ask(Method::GET, path, "us-1", None).await;
        assert_eq!(gone["state"], "removed");
        self.post("/v1/nodes", json!({ "node": "w1", "host": "us-2" }))
            .await;
        self.post("/v1/nodes/unmap", json!({ "node": "w1" })).await;
    }

    async fn secrets(&self) {
        let token = json!({ "lifetime_seconds": 60, "host": "us-2", "uses": 1 });
        let token = self.post("/v1/join-tokens", token).await;
        self.post("/v1/join-tokens/revoke", json!({ "id": token["id"] }))
            .await;
        let by_token = json!({ "name": "anna", "role": "auditor", "lifetime_seconds": 60 });
        self.post("/v1/credentials", by_token).await;
        let key = Sha256Digest::of(b"key");
        let by_key = json!({ "name": "ci", "role": "relying-party", "tls_key": key });
        self.post("/v1/credentials", by_key).await;
        self.post("/v1/credentials/revoke", json!({ "name": "ci" }))
            .await;
        let keys = self.ask(Method::GET, "/v1/keys", "", None).await;
        let rotate = "/v1/keys/result/rotate";
        self.ask(Method::POST, rotate, "", None).await;
        let old = json!({ "id": keys["result_keys"][0]["id"] });
        self.post("/v1/keys/result/revoke", old).await;
    }

    /// A key of encrypted layers, from its making to its end, and an image that was encrypted with it.
    async fn layers(&self) {
        let of = |act: &str| format!("/v1/layer-keys/{{key}}/{act}");
        let post = |path: String, body| async move {
            self.ask(Method::POST, &path, "payments", Some(body)).await
        };
        let key = json!({ "name": "payments", "policy": "payments", "registered": true });
        self.post("/v1/layer-keys", key).await;
        let options = URL_SAFE_NO_PAD.encode(crate::layer_keys::options());
        let wrapped = post(of("wrap"), json!({ "options": options })).await;
        let manifest = crate::layer_keys::manifest(&[&crate::layer_keys::annotation(&wrapped)]);
        let image = json!({ "reference": "r/p:1", "manifest": URL_SAFE_NO_PAD.encode(manifest) });
        let registered = self.post("/v1/images", image).await;
        let challenge = self.ask(Method::POST, "/v1/challenges", "de-1", None).await;
        let challenge: Challenge = serde_json::from_value(challenge).unwrap();
        let wish = json!({
            "evidence": self.callers.liar.evidence_with_release_key(&challenge).await,
            "annotation": wrapped["annotation"],
            "manifest": registered["manifest"],
        });
        self.post("/v1/releases", wish).await;
        let key = json!({ "name": "secrets", "policy": "payments" });
        self.post("/v1/layer-keys", key).await;
        let evidence = async || {
            let challenge = self.ask(Method::POST, "/v1/challenges", "de-1", None).await;
            let challenge: Challenge = serde_json::from_value(challenge).unwrap();
            self.callers
                .liar
                .evidence_with_release_key(&challenge)
                .await
        };
        let wish = json!({ "evidence": evidence().await, "key": "secrets" });
        let made = self.post("/v1/data-keys", wish).await;
        let held = json!({ "evidence": evidence().await, "wrapped": made["wrapped"] });
        self.post("/v1/data-keys/open", held).await;
        let act = json!({ "host": "de-1", "key": "payments", "reason": "it moved" });
        self.post("/v1/leases/revoke", act.clone()).await;
        assert_eq!(self.round().await, "affirming");
        self.read_all("de-1").await;
        self.post("/v1/leases/restore", act).await;
        let made = self
            .ask(Method::POST, "/v1/layer-key-imports", "", None)
            .await;
        let public = URL_SAFE_NO_PAD.decode(made["public_key"].as_str().unwrap());
        let brought = crate::layer_keys::encrypt(&self.callers.world.server, &public.unwrap());
        let brought = json!({
            "import_key": made["import_key"],
            "wrapped": URL_SAFE_NO_PAD.encode(brought),
        });
        let imported = post(of("import"), brought).await;
        assert_eq!(imported["version"], 2, "{imported}");
        for act in ["rotate", "disable", "enable", "destroy"] {
            post(of(act), json!({ "reason": "it is its time" })).await;
        }
        self.read_all("de-1").await;
    }

    /// Keys in the place of others; last the CA, which these clients do not follow.
    async fn exchanges(&self) {
        let keys = self.ask(Method::GET, "/v1/keys", "", None).await;
        let from = json!({ "from": keys["checkpoint_key"] });
        self.post("/v1/keys/checkpoint/rotate", from).await;
        for key in ["webhook/rotate", "webhook/revoke", "ca/rotate"] {
            let path = format!("/v1/keys/{key}");
            self.ask(Method::POST, &path, "", None).await;
        }
        self.post("/v1/keys/ca/activate", json!({ "force": true }))
            .await;
    }

    /// Pods that may run, that may not, and that no policy is for.
    async fn pods(&self) {
        for path in [
            "/kubernetes/v1/validate",
            "/kubernetes/v1/validate/{secret}",
        ] {
            self.post(path, create(path, "elsewhere", None)).await;
            self.post(path, create(path, "payments", None)).await;
            let allowed = self
                .post(path, binding(Some(path), "payments", "node-de-1"))
                .await;
            assert_eq!(allowed["response"]["allowed"], true, "{allowed}");
            let refused = self
                .post(path, binding(Some(path), "payments", "nowhere"))
                .await;
            assert_eq!(refused["response"]["status"]["code"], 403, "{refused}");
        }
    }

    /// What a mutating webhook and a scheduler's extender are asked.
    async fn placements(&self) {
        let nodes = ["node-de-1", "nowhere"];
        let items = nodes.map(|name| json!({ "metadata": { "name": name }, "spec": {} }));
        for secret in ["", "/{secret}"] {
            let path = format!("/kubernetes/v1/mutate{secret}");
            let patched = self.post(&path, create("u1", "payments", None)).await;
            assert_eq!(patched["response"]["patchType"], "JSONPatch", "{patched}");
            let same = self.post(&path, create("u1", "elsewhere", None)).await;
            assert!(same["response"].get("patch").is_none(), "{same}");
            let pod = create("u1", "payments", None)["request"]["object"].clone();
            for args in [
                json!({ "Pod": pod, "NodeNames": nodes }),
                json!({ "Pod": pod, "Nodes": { "items": items } }),
                json!({ "Pod": pod }),
            ] {
                let path = format!("/kubernetes/v1/extender/filter{secret}");
                self.post(&path, args.clone()).await;
                let path = format!("/kubernetes/v1/extender/prioritize{secret}");
                self.post(&path, args).await;
            }
        }
    }

    /// What operators do to hosts.
    async fn service(&self, board: &Host) {
        let of = |act: &str| format!("/v1/hosts/{{host}}/{act}");
        let firmware = json!({ "version": "0x1" });
        self.post(&of("firmware"), firmware).await;
        let door = json!({ "seconds": 60, "reason": "a new disk" });
        self.post(&of("reenrol"), door).await;
        let host = self
            .ask(Method::GET, "/v1/hosts/{host}", "de-1", None)
            .await;
        assert_eq!(host["identity"]["state"], "awaiting-re-enrolment");
        let ek = Sha256Digest::of(board.name.as_bytes());
        let new = json!({ "ek_digests": [ek], "reason": "a new board" });
        let replace = of("replace");
        self.ask(Method::POST, &replace, &board.name, Some(new))
            .await;
        self.read_all("de-1").await;
        self.post(&of("retire"), json!({})).await;
        for path in ["/v1/hosts", "/v1/hosts/{host}"] {
            self.ask(Method::GET, path, "de-1", None).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_it_is_described() {
    let story = Story {
        callers: Callers::new().await,
        told: RefCell::default(),
    };
    story.read_all("de-1").await;
    let second = story.enrolment().await;
    story.pods().await;
    story.placements().await;
    story.policies().await;
    story.purge().await;
    story.strangers().await;
    story.makers().await;
    story.inventory().await;
    story.secrets().await;
    story.layers().await;
    story.places().await;
    story.read_all("de-1").await;
    story.service(&second).await;
    story.exchanges().await;
    let told = story.told.into_inner();
    let routes = routes().into_iter();
    let all: BTreeSet<String> = routes
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    assert_eq!(told, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_described_as_well() {
    let callers = Callers::new().await;
    for (method, path, host, status) in [
        (Method::GET, "/v1/hosts/{host}", "nobody", 404),
        (Method::GET, "/v1/hosts/{host}", "No-Name", 400),
        (Method::POST, "/v1/join-tokens/revoke", "", 422),
    ] {
        let body = (method == Method::POST).then(|| json!({ "id": "00" }));
        let answered = callers.call(&method, path, host, body.as_ref()).await;
        assert_eq!(answered.status.as_u16(), status, "{}", answered.body);
        callers.check(&method, path, &answered);
        let operation = callers.document.operation(&method, path);
        let told = operation["responses"].get(status.to_string());
        assert!(told.is_some(), "{method} {path} does not tell of {status}");
    }
}
