//! A quote by a P-256 AK: parsed, its signature verified, its PCR values compared.

use std::hint::black_box;

use criterion::Criterion;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::identity::AttestationKey;
use touchstone_evidence::pcr::{PcrSelection, PcrValues};
use touchstone_evidence::quote::{Authentic, VerifiedQuote};
use touchstone_evidence::tpm::public::Public;

use crate::cpu_time::CpuTime;
use crate::profile;
use crate::software_tpm::SoftwareAk;

pub(crate) fn bench(criterion: &mut Criterion<CpuTime>) {
    let ak = SoftwareAk::new();
    let ek = Public::parse(profile("ek.pub").get(2..).unwrap()).unwrap();
    let key = AttestationKey::under(&ek, ak.public.clone()).unwrap();
    let qualifying = Sha256Digest::of(b"a round");
    let zero = |pcr| (pcr, Sha256Digest::ZERO);
    let values = PcrValues(PcrSelection::DEFAULT.indices().map(zero).collect());
    let signed = ak.quote(&key, &qualifying, &values);
    criterion.bench_function("quote-p256", |bencher| {
        bencher.iter(|| {
            let statement = Authentic::verify(black_box(&signed), &key, &qualifying).unwrap();
            VerifiedQuote::verify(&statement, PcrSelection::DEFAULT, values.clone()).unwrap()
        });
    });
}
