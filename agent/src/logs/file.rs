//! Looks at, opens and reads files; the only place of the log inputs that does.

use rustix::fs::OFlags;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::content::Content;
use super::position::{Digest, Ident, PRINT_BYTES, Sibling, digest};

/// Bytes at a file's begin that tell its format.
const BEGIN_BYTES: usize = 8;

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
        Sibling { id: digest(&bytes), modified_ms, content: 0 }
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

/// Digests of the first bytes and of the last bytes before an offset: what identifies the content read so far. Digests
/// alone, because the bytes may be secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    /// Bytes before this are taken in.
    offset: u64,
    /// Of at most [`PRINT_BYTES`] bytes.
    head: Digest,
    /// Of at most [`PRINT_BYTES`] bytes before the offset.
    tail: u64,
    /// The first bytes themselves: they tell the format.
    begin: [u8; BEGIN_BYTES],
}

impl Default for Print {
    fn default() -> Self {
        Self { offset: 0, head: Digest::default(), tail: digest(&[]), begin: [0; BEGIN_BYTES] }
    }
}

impl Print {
    /// Reads it; `None` if the file is shorter than the offset.
    pub(super) fn read(content: &Content, offset: u64) -> io::Result<Option<Self>> {
        let len = usize::try_from(offset).unwrap_or(usize::MAX).min(PRINT_BYTES);
        let mut bytes = vec![0; len];
        if content.read_at(&mut bytes, 0)? < len {
            return Ok(None);
        }
        let mut print = Self::default();
        print.take_head(&bytes);
        if content.read_at(&mut bytes, offset - len as u64)? < len {
            return Ok(None);
        }
        (print.offset, print.tail) = (offset, digest(&bytes));
        Ok(Some(print))
    }

    /// Goes on to an offset. `between` has the bytes of the file between two offsets, from a print's length before where
    /// it was so far.
    pub(super) fn absorb<'a>(&mut self, offset: u64, between: impl Fn(u64, u64) -> &'a [u8]) {
        if offset == self.offset {
            return;
        }
        if self.offset < PRINT_BYTES as u64 {
            self.take_head(between(self.offset, offset.min(PRINT_BYTES as u64)));
        }
        self.offset = offset;
        self.tail = digest(between(offset - self.tail_len() as u64, offset));
    }

    fn take_head(&mut self, bytes: &[u8]) {
        let known = usize::try_from(self.offset).unwrap_or(usize::MAX).min(BEGIN_BYTES);
        let room = &mut self.begin[known..];
        let n = room.len().min(bytes.len());
        room[..n].copy_from_slice(&bytes[..n]);
        self.head.add(bytes);
    }

    /// Bytes before the offset that it knows.
    pub(super) fn tail_len(&self) -> usize {
        usize::try_from(self.offset).unwrap_or(usize::MAX).min(PRINT_BYTES)
    }

    /// Whether these are the bytes before the offset.
    pub(super) fn has_tail(&self, bytes: &[u8]) -> bool {
        digest(bytes) == self.tail
    }

    /// The file's first bytes, as far as they were read, at most eight.
    pub(super) fn begin(&self) -> &[u8] {
        &self.begin[..usize::try_from(self.offset).unwrap_or(usize::MAX).min(BEGIN_BYTES)]
    }

    /// The digests of head and tail, as they are stored.
    pub(super) fn digests(&self) -> (u64, u64) {
        (self.head.value(), self.tail)
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
            let path = tempfile::NamedTempFile::new().unwrap();
            let (mut file, content) = (path.reopen().unwrap(), Content::open(path.path(), None).unwrap().0);
            let (mut print, mut all) = (Print::default(), Vec::new());
            for (n, size) in sizes.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + n * 31) as u8).collect();
                io::Write::write_all(&mut file, &bytes).unwrap();
                all.extend_from_slice(&bytes);
                print.absorb(all.len() as u64, |from, to| &all[from as usize..to as usize]);
                prop_assert_eq!(Print::read(&content, all.len() as u64).unwrap(), Some(print));
                prop_assert_eq!(print.begin(), &all[..all.len().min(8)]);
                let head = digest(&all[..all.len().min(PRINT_BYTES)]);
                let tail = digest(&all[all.len().saturating_sub(PRINT_BYTES)..]);
                prop_assert_eq!(print.digests(), (head, tail));
            }
            prop_assert_eq!(Print::read(&content, all.len() as u64 + 1).unwrap(), None);
        }
    }
}
