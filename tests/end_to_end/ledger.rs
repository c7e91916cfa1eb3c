//! What a client remembers of its rounds, and what the attestor's database and interface say of each of them.

use std::collections::BTreeMap;

use serde_json::Value;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::encoded;
use touchstone_evidence::transparency::LeafHash;
use touchstone_evidence::wire::{Challenge, RoundAnswer};
use touchstone_tests::rows::{Columns, Rows};
use touchstone_tests::server::Server;
use touchstone_tpm_sim::lies::Liar;

/// One round as its host remembers it.
pub(crate) struct Sent {
    /// Whose it is.
    host: String,
    nonce: String,
    /// The evidence exactly as it was sent.
    body: Vec<u8>,
    /// `None`: the attestor died over it.
    answer: Option<RoundAnswer>,
}

impl Sent {
    fn digest(&self) -> String {
        Sha256Digest::of(&self.body).to_string()
    }
}

/// What one host sent in one life of the attestor, in this order.
pub(crate) type Ledger = Vec<Sent>;

/// Attests once; `None`: not even a challenge was to be had.
pub(crate) async fn round(liar: &Liar) -> Option<(Sent, Option<String>)> {
    let challenge = liar.challenge().await.ok()?;
    Some(answer(liar, &challenge).await)
}

/// Answers a challenge. With the round comes the code of its refusal.
pub(crate) async fn answer(liar: &Liar, challenge: &Challenge) -> (Sent, Option<String>) {
    let evidence = liar.evidence(challenge).await.unwrap();
    let body = serde_json::to_vec(&evidence).unwrap();
    let (answer, refusal) = match liar.send_bytes(&body).await {
        Ok(answer) => (Some(answer), None),
        Err(code) => (None, Some(code)),
    };
    let sent = Sent {
        host: liar.identity.host.to_string(),
        nonce: hex::encode(&challenge.nonce[..]),
        body,
        answer,
    };
    (sent, refusal)
}

/// Attests until a round is refused, with one of these codes and no other; `no-answer`: whoever hung up.
pub(crate) async fn attest_until_refused(liar: &Liar, codes: &[&str]) -> Ledger {
    let mut ledger = Ledger::new();
    while let Some((sent, refusal)) = round(liar).await {
        ledger.push(sent);
        if let Some(code) = refusal {
            assert!(codes.contains(&code.as_str()), "{code}");
            break;
        }
    }
    ledger
}

/// How rounds stood when the attestor was back, before anybody asked again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Acknowledged, and there in every row.
    pub(crate) acknowledged: usize,
    /// Not acknowledged, and there in every row.
    pub(crate) committed: usize,
    /// Not acknowledged, and there in no row.
    pub(crate) absent: usize,
}

impl Counts {
    /// Counts these too.
    pub(crate) fn add(&mut self, more: &Self) {
        self.acknowledged += more.acknowledged;
        self.committed += more.committed;
        self.absent += more.absent;
    }

    /// All that were sent.
    pub(crate) fn all(&self) -> usize {
        self.acknowledged + self.committed + self.absent
    }
}

/// Asks for all of it again: what was answered is answered alike, to the last byte that can be told, and what was
/// not is taken now, if it was not before.
pub(crate) async fn ask_again(liar: &Liar, ledger: &mut Ledger) {
    for sent in ledger {
        let again = liar.send_bytes(&sent.body).await;
        let again = again.unwrap_or_else(|code| panic!("an answered round is gone: {code}"));
        let first = sent.answer.get_or_insert_with(|| again.clone());
        assert_eq!(*first, again);
    }
}

/// Every challenge and what answered it, by nonce. All columns of these statements are text.
const CHALLENGES: &str = "SELECT lower(hex(nonce)), host, NULLIF(lower(hex(evidence)), ''), answer
     FROM challenges LEFT JOIN answers ON answers.id = challenges.answered";

/// Where hosts stand.
const HOSTS: &str = "SELECT host, verdict, result FROM hosts";

/// What the tables say of rounds at one moment.
pub(crate) struct Held {
    /// Columns of [`CHALLENGES`] after the nonce, by nonce.
    challenges: BTreeMap<String, Columns>,
    /// Host and body of the evidence of the rounds in question, by digest.
    evidence: BTreeMap<String, Columns>,
    /// By the digest of their evidence, position and leaf of each entry that names it, and what it says.
    entries: BTreeMap<String, Vec<(usize, String, Value)>>,
    /// The entry that a host's verdict names, and its result, by host.
    standing: BTreeMap<String, (String, String)>,
}

impl Held {
    /// Reads the log from position `from` on, whose positions have no gap and whose leaves are those of their
    /// bodies, and all that is held of the rounds of `ledgers`.
    pub(crate) async fn read(rows: &Rows, from: usize, ledgers: &[Ledger]) -> Self {
        let mut entries: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (at, row) in log(rows, from).await.iter().enumerate() {
            let body = hex::decode(text(&row[2])).unwrap();
            assert_eq!(text(&row[0]), (from + at).to_string());
            assert_eq!(text(&row[1]), LeafHash::of(&body).digest().to_string());
            let entry: Value = serde_json::from_slice(&body).unwrap();
            if entry["kind"] == "host-appraised" {
                let evidence = entry["evidence"].as_str().unwrap().to_owned();
                let said = (from + at, text(&row[1]).to_owned(), entry);
                entries.entry(evidence).or_default().push(said);
            }
        }
        let mut standing = BTreeMap::new();
        for row in rows.all(HOSTS).await {
            let verdict: Value = serde_json::from_str(text(&row[1])).unwrap();
            let entry = verdict["entry"].as_str().unwrap().to_owned();
            standing.insert(text(&row[0]).to_owned(), (entry, text(&row[2]).to_owned()));
        }
        let sent = ledgers.iter().flatten();
        let mut digests: Vec<String> = sent.map(|sent| format!("'{}'", sent.digest())).collect();
        // No list is empty in SQL.
        digests.push("NULL".to_owned());
        let evidence = format!(
            "SELECT lower(hex(e.digest)), e.host, lower(hex(e.body)), CAST(e.boot_log_at AS TEXT), lower(hex(l.body))
             FROM evidence AS e LEFT JOIN boot_logs AS l ON l.digest = e.boot_log WHERE lower(hex(e.digest)) IN ({})",
            digests.join(", ")
        );
        Self {
            challenges: by_first(rows.all(CHALLENGES).await),
            evidence: by_first(rows.all(&evidence).await)
                .into_iter()
                .map(|(digest, mut columns)| {
                    let body = whole_body(columns.split_off(1));
                    columns.push(Some(body));
                    (digest, columns)
                })
                .collect(),
            entries,
            standing,
        }
    }

