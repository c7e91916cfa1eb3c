//! The machines that tell the lies, in a folder: they are made once and can be switched on again.

use std::fs;
use std::path::{Path, PathBuf};

use touchstone_agent::Settings;
use touchstone_evidence::wire::JoinToken;

use super::{Answers, Enrolled, Enrolling, Error, Group, Liar, Machine, Result, Told};
use crate::profile::Profile;
use crate::runtime_list::RuntimeList;
use crate::swtpm::{Authority, RunningTpm, Swtpm};

/// What they boot.
const BOOT: &str = "shim_sb";

/// What a verifier's operator must know about a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: &'static str,
    /// Whether it is to be in the inventory.
    pub in_inventory: bool,
    /// Whether it needs a location tag.
    pub tagged: bool,
}

impl Role {
    const fn new(name: &'static str, in_inventory: bool, tagged: bool) -> Self {
        Self {
            name,
            in_inventory,
            tagged,
        }
    }
}

/// In this order: who lies, the healthy one beside it, two that enrol, one of another maker, a stranger, and one
/// that lies about what ran.
const ROLES: [Role; 7] = [
    Role::new("liar-1", true, true),
    Role::new("liar-2", true, true),
    Role::new("applicant-1", true, false),
    Role::new("applicant-2", true, false),
    Role::new("foreign-1", true, false),
    Role::new("stranger-1", false, false),
    Role::new(RUNTIME, true, false),
];

/// The role of which policy must demand `runtime` alone, with violations refused.
pub const RUNTIME: &str = "runtime-1";

/// The role whose TPM is of a maker that nobody believes.
const FOREIGN: &str = "foreign-1";

/// One machine, under power.
#[derive(Debug)]
pub struct Part {
    /// What it is there for.
    pub role: Role,
    folder: PathBuf,
    tpm: RunningTpm,
    runtime_list: RuntimeList,
}

/// All of them.
#[derive(Debug)]
pub struct Cast {
    folder: PathBuf,
    profile: &'static Profile,
    parts: Vec<Part>,
}

impl Cast {
    /// Makes the machines in `folder` and boots them, or boots those that were made there before. Blocks for
    /// some seconds when they are made.
    ///
    /// # Errors
    /// [`Error::Swtpm`] or [`Error::File`].
    pub fn boot(folder: &Path, mut told: impl FnMut(&str)) -> Result<Self> {
        let profile = Profile::named(BOOT).ok_or(Error::Scene("a recorded boot is missing"))?;
        let makers = [
            maker(&folder.join("maker"))?,
            maker(&folder.join("foreign-maker"))?,
        ];
        let mut parts = Vec::new();
        for role in ROLES {
            told(role.name);
            let [believed, foreign] = &makers;
            let maker = match role.name {
                FOREIGN => foreign,
                _ => believed,
            };
            parts.push(Part::boot(role, folder.join(role.name), maker, profile)?);
        }
        let cast = Self {
            folder: folder.to_owned(),
            profile,
            parts,
        };
        let [believed, _] = &makers;
        write(&cast.roots(), &believed.ca_bundle()?)?;
        Ok(cast)
    }

    /// The file with the CA of the maker that the verifier must believe, PEM.
    #[must_use]
    pub fn roots(&self) -> PathBuf {
        self.folder.join("maker.pem")
    }

    /// The machines.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Enrols the liars honestly, then tells the lies of the `groups`, calling `heard` after each group. Those
    /// about runtime lists are left out where no policy demands `runtime` of [`RUNTIME`].
    ///
    /// # Errors
    /// Why the scene could not be set, or a lie not told.
    pub async fn tell(
        &self,
        token: &JoinToken,
        groups: &[Group],
        mut heard: impl FnMut(Group, &Told),
    ) -> Result<Answers> {
        let mut all = Answers::default();
        let mut liars = None;
        for group in groups {
            let told = match group {
                Group::Endorsements => self.enrolling(token)?.tell().await?,
                Group::RuntimeLists => match self.tell_runtime_lists(token).await {
                    Err(Error::RuntimeUnjudged(said)) => {
                        all.runtime_unjudged = Some(said);
                        continue;
                    }
                    told => told?,
                },
                _ => {
                    let (liar, other) = match liars.take() {
                        Some(liars) => liars,
                        None => (self.join(0, token).await?, self.join(1, token).await?),
                    };
                    let scene = Enrolled {
                        liar: &liar,
                        machine: self.part(0)?.machine(self.profile),
                        other: &other,
                    };
                    let told = scene.tell(*group).await?;
                    liars = Some((liar, other));
                    told
                }
            };
            heard(*group, &told);
            all.told.extend(told);
        }
        Ok(all)
    }

