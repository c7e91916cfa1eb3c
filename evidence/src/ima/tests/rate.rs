//! How fast a list is taken in; run by name, optimised.

use std::time::Instant;

use super::*;

#[test]
#[ignore = "prints a rate: cargo test --release -p touchstone-evidence ima::tests::rate -- --ignored --nocapture"]
fn rate() {
    // 400,000 distinct entries of the usual length, nearly LIST_MAX.
    let files: Vec<_> = (0..400_000)
        .map(|number| {
            file(&format!(
                "/usr/lib/x86_64-linux-gnu/libsomething-{number}.so.1"
            ))
        })
        .collect();
    for (bank, extension) in [
        (Bank::Sha256, Extension::TemplateHash),
        (Bank::Sha256, Extension::PaddedSha1),
        (Bank::Sha1, Extension::TemplateHash),
    ] {
        let boot = Boot::made(bank, extension, &files);
        let quoted = boot.quoted();
        for _ in 0..3 {
            let begun = Instant::now();
            let list = ImaList::parse(&boot.list).unwrap();
            let parsed = begun.elapsed();
            let state = ImaState::before_boot(&quoted);
            let replayed = ReplayedIma::verify(&list, &state, &quoted).unwrap();
            let taken = begun.elapsed();
            let walked = replayed.entries().count();
            let rate = walked as f64 / taken.as_secs_f64() / 1e6;
            eprintln!(
                "{bank:?} {extension:?}: {walked} entries, {} bytes, parse {parsed:?}, with replay {taken:?}, \
                 {rate:.2} million entries a second, then a walk {:?}",
                boot.list.len(),
                begun.elapsed() - taken,
            );
        }
    }
}
