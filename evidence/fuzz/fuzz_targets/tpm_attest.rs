//! `TPMS_ATTEST`: what parses is written back byte for byte, and no part of it parses.

#![no_main]

use touchstone_evidence::tpm::attest::{Attest, Attested};
use touchstone_evidence_fuzz::assert_exact;

touchstone_evidence_fuzz::target!(check);

fn check(data: &[u8]) -> bool {
    let Ok(attest) = Attest::parse(data) else {
        return false;
    };
    // The body under another tag is not read, so any bytes may follow.
    if !matches!(attest.attested, Attested::Other(_)) {
        assert_exact(data, |bytes| Attest::parse(bytes).is_ok());
    }
    if let Some(written) = write(&attest) {
        assert_eq!(written, data);
    }
    true
}

/// The structure again; `None` where parsing forgets something on purpose.
fn write(attest: &Attest) -> Option<Vec<u8>> {
    if !attest.tpm_generated {
        return None;
    }
    let mut out = 0xff54_4347_u32.to_be_bytes().to_vec();
    let (tag, body) = write_body(&attest.attested)?;
    out.extend(tag.to_be_bytes());
    sized(&mut out, &attest.qualified_signer);
    sized(&mut out, &attest.extra_data);
    out.extend(attest.clock_info.clock.to_be_bytes());
    out.extend(attest.clock_info.reset_count.to_be_bytes());
    out.extend(attest.clock_info.restart_count.to_be_bytes());
    out.push(u8::from(attest.clock_info.safe));
    out.extend(attest.firmware_version.to_be_bytes());
    out.extend(body);
    Some(out)
}

fn write_body(attested: &Attested) -> Option<(u16, Vec<u8>)> {
    let mut body = Vec::new();
    let tag = match attested {
        Attested::Quote { selection, digest } => {
            body.extend(u32::try_from(selection.len()).unwrap().to_be_bytes());
            for one in selection {
                let bits = one
                    .pcrs
                    .indices()
                    .fold(0_u32, |set, index| set | 1 << index);
                body.extend(one.bank.id().to_be_bytes());
                body.push(3);
                body.extend(&bits.to_le_bytes()[..3]);
            }
            sized(&mut body, digest);
            0x8018
        }
        Attested::Nv {
            index_name,
            offset,
            contents,
        } => {
            sized(&mut body, index_name);
            body.extend(offset.to_be_bytes());
            sized(&mut body, contents);
            0x8014
        }
        Attested::Certify {
            name,
            qualified_name,
        } => {
            sized(&mut body, name);
            sized(&mut body, qualified_name);
            0x8017
        }
        Attested::SessionAudit { exclusive, digest } => {
            body.push(u8::from(*exclusive));
            sized(&mut body, digest);
            0x8016
        }
        Attested::Other(_) => return None,
    };
    Some((tag, body))
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend(bytes);
}
