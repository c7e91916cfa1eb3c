//! Each kind of endorsement key, from its certificate in NV to an accepted round.

use touchstone_agent::tpm::{EkTemplate, Tpm};
use touchstone_tests::authority::Ca;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::world::{Maker, World};
use touchstone_tpm_sim::swtpm::Swtpm;

const RSA_2048: u32 = 0x01c0_0002;
const P_256: u32 = 0x01c0_000a;
const HIGH_RSA_2048: u32 = 0x01c0_0012;
const HIGH_P_256: u32 = 0x01c0_0014;
const P_384: u32 = 0x01c0_0016;

/// Enrols the machine with the EK that it should choose, and attests; again after a reboot.
async fn enrols_with(world: &World, host: &Host, template: EkTemplate) {
    let tpm = Tpm::open(&host.tpm.tcti()).await.unwrap();
    assert_eq!(tpm.endorsement().await.unwrap().ek.template, template);
    drop(tpm);
    let outcome = world.join(host, Some("DE")).await;
    assert_eq!(outcome["tier"], "affirming", "{template:?}: {outcome}");
    host.reboot();
    let outcome = host.attest(&world.server).unwrap();
    assert_eq!(outcome["tier"], "affirming", "{template:?}: {outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_enrols_with_an_rsa_2048_ek() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    enrols_with(&world, &host, EkTemplate::LowRsa2048).await;
    // Without the persistent copy of the EK it is derived.
    host.tpm.evict(0x8101_0001).unwrap();
    host.reboot();
    assert_eq!(host.attest(&world.server).unwrap()["tier"], "affirming");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_enrols_with_a_p384_ek() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    host.tpm.remove_index(RSA_2048).unwrap();
    enrols_with(&world, &host, EkTemplate::HighP384).await;
    host.tpm.evict(0x8101_0016).unwrap();
    host.reboot();
    assert_eq!(host.attest(&world.server).unwrap()["tier"], "affirming");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_enrols_with_an_rsa_3072_ek() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let host = Host::boot_made("de-1", Profile::Healthy, |folder| {
        Swtpm::manufacture_with_rsa_3072(folder, &maker.authority, "de-1").unwrap()
    });
    host.tpm.remove_index(P_384).unwrap();
    enrols_with(&world, &host, EkTemplate::HighRsa3072).await;
}

/// swtpm has certificates for none of these, so its owner writes ours.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_enrol_with_eks_of_every_other_template() {
    let (maker, ca) = (Maker::new(), Ca::root("Another Maker"));
    let world = World::start(&Database::under_test(), &maker);
    let file = world.server.file("another.pem", &ca.pem());
    world
        .server
        .command(&["endorsement", "import", "--class", "manufacturer", &file]);
    for (name, index, template) in [
        ("de-1", P_256, EkTemplate::LowP256),
        ("de-2", HIGH_RSA_2048, EkTemplate::HighRsa2048),
        ("de-3", HIGH_P_256, EkTemplate::HighP256),
    ] {
        let host = Host::boot(&maker.authority, name, Profile::Healthy);
        let certificate = ca.endorse(&host.tpm.ek_public(template).unwrap(), 1);
        host.tpm.remove_index(RSA_2048).unwrap();
        host.tpm.store_index(index, &certificate).unwrap();
        enrols_with(&world, &host, template).await;
    }
}
