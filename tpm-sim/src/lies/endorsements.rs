//! E, and what of Q is about keys: lies about endorsements and about the keys to be enrolled.

use touchstone_evidence::wire::JoinToken;

use super::applicant::Applicant;
use super::{Result, Told};

pub(super) const TOLD: &[&str] = &[
    "E1a", "E2a", "E2b", "E3a", "E3b", "E3c", "E3d", "E4a", "E6a", "E7", "Q10a", "Q10b", "Q10c",
    "Q10d", "Q10e", "Q10f", "Q10g", "Q11a", "Q11c", "Q11d",
];

/// Guesses at one secret: enough to show that the first one burnt it.
const GUESSES: u8 = 100;

/// Machines that want to enrol; each is the address of its TPM.
#[derive(Clone, Copy, Debug)]
pub struct Enrolling<'a> {
    /// With it they come.
    pub token: &'a JoinToken,
    /// In the inventory, not enrolled; enrolled afterwards.
    pub applicant: &'a str,
    /// In the inventory, not enrolled.
    pub second: &'a str,
    /// In the inventory, of a maker that the verifier does not believe, and whose CA bears the name of one
    /// that it believes.
    pub foreign: &'a str,
    /// Of a believed maker, and not in the inventory.
    pub stranger: &'a str,
}

