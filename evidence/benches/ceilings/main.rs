//! What one core needs for the parts of a round and of an enrolment. `make bench` runs it.
//!
//! Times are those on the processor, not on the wall. Each name stands in `examples/bench_json.rs` with its target.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark stops at the first surprise"
)]

mod boot_log;
mod cpu_time;
mod enrolment;
mod ima;
mod quote;
mod software_tpm;

use cpu_time::CpuTime;
use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .configure_from_args();
    quote::bench(&mut criterion);
    boot_log::bench(&mut criterion);
    enrolment::bench(&mut criterion);
    ima::bench(&mut criterion);
    criterion.final_summary();
}

/// A file of our own recorded machine.
fn profile(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tpm-sim/profiles/shim_sb/");
    std::fs::read(format!("{folder}{name}")).unwrap()
}
