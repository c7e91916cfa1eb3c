//! What the fuzz targets share: fixed keys, and a mode in which a target counts instead of fuzzing.
//!
//! A target is a function from bytes to whether they parse. It panics where an invariant is broken.

pub mod authority;
#[path = "../../benches/ceilings/software_tpm.rs"]
mod software_tpm;

use std::path::Path;
use std::sync::LazyLock;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::identity::AttestationKey;
use touchstone_evidence::pcr::{PcrSelection, PcrValues};
use touchstone_evidence::quote::{Authentic, VerifiedQuote};

use software_tpm::{SoftwareAk, ek_p256};

/// Secret of every Ed25519 key that a target signs with. It protects nothing.
pub const SECRET: [u8; 32] = [7; 32];
/// 2026-01-01T00:00:00Z.
pub const NOW: i64 = 1_767_225_600;

/// Makes a fuzz target of a function `fn(&[u8]) -> bool`.
#[macro_export]
macro_rules! target {
    ($check:path) => {
        libfuzzer_sys::fuzz_target!(init: $crate::share($check), |data: &[u8]| {
            $check(data);
        });
    };
}

/// With `SHARE=FOLDER:FOLDER…`, prints how many of the files in them parse, and ends the process.
pub fn share(check: fn(&[u8]) -> bool) {
    let Ok(folders) = std::env::var("SHARE") else {
        return;
    };
    let (mut inputs, mut parsed) = (0_u64, 0_u64);
    for folder in folders.split(':') {
        for entry in Path::new(folder).read_dir().into_iter().flatten().flatten() {
            if let Ok(bytes) = std::fs::read(entry.path()) {
                inputs += 1;
                parsed += u64::from(check(&bytes));
            }
        }
    }
    println!("{parsed}/{inputs}");
    std::process::exit(0);
}

/// Asserts that `parses` takes `data`, but neither a part of it from the front nor more than it.
///
/// Which part is tried is decided by the data itself, so that a finding can be run again.
pub fn assert_exact(data: &[u8], parses: impl Fn(&[u8]) -> bool) {
    let pick = usize::from(Sha256Digest::of(data).0[0]);
    if !data.is_empty() {
        for length in [data.len() - 1, pick % data.len()] {
            assert!(!parses(&data[..length]), "the first {length} bytes parse");
        }
    }
    assert!(
        !parses(&[data, &[0]].concat()),
        "a trailing byte is ignored"
    );
}

/// `data` with one byte changed; which one is decided by the data itself. None if it is empty.
pub fn one_byte_changed(data: &[u8]) -> Option<Vec<u8>> {
    let [a, b, c, flip, ..] = Sha256Digest::of(data).0;
    let at = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()? % data.len().max(1);
    let mut changed = data.to_vec();
    *changed.get_mut(at)? ^= flip.max(1);
    Some(changed)
}

/// A quote of these values of PCRs 0 to 15, by a TPM in software.
pub fn verified_quote(values: PcrValues) -> VerifiedQuote {
    static TPM: LazyLock<(SoftwareAk, AttestationKey)> = LazyLock::new(|| {
        let ak = SoftwareAk::new();
        let ek = ek_p256(&ak.public.key().point().unwrap());
        let key = AttestationKey::under(&ek, ak.public.clone()).unwrap();
        (ak, key)
    });
    let (ak, key) = &*TPM;
    let qualifying = Sha256Digest::ZERO;
    let signed = ak.quote(key, &qualifying, &values);
    let statement = Authentic::verify(&signed, key, &qualifying).unwrap();
    VerifiedQuote::verify(&statement, PcrSelection::DEFAULT, values).unwrap()
}
