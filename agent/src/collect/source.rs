//! Reading small kernel files below redirectable roots.

use std::io::Read;
use std::path::{Path, PathBuf};

/// Most bytes that are read of one file.
pub(super) const FILE_BYTES_MAX: u64 = 4 << 20;
/// Most entries that are read of one folder.
pub(super) const ENTRIES_MAX: usize = 100_000;

/// Where the kernel's files are; tests use recorded trees, a container the host's mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// `/proc`.
    pub proc: PathBuf,
    /// `/sys`.
    pub sys: PathBuf,
    /// `/`.
    pub rootfs: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into(), rootfs: "/".into() }
    }
}

/// Why a collector took no measurement.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A file or folder cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The kernel refuses a call.
    #[error("{call}: {source}")]
    Call {
        /// Which.
        call: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file does not have the form that the kernel documents.
    #[error("{path}: {line:?} is not understood: {expected} is expected", path = path.display())]
    Form {
        /// Which file.
        path: PathBuf,
        /// The line, cut.
        line: String,
        /// What was expected.
        expected: &'static str,
    },
}

/// A file that was read.
pub(super) struct Text {
    path: PathBuf,
    pub(super) content: String,
}

impl Text {
    /// Reads a file; bytes that are not UTF-8 are replaced.
    pub(super) fn read(path: PathBuf) -> Result<Self, CollectError> {
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(Self { content: String::from_utf8_lossy(&bytes).into_owned(), path }),
            Err(source) => Err(CollectError::Read { path, source }),
        }
    }

    /// Reads a file that not every kernel has.
    pub(super) fn optional(path: PathBuf) -> Result<Option<Self>, CollectError> {
        match Self::read(path) {
            Ok(text) => Ok(Some(text)),
            Err(CollectError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn fault(&self, line: &str, expected: &'static str) -> CollectError {
        CollectError::Form { path: self.path.clone(), line: line.chars().take(80).collect(), expected }
    }

    /// One number of a line.
    pub(super) fn number(&self, word: Option<&str>, line: &str, expected: &'static str) -> Result<f64, CollectError> {
        word.and_then(|word| word.parse().ok()).ok_or_else(|| self.fault(line, expected))
    }

    /// The whole file as one number.
    pub(super) fn whole(&self) -> Result<f64, CollectError> {
        let line = self.content.trim();
        self.number(Some(line), line, "one number")
    }
}

/// A file's text without the white space around it; `None` where it is not there, or the driver behind it refuses, as
/// many do while a device sleeps.
pub(super) fn word_at(path: PathBuf) -> Option<String> {
    Text::read(path).ok().map(|text| text.content.trim().to_owned())
}

/// As [`word_at`], for a file of one number.
pub(super) fn number_at(path: PathBuf) -> Option<f64> {
    word_at(path)?.parse().ok()
}

/// Paths of a folder's entries, sorted; none where the folder does not exist.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, CollectError> {
    let fail = |source| CollectError::Read { path: folder.to_owned(), source };
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let mut paths = Vec::new();
    for entry in listing.take(ENTRIES_MAX) {
        paths.push(entry.map_err(fail)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Last part of a path as text.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
