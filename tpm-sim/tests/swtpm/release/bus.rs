//! Stands between the agent and its TPM: sees every command before the TPM does, and keeps what passed by.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A `TPM_CC` (TPM 2.0 Part 2 §6.5.2).
pub(crate) const UNSEAL: u32 = 0x0000_015e;

/// Called with the code of each command before it goes on.
type Watch = Box<dyn FnMut(u32) + Send>;

/// The two channels of a TPM, watched.
pub(crate) struct Bus {
    port: u16,
    passed: Arc<Mutex<Vec<u8>>>,
}

impl Bus {
    /// Before the TPM whose data channel is at `port` and whose control channel is one above.
    pub(crate) fn before(port: u16, watch: impl FnMut(u32) + Send + 'static) -> Self {
        let (data, control) = adjacent();
        let bus = Self {
            port: data.local_addr().unwrap().port(),
            passed: Arc::default(),
        };
        let watch: Arc<Mutex<Watch>> = Arc::new(Mutex::new(Box::new(watch)));
        let passed = Arc::clone(&bus.passed);
        thread::spawn(move || {
            for client in data.incoming() {
                let (watch, passed) = (Arc::clone(&watch), Arc::clone(&passed));
                let client = client.unwrap();
                // Ends with the client's connection.
                thread::spawn(move || while pass(&client, port, &watch, &passed).is_ok() {});
            }
        });
        thread::spawn(move || {
            for client in control.incoming() {
                join(client.unwrap(), port + 1);
            }
        });
        bus
    }

    pub(crate) fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// Whether `bytes` passed by, either way.
    pub(crate) fn carried(&self, bytes: &[u8]) -> bool {
        let passed = self.passed.lock().unwrap();
        passed.windows(bytes.len()).any(|window| window == bytes)
    }
}

/// One command and its answer, over a connection of its own: the TPM serves one at a time, and whoever watches may
/// want to speak to it too.
fn pass(
    mut client: &TcpStream,
    port: u16,
    watch: &Mutex<Watch>,
    passed: &Mutex<Vec<u8>>,
) -> io::Result<()> {
    let (code, command) = message(client)?;
    watch.lock().unwrap()(code);
    let mut tpm = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    tpm.write_all(&command)?;
    let (_, answer) = message(&tpm)?;
    passed
        .lock()
        .unwrap()
        .extend([command, answer.clone()].concat());
    client.write_all(&answer)
}

/// A command or an answer: tag, size, code, and the rest.
fn message(mut from: &TcpStream) -> io::Result<(u32, Vec<u8>)> {
    let mut head = [0; 10];
    from.read_exact(&mut head)?;
    let [_, _, a, b, c, d, code @ ..] = head;
    let rest = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap() - head.len();
    let mut whole = head.to_vec();
    whole.resize(head.len() + rest, 0);
    from.read_exact(&mut whole[head.len()..])?;
    Ok((u32::from_be_bytes(code), whole))
}

/// Both ways, until one ends.
fn join(client: TcpStream, port: u16) {
    let tpm = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let (from_client, to_client) = (client.try_clone().unwrap(), client);
    let (from_tpm, to_tpm) = (tpm.try_clone().unwrap(), tpm);
    for (mut from, mut to) in [(from_client, to_tpm), (from_tpm, to_client)] {
        thread::spawn(move || {
            let _ended = io::copy(&mut from, &mut to);
            let _ended = to.shutdown(std::net::Shutdown::Write);
        });
    }
}

/// Listeners on two ports of which the second is one above the first.
fn adjacent() -> (TcpListener, TcpListener) {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    for _ in 0..64 {
        let first = bind(0).unwrap();
        let port = first.local_addr().unwrap().port();
        if let Ok(second) = bind(port + 1) {
            return (first, second);
        }
    }
    panic!("no two adjacent ports are free");
}
