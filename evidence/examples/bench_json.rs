//! `bench_json TARGET_FOLDER`: what criterion measured, beside what was aimed at, as a table and as
//! `bench.json` in that folder.
//!
//! A missed target is shown and is no error: other machines and busy ones have other numbers.
#![expect(clippy::unwrap_used, reason = "there is nobody to handle an error")]

use std::path::Path;

use serde_json::{Value, json};

/// A benchmark, and what it should take at most, or reach at least.
struct Aim {
    /// Its folder under `criterion/`.
    name: &'static str,
    unit: Unit,
    target: f64,
}

enum Unit {
    /// Time of one run, at most.
    Microseconds,
    /// A million elements a second, at least.
    MillionsPerSecond,
}

/// The targets of one core (DESIGN §12).
const AIMS: [Aim; 7] = [
    Aim::within("quote-p256", 45.0),
    Aim::within("boot-log-41k/parse-and-replay", 300.0),
    Aim::within("enrolment-rsa2048", 1000.0),
    Aim::within("enrolment-p256", 1000.0),
    Aim::within("ima-round/unmoved", 1.0),
    Aim::within("ima-round/ten-new", 10.0),
    Aim {
        name: "ima/parse-and-replay",
        unit: Unit::MillionsPerSecond,
        target: 2.0,
    },
];

/// Instructions that hashes and curves are faster with, as Linux names them.
const CPU_FLAGS: [&str; 12] = [
    "adx",
    "aes",
    "avx",
    "avx2",
    "avx512f",
    "avx512ifma",
    "bmi1",
    "bmi2",
    "pclmulqdq",
    "sha_ni",
    "ssse3",
    "vaes",
];

fn main() {
    let folder = std::env::args().nth(1).unwrap();
    let folder = Path::new(&folder);
    let results: Vec<Value> = AIMS.iter().map(|aim| aim.measured(folder)).collect();
    let report = json!({ "results": results, "cpu": cpu() });
    let path = folder.join("bench.json");
    std::fs::write(&path, serde_json::to_string_pretty(&report).unwrap()).unwrap();
    println!("written to {}", path.display());
}

impl Aim {
    const fn within(name: &'static str, target: f64) -> Self {
        Self {
            name,
            unit: Unit::Microseconds,
            target,
        }
    }

    /// The median, from criterion's files; prints it too.
    fn measured(&self, folder: &Path) -> Value {
        let folder = folder.join("criterion").join(self.name).join("new");
        let estimates = read(&folder.join("estimates.json"));
        let nanoseconds = number(&estimates, "/median/point_estimate");
        let (value, unit, met) = match self.unit {
            Unit::Microseconds => {
                let value = nanoseconds / 1e3;
                (value, "us", value <= self.target)
            }
            Unit::MillionsPerSecond => {
                let elements = number(
                    &read(&folder.join("benchmark.json")),
                    "/throughput/Elements",
                );
                let value = elements / nanoseconds * 1e3;
                (value, "million/s", value >= self.target)
            }
        };
        let verdict = if met { "met" } else { "MISSED" };
        println!(
            "{:<30} {value:>9.2} {unit:<9} target {:>6} {verdict}",
            self.name, self.target
        );
        json!({
            "name": self.name, "value": value, "unit": unit,
            "target": self.target, "met": met,
        })
    }
}

fn read(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|error| {
        eprintln!("bench_json: {}: {error}; run `make bench`", path.display());
        std::process::exit(1)
    });
    serde_json::from_slice(&text).unwrap()
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap()
}

/// What the numbers depend on most: the processor, and instructions that cryptography uses.
fn cpu() -> Value {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim())
    };
    let flags: Vec<&str> = field("flags").unwrap_or_default().split(' ').collect();
    let has: Vec<&str> = CPU_FLAGS
        .into_iter()
        .filter(|flag| flags.contains(flag))
        .collect();
    json!({ "model": field("model name"), "flags": has })
}
