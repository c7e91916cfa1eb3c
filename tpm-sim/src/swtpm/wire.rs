//! The few bytes that we send to swtpm ourselves: power, start-up and extends. One connection a call: the TSS
//! makes one for each command, and a fleet that boots uses up the ports of the machine.
//!
//! The data channel carries TPM commands (TPM 2.0 Part 1 §18); the control channel carries swtpm's own
//! (swtpm_ioctls(3), `include/swtpm/tpm_ioctl.h`), big-endian: command, then its parameters.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::{Error, Result};

/// Far more than swtpm needs for these, even on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// `TPM_SU` (TPM 2.0 Part 2 §6.10).
const SU_CLEAR: u16 = 0;
const SU_STATE: u16 = 1;

/// The two channels of one swtpm. The TSS finds the second one port above the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire {
    pub(super) port: u16,
    pub(super) control: u16,
}

impl Wire {
    /// Asks swtpm for its capabilities: when it answers, it serves both channels.
    pub(super) fn ping(self) -> Result<()> {
        self.exchange::<8>(self.control, &1_u32.to_be_bytes())
            .map(drop)
    }

    /// `_TPM_Init`: the platform's reset line. CMD_INIT with no flags.
    pub(super) fn init(self) -> Result<()> {
        self.control("CMD_INIT", &[0, 0, 0, 2, 0, 0, 0, 0])
    }

    /// Ends the process: CMD_SHUTDOWN.
    pub(super) fn power_off(self) -> Result<()> {
        self.control("CMD_SHUTDOWN", &[0, 0, 0, 3])
    }

    /// `TPM2_Startup(CLEAR)` (TPM 2.0 Part 3 §9.3).
    pub(super) fn startup(self) -> Result<()> {
        self.command("TPM2_Startup(CLEAR)", 0x144, SU_CLEAR)
    }

    /// `TPM2_Shutdown(CLEAR)` (Part 3 §9.4): without it the next start counts as an attack.
    pub(super) fn shutdown(self) -> Result<()> {
        self.command("TPM2_Shutdown(CLEAR)", 0x145, SU_CLEAR)
    }

    /// `TPM2_PCR_Extend` (Part 3 §22.2) for each PCR with its `TPML_DIGEST_VALUES`, with the empty password.
    pub(super) fn extend_all(self, extends: &[(u8, Vec<u8>)]) -> Result<()> {
        for answer in self
            .extends(extends)
            .map_err(|source| self.silent(source))?
        {
            accepted("TPM2_PCR_Extend", answer)?;
        }
        Ok(())
    }

    /// The response codes, up to the first refusal.
    fn extends(self, extends: &[(u8, Vec<u8>)]) -> io::Result<Vec<u32>> {
        let mut stream = connect(self.port)?;
        let mut answers = Vec::new();
        for (pcr, digests) in extends {
            // TPM_RS_PW, no nonce, no attributes, no password: nine bytes.
            let session = [0x40, 0, 0, 9, 0, 0, 0, 0, 0];
            let body = [&[0, 0, 0, *pcr, 0, 0, 0, 9][..], &session, digests].concat();
            let length = u32::try_from(10 + body.len()).unwrap_or(u32::MAX);
            let mut request = vec![0x80, 0x02];
            request.extend(length.to_be_bytes());
            request.extend(0x182_u32.to_be_bytes());
            request.extend(body);
            stream.write_all(&request)?;
            let mut head = [0; 10];
            stream.read_exact(&mut head)?;
            let [_, _, a, b, c, d, code @ ..] = head;
            let rest = u64::from(u32::from_be_bytes([a, b, c, d])).saturating_sub(10);
            io::copy(&mut (&stream).take(rest), &mut io::sink())?;
            answers.push(u32::from_be_bytes(code));
            if code != [0; 4] {
                break;
            }
        }
        Ok(answers)
    }

