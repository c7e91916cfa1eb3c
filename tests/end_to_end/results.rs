//! Attestation results: what any relying party can check with a library of its own.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;
use touchstone_tests::world::healthy_host;

#[tokio::test(flavor = "multi_thread")]
async fn an_independent_library_verifies_the_result() {
    let (world, _host, _maker) = healthy_host().await;
    let token = world.server.get("/v1/hosts/de-1/result").await["result"]
        .as_str()
        .unwrap()
        .to_owned();
    let keys = world.server.get("/v1/keys").await;
    let key = hex::decode(keys["result_key"].as_str().unwrap()).unwrap();
    let header = decode_header(&token).unwrap();
    assert_eq!(header.alg, Algorithm::EdDSA);

    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_required_spec_claims(&["exp"]);
    let decoding = DecodingKey::from_ed_der(&key);
    let claims = decode::<Value>(&token, &decoding, &validation)
        .unwrap()
        .claims;
    assert_eq!(claims["eat_profile"], "tag:github.com,2023:veraison/ear");
    let host = &claims["submods"]["de-1"];
    assert_eq!(host["ear.status"], "affirming");
    assert_eq!(host["ear.trustworthiness-vector"]["configuration"], 2);
    assert_eq!(host["ear.trustworthiness-vector"]["executables"], 0);
    assert_eq!(host["ear.trustworthiness-vector"]["hardware"], 96);
    assert_eq!(host["touchstone"]["place"]["country"], "DE");
    // The entry that it names is the one that the host's view names.
    let view = world.server.get("/v1/hosts/de-1").await;
    assert_eq!(host["touchstone"]["entry"], view["entry"]);

    // Another payload under the same signature.
    let mut parts: Vec<&str> = token.split('.').collect();
    let forged = parts[1].replacen('a', "b", 1);
    parts[1] = &forged;
    assert!(decode::<Value>(&parts.join("."), &decoding, &validation).is_err());
    let printed = world.server.command(&["host", "result", "de-1"]);
    assert_eq!(printed["claims"], claims);
}
