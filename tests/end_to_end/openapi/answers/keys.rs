//! Credentials and keys: the attestor's own, and those of encrypted images.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::json;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::wire::Challenge;

use super::Story;

impl Story {
    /// `de-1` says that it purged an image.
    pub(super) async fn purge(&self) {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let purge = json!({ "runtime": "podman", "digests": [digest], "complete": true });
        self.post("/v1/purges", purge).await;
    }

    pub(super) async fn secrets(&self) {
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
    pub(super) async fn layers(&self) {
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
    pub(super) async fn exchanges(&self) {
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
}
