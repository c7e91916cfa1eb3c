//! E, and Q10 and Q11: lies about endorsements, keys and names.

use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::world::{Maker, World};

use super::Told;
use crate::enrolment::Applicant;

pub(super) const TOLD: &[&str] = &[
    "E1a", "E2a", "E2b", "E3a", "E3b", "E4a", "E6a", "E7", "E8", "Q10a", "Q10b", "Q10c", "Q10d",
    "Q11a",
];

pub(super) async fn tell() -> Told {
    let (believed, unknown) = (Maker::new(), Maker::new());
    let world = World::start(&Database::Sqlite, &believed);
    let host = Host::boot(&believed.authority, "de-1", Profile::Healthy);
    let other = Host::boot(&believed.authority, "de-2", Profile::Healthy);
    let foreign = Host::boot(&unknown.authority, "de-3", Profile::Healthy);
    for machine in [&host, &other, &foreign] {
        world.admit(machine, None).await;
    }
    let stranger = Host::boot(&believed.authority, "stranger", Profile::Healthy);
    let refusal = async |machine: &Host, change: &dyn Fn(&mut Applicant)| -> String {
        let mut applicant = Applicant::with_tpm_of(machine, &world).await;
        change(&mut applicant);
        match applicant.begin().await {
            Ok(_) => "none".to_owned(),
            Err(code) => code,
        }
    };
    let mut told = Told::new();
    told.insert("E1a", refusal(&foreign, &|_| ()).await);
    told.insert("E7", refusal(&stranger, &|_| ()).await);
    let theirs = Applicant::with_tpm_of(&other, &world).await;
    let swap_public =
        |mine: &mut Applicant| mine.request.ek_public = theirs.request.ek_public.clone();
    told.insert("E2a", refusal(&host, &swap_public).await);
    // TPMA_OBJECT stands after type and Name algorithm, most significant byte first.
    let ek_attributes = |mine: &mut Applicant| mine.request.ek_public.0[7] ^= 0x02;
    told.insert("E2b", refusal(&host, &ek_attributes).await);
    let not_der = |mine: &mut Applicant| mine.request.ek_certificate.0[1] = 0x7f;
    told.insert("E6a", refusal(&host, &not_der).await);
    for (id, byte, bit) in [("Q10a", 5, 0x01), ("Q10b", 7, 0x02), ("Q10c", 5, 0x02)] {
        let attributes = |mine: &mut Applicant| mine.request.ak_public.0[byte] ^= bit;
        told.insert(id, refusal(&host, &attributes).await);
    }
    // The size of an RSA key follows policy, symmetric algorithm and scheme; here: of a curve.
    let curve = |mine: &mut Applicant| mine.request.ak_public.0[17] = 0x01;
    told.insert("Q10d", refusal(&host, &curve).await);

    let mixed = |mine: &mut Applicant| mine.request.ak_public = theirs.request.ak_public.clone();
    let mut applicant = Applicant::with_tpm_of(&host, &world).await;
    mixed(&mut applicant);
    let challenge = applicant.begin().await.unwrap();
    told.insert(
        "Q11a",
        applicant
            .activate(&challenge, vec![7; 32])
            .await
            .unwrap_err(),
    );

    let applicant = Applicant::with_tpm_of(&host, &world).await;
    let challenge = applicant.begin().await.unwrap();
    let secret = applicant.open(&challenge).await;
    let wrong = applicant.activate(&challenge, vec![0; 32]).await;
    told.insert("E3a", wrong.unwrap_err());
    let replayed = applicant.activate(&challenge, secret).await;
    told.insert("E3b", replayed.unwrap_err());
    let challenge = applicant.begin().await.unwrap();
    let secret = applicant.open(&challenge).await;
    applicant.activate(&challenge, secret).await.unwrap();
    told.insert("E4a", refusal(&host, &|_| ()).await);
    told.insert("E8", world.second_name(&host).await);
    told
}
