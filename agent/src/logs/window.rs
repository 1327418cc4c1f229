//! The one read buffer that all files share.
//!
//! It is kept between two turns of the same file, so that a batch that fills up within a read costs no second read.

use std::fs::File;
use std::io;

use super::file;

/// Bytes of one read.
pub(super) const READ_BYTES: usize = 64 << 10;

/// A piece of one file in memory.
#[derive(Debug, Default)]
pub(super) struct Window {
    owner: Option<u64>,
    start: u64,
    data: Vec<u8>,
}

impl Window {
    /// Whether it holds the bytes of this generation from `offset`, with `before` bytes ahead of them.
    pub(super) fn continues(&self, owner: u64, offset: u64) -> bool {
        self.owner == Some(owner) && offset >= self.start && offset <= self.start + self.data.len() as u64
    }

    /// Reads from `offset`, and the bytes ahead of it, which must be `tail`. `false` if they are not.
    pub(super) fn fill(&mut self, owner: u64, file: &File, offset: u64, tail: &[u8]) -> io::Result<bool> {
        self.forget();
        self.start = offset - tail.len() as u64;
        self.data.resize(tail.len() + READ_BYTES, 0);
        let n = file::read_at(file, &mut self.data, self.start)?;
        self.data.truncate(n);
        if !self.data.starts_with(tail) {
            return Ok(false);
        }
        self.owner = Some(owner);
        Ok(true)
    }

    /// Reads on, and drops what lies before `keep`. The bytes read; 0 at the end of the file.
    pub(super) fn extend(&mut self, file: &File, keep: u64) -> io::Result<usize> {
        let drop = usize::try_from(keep - self.start).unwrap_or(usize::MAX).min(self.data.len());
        self.data.drain(..drop);
        self.start = keep;
        let len = self.data.len();
        self.data.resize(len + READ_BYTES, 0);
        let read = file::read_at(file, &mut self.data[len..], self.start + len as u64);
        self.data.truncate(len + read.as_ref().map_or(0, |n| *n));
        read
    }

    /// The bytes between two offsets that it holds.
    pub(super) fn between(&self, from: u64, to: u64) -> &[u8] {
        let at = |offset: u64| usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.data.get(at(from)..at(to)).unwrap_or_default()
    }

    /// The bytes from an offset to its end.
    pub(super) fn from(&self, offset: u64) -> &[u8] {
        self.between(offset, self.start + self.data.len() as u64)
    }

    /// Drops the bytes, and the room that an overlong line took.
    pub(super) fn forget(&mut self) {
        self.owner = None;
        self.data.clear();
        self.data.shrink_to(2 * READ_BYTES);
    }
}
