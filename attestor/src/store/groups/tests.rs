#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use touchstone_evidence::continuity::{Reading, Window};
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::ima::{Bank, PcrDigest};
use touchstone_evidence::pcr::PcrSelection;

use super::*;
use crate::store::hosts::tests::enrol;
use crate::store::rounds::Answered;
use crate::store::{Asked, Claim, Held, KeyState, LayerKeyRecord, RawEvidence, Store};

/// A host of the name, enrolled, in a database of its own.
async fn enrolled(folder: &tempfile::TempDir, host: &HostId) -> Tx {
    let file = folder.path().join("database");
    let store = Store::open(&format!("sqlite:{}", file.display())).await;
    let mut tx = store.unwrap().write().await.unwrap();
    enrol(&mut tx, host).await;
    tx
}

async fn held(tx: &mut Tx, nonce: [u8; 32]) -> Held {
    let asked = Asked {
        tls_key: [0; 32],
        nonce: nonce.to_vec(),
    };
    let stranger = Asked {
        tls_key: [9; 32],
        nonce: nonce.to_vec(),
    };
    let seen = tx.look_up(&[stranger, asked.clone(), asked]).await;
    let mut found = seen.unwrap().found;
    assert!(found[0].is_none());
    assert_eq!(found[1], found[2]);
    found.pop().unwrap().unwrap().held().unwrap()
}

async fn begun(tx: &mut Tx) -> Group {
    Group::upon(&tx.look_up(&[]).await.unwrap())
}

fn challenge(host: &HostId, issued_at: i64) -> StoredChallenge {
    StoredChallenge {
        host: host.clone(),
        pcrs: PcrSelection::DEFAULT,
        floor: Some(Reading {
            reset_count: 5,
            restart_count: 2,
            clock: u64::MAX,
        }),
        issued_at,
        expires_at: issued_at + 1,
        answered: None,
    }
}

fn boot(reset_count: u32, copied: bool) -> Boot {
    Boot {
        reset_count,
        restart_count: 2,
        window: Window {
            challenged_at: 10,
            received_at: 20,
        },
        banks: Some("sha256".to_owned()),
        copied,
    }
}

fn runtime(reset_count: u32) -> ImaState {
    ImaState {
        reset_count,
        restart_count: 2,
        offset_bytes: 7,
        entries: 1,
        violations: 0,
        value: PcrDigest::zero(Bank::Sha256),
        extension: None,
        boot_aggregate: None,
        unproven: None,
    }
}

async fn advance(tx: &mut Tx, host: &HostId, boot: &Boot, firmware_version: i64) {
    let mut group = begun(tx).await;
    let quote = QuoteClock {
        firmware_version,
        reset_count: i64::from(boot.reset_count),
        restart_count: i64::from(boot.restart_count),
        clock: 100,
    };
    let row = RoundRow {
        host: host.as_str(),
        quote: &quote,
        boot_log: &Sha256Digest([3; 32]),
        runtime: Some(&runtime(boot.reset_count)),
        verdict: r#"{"a":"\u0000 'quoted' ü"}"#,
        standing: &Sha256Digest::ZERO,
        entry: 0,
        result: "result",
        boot,
    };
    group.advance(row).unwrap();
    tx.write_group(group).await.unwrap();
}

