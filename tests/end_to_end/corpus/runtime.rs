//! `ima/`: the runtime list of a server.

use serde_json::json;

use super::Corpus;

pub(super) fn a_server_replays_in_both_banks(corpus: &mut Corpus) {
    let line = "ima ima/h12ssl.ima --pcrs boot/guard-h12ssl.json";
    let (exit, shown) = corpus.inspect(line);
    assert_eq!(exit, 0);
    assert_eq!(
        (&shown["entries"], &shown["violations"]),
        (&json!(5071), &json!(9))
    );
    // Its kernel writes a SHA-1 aggregate.
    for (bank, aggregate) in [("sha1", "pcrs-to7"), ("sha256", "bank-unquoted")] {
        let told = &shown["banks"][bank];
        assert_eq!(told["entries"], 5071, "{bank}");
        assert_eq!(told["boot_aggregate"], aggregate, "{bank}");
        assert_eq!(told["extension"], "template-hash", "{bank}");
    }
    let line = "ima ima/h12ssl.ima --pcrs boot/guard-ludmilla.json";
    assert_eq!(corpus.inspect(line).0, 1, "another machine");
}
