//! More than one caller may take: connections that say nothing, bodies that do not come.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use touchstone_tests::liar::Liar;
use touchstone_tests::slow::Slow;
use touchstone_tests::world::healthy_host;
use touchstone_tpm_sim::lies::code;

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_is_ended() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let begun = Instant::now();
    // Nothing at all, half a head, and the beginning of another protocol.
    let silent = [&b""[..], b"GET /healthz HT", b"PRI * HTTP"].map(|first| {
        let identity = liar.identity.clone();
        std::thread::spawn(move || Slow::silent(&identity, first).answer())
    });
    for connection in silent {
        // Whether it is told so or not, it ends.
        let _said = connection.join();
    }
    assert!(
        begun.elapsed() < Duration::from_secs(25),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(world.server.get("/healthz").await["status"], "ok");
}

/// As many files as it may have open: the attestor raises its own limit likewise.
fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    limit.maximum.unwrap_or(u64::MAX)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_hold_up_no_host() {
    const IDLE: usize = 10_000;
    let (world, host, _maker) = healthy_host().await;
    let most = raise_open_files();
    if most < 11_000 {
        eprintln!("SKIPPED: {most} files may be open here, and 11,000 are needed; next: ulimit -n");
        return;
    }
    let address = world.server.url.trim_start_matches("https://").to_owned();
    let liar = Liar::take(&host, &world.server).await;
    let begun = Instant::now();
    let mut idle: Vec<TcpStream> = (0..IDLE)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    let (all, open) = (begun.elapsed(), Instant::now());
    assert_eq!(code(&liar.lie(|_| ()).await), "none");
    let within = open.elapsed();
    assert!(within < Duration::from_secs(20), "{within:?}");
    // The attestor ends them, each by itself.
    for connection in &mut idle {
        connection
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let ended = connection.read(&mut [0]);
        assert!(
            matches!(&ended, Ok(0))
                || matches!(&ended, Err(error) if error.kind() == ErrorKind::ConnectionReset),
            "{ended:?}"
        );
    }
    assert!(open.elapsed() < Duration::from_secs(60));
    eprintln!("{IDLE} connections in {all:?}; then a round in {within:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn few_bodies_of_a_host_come_at_once_and_no_other_host_waits_for_them() {
    let (world, host, maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let held: Vec<Slow> = (0..4)
        .map(|_| Slow::post(&liar.identity, "/v1/evidence"))
        .collect();
    let head = Slow::try_post(&liar.identity, "/v1/evidence")
        .map(drop)
        .unwrap_err();
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    let refused = format!("code=\"{}\"}} 1", "too-many-at-once");
    let counted = world.server.text("/metrics").await;
    assert!(counted.contains(&refused), "{counted}");
    assert!(
        head.to_ascii_lowercase().contains("retry-after: 1"),
        "{head}"
    );
    let other = touchstone_tests::host::Host::boot(
        &maker.authority,
        "de-2",
        touchstone_tests::host::Profile::Healthy,
    );
    assert_eq!(world.join(&other, Some("DE")).await["tier"], "affirming");
    // Room comes back with each of them.
    drop(held);
    let waited = Instant::now();
    while Slow::try_post(&liar.identity, "/v1/evidence").is_err() {
        assert!(waited.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_protocols_and_halves_of_requests_change_nothing() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let before = world.server.audit_entries().len();
    // HTTP where TLS is spoken gets no answer in HTTP.
    let address = world.server.url.trim_start_matches("https://");
    let mut plain = TcpStream::connect(address).unwrap();
    plain
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    plain.write_all(request).unwrap();
    let mut said = Vec::new();
    let _ended = plain.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
    // Half a body, after which the caller is gone.
    let head =
        "POST /v1/evidence HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let half = format!("{head}Content-Length: 1000\r\n\r\n{{\"nonce\":");
    drop(Slow::silent(&liar.identity, half.as_bytes()));
    // More of a body than was announced is no part of it.
    let more = format!("{head}Content-Length: 2\r\nConnection: close\r\n\r\n{{}}{{}}");
    let answer = Slow::silent(&liar.identity, more.as_bytes()).answer();
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_eq!(code(&liar.lie(|_| ()).await), "none");
    let entries = world.server.audit_entries();
    let rounds = entries[before..]
        .iter()
        .filter(|entry| entry["kind"] != "refused");
    assert_eq!(rounds.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let refused = liar.lie(|lie| lie.quote.signature.0.clear()).await;
    assert_eq!(refused.unwrap_err(), "signature-absent");
    let text = world.server.text("/metrics").await;
    let of = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
        line.trim().parse().unwrap()
    };
    assert_eq!(of("touchstone_rounds_total{tier=\"affirming\"}"), 1.0);
    assert_eq!(
        of("touchstone_refusals_total{code=\"signature-absent\"}"),
        1.0
    );
    assert_eq!(of("touchstone_hosts{tier=\"affirming\"}"), 1.0);
    assert_eq!(of("touchstone_round_seconds_count"), 1.0);
    assert!(of("process_cpu_seconds_total") > 0.0);
    assert!(of("process_resident_memory_bytes") > 1e6);
    // Each is explained.
    let page = std::fs::read_to_string("../docs/operators/metrics.md").unwrap();
    for line in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        let name = line.split(' ').next().unwrap();
        assert!(page.contains(&format!("`{name}")), "{name} is in no docs");
    }
}