#[tokio::test]
async fn what_a_group_writes_is_held_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let hosts: [HostId; 2] = ["de-1", "de-2"].map(|name| name.parse().unwrap());
    let mut tx = enrolled(&folder, &hosts[0]).await;
    let before = held(&mut tx, [7; 32]).await;
    assert!(before.challenge.is_none() && before.boot.is_none() && before.tag.is_none());
    assert_eq!(
        (before.record.last_quote, before.record.runtime),
        (None, None)
    );

    let mut group = begun(&mut tx).await;
    group.challenge(&[7; 32], &challenge(&hosts[0], 1)).unwrap();
    group.challenge(&[8; 32], &challenge(&hosts[1], 2)).unwrap();
    let long = vec![b'x'; 300];
    let bodies: [&[u8]; 4] = [b"", "{\"\u{fc}\":\"\\u0000\"}".as_bytes(), &long, b"\0\xff"];
    for (index, body) in bodies.into_iter().enumerate() {
        assert_eq!(group.append(body).unwrap(), index as u64);
    }
    tx.write_group(group).await.unwrap();
    assert_eq!(tx.entries(0).await.unwrap(), bodies);
    assert_eq!(tx.frontier().await.unwrap().size(), 4);
    let kept = held(&mut tx, [7; 32]).await.challenge.unwrap();
    assert_eq!(kept.host, hosts[0]);
    assert_eq!(kept.floor, challenge(&hosts[0], 1).floor);
    assert!(kept.answered.is_none());

    let evidence = [Sha256Digest([1; 32]), Sha256Digest([2; 32])];
    let mut group = begun(&mut tx).await;
    assert_eq!(group.append(b"next").unwrap(), 4);
    group.answer(4, &[7; 32], &evidence[0], "the \"answer\"");
    let raw = |body| RawEvidence::of(Sha256Digest::of(body), body, None);
    group.evidence(4, "de-1", 5, &raw(b"one"));
    group.evidence(5, "de-2", 6, &raw(b"\0two"));
    let log = Sha256Digest::of(b"log");
    let body = br#"{"boot_log":"bG9n","more":1}"#;
    let cut = RawEvidence::of(Sha256Digest::of(body), body, Some((log, b"log")));
    group.evidence(6, "de-2", 6, &cut);
    tx.write_group(group).await.unwrap();
    let kept = held(&mut tx, [7; 32]).await.challenge.unwrap();
    let answered = Answered {
        evidence: evidence[0],
        answer: Some("the \"answer\"".to_owned()),
    };
    assert_eq!(kept.answered, Some(answered));
    assert!(
        held(&mut tx, [8; 32])
            .await
            .challenge
            .unwrap()
            .answered
            .is_none()
    );
    // Without its log the last one is not whole.
    let digest = Sha256Digest::of(body);
    assert!(tx.evidence(6, &digest).await.is_err());
    tx.add_boot_log(&log, b"log").await.unwrap();
    for (entry, body) in [(4, &b"one"[..]), (5, b"\0two"), (6, body)] {
        let read = tx.evidence(entry, &Sha256Digest::of(body)).await;
        assert_eq!(read.unwrap().as_deref(), Some(body));
    }
    assert!(tx.evidence(5, &digest).await.is_err());
    assert_eq!(tx.evidence(7, &digest).await.unwrap(), None);
}

#[tokio::test]
async fn a_round_moves_its_host_and_keeps_the_firmware_that_was_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let host: HostId = "de-1".parse().unwrap();
    let mut tx = enrolled(&folder, &host).await;
    advance(&mut tx, &host, &boot(5, false), 77).await;
    advance(&mut tx, &host, &boot(6, false), 78).await;
    let Held { record, boot, .. } = held(&mut tx, [0; 32]).await;
    let quote = record.last_quote.unwrap();
    assert_eq!(
        (quote.firmware_version, quote.reset_count, quote.clock),
        (77, 6, 100)
    );
    assert_eq!(record.runtime, Some(runtime(6)));
    assert_eq!(record.boot_log, Some(Sha256Digest([3; 32])));
    let kept = tx.host(&host).await.unwrap().unwrap();
    let verdict = r#"{"a":"\u0000 'quoted' ü"}"#;
    assert_eq!(kept.verdict.as_deref(), Some(verdict));
    assert_eq!(kept.result.as_deref(), Some("result"));
    assert_eq!(boot, Some(self::boot(6, false)));
}

