//! G: lies about the place that need no operator. The liar's TPM carries its own tag again afterwards.

use touchstone_agent::tpm::{LOCATION_INDEX, NvArea};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::location::{LocationAuthority, LocationTag, Place};

use super::index::{self, Writer};
use super::liar::code;
use super::{Enrolled, Error, Liar, Result, Told};

pub(super) const TOLD: &[&str] = &[
    "G1a", "G1b", "G1c", "G1d", "G1e", "G2a", "G2b", "G2c", "G2d", "G2e", "G2f", "G2g", "G3",
];

/// Beside the location index, in the owner's range too.
const OTHER_INDEX: u32 = LOCATION_INDEX + 1;

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
    indices(scene, &mine, &mut told).await?;
    liar.tpm.write_location_tag(&mine).await?;
    Ok(told)
}

/// The right tag in a wrong index, a part of it, and an index that was spoilt.
async fn indices(scene: &Enrolled<'_>, mine: &[u8], told: &mut Told) -> Result<()> {
    let liar = scene.liar;
    let about = async |index: u32, contents: &[u8]| -> Result<String> {
        let challenge = liar.challenge().await?;
        let size = u16::try_from(contents.len()).map_err(|_| Error::Scene("a tag is small"))?;
        let area = NvArea { index, size };
        let evidence = liar.evidence_about(&challenge, area, contents).await?;
        Ok(code(&liar.send(&evidence).await?))
    };
    let part = mine.get(..mine.len() / 2).unwrap_or_default();
    told.insert("G2c", about(LOCATION_INDEX, part).await?);
    let tcti = scene.machine.tpm.tcti();
    index::define(&tcti, OTHER_INDEX, Writer::Owner, mine)?;
    let other = about(OTHER_INDEX, mine).await;
    index::undefine(&tcti, OTHER_INDEX)?;
    told.insert("G2e", other?);
    // Anybody may write it now, and it holds the same.
    index::undefine(&tcti, LOCATION_INDEX)?;
    index::define(&tcti, LOCATION_INDEX, Writer::Anybody, mine)?;
    told.insert("G2d", code(&liar.lie(|_| ()).await?));
    index::undefine(&tcti, LOCATION_INDEX)?;
    told.insert("G2f", code(&liar.lie(|_| ()).await?));
    liar.tpm.write_location_tag(&vec![0; mine.len()]).await?;
    told.insert("G2g", code(&liar.lie(|_| ()).await?));
    Ok(())
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
