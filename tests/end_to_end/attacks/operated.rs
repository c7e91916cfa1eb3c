//! Lies for which an operator has to do something too, so that `tpm-sim break` cannot tell them alone.

use touchstone_tests::liar::Liar;
use touchstone_tests::world::healthy_host;
use touchstone_tpm_sim::lies::{Told, code};

pub(super) const TOLD: &[&str] = &["E8", "G4", "G7", "Q1e"];

pub(super) async fn tell() -> Told {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let mut told = Told::new();
    told.insert("E8", world.second_name(&host).await);

    // The host moves; its pods may not follow; and the old tag, still in its time, does not help.
    let mine = liar.tpm.location_tag().await.unwrap().unwrap();
    world.tag(&host, "US");
    host.attest(&world.server).unwrap();
    let (admitted, _) = world.server.place("u1", "node-de-1").await;
    assert!(!admitted);
    let entries = world.server.audit_entries();
    let refusal = &entries.last().unwrap()["refusals"][0];
    told.insert("G4", refusal.as_str().unwrap().to_owned());
    liar.tpm.write_location_tag(&mine).await.unwrap();
    told.insert("G7", code(&liar.lie(|_| ()).await));

    // Q1 under a policy that asks for nothing else.
    let policy = "apiVersion: touchstone.dev/v1\nkind: HostPolicy\nmetadata: {name: any}\nspec: {hosts: ['*'], freshnessSeconds: 60}\n";
    let file = world.server.file("any.yaml", policy);
    world.server.command(&["policy", "apply", &file]);
    let flipped = liar.lie(|lie| lie.quote.signature.0[70] ^= 1).await;
    told.insert("Q1e", code(&flipped));
    told
}
