//! `TPMT_SIGNATURE`: parsed exactly, and what verifies over the recorded quote verifies over nothing else.

#![no_main]

use std::sync::LazyLock;

use touchstone_evidence::tpm::public::Public;
use touchstone_evidence::tpm::signature::Signature;
use touchstone_evidence_fuzz::assert_exact;

touchstone_evidence_fuzz::target!(check);

const MESSAGE: &[u8] = include_bytes!("../../../tpm-sim/profiles/shim_sb/quote.msg");
const OTHER_MESSAGE: &[u8] = include_bytes!("../../../tpm-sim/profiles/shim_sb_evil/quote.msg");

/// The recorded AK (P-256) and EK (RSA-2048). The two bytes before them are the size in `TPM2B_PUBLIC`.
static KEYS: LazyLock<[Public; 2]> = LazyLock::new(|| {
    let files: [&[u8]; 2] = [
        include_bytes!("../../../tpm-sim/profiles/shim_sb/ak.pub"),
        include_bytes!("../../../tpm-sim/profiles/shim_sb/ek.pub"),
    ];
    files.map(|file| Public::parse(&file[2..]).unwrap())
});

fn check(data: &[u8]) -> bool {
    let Ok(signature) = Signature::parse(data) else {
        return false;
    };
    assert_exact(data, |bytes| Signature::parse(bytes).is_ok());
    for key in &*KEYS {
        if signature.verify(key, MESSAGE).is_ok() {
            assert!(signature.verify(key, OTHER_MESSAGE).is_err());
        }
    }
    true
}
