//! The TPM behind tpm2-abrmd, on a bus of its own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use touchstone_tests::daemon::Daemon;
use touchstone_tests::host::{Host, agent_command};
use touchstone_tests::programs;
use touchstone_tests::world::healthy_host;

use super::end;

/// Where distributions put it.
const TABRMD: [&str; 2] = ["/usr/sbin/tpm2-abrmd", "/usr/bin/tpm2-abrmd"];

#[tokio::test(flavor = "multi_thread")]
async fn a_host_attests_through_the_resource_manager_of_user_space() {
    let (world, host, _maker) = healthy_host().await;
    let Some(program) = TABRMD.into_iter().find(|path| Path::new(path).exists()) else {
        eprintln!("SKIPPED: tpm2-abrmd is not there; next: make deps");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let bus = Bus::start(folder.path());
    let mut settings = host.settings(&world.server);
    settings.tcti = "tabrmd:bus_type=session".to_owned();
    let address = bus.address.clone();
    let agent = |arguments: &[&str]| reached(&address, agent_command(&settings, arguments));

    let (code, said) = end(agent(&["attest", "--once"]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no TPM 2.0 answers at `tabrmd"), "{said}");
    // As at boot, the agent may be there first.
    let mut daemon = Daemon::start(agent(&["run", "--interval", "1"]));
    daemon.wait_for("no TPM 2.0 answers");
    let mut manager = bus.manage(program, &host);
    for _ in 0..5 {
        daemon.wait_for_round("affirming");
    }
    let (code, said) = end(agent(&["check"]));
    assert_eq!(code, Some(0), "{said}");
    // It goes, and another one comes.
    manager.kill().unwrap();
    manager.wait().unwrap();
    daemon.wait_for("not attested");
    let mut manager = bus.manage(program, &host);
    daemon.wait_for_round("affirming");
    // Where the bus goes, only a new process finds the next one.
    drop(bus);
    let (code, said) = daemon.end();
    assert_eq!(code, Some(1), "{said}");
    manager.kill().unwrap();
    manager.wait().unwrap();
    let bus = Bus::start(folder.path());
    let mut manager = bus.manage(program, &host);
    let mut daemon = Daemon::start(agent(&["run", "--interval", "1"]));
    daemon.wait_for_round("affirming");
    daemon.stop();
    // Keys are made through it too.
    world.server.command(&["host", "reenrol", "de-1"]);
    let token = world.join_token.to_str().unwrap();
    let (code, said) = end(agent(&["enrol", "--again", "--join-token", token]));
    assert_eq!(code, Some(0), "{said}");
    manager.kill().unwrap();
    manager.wait().unwrap();
}

fn reached(bus: &str, mut command: Command) -> Command {
    command.env("DBUS_SESSION_BUS_ADDRESS", bus);
    command
}

/// A message bus that nothing else is on.
struct Bus {
    process: Child,
    address: String,
}

impl Bus {
    fn start(folder: &Path) -> Self {
        let address = format!("unix:path={}", folder.join("bus").display());
        let mut process = programs::command(Path::new("dbus-daemon"))
            .args(["--session", "--nofork", "--nopidfile", "--print-address=1"])
            .args(["--address", &address])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It says so once it listens.
        let mut said = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut said).unwrap();
        Self { process, address }
    }

    /// Has the TPM of `host` managed on it, some time from now.
    fn manage(&self, program: &str, host: &Host) -> Child {
        let mut command = reached(&self.address, programs::command(Path::new(program)));
        command
            .args(["--session", "--allow-root", "--tcti"])
            .arg(host.tpm.tcti())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ended_before = self.process.kill();
        let _status = self.process.wait();
    }
}