impl Enrolling<'_> {
    /// Tells the lies.
    ///
    /// # Errors
    /// Why a lie could not be told.
    pub async fn tell(&self) -> Result<Told> {
        let mut told = Told::new();
        told.insert("E1a", self.refusal(self.foreign, |_| ()).await?);
        told.insert("E7", self.refusal(self.stranger, |_| ()).await?);
        self.other_keys(&mut told).await?;
        self.activations(&mut told).await?;
        Ok(told)
    }

    /// What the verifier says to a first message that was changed; `none` if it goes on.
    async fn refusal(&self, tcti: &str, change: impl FnOnce(&mut Applicant)) -> Result<String> {
        let mut applicant = Applicant::at(tcti, self.token).await?;
        change(&mut applicant);
        let begun = applicant.begin().await;
        Ok(begun.err().unwrap_or_else(|| "none".to_owned()))
    }

    async fn other_keys(&self, told: &mut Told) -> Result<()> {
        let theirs = Applicant::at(self.second, self.token).await?.request;
        let swap = |mine: &mut Applicant| mine.request.ek_public = theirs.ek_public.clone();
        told.insert("E2a", self.refusal(self.applicant, swap).await?);
        // TPMA_OBJECT stands after type and Name algorithm, most significant byte first.
        let attributes = |mine: &mut Applicant| flip(&mut mine.request.ek_public.0, 7, 0x02);
        told.insert("E2b", self.refusal(self.applicant, attributes).await?);
        let not_der = |mine: &mut Applicant| set(&mut mine.request.ek_certificate.0, 1, 0x7f);
        told.insert("E6a", self.refusal(self.applicant, not_der).await?);
        for (id, byte, bit) in [
            ("Q10a", 5, 0x01),
            ("Q10b", 7, 0x02),
            ("Q10c", 5, 0x02),
            ("Q10f", 7, 0x20),
        ] {
            let attributes = |mine: &mut Applicant| flip(&mut mine.request.ak_public.0, byte, bit);
            told.insert(id, self.refusal(self.applicant, attributes).await?);
        }
        // A curve follows policy, symmetric algorithm and scheme; 1 is P-192 (TPM_ECC_NIST_P192).
        let curve = |mine: &mut Applicant| set(&mut mine.request.ak_public.0, 17, 0x01);
        told.insert("Q10d", self.refusal(self.applicant, curve).await?);
        let short = |mine: &mut Applicant| mine.request.ak_public = rsa_1024().into();
        told.insert("Q10e", self.refusal(self.applicant, short).await?);
        // The EK itself: a storage key of this very TPM.
        let storage =
            |mine: &mut Applicant| mine.request.ak_public = mine.request.ek_public.clone();
        told.insert("Q10g", self.refusal(self.applicant, storage).await?);
        Ok(())
    }

    async fn activations(&self, told: &mut Told) -> Result<()> {
        let theirs = Applicant::at(self.second, self.token).await?.request;
        let mut mixed = Applicant::at(self.applicant, self.token).await?;
        mixed.request.ak_public = theirs.ak_public;
        told.insert("Q11a", guess(&mixed, 7).await);
        told.insert("Q11c", self.swapped().await?);
        told.insert("E3c", self.guessed().await?);

        let applicant = Applicant::at(self.applicant, self.token).await?;
        let wrong = applicant.begin().await;
        let (wrong, replayed) = match &wrong {
            Ok(challenge) => {
                let secret = applicant.open(challenge).await?;
                let wrong = applicant.activate(challenge, vec![0; 32]).await;
                (
                    refused(wrong.map(drop)),
                    refused(applicant.activate(challenge, secret).await.map(drop)),
                )
            }
            Err(code) => (code.clone(), code.clone()),
        };
        told.insert("E3a", wrong);
        told.insert("E3b", replayed);
        let replayed = match applicant.begin().await {
            Ok(challenge) => {
                let secret = applicant.open(&challenge).await?;
                // Whether or not it worked shows in the next answers.
                let _ = applicant.activate(&challenge, secret.clone()).await;
                refused(applicant.activate(&challenge, secret).await.map(drop))
            }
            Err(code) => code,
        };
        told.insert("E3d", replayed);
        told.insert("E4a", self.refusal(self.applicant, |_| ()).await?);
        let enrolled = applicant.request.ak_public;
        let steal = |other: &mut Applicant| other.request.ak_public = enrolled;
        told.insert("Q11d", self.refusal(self.second, steal).await?);
        Ok(())
    }

    /// The secret that another enrolment's key opened.
    async fn swapped(&self) -> Result<String> {
        let begun = Applicant::at(self.applicant, self.token).await?;
        let other = Applicant::at(self.applicant, self.token).await?;
        let (mine, theirs) = match (begun.begin().await, other.begin().await) {
            (Ok(mine), Ok(theirs)) => (mine, theirs),
            (Err(code), _) | (_, Err(code)) => return Ok(code),
        };
        let secret = other.open(&theirs).await?;
        Ok(refused(begun.activate(&mine, secret).await.map(drop)))
    }

    /// What the last of many guesses at one secret gets; the first one's answer is another lie's.
    async fn guessed(&self) -> Result<String> {
        let applicant = Applicant::at(self.applicant, self.token).await?;
        let challenge = match applicant.begin().await {
            Ok(challenge) => challenge,
            Err(code) => return Ok(code),
        };
        let mut said = String::new();
        for byte in 0..GUESSES {
            let guess = applicant.activate(&challenge, vec![byte; 32]).await;
            said = refused(guess.map(drop));
        }
        Ok(said)
    }
}

/// What the verifier says to a secret that was guessed.
async fn guess(applicant: &Applicant, byte: u8) -> String {
    match applicant.begin().await {
        Ok(challenge) => refused(
            applicant
                .activate(&challenge, vec![byte; 32])
                .await
                .map(drop),
        ),
        Err(code) => code,
    }
}

fn refused(said: std::result::Result<(), String>) -> String {
    said.err().unwrap_or_else(|| "none".to_owned())
}

/// `TPMT_PUBLIC` of an AK as the template has it, but RSA-1024 with RSASSA; nobody holds it.
fn rsa_1024() -> Vec<u8> {
    let head = [
        0x00, 0x01, 0x00, 0x0b, 0x00, 0x05, 0x04, 0x72, 0x00, 0x00, 0x00, 0x10, 0x00, 0x14, 0x00,
        0x0b, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80,
    ];
    [&head[..], &[0xc5; 128]].concat()
}

fn flip(bytes: &mut [u8], at: usize, bit: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= bit;
    }
}

fn set(bytes: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = value;
    }
}
