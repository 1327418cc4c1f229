//! The fleet's chain of root documents, shared by all who check a signature.

use crate::control::{Control, ControlError};
use skerry_model::UnixMillis;
use skerry_seal::{RootUpdate, TrustError, TrustStore};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Largest root file that is read.
const ROOT_BYTES_MAX: u64 = 64 * 1024;

/// Why the chain cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustFileError {
    /// The file of root document 1 cannot be read.
    #[error("read the root document {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The chain does not hold.
    #[error("root documents")]
    Chain(#[from] TrustError),
    /// The control file failed.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl TrustFileError {
    /// Stable name for API errors.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Chain(error) => error.code(),
            Self::File { .. } | Self::Control(_) => "internal",
        }
    }
}

/// The chain in force; cheap to clone.
#[derive(Debug, Clone)]
pub struct Trust(Arc<RwLock<Arc<TrustStore>>>);

impl Trust {
    /// Reads root document 1 from its file and follows it through those that came in later.
    ///
    /// # Errors
    /// [`TrustFileError`].
    pub async fn load(path: &Path, control: &Control) -> Result<Self, TrustFileError> {
        let file = |source| TrustFileError::File { path: path.to_owned(), source };
        let mut first = Vec::new();
        let opened = std::fs::File::open(path).map_err(file)?;
        std::io::Read::read_to_end(&mut std::io::Read::take(opened, ROOT_BYTES_MAX), &mut first).map_err(file)?;
        let mut chain = vec![first];
        chain.extend(control.roots().await?);
        Ok(Self(Arc::new(RwLock::new(Arc::new(TrustStore::restore(&chain)?)))))
    }

    /// The chain now.
    #[must_use]
    pub fn current(&self) -> Arc<TrustStore> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the next root document and keeps it.
    ///
    /// # Errors
    /// [`TrustFileError`]; the chain stays as it was then.
    pub async fn add(&self, envelope: &[u8], control: &Control, now: UnixMillis) -> Result<u64, TrustFileError> {
        let mut next = TrustStore::clone(&self.current());
        if next.update(envelope)? == RootUpdate::Adopted {
            let version = next.current().revision.version;
            control.add_root(version, envelope.to_vec(), now).await?;
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        }
        Ok(self.current().current().revision.version)
    }
}
