//! The demo is a promise to newcomers: every row as expected, and able to fail.

use serde_json::Value;
use touchstone_tests::programs;

#[test]
fn the_demo_shows_what_it_says() {
    let output = programs::command(&programs::path("tpm-sim"))
        .args(["demo", "--json"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    eprintln!("{shown:#}");
    assert!(shown.to_string().contains("kernel-command-line-changed"));
}

#[test]
fn the_demo_fails_when_two_hosts_exchange_their_boots() {
    let output = programs::command(&programs::path("tpm-sim"))
        .args(["demo", "--swap"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        said.contains("NOT AS EXPECTED") && said.contains("de-1, tier"),
        "{said}"
    );
}
