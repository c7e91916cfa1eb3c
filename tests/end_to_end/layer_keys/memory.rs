//! What is in the attestor's memory while it releases keys: the master key where a file holds it, and nothing of it where
//! a token does.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use touchstone_tests::database::Database;
use touchstone_tests::liar::Liar;
use touchstone_tests::memory;
use touchstone_tests::server::Server;
use touchstone_tests::token::Tokens;
use touchstone_tests::world::World;

use super::token::{joined, start};
use super::{annotation, publisher, wrap};

/// Times that memory is looked at while keys are released.
const LOOKS: usize = 3;

/// A key that the test knows: no byte of it twice, so that it is found by nothing else.
fn known(first: u8) -> Vec<u8> {
    (0..32).map(|at| (at * 7_u8).wrapping_add(first)).collect()
}

/// A key of HMAC or AES as it may stand in memory: itself, in digits, and as HMAC begins with it (RFC 2104).
fn shapes(key: &[u8]) -> Vec<Vec<u8>> {
    let xored = |pad: u8| key.iter().map(|byte| byte ^ pad).collect();
    let digits = hex::encode(key);
    vec![
        key.to_vec(),
        digits.to_uppercase().into_bytes(),
        digits.into_bytes(),
        xored(0x36),
        xored(0x5c),
    ]
}

/// Brings a known key-encryption key, wraps and releases under it without a pause, and looks meanwhile and afterwards:
/// how often each needle was found.
async fn looked_at(world: &World, liar: &Liar, needles: &[Vec<u8>]) -> (Vec<usize>, Vec<usize>) {
    let server = &world.server;
    let file = server.folder().join("layer");
    server.write_private(&file, &known(0x11));
    let file = file.to_str().unwrap();
    let import = ["key", "import", "payments", "--file", file];
    server.command(&[&import[..], &["--policy", "payments"]].concat());
    let ci = publisher(server, "ci");
    let sealed = annotation(&wrap(server, &ci, "payments").await.unwrap());
    let (ends, (released, mut seen)) = (AtomicBool::new(false), watch::channel(0));
    let going_on = || !ends.load(Ordering::Relaxed);
    let releases = async {
        while going_on() {
            let wish = liar.wish(&sealed).await;
            liar.ask_release(&wish).await.unwrap();
            released.send_modify(|count| *count += 1);
        }
    };
    let wraps = async {
        while going_on() {
            wrap(server, &ci, "payments").await.unwrap();
        }
    };
    let looks = async {
        let mut most = vec![0; needles.len()];
        for look in 0..LOOKS {
            seen.wait_for(|count| *count > 3 * look).await.unwrap();
            let (pid, needles) = (server.pid(), needles.to_vec());
            let found = tokio::task::spawn_blocking(move || memory::count(pid, &needles));
            for (most, found) in most.iter_mut().zip(found.await.unwrap()) {
                *most = found.max(*most);
            }
        }
        ends.store(true, Ordering::Relaxed);
        most
    };
    let (most, ..) = tokio::join!(looks, releases, wraps);
    (most, memory::count(server.pid(), needles))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_the_attestor_holds_no_master_key_that_is_in_a_token() {
    let master = known(0x80);
    let needles = [shapes(&master), vec![known(0x11), b"4711-0815".to_vec()]].concat();
    let of_master = shapes(&master).len();

    let tokens = Tokens::start(&["hsm"]);
    tokens.bring("hsm", "master", &master);
    let uri = tokens.uri("hsm", "master");
    let server = start(&tokens, &Database::under_test(), &["--master-key", &uri]);
    let (world, host, _maker) = joined(server).await;
    let liar = Liar::take(&host, &world.server).await;
    let (during, after) = looked_at(&world, &liar, &needles).await;
    eprintln!("with a token: {during:?} while keys were released, {after:?} afterwards");
    assert!(during[..of_master].iter().all(|found| *found == 0));
    assert!(after[..of_master].iter().all(|found| *found == 0));
    drop((liar, host, world));

    // The same, and a file: so it would have been found.
    let file = tokens.pin_file().with_file_name("master.key");
    std::fs::write(&file, hex::encode(&master)).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, mode).unwrap();
    let named = ["--master-key", file.to_str().unwrap()];
    let server: Server = start(&tokens, &Database::under_test(), &named);
    let (world, host, _maker) = joined(server).await;
    let liar = Liar::take(&host, &world.server).await;
    let (during, after) = looked_at(&world, &liar, &needles).await;
    eprintln!("with a file: {during:?} while keys were released, {after:?} afterwards");
    assert!(during[0] > 0 && after[0] > 0);
}
