//! Small private files, replaced whole.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Why the identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file or folder.
    #[error("cannot {action} {}; check its owner and mode, and that the disk has room", .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// A file with other content than expected.
    #[error("{} is damaged: {problem}; bring it back from a backup, or delete the folder and enrol the node anew", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// No key could be made.
    #[error("cannot make a key: {0}")]
    Generate(String),
}

/// The content; `None` where there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, IdentityError> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::File { action: "read", path: path.to_owned(), source }),
    }
}

/// Replaces the file, whatever happens in between: the old content or the new stands there.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    let fail = |source| IdentityError::File { action: "write", path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail)?;
    let temporary = path.with_extension("new");
    let written = (|| {
        // A leftover of an interrupted write could have another mode: `mode` counts for a file that is made alone.
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    })();
    written.map_err(fail)
}