#[tokio::test]
async fn a_boot_is_kept_until_the_next_one_and_once_copied_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let host: HostId = "de-1".parse().unwrap();
    let mut tx = enrolled(&folder, &host).await;
    // A copy may speak before anything is kept of a boot.
    tx.mark_copied(&host).await.unwrap();
    assert!(held(&mut tx, [0; 32]).await.boot.unwrap().copied);
    tx.void_what_rests_on(&host, 9).await.unwrap();
    advance(&mut tx, &host, &boot(5, false), 1).await;
    assert_eq!(held(&mut tx, [0; 32]).await.boot, Some(boot(5, false)));
    tx.mark_copied(&host).await.unwrap();
    // Neither a round that was under way undoes it, nor a reboot.
    for reset_count in [5, 6] {
        advance(&mut tx, &host, &boot(reset_count, false), 1).await;
        assert_eq!(
            held(&mut tx, [0; 32]).await.boot,
            Some(boot(reset_count, true))
        );
    }
    // The next identity of the host is not held to it.
    tx.void_what_rests_on(&host, 9).await.unwrap();
    assert_eq!(held(&mut tx, [0; 32]).await.boot, None);
}

#[tokio::test]
async fn what_is_claimed_rests_on_how_the_host_stands_still() {
    let folder = tempfile::tempdir().unwrap();
    let host: HostId = "de-1".parse().unwrap();
    let mut tx = enrolled(&folder, &host).await;
    let key = LayerKeyRecord {
        name: "payments".parse().unwrap(),
        policy: "payments".parse().unwrap(),
        registered: false,
        state: KeyState::Active,
        version: 0,
        created_at: 0,
        destroyed_at: None,
    };
    assert!(tx.add_layer_key(&key).await.unwrap());
    advance(&mut tx, &host, &boot(5, false), 1).await;
    let claim = |standing| Claim {
        host: host.clone(),
        tls_key: Sha256Digest::ZERO,
        standing,
        key: key.name.clone(),
    };
    let claims = [claim(Sha256Digest::ZERO), claim(Sha256Digest([1; 32]))];
    let grounds = tx.grounds(&claims).await.unwrap();
    assert!(grounds.iter().all(|grounds| grounds.enrolled));
    assert_eq!(
        grounds
            .iter()
            .map(|grounds| grounds.stands)
            .collect::<Vec<_>>(),
        [true, false]
    );
    // Taken away, as with a tag that is revoked.
    tx.void_verdict(&host, "{}").await.unwrap();
    assert!(!tx.grounds(&claims).await.unwrap()[0].stands);
}

#[tokio::test]
async fn a_group_upon_another_state_of_the_log_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let host: HostId = "de-1".parse().unwrap();
    let mut tx = enrolled(&folder, &host).await;
    let mut stale = begun(&mut tx).await;
    stale.append(b"stale").unwrap();
    tx.append(b"first").await.unwrap();
    assert!(tx.write_group(stale).await.is_err());
}

#[tokio::test]
async fn entries_upon_a_log_that_moved_meanwhile_are_not_written_and_the_next_ones_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("database");
    let store = Store::open(&format!("sqlite:{}", file.display())).await;
    let store = store.unwrap();
    let mut first = Group::of_entries(&Frontier::empty());
    first.append(b"one").unwrap();
    let edge = first.edge().clone();
    store.append_group(first).await.unwrap();

    let mut stale = Group::of_entries(&Frontier::empty());
    stale.append(b"two").unwrap();
    assert!(store.append_group(stale).await.is_err());
    // Of as many entries, so that only the size tells.
    let mut shorter = Group::of_entries(&edge);
    shorter.append(b"two").unwrap();
    shorter.size_before = 7;
    assert!(store.append_group(shorter).await.is_err());

    let mut next = Group::of_entries(&edge);
    next.append(b"three").unwrap();
    next.append(b"four").unwrap();
    let edge = next.edge().clone();
    store.append_group(next).await.unwrap();
    let mut tx = store.read().await.unwrap();
    let written = [&b"one"[..], b"three", b"four"].map(<[u8]>::to_vec);
    assert_eq!(tx.entries(0).await.unwrap(), written);
    assert_eq!(tx.frontier().await.unwrap(), edge);
}
