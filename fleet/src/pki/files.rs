//! Key and certificate files: complete or absent, keys readable by their owner alone.

use super::PkiError;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Largest PEM file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Writes `text` to `path` with mode 0600, replacing what stands there.
///
/// # Errors
/// [`PkiError::File`].
pub fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    write(path, text, 0o600)
}

/// Writes `text` to `path` with mode 0644, replacing what stands there.
///
/// # Errors
/// [`PkiError::File`].
pub fn write_public(path: &Path, text: &str) -> Result<(), PkiError> {
    write(path, text, 0o644)
}

/// Reads a text file of at most 256 KiB.
pub(super) fn read(path: &Path) -> Result<String, PkiError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .map(|_| text)
        .map_err(|source| PkiError::File { action: "read", path: path.to_owned(), source })
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = Path::new(&temporary);
    let written = (|| {
        // A leftover of an interrupted write could have another mode: `mode` only counts for a file that is made.
        match std::fs::remove_file(temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(temporary, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    })();
    written.map_err(|source| PkiError::File { action: "write", path: path.to_owned(), source })
}