    /// Entries of all rounds.
    pub(crate) fn appraisals(&self) -> usize {
        self.entries.values().map(Vec::len).sum()
    }

    /// Counts how the rounds of `ledger` stand: what was acknowledged must be there, row by row; what was not is
    /// there once in every table, or in none.
    pub(crate) fn count(&self, ledger: &Ledger) -> Counts {
        let mut counts = Counts::default();
        for sent in ledger {
            match (&sent.answer, self.is_there(sent)) {
                (Some(_), true) => counts.acknowledged += 1,
                (Some(_), false) => panic!("round {} was acknowledged and is gone", sent.nonce),
                (None, true) => counts.committed += 1,
                (None, false) => counts.absent += 1,
            }
        }
        counts
    }

    /// Whether the round is in every row, each of which then says exactly what was sent and answered.
    fn is_there(&self, sent: &Sent) -> bool {
        let digest = sent.digest();
        let host = Some(sent.host.clone());
        let challenge = self.challenges.get(&sent.nonce);
        let [to, consumed, answer] = &challenge.expect("it was given")[..] else {
            panic!("{challenge:?}");
        };
        assert_eq!(*to, host);
        let kept = self.evidence.get(&digest);
        let Some(said) = self.entries.get(&digest) else {
            let nothing = (consumed, answer, kept);
            assert_eq!(nothing, (&None, &None, None), "half a round");
            return false;
        };
        let [(position, leaf, entry)] = &said[..] else {
            panic!("{} entries for one piece of evidence", said.len());
        };
        assert_eq!(*consumed, Some(digest));
        assert_eq!(*kept.unwrap(), [host, Some(hex::encode(&sent.body))]);
        assert_eq!(entry["host"], sent.host.as_str());
        let stored: RoundAnswer = serde_json::from_str(text(answer)).unwrap();
        assert_eq!(stored.entry.to_string(), *leaf);
        assert_eq!(entry["tier"], stored.tier.to_string());
        if let Some(answer) = &sent.answer {
            assert_eq!(stored, *answer);
        }
        self.compare_standing(sent, *position, &stored);
        true
    }

    /// The host stands where its last round in the log put it, and holds the challenge that this one brought.
    fn compare_standing(&self, sent: &Sent, position: usize, stored: &RoundAnswer) {
        let mut rounds = self.entries.values().flatten();
        let later = rounds.any(|(at, _, entry)| *at > position && entry["host"] == *sent.host);
        if !later {
            let (leaf, result) = &self.standing[&sent.host];
            assert_eq!(*leaf, stored.entry.to_string());
            assert_eq!(*result, stored.result);
            let next = hex::encode(&stored.challenge.nonce[..]);
            let next = self.challenges.get(&next).expect("it was given");
            assert_eq!(text(&next[0]), sent.host);
        }
    }
}

/// The body of evidence, of three columns: what is kept of it, and where the text of which boot log goes, if one was
/// taken out. All in hexadecimal digits.
pub(crate) fn whole_body(columns: Columns) -> String {
    let [kept, at, log] = &columns[..] else {
        panic!("{columns:?}");
    };
    let kept = text(kept).to_owned();
    let (Some(at), Some(log)) = (at, log) else {
        return kept;
    };
    let at: usize = at.parse().unwrap();
    let log = encoded::text(&hex::decode(log).unwrap());
    let mut body = hex::decode(kept).unwrap();
    body.splice(at..at, log.into_bytes());
    hex::encode(body)
}

/// Position, leaf and body of each entry from position `from` on.
async fn log(rows: &Rows, from: usize) -> Vec<Columns> {
    let statement = format!(
        "SELECT CAST(idx AS TEXT), lower(hex(leaf)), lower(hex(body)) FROM entries
         WHERE idx >= {from} ORDER BY entries.idx"
    );
    rows.all(&statement).await
}

/// The interface exports the log as it stands in the database, entry by entry.
pub(crate) async fn compare_export(rows: &Rows, server: &Server) -> usize {
    let exported = server.audit_entries();
    let held = log(rows, 0).await;
    assert_eq!(exported.len(), held.len());
    for (entry, row) in exported.iter().zip(&held) {
        let body = hex::decode(text(&row[2])).unwrap();
        assert_eq!(*entry, serde_json::from_slice::<Value>(&body).unwrap());
    }
    held.len()
}

fn text(column: &Option<String>) -> &str {
    column.as_deref().unwrap()
}

fn by_first(rows: Vec<Columns>) -> BTreeMap<String, Columns> {
    let split = |mut row: Columns| (row.remove(0).unwrap(), row);
    rows.into_iter().map(split).collect()
}
