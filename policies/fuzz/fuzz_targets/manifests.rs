//! Policy manifests: YAML in bounded work, read the same way each time, and never twice into one set.

#![no_main]

use touchstone_policies::manifest::PolicySet;

touchstone_evidence_fuzz::target!(check);

fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    let set = match PolicySet::parse(text) {
        Ok(set) => set,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    let again = PolicySet::parse(text).unwrap();
    assert_eq!(format!("{set:?}"), format!("{again:?}"));
    let kinds = [
        set.hosts.len(),
        set.references.len(),
        set.regions.len(),
        set.workloads.len(),
    ];
    let empty = kinds.iter().sum::<usize>() == 0;
    let twice = PolicySet::parse(&format!("{text}\n---\n{text}"));
    assert_eq!(twice.is_ok(), empty, "{:?}", twice.err());
    // Most mutations make a set of nothing but comments; only others count.
    !empty
}