    /// `TPM2_Clear` (Part 3 §24.6) as the lockout administrator, whose authorization value is empty.
    pub(super) fn clear(self) -> Result<()> {
        let mut request = vec![0x80, 0x02, 0, 0, 0, 27];
        request.extend(0x126_u32.to_be_bytes());
        // TPM_RH_LOCKOUT, then nine bytes of a password session (Part 2 §7.4, Part 1 §19.4).
        request.extend(0x4000_000a_u32.to_be_bytes());
        request.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
        let [.., a, b, c, d] = self.exchange::<10>(self.port, &request)?;
        accepted("TPM2_Clear", u32::from_be_bytes([a, b, c, d]))
    }

    /// `TPM2_Shutdown(STATE)`: before a start that is to be a TPM Restart.
    pub(super) fn shutdown_state(self) -> Result<()> {
        self.command("TPM2_Shutdown(STATE)", 0x145, SU_STATE)
    }

    /// Milliseconds of the clock: `TPM2_ReadClock` (Part 3 §29.1).
    pub(super) fn read_clock(self) -> Result<u64> {
        let request = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 1, 0x81];
        // Header, time, clock, and the rest of TPMS_TIME_INFO.
        let answer = self.exchange::<35>(self.port, &request)?;
        let clock = answer.get(18..26).and_then(|clock| clock.try_into().ok());
        Ok(clock.map(u64::from_be_bytes).unwrap_or_default())
    }

    /// `TPM2_ClockSet` (Part 3 §29.2) by the owner's empty authorization.
    pub(super) fn set_clock(self, milliseconds: u64) -> Result<()> {
        let mut request = vec![0x80, 0x02, 0, 0, 0, 35, 0, 0, 1, 0x28];
        // TPM_RH_OWNER; nine bytes of authorization: TPM_RS_PW, no nonce, no attributes, empty password.
        request.extend([0x40, 0, 0, 1, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
        request.extend(milliseconds.to_be_bytes());
        let [.., a, b, c, d] = self.exchange::<10>(self.port, &request)?;
        accepted("TPM2_ClockSet", u32::from_be_bytes([a, b, c, d]))
    }

    /// `TPM2_HierarchyChangeAuth` (Part 3 §24.8) of the endorsement hierarchy, whose value is empty.
    pub(super) fn set_endorsement_auth(self, value: [u8; 8]) -> Result<()> {
        let mut request = vec![0x80, 0x02, 0, 0, 0, 37, 0, 0, 1, 0x29];
        // TPM_RH_ENDORSEMENT; nine bytes of authorization as above; the new value.
        request.extend([0x40, 0, 0, 0x0b, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
        request.extend([0, 8]);
        request.extend(value);
        let [.., a, b, c, d] = self.exchange::<10>(self.port, &request)?;
        accepted("TPM2_HierarchyChangeAuth", u32::from_be_bytes([a, b, c, d]))
    }

    /// A TPM command without sessions whose one parameter is a `TPM_SU`.
    fn command(self, command: &'static str, code: u32, kind: u16) -> Result<()> {
        let mut request = vec![0x80, 0x01, 0, 0, 0, 12];
        request.extend(code.to_be_bytes());
        request.extend(kind.to_be_bytes());
        let [.., a, b, c, d] = self.exchange::<10>(self.port, &request)?;
        accepted(command, u32::from_be_bytes([a, b, c, d]))
    }

    fn control(self, command: &'static str, request: &[u8]) -> Result<()> {
        let answer = self.exchange::<4>(self.control, request)?;
        accepted(command, u32::from_be_bytes(answer))
    }

    fn exchange<const N: usize>(self, port: u16, request: &[u8]) -> Result<[u8; N]> {
        exchange(port, request).map_err(|source| self.silent(source))
    }

    fn silent(self, source: io::Error) -> Error {
        Error::Silent {
            port: self.port,
            source,
        }
    }
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn exchange<const N: usize>(port: u16, request: &[u8]) -> io::Result<[u8; N]> {
    let mut stream = connect(port)?;
    stream.write_all(request)?;
    let mut answer = [0; N];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn accepted(command: &'static str, code: u32) -> Result<()> {
    match code {
        0 => Ok(()),
        code => Err(Error::Refused { command, code }),
    }
}
