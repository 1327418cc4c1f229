//! The one read buffer that all files share.
//!
//! It is kept between two turns of the same file, so that a batch that fills up within a read costs no second read.
//!
//! Invariant: what it held and does not hold any more is overwritten, for it may have been a secret.

use std::io;

use super::content::Content;
use super::file::Print;
use super::position::PRINT_BYTES;

/// Bytes of one read.
pub(super) const READ_BYTES: usize = 64 << 10;

/// A piece of one file in memory.
#[derive(Debug, Default)]
pub(super) struct Window {
    owner: Option<u64>,
    start: u64,
    /// Zero behind `len`.
    data: Vec<u8>,
    len: usize,
}

impl Window {
    /// Whether it holds the bytes of this generation from `offset`.
    pub(super) fn continues(&self, owner: u64, offset: u64) -> bool {
        self.owner == Some(owner) && offset >= self.start && offset <= self.end()
    }

    /// Reads from `offset`, and the bytes ahead of it, which must be those of `print`. `false` if they are not.
    pub(super) fn fill(&mut self, owner: u64, content: &Content, offset: u64, print: &Print) -> io::Result<bool> {
        self.forget();
        let before = print.tail_len();
        self.start = offset - before as u64;
        self.make_room(before + READ_BYTES);
        self.len = content.read_at(&mut self.data[..before + READ_BYTES], self.start)?;
        if self.len < before || !print.has_tail(&self.data[..before]) {
            return Ok(false);
        }
        self.owner = Some(owner);
        Ok(true)
    }

    /// Reads on, and drops what lies further before `keep` than a print reaches. The bytes read; 0 at the file's end.
    pub(super) fn extend(&mut self, content: &Content, keep: u64) -> io::Result<usize> {
        let keep = keep.saturating_sub(PRINT_BYTES as u64).max(self.start);
        let drop = usize::try_from(keep - self.start).unwrap_or(usize::MAX).min(self.len);
        self.data.copy_within(drop..self.len, 0);
        self.data[self.len - drop..self.len].fill(0);
        self.len -= drop;
        self.start = keep;
        self.make_room(self.len + READ_BYTES);
        let end = self.end();
        let read = content.read_at(&mut self.data[self.len..self.len + READ_BYTES], end)?;
        self.len += read;
        Ok(read)
    }

    fn make_room(&mut self, len: usize) {
        if self.data.len() < len {
            self.data.resize(len, 0);
        }
    }

    fn end(&self) -> u64 {
        self.start + self.len as u64
    }

    /// The bytes between two offsets that it holds.
    pub(super) fn between(&self, from: u64, to: u64) -> &[u8] {
        let at = |offset: u64| usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.data[..self.len].get(at(from)..at(to)).unwrap_or_default()
    }

    /// The bytes from an offset to its end.
    pub(super) fn from(&self, offset: u64) -> &[u8] {
        self.between(offset, self.end())
    }

    /// Drops the bytes, and the room that an overlong line took.
    pub(super) fn forget(&mut self) {
        self.owner = None;
        // Also behind its end: a read that failed may have left bytes there.
        let used = self.data.len().min(self.len + READ_BYTES);
        self.data[..used].fill(0);
        self.len = 0;
        self.data.truncate(2 * READ_BYTES);
        self.data.shrink_to(2 * READ_BYTES);
    }
}