    async fn tell_runtime_lists(&self, token: &JoinToken) -> Result<Told> {
        let part = self.part(6)?;
        let settings = part.settings();
        let liar = Liar::join_for_runtime(part.role.name, &settings, token).await?;
        let scene = Enrolled {
            liar: &liar,
            machine: part.machine(self.profile),
            other: &liar,
        };
        scene.tell(Group::RuntimeLists).await
    }

    fn enrolling<'a>(&'a self, token: &'a JoinToken) -> Result<Addresses<'a>> {
        let address = |at: usize| Ok::<_, Error>(self.part(at)?.tpm.tcti());
        Ok(Addresses {
            token,
            tctis: [address(2)?, address(3)?, address(4)?, address(5)?],
        })
    }

    async fn join(&self, at: usize, token: &JoinToken) -> Result<Liar> {
        let part = self.part(at)?;
        Liar::join(part.role.name, &part.settings(), token).await
    }

    fn part(&self, at: usize) -> Result<&Part> {
        self.parts
            .get(at)
            .ok_or(Error::Scene("a machine is missing"))
    }
}

/// The addresses of those who enrol.
struct Addresses<'a> {
    token: &'a JoinToken,
    tctis: [String; 4],
}

impl Addresses<'_> {
    async fn tell(&self) -> Result<Told> {
        let [applicant, second, foreign, stranger] = &self.tctis;
        let enrolling = Enrolling {
            token: self.token,
            applicant,
            second,
            foreign,
            stranger,
        };
        enrolling.tell().await
    }
}

impl Part {
    fn boot(
        role: Role,
        folder: PathBuf,
        maker: &Authority,
        profile: &'static Profile,
    ) -> Result<Self> {
        let state = folder.join("tpm");
        let made = match state.join("tpm2-00.permall").exists() {
            true => Swtpm::open(&state)?,
            false => Swtpm::manufacture(&state, maker, role.name)?,
        };
        let part = Self {
            role,
            tpm: made.start()?,
            runtime_list: RuntimeList::at(folder.join("binary_runtime_measurements")),
            folder,
        };
        part.machine(profile).measure(profile.runtime_list)?;
        write(&part.settings().boot_log, profile.boot_log)?;
        write(&part.settings().boot_id, BOOT_ID)?;
        Ok(part)
    }

    /// The certificates of its endorsement keys, DER.
    #[must_use]
    pub fn ek_certificates(&self) -> [PathBuf; 2] {
        ["ek-rsa2048.crt", "ek-secp384r1.crt"].map(|name| self.folder.join("tpm").join(name))
    }

    fn machine(&self, profile: &'static Profile) -> Machine<'_> {
        Machine {
            tpm: &self.tpm,
            profile,
            runtime_list: &self.runtime_list,
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            state: self.folder.join("agent"),
            tcti: self.tpm.tcti(),
            boot_log: self.folder.join("binary_bios_measurements"),
            ima_list: self.runtime_list.path().to_owned(),
            boot_id: self.folder.join("boot_id"),
            ..Settings::default()
        }
    }
}

/// A boot id; what boots here has no kernel to make one.
const BOOT_ID: &str = "6f2c5c0e-8a3d-4f53-9d0a-54a5a4a0c1de\n";

fn maker(folder: &Path) -> Result<Authority> {
    Ok(match folder.join("ca").exists() {
        true => Authority::open(folder)?,
        false => Authority::create(folder)?,
    })
}

fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, contents).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })
}
