//! Tokens in software (SoftHSM) in a process of their own, behind p11-kit's remoting: what speaks to them loads a module
//! that holds no key.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::programs;

const PIN: &str = "4711-0815";

/// An attribute of PKCS#11 that is true or false.
#[derive(Clone, Copy, Debug)]
pub enum Flag {
    /// `CKA_SENSITIVE`
    Sensitive = 0x103,
    /// `CKA_SIGN`
    Sign = 0x108,
    /// `CKA_DERIVE`
    Derive = 0x10c,
    /// `CKA_EXTRACTABLE`
    Extractable = 0x162,
}

/// Tokens, and the process that serves them.
pub struct Tokens {
    folder: TempDir,
    server: Option<Child>,
}

impl Tokens {
    /// Makes and serves tokens with these labels.
    #[must_use]
    pub fn start(labels: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let objects = folder.path().join("tokens");
        std::fs::create_dir(&objects).unwrap();
        let settings = format!("directories.tokendir = {}\n", objects.display());
        std::fs::write(folder.path().join("softhsm2.conf"), settings).unwrap();
        let mut tokens = Self {
            folder,
            server: None,
        };
        for label in labels {
            let arguments = ["--init-token", "--free", "--label", label, "--pin", PIN];
            tokens.run(
                "softhsm2-util",
                &[&arguments[..], &["--so-pin", PIN]].concat(),
            );
        }
        tokens.write_pin(PIN);
        tokens.bring_back();
        tokens
    }

    /// The URI of a key in one of them.
    #[must_use]
    pub fn uri(&self, token: &str, object: &str) -> String {
        self.uri_by(&client_module(), token, object)
    }

    /// The same by another module.
    #[must_use]
    pub fn uri_by(&self, module: &Path, token: &str, object: &str) -> String {
        format!(
            "pkcs11:token={token};object={object}?module-path={}&pin-source={}",
            module.display(),
            self.pin_file().display()
        )
    }

    /// The file of the PIN.
    #[must_use]
    pub fn pin_file(&self) -> PathBuf {
        self.folder.path().join("pin")
    }

    /// Writes another one there.
    pub fn write_pin(&self, pin: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(self.pin_file(), format!("{pin}\n")).unwrap();
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(self.pin_file(), mode).unwrap();
    }

    /// What the client module finds the tokens by.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix:path={}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("p11")
    }

    /// Brings a key of one's own into a token, as an operator would.
    pub fn bring(&self, token: &str, object: &str, key: &[u8]) {
        let secret = format!("--secret-key={}", hex::encode(key));
        let uri = format!("pkcs11:token={token}");
        let arguments = [
            "--login",
            "--set-pin",
            PIN,
            "--write",
            "--mark-private",
            &secret,
        ];
        let module = format!("--provider={}", token_module().display());
        let rest = ["--label", object, &module, &uri];
        self.run("p11tool", &[&arguments[..], &rest].concat());
    }

    /// Changes a flag of every key of the tokens, in their files.
    pub fn set(&self, flag: Flag, value: bool) {
        // Attribute and kind (1: true or false), big-endian.
        let head = [(flag as u64).to_be_bytes(), 1_u64.to_be_bytes()].concat();
        let mut changed = 0;
        for folder in std::fs::read_dir(self.folder.path().join("tokens")).unwrap() {
            for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                let mut content = std::fs::read(&path).unwrap();
                let found = content.windows(head.len()).position(|part| part == head);
                if let Some(at) = found {
                    content[at + head.len()] = if value { 0xff } else { 0 };
                    std::fs::write(&path, content).unwrap();
                    changed += 1;
                }
            }
        }
        assert!(changed > 0, "no key has {flag:?}");
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        command.env("SOFTHSM2_CONF", self.folder.path().join("softhsm2.conf"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{program}: {output:?}");
    }

    /// Ends the process that has the tokens, and whatever it started.
    pub fn take_away(&mut self) {
        if let Some(mut server) = self.server.take() {
            signal(&server, Signal::KILL);
            server.wait().unwrap();
        }
    }

    /// Starts it again.
    pub fn bring_back(&mut self) {
        let _absent = std::fs::remove_file(self.socket());
        let mut server = programs::command(Path::new("p11-kit"));
        server
            .args(["server", "--foreground", "--name", &self.address()])
            .arg("--provider")
            .arg(token_module())
            .arg("pkcs11:")
            .env("SOFTHSM2_CONF", self.folder.path().join("softhsm2.conf"))
            .stdout(Stdio::piped())
            .process_group(0);
        let mut server = server.spawn().unwrap();
        // Once it listens, it says where.
        let mut line = String::new();
        let mut stdout = BufReader::new(server.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        assert!(line.contains("P11_KIT_SERVER_ADDRESS"), "{line}");
        self.server = Some(server);
    }

    /// Lets it do nothing more, with all its connections open, until [`Self::thaw`].
    pub fn freeze(&self) {
        signal(self.server.as_ref().unwrap(), Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        signal(self.server.as_ref().unwrap(), Signal::CONT);
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.take_away();
    }
}

fn signal(server: &Child, signal: Signal) {
    let group = i32::try_from(server.id()).ok().and_then(Pid::from_raw);
    kill_process_group(group.unwrap(), signal).unwrap();
}

/// p11-kit's module, which speaks to another process.
#[must_use]
pub fn client_module() -> PathBuf {
    found("pkcs11/p11-kit-client.so")
}

/// SoftHSM itself.
#[must_use]
pub fn token_module() -> PathBuf {
    found("softhsm/libsofthsm2.so")
}

/// A library, where distributions put it.
fn found(name: &str) -> PathBuf {
    let in_folder = |folder: &Path| Some(folder.join(name)).filter(|path| path.exists());
    let folders = ["/usr/lib", "/usr/lib64"].map(PathBuf::from);
    let below = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok());
    let below = below.flatten().flatten().map(|entry| entry.path());
    let found = folders
        .iter()
        .cloned()
        .chain(below)
        .find_map(|folder| in_folder(&folder));
    found.unwrap_or_else(|| panic!("`{name}` is missing; run `make deps` first"))
}
