//! G: lies about the place that need no operator. The liar's TPM carries its own tag again afterwards.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::location::{LocationAuthority, LocationTag, Place};

use super::liar::code;
use super::{Enrolled, Error, Liar, Result, Told};

pub(super) const TOLD: &[&str] = &["G1a", "G1b", "G1c", "G1d", "G1e", "G2a", "G2b", "G3"];

/// Bytes of an Ed25519 signature, which end a tag.
const SIGNATURE: usize = 64;

pub(super) async fn tell(scene: &Enrolled<'_>) -> Result<Told> {
    let Enrolled { liar, other, .. } = *scene;
    let mut told = Told::new();
    certifications(liar, &mut told).await?;

    let mine = carried(liar).await?;
    for (id, contents) in tags(&mine, carried(other).await?)? {
        liar.tpm.write_location_tag(&contents).await?;
        told.insert(id, code(&liar.lie(|_| ()).await?));
    }
    told.insert("G1e", code(&liar.lie_without_location().await?));
    liar.tpm.write_location_tag(&mine).await?;
    Ok(told)
}

/// The tag is right, what says that the TPM carries it is not.
async fn certifications(liar: &Liar, told: &mut Told) -> Result<()> {
    let earlier = liar.challenge().await?;
    let earlier = liar.evidence(&earlier).await?;
    let stale = liar.lie(|lie| lie.location = earlier.location.clone());
    told.insert("G3", code(&stale.await?));
    let quote = liar.lie(|lie| lie.location = Some(lie.quote.clone()));
    told.insert("G2a", code(&quote.await?));
    let challenge = liar.challenge().await?;
    let mut evidence = liar.evidence(&challenge).await?;
    evidence.location = Some(liar.location_by_another_key(&challenge).await?);
    told.insert("G2b", code(&liar.send(&evidence).await?));
    Ok(())
}

/// Tags that the TPM really carries, and nobody should believe.
fn tags(mine: &[u8], theirs: Vec<u8>) -> Result<[(&'static str, Vec<u8>); 4]> {
    let mut resigned = mine.to_vec();
    if let Some(last) = resigned.last_mut() {
        *last ^= 1;
    }
    let place = Place::new("DE", None, "site1").map_err(|_| Error::Scene("no such place"))?;
    let forged = LocationAuthority::from_secret(&[9; 32]).sign(LocationTag {
        authority: Sha256Digest::ZERO,
        ek_set: Sha256Digest::ZERO,
        serial: 1,
        not_before: 0,
        not_after: i64::MAX,
        place,
    });
    let forged = forged.map_err(|_| Error::Scene("a tag cannot be signed"))?;
    let unsigned = mine[..mine.len().saturating_sub(SIGNATURE)].to_vec();
    Ok([
        ("G1a", theirs),
        ("G1b", forged),
        ("G1c", resigned),
        ("G1d", unsigned),
    ])
}

async fn carried(liar: &Liar) -> Result<Vec<u8>> {
    let tag = liar.tpm.location_tag().await?;
    tag.ok_or(Error::Scene("the TPM carries no location tag"))
}
