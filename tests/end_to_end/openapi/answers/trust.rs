//! What is good changes, and where a host is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::json;
use touchstone_evidence::location::{LocationAuthority, Place};
use touchstone_tests::world::sample_policy;

use super::Story;
use crate::location::signed_tag;

impl Story {
    /// The boot of `de-1` is bad, and becomes good once an officer says so.
    pub(super) async fn policies(&self) {
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
    pub(super) async fn places(&self) {
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
}
