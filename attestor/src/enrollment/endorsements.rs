//! Whose TPMs are genuine: importing roots, intermediates and revocation lists, and what came of them.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::endorsement::{
    AddedList, Bundle, EndorsementRoots, Imported, ManufacturerId, RootClass, RootImportError,
};

use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event, ListImported};
use crate::clock;
use crate::store::{self, StoreError, StoredBundle, Tx};

/// Most manufacturers that roots are limited to; the registry has about thirty.
const MANUFACTURERS_MAX: usize = 64;

/// Why an import was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error("the bundle cannot be imported: {0}")]
    Roots(#[from] RootImportError),
    #[error("there are certificates in it; say with `--class` what they vouch for")]
    ClassMissing,
    #[error(
        "this attestor runs in production and takes no roots of class `simulator`: such a TPM is a program"
    )]
    SimulatorRoot,
    #[error("roots are limited to at most {MANUFACTURERS_MAX} manufacturers, not {0}")]
    Manufacturers(usize),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImportError {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Roots(error) => error.code(),
            Self::ClassMissing => "endorsement-class-missing",
            Self::SimulatorRoot => "simulator-root-refused",
            Self::Manufacturers(_) => "endorsement-manufacturers",
            Self::Store(_) => "internal",
        }
    }
}

/// What an operator imports.
pub(crate) struct Import {
    /// Needed where there are certificates.
    pub(crate) class: Option<RootClass>,
    /// Whom the roots may vouch for; none: any.
    pub(crate) manufacturers: Vec<ManufacturerId>,
    pub(crate) pem: String,
}

/// What an import brought.
pub(crate) struct ImportDone {
    pub(crate) imported: Imported,
    pub(crate) lists: Vec<AddedList>,
}

/// Imports certificates and revocation lists, all or nothing.
pub(crate) async fn import(
    attestor: &Attestor,
    actor: &Actor,
    mut import: Import,
) -> Result<ImportDone, ImportError> {
    if import.manufacturers.len() > MANUFACTURERS_MAX {
        return Err(ImportError::Manufacturers(import.manufacturers.len()));
    }
    import.manufacturers.sort_unstable();
    import.manufacturers.dedup();
    let bundle = Bundle::from_pem(import.pem.as_bytes())?;
    if attestor.production && import.class == Some(RootClass::Simulator) {
        return Err(ImportError::SimulatorRoot);
    }
    if bundle.has_certificates() && import.class.is_none() {
        return Err(ImportError::ClassMissing);
    }
    let now = clock::now();
    // In the writing transaction, so that no other import slips in between check and commit.
    let mut tx = attestor.store.write().await?;
    let known = Endorsements::read(&mut tx).await?;
    let (class, manufacturers) = (import.class, import.manufacturers.clone());
    let (bundle, done) = tokio::task::spawn_blocking(move || {
        let done = add(known, &bundle, class, &manufacturers)?;
        Ok::<_, ImportError>((bundle, done))
    })
    .await
    .map_err(|_| StoreError::Malformed("endorsement bundle"))??;
    if let Some(class) = import.class.filter(|_| bundle.has_certificates()) {
        keep_certificates(
            &mut tx,
            actor,
            class,
            &import.manufacturers,
            &bundle,
            &done,
            now,
        )
        .await?;
    }
    keep_lists(&mut tx, actor, &bundle, &done.lists, now).await?;
    if !done.lists.is_empty() {
        // An enrolment that waits for its activation was let in by what was known before.
        tx.forget_all_enrolments().await?;
    }
    tx.commit().await?;
    Ok(done)
}

fn add(
    known: Endorsements,
    bundle: &Bundle,
    class: Option<RootClass>,
    manufacturers: &[ManufacturerId],
) -> Result<ImportDone, ImportError> {
    let mut roots = known.parse()?;
    // Here and not where bundles are read back: one that was taken by an earlier version must go on being read.
    bundle.check_authorities()?;
    let mut imported = match class {
        Some(class) => roots.add_certificates(bundle, class, manufacturers)?,
        None => Imported::default(),
    };
    let lists = roots.add_lists(bundle)?;
    imported.lists = lists.len();
    Ok(ImportDone { imported, lists })
}

async fn keep_certificates(
    tx: &mut Tx,
    actor: &Actor,
    class: RootClass,
    manufacturers: &[ManufacturerId],
    bundle: &Bundle,
    done: &ImportDone,
    now: i64,
) -> Result<(), ImportError> {
    let manufacturers: Vec<String> = manufacturers.iter().map(ToString::to_string).collect();
    let stored = StoredBundle {
        class: store::class_word(class).to_owned(),
        manufacturers: manufacturers.join(" "),
        pem: bundle.certificates_pem(),
    };
    tx.add_endorsement_bundle(&stored, now).await?;
    if class == RootClass::Simulator {
        tx.mark_simulator_root(now).await?;
    }
    let event = Event::EndorsementImported {
        class: store::class_word(class),
        manufacturers,
        bundle: Sha256Digest::of(stored.pem.as_bytes()),
        roots: done.imported.roots,
        intermediates: done.imported.intermediates,
    };
    Entry::new(&event, actor, now)?.append(tx).await?;
    Ok(())
}

async fn keep_lists(
    tx: &mut Tx,
    actor: &Actor,
    bundle: &Bundle,
    lists: &[AddedList],
    now: i64,
) -> Result<(), ImportError> {
    for AddedList { list, replaced } in lists {
        let der = bundle.list(&list.digest());
        let der = der.ok_or(StoreError::Malformed("revocation list"))?;
        tx.add_revocation_list(der, replaced.as_ref(), now).await?;
        let event = Event::RevocationListImported(ListImported {
            issuer: list.issuer(),
            issuer_key: list.issuer_key_digest(),
            list: list.digest(),
            number: list.number(),
            next_update: list.next_update(),
            revoked: list.revoked(),
            replaced: *replaced,
        });
        Entry::new(&event, actor, now)?.append(tx).await?;
    }
    Ok(())
}

/// Everything that was imported, as it is kept.
pub(crate) struct Endorsements {
    bundles: Vec<StoredBundle>,
    lists: Vec<Vec<u8>>,
}

impl Endorsements {
    /// Reads it. Done for each enrolment: they are rare, and no replica may miss an import.
    pub(crate) async fn read(tx: &mut Tx) -> Result<Self, StoreError> {
        Ok(Self {
            bundles: tx.endorsement_bundles().await?,
            lists: tx.revocation_lists().await?,
        })
    }

    /// Parses all of it and checks the roots' own signatures and those of the lists: milliseconds, so
    /// not on an async thread.
    pub(crate) fn parse(&self) -> Result<EndorsementRoots, StoreError> {
        let malformed = StoreError::Malformed("endorsement bundle");
        let mut roots = EndorsementRoots::new();
        for stored in &self.bundles {
            let class = store::class(&stored.class).ok_or(StoreError::Malformed("root class"))?;
            let manufacturers: Result<Vec<ManufacturerId>, _> = stored
                .manufacturers
                .split_whitespace()
                .map(str::parse)
                .collect();
            let bundle = Bundle::from_pem(stored.pem.as_bytes());
            let (Ok(bundle), Ok(manufacturers)) = (bundle, manufacturers) else {
                return Err(malformed);
            };
            let added = roots.add_certificates(&bundle, class, &manufacturers);
            added.map_err(|_| StoreError::Malformed("endorsement bundle"))?;
        }
        for der in &self.lists {
            let added = roots.add_list(der);
            added.map_err(|_| StoreError::Malformed("revocation list"))?;
        }
        Ok(roots)
    }
}
