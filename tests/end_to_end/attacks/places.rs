//! G: lies about the place.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::location::{LocationAuthority, LocationTag, Place};
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::world::healthy_host;

use super::{Told, code};

pub(super) const TOLD: &[&str] = &[
    "G1a", "G1b", "G1c", "G1d", "G1e", "G2a", "G2b", "G3", "G4", "G7",
];

pub(super) async fn tell() -> Told {
    let (world, host, maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let mut told = Told::new();

    let earlier = liar.challenge().await;
    let earlier = liar.evidence(&earlier).await;
    let answer = liar
        .lie(|lie| lie.location = earlier.location.clone())
        .await;
    told.insert("G3", code(answer));
    let other_statement = liar.lie(|lie| lie.location = Some(lie.quote.clone())).await;
    told.insert("G2a", code(other_statement));
    let challenge = liar.challenge().await;
    let mut evidence = liar.evidence(&challenge).await;
    evidence.location = Some(liar.location_by_another_key(&challenge).await);
    told.insert("G2b", code(liar.send(&evidence).await));

    let other = Host::boot(&maker.authority, "de-8", Profile::Healthy);
    world.join(&other, Some("DE")).await;
    let theirs = Liar::take(&other, &world.server).await;
    let theirs = theirs.tpm.location_tag().await.unwrap().unwrap();
    let mine = liar.tpm.location_tag().await.unwrap().unwrap();
    let mut resigned = mine.clone();
    if let Some(last) = resigned.last_mut() {
        *last ^= 1;
    }
    let forged = LocationAuthority::from_secret(&[9; 32]).sign(LocationTag {
        authority: Sha256Digest::ZERO,
        ek_set: Sha256Digest::ZERO,
        serial: 1,
        not_before: 0,
        not_after: i64::MAX,
        place: Place::new("DE", None, "site1").unwrap(),
    });
    let unsigned = mine[..mine.len() - 64].to_vec();
    for (id, contents) in [
        ("G1a", theirs),
        ("G1b", forged.unwrap()),
        ("G1c", resigned),
        ("G1d", unsigned),
    ] {
        liar.tpm.write_location_tag(&contents).await.unwrap();
        told.insert(id, code(liar.lie(|_| ()).await));
    }
    let nothing = liar.lie_without_location().await;
    told.insert("G1e", code(nothing));

    // The host moves; its pods may not follow; and the old tag, still in its time, does not help.
    world.tag(&host, "US");
    host.attest(&world.server).unwrap();
    let (admitted, _) = world.server.place("u1", "node-de-1").await;
    assert!(!admitted);
    let entries = world.server.audit_entries();
    let refusal = &entries.last().unwrap()["refusals"][0];
    told.insert("G4", refusal.as_str().unwrap().to_owned());
    liar.tpm.write_location_tag(&mine).await.unwrap();
    told.insert("G7", code(liar.lie(|_| ()).await));
    told
}
