//! Looks at, opens and reads files; the only place of the log inputs that does.

use rustix::fs::OFlags;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::position::{Ident, PRINT_BYTES, Sibling, digest};

/// What the file system says about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) ident: Ident,
    pub(super) size: u64,
    pub(super) modified_ns: i128,
    /// Names that it has; without any it was removed.
    pub(super) links: u64,
}

impl Meta {
    fn of(meta: &Metadata) -> Self {
        let born = meta.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let born_ns = born.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0);
        Self {
            ident: Ident { dev: meta.dev(), ino: meta.ino(), born_ns },
            size: meta.size(),
            links: meta.nlink(),
            modified_ns: i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()),
        }
    }

    /// How it is remembered once it needs no more reading. Where there is no time of birth the time of the last
    /// change stands in, for a rotated file does not change.
    pub(super) fn sibling(&self) -> Sibling {
        let modified_ms = i64::try_from(self.modified_ns / 1_000_000).unwrap_or(i64::MAX);
        let since = if self.ident.born_ns == 0 { modified_ms } else { self.ident.born_ns };
        let mut bytes = self.ident.ino.to_le_bytes().to_vec();
        bytes.extend(since.to_le_bytes());
        Sibling { id: digest(&bytes), modified_ms }
    }
}

fn regular(meta: &Metadata) -> io::Result<Meta> {
    if meta.is_file() {
        Ok(Meta::of(meta))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// What stands at a path, links followed.
pub(super) fn look(path: &Path) -> io::Result<Meta> {
    regular(&fs::metadata(path)?)
}

/// What an open file is now.
pub(super) fn look_open(file: &File) -> io::Result<Meta> {
    regular(&file.metadata()?)
}

/// Opens a regular file for reading. Non-blocking, so that a pipe of that name cannot hold the thread.
pub(super) fn open(path: &Path) -> io::Result<(File, Meta)> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = look_open(&file)?;
    Ok((file, meta))
}

/// Reads at an offset until the buffer is full or the file ends; the bytes read.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The first bytes and the last bytes before an offset: what identifies the content read so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Print {
    pub(super) head: Vec<u8>,
    pub(super) tail: Vec<u8>,
}

impl Print {
    /// Reads it; `None` if the file is shorter than the offset.
    pub(super) fn read(file: &File, offset: u64) -> io::Result<Option<Self>> {
        let len = usize::try_from(offset).unwrap_or(usize::MAX).min(PRINT_BYTES);
        let mut print = Self { head: vec![0; len], tail: vec![0; len] };
        let whole =
            read_at(file, &mut print.head, 0)? == len && read_at(file, &mut print.tail, offset - len as u64)? == len;
        Ok(whole.then_some(print))
    }

    /// Takes in the bytes that were read since.
    pub(super) fn absorb(&mut self, bytes: &[u8]) {
        let room = PRINT_BYTES - self.head.len().min(PRINT_BYTES);
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() >= PRINT_BYTES {
            self.tail.clear();
            self.tail.extend_from_slice(&bytes[bytes.len() - PRINT_BYTES..]);
        } else {
            self.tail.extend_from_slice(bytes);
            let surplus = self.tail.len().saturating_sub(PRINT_BYTES);
            self.tail.drain(..surplus);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        assert!(look(dir.path()).is_err());
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        assert!(open(&pipe).is_err());
    }

    proptest! {
        #[test]
        fn absorbing_equals_reading(sizes in proptest::collection::vec(0usize..400, 0..8)) {
            let mut file = tempfile::tempfile().unwrap();
            let (mut print, mut all) = (Print::default(), Vec::new());
            for (n, size) in sizes.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + n * 31) as u8).collect();
                io::Write::write_all(&mut file, &bytes).unwrap();
                all.extend_from_slice(&bytes);
                print.absorb(&bytes);
                prop_assert_eq!(Print::read(&file, all.len() as u64).unwrap(), Some(print.clone()));
            }
            prop_assert_eq!(Print::read(&file, all.len() as u64 + 1).unwrap(), None);
        }
    }
}
