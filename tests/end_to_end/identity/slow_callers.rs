//! Requests that were let in while an identity lived, and whose bodies come after its end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use touchstone_agent::identity::Identity;
use touchstone_agent::state::Records;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::world::{Maker, World};

use super::view;

/// A request that was let in, and of whose body nothing was sent yet.
struct Slow(StreamOwned<ClientConnection, TcpStream>);

impl Slow {
    /// Returns once the attestor asks for the body (RFC 9110 §10.1.1).
    fn post(identity: &Identity, path: &str) -> Self {
        let address = identity.server.trim_start_matches("https://");
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connection = ClientConnection::new(config(identity), name).unwrap();
        let mut stream = StreamOwned::new(connection, tcp);
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut said = Vec::new();
        while !said.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            said.extend(byte);
        }
        assert!(said.starts_with(b"HTTP/1.1 100 "), "{said:?}");
        Self(stream)
    }

    /// Sends the body: the whole answer.
    fn send(mut self, body: &[u8]) -> String {
        let mut rest = format!("{:x}\r\n", body.len()).into_bytes();
        rest.extend_from_slice(body);
        rest.extend(b"\r\n0\r\n\r\n");
        self.0.write_all(&rest).unwrap();
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).unwrap();
        answer
    }
}

fn config(identity: &Identity) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(identity.ca.as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let key = &identity.keys.tls;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(key.certificate().as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.private_key().as_bytes()).unwrap(),
        );
    Arc::new(config.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_replaced_tpm_says_is_no_word_of_its_successor() {
    let maker = Maker::new();
    for database in Database::both() {
        let world = World::start(&database, &maker);
        let server = &world.server;
        let boot = |name, profile| Host::boot(&maker.authority, name, profile);
        let (old, new) = (
            boot("de-1", Profile::Healthy),
            boot("de-1-new-board", Profile::Altered),
        );
        // Counters that the new TPM will not reach for a while.
        old.reboot();
        old.reboot();
        assert_eq!(world.join(&old, Some("DE")).await["tier"], "affirming");
        let identity = Records::at(&old.settings(server).state).identity();
        let identity = identity.unwrap().unwrap();
        let liar = Liar::take(&old, server).await;
        let evidence = Slow::post(&identity, "/v1/evidence");
        let challenge = Slow::post(&identity, "/v1/challenges");

        let certificate = new.ek_certificate().await;
        let replace = ["host", "replace", "de-1", "--ek-certificate", &certificate];
        server.command(&replace);
        new.enrol(server, &world.join_token).unwrap();
        let before = view(&world, "de-1").await;

        // The challenge that the name has now, answered by the TPM that had the name.
        let records = Records::at(&new.settings(server).state);
        let fresh = records.challenge().unwrap().unwrap();
        let body = serde_json::to_vec(&liar.evidence(&fresh).await).unwrap();
        for answer in [evidence.send(&body), challenge.send(b"{}")] {
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
            let (_, problem) = answer.split_once("touchstone:").unwrap();
            assert_eq!(problem.split('"').next(), Some("host-replaced"));
        }
        assert_eq!(view(&world, "de-1").await, before);
        // The successor is not held to the counters of another TPM, nor lost its challenge.
        let outcome = new.attest(server).unwrap();
        assert_eq!(outcome["tier"], "contraindicated", "{outcome}");
    }
}
