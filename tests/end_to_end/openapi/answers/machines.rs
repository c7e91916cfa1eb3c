//! Machines come, are let in or not, are served, and go.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::json;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::endorsement::Bundle;
use touchstone_evidence::wire::{Activation, EnrolmentChallenge};
use touchstone_tests::authority::Ca;
use touchstone_tests::host::{Host, Profile};

use super::Story;
use crate::endorsements::endorse;
use crate::identity::applicant;

impl Story {
    /// `de-2` enrols and does not attest.
    pub(super) async fn enrolment(&self) -> Host {
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

    /// TPMs that nobody expects, and one whose maker nobody knows.
    pub(super) async fn strangers(&self) {
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

    pub(super) async fn makers(&self) {
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

    pub(super) async fn inventory(&self) {
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

    /// What operators do to hosts.
    pub(super) async fn service(&self, board: &Host) {
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
