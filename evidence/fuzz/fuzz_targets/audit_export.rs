//! Audit exports: an honest one gives its entries back, and an altered one is refused or says the same.

#![no_main]

use std::sync::LazyLock;

use ed25519_dalek::SigningKey;
use touchstone_evidence::transparency::{
    CheckpointSigner, Entry, ExportTrust, Frontier, LeafHash, MAX_HANDOVERS, VerifiedExport,
    checkpoint_line, entry_line, header_line, verify_export,
};
use touchstone_evidence_fuzz::{SECRET, one_byte_changed};

touchstone_evidence_fuzz::target!(check);

static SIGNER: LazyLock<CheckpointSigner> = LazyLock::new(|| {
    CheckpointSigner::new("log.example/audit", SigningKey::from_bytes(&SECRET)).unwrap()
});

fn check(data: &[u8]) -> bool {
    match data.starts_with(b"{\"format\"") {
        true => as_it_came(data),
        false => as_entries(data),
    }
}

fn as_it_came(data: &[u8]) -> bool {
    if let Ok(export) = verify_export(data, ExportTrust::KeyInFile, &[]) {
        rebuilds(&export);
    }
    let trust = ExportTrust::Key(SIGNER.verifier_key());
    let Ok(export) = verify_export(data, trust, &[]) else {
        return false;
    };
    rebuilds(&export);
    assert!(verify_export(data, trust, &[*export.head()]).is_ok());
    // Any other key that the log had leads to the same.
    for held in export.keys() {
        let by_other = verify_export(data, ExportTrust::Key(held.key()), &[]).unwrap();
        assert_eq!(by_other, export);
    }
    true
}

fn rebuilds(export: &VerifiedExport) {
    let mut tree = Frontier::empty();
    for entry in export.entries() {
        assert_eq!(*entry.leaf(), LeafHash::of(entry.body().as_bytes()));
        assert_eq!(tree.append(*entry.leaf()).unwrap(), entry.index());
    }
    assert_eq!(tree.head(), *export.head());
    // One key after the other, the last of which signed.
    let keys = export.keys();
    assert!(keys.is_sorted_by(|one, next| one.from() < next.from()));
    assert_eq!(keys.last().unwrap().key(), export.signer());
    assert!(keys.len() <= MAX_HANDOVERS + 1 && keys.last().unwrap().from() <= export.head().size);
}

/// The lines of any other input as entries of an honest export.
fn as_entries(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    // An exchange of the key needs its handover: such exports come as they are.
    if text.contains("checkpoint-key-rotated") {
        return false;
    }
    let bodies: Vec<&str> = text.split('\n').collect();
    let mut tree = Frontier::empty();
    let mut lines = vec![header_line(SIGNER.verifier_key())];
    for (index, body) in (0..).zip(&bodies) {
        tree.append(LeafHash::of(body.as_bytes())).unwrap();
        lines.push(entry_line(index, body));
    }
    lines.push(checkpoint_line(&SIGNER.sign(&tree.head())));
    let export = lines.join("\n").into_bytes();

    let trust = ExportTrust::Key(SIGNER.verifier_key());
    let honest = verify_export(&export, trust, &[]).unwrap();
    assert!(
        honest
            .entries()
            .iter()
            .map(Entry::body)
            .eq(bodies.iter().copied())
    );
    let altered = one_byte_changed(&export).unwrap();
    if let Ok(altered) = verify_export(&altered, trust, &[]) {
        assert_eq!(altered.entries(), honest.entries());
        assert_eq!(altered.head(), honest.head());
    }
    true
}
