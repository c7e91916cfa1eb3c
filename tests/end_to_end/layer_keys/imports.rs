//! Keys that an operator brings.

use std::process::Command;

use serde_json::json;
use touchstone_tests::database::Database;
use touchstone_tests::server::Server;

use super::{attestor, publisher, told, wrap};

/// A key, encrypted by OpenSSL to the public key of an import key, PEM or DER.
pub(crate) fn encrypt(server: &Server, public: &[u8]) -> Vec<u8> {
    let key = key_file(server, "mine", &[7; 32]);
    let public = key_file(server, "public", public);
    let (wrapped, wrap) = (server.folder().join("wrapped"), "pkeyutl -encrypt -pubin");
    let oaep =
        "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256";
    let done = Command::new("openssl")
        .args(wrap.split(' '))
        .args(["-inkey", &public, "-in", &key, "-out"])
        .arg(&wrapped)
        .args(oaep.split(' '))
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    std::fs::read(wrapped).unwrap()
}

fn key_file(server: &Server, name: &str, content: &[u8]) -> String {
    let path = server.folder().join(name);
    server.write_private(&path, content);
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_from_a_file_becomes_a_key_and_the_next_version_of_one() {
    let server = attestor(&Database::under_test());
    let ci = publisher(&server, "ci");
    let bytes = key_file(&server, "mine", &[7; 32]);
    let import = ["key", "import", "mine", "--file", &bytes];
    assert_eq!(server.refusal(&import), "layer-key-policy-missing");
    let made = server.command(&[&import[..], &["--policy", "payments", "--registered"]].concat());
    assert_eq!(
        (&made["version"], &made["registered"], &made["policy"]),
        (&json!(1), &json!(true), &json!("payments"))
    );
    assert_eq!(wrap(&server, &ci, "mine").await.unwrap()["key_version"], 1);
    let digits = key_file(
        &server,
        "mine.hex",
        format!("{}\n", "08".repeat(32)).as_bytes(),
    );
    let next = server.command(&["key", "import", "mine", "--file", &digits]);
    assert_eq!(next["version"], 2);
    let other = [
        "key", "import", "mine", "--file", &digits, "--policy", "other",
    ];
    assert_eq!(server.refusal(&other), "layer-key-policy-other");
    let short = key_file(&server, "short", &[7; 31]);
    let said = server.run(&["key", "import", "mine", "--file", &short]);
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(
        said.contains("32 bytes, or 64 hexadecimal digits"),
        "{said}"
    );
    // The same bytes under the same name open what they sealed, at whichever attestor: nothing else is in them.
    let kinds: Vec<String> = told(&server).into_iter().map(|(kind, ..)| kind).collect();
    let due = [
        "import-key-made",
        "import-key-made",
        "layer-key-created",
        "layer-key-imported",
        "layer-wrapped",
        "import-key-made",
        "layer-key-imported",
        "import-key-made",
    ];
    assert_eq!(kinds, due);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_openssl_encrypted_is_taken_in_once() {
    let server = attestor(&Database::under_test());
    let public = server.folder().join("import.pem");
    let public = public.to_str().unwrap();
    let encrypt = || {
        let made = server.command(&["key", "import-key", "--out", public]);
        let wrapped = encrypt(&server, &std::fs::read(public).unwrap());
        let id = made["import_key"].as_str().unwrap().to_owned();
        (id, key_file(&server, "wrapped", &wrapped))
    };
    let import = |id: &str, wrapped: &str| {
        let arguments = [
            "key",
            "import",
            "mine",
            "--wrapped",
            wrapped,
            "--import-key",
            id,
        ];
        [&arguments[..], &["--policy", "payments"]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let run = |arguments: &[String]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = server.run(&arguments);
        match output.status.success() {
            true => "done".to_owned(),
            false => server.refusal(&arguments),
        }
    };
    let (id, wrapped) = encrypt();
    let arguments = import(&id, &wrapped);
    let refs: Vec<&str> = arguments.iter().map(String::as_str).collect();
    assert_eq!(server.command(&refs)["version"], 1);
    assert_eq!(run(&arguments), "import-key-unknown", "its one use is over");
    // What does not decrypt uses it up too.
    let (id, _) = encrypt();
    let garbage = key_file(&server, "garbage", &[9; 384]);
    let refs = [
        "key",
        "import",
        "mine",
        "--wrapped",
        &garbage,
        "--import-key",
        &id,
    ];
    assert_eq!(server.refusal(&refs), "import-malformed");
    assert_eq!(server.refusal(&refs), "import-key-unknown");
    // And so does an hour.
    let (id, wrapped) = encrypt();
    server
        .execute("UPDATE import_keys SET expires_at = 1")
        .await;
    assert_eq!(run(&import(&id, &wrapped)), "import-key-unknown");
}
