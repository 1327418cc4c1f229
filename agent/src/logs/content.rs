//! The content of a file by offset, whether the file is compressed or not.
//!
//! Rotators compress what they rotate, now and then before it was read to its end. Then reading goes on in the
//! compressed file, at the offset in its content. Compressed content can be read forward only: the last stretch is
//! kept, so that a reader may go back a little; further back it begins anew.
//!
//! gzip and zstd are read. Of the other compressors' files nothing can be read; the ledger says so.

use flate2::read::MultiGzDecoder;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::file::{self, Meta, Print};
use super::position::{PRINT_BYTES, digest};

/// Bytes that a reader may go back without beginning anew: more than the read window and a print.
const KEPT_BYTES: usize = 512 << 10;
/// Bytes taken from the decompressor at a time.
const STEP_BYTES: usize = 32 << 10;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Zstd,
    /// In a way that is not read here.
    Other,
}

impl Packing {
    /// By the name; `None` where it has no compressor's ending.
    pub(super) fn of(name: &OsStr) -> Option<Self> {
        let name = name.as_encoded_bytes();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending.as_bytes()));
        if ends(&[".gz"]) {
            Some(Self::Gzip)
        } else if ends(&[".zst"]) {
            Some(Self::Zstd)
        } else {
            ends(&[".bz2", ".xz", ".lz4", ".lzma", ".zip", ".Z", ".br"]).then_some(Self::Other)
        }
    }

    /// Whether its content can be read.
    pub(super) fn is_read(self) -> bool {
        self != Self::Other
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct Content {
    file: Arc<File>,
    /// Never contended: a reader takes its turn by itself.
    packed: Option<Mutex<Packed>>,
}

impl Content {
    /// Opens a regular file for reading.
    pub(super) fn open(path: &Path, packing: Option<Packing>) -> io::Result<(Self, Meta)> {
        let (file, meta) = file::open(path)?;
        let file = Arc::new(file);
        let packed = match packing {
            None => None,
            Some(packing) => Some(Mutex::new(Packed::new(packing, file.clone())?)),
        };
        Ok((Self { file, packed }, meta))
    }

    /// What the file is now.
    pub(super) fn look(&self) -> io::Result<Meta> {
        file::look_open(&self.file)
    }

    pub(super) fn is_packed(&self) -> bool {
        self.packed.is_some()
    }

    /// Reads at an offset of the content until the buffer is full or the content ends; the bytes read.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match &self.packed {
            None => file::read_at(&self.file, buffer, offset),
            Some(packed) => packed.lock().unwrap_or_else(PoisonError::into_inner).read_at(buffer, offset),
        }
    }

    /// Tells the content of a whole file, whether compressed or not: its first bytes and its length.
    pub(super) fn whole(&self, size: u64) -> io::Result<u64> {
        let len = match &self.packed {
            None => size,
            Some(packed) => packed.lock().unwrap_or_else(PoisonError::into_inner).len(size)?,
        };
        let print = Print::read(self, len.min(PRINT_BYTES as u64))?.unwrap_or_default();
        Ok(whole(print.digests().0, len))
    }
}

/// As [`Content::whole`] of content whose first bytes have this digest.
pub(super) fn whole(head: u64, len: u64) -> u64 {
    // gzip tells the length in 32 bits.
    let len = u32::try_from(len & 0xffff_ffff).unwrap_or(0);
    let mut bytes = head.to_le_bytes().to_vec();
    bytes.extend(len.to_le_bytes());
    digest(&bytes).max(1)
}

/// Compressed content, read from its begin.
struct Packed {
    packing: Packing,
    file: Arc<File>,
    reader: Box<dyn Read + Send>,
    /// The last bytes before `at`.
    kept: Vec<u8>,
    /// Offset of the next byte from the reader.
    at: u64,
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed").field("packing", &self.packing).field("at", &self.at).finish_non_exhaustive()
    }
}

impl Packed {
    fn new(packing: Packing, file: Arc<File>) -> io::Result<Self> {
        let source = Source { file: file.clone(), at: 0 };
        let reader: Box<dyn Read + Send> = match packing {
            Packing::Gzip => Box::new(MultiGzDecoder::new(io::BufReader::with_capacity(STEP_BYTES, source))),
            Packing::Zstd => Box::new(zstd::stream::read::Decoder::new(source)?),
            Packing::Other => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "compressed in a way not read here"));
            }
        };
        Ok(Self { packing, file, reader, kept: Vec::new(), at: 0 })
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset < self.at - self.kept.len() as u64 {
            *self = Self::new(self.packing, self.file.clone())?;
        }
        while self.at < offset + buffer.len() as u64 && self.step()? > 0 {}
        let begin = self.at - self.kept.len() as u64;
        let from = usize::try_from(offset - begin).unwrap_or(usize::MAX).min(self.kept.len());
        let n = buffer.len().min(self.kept.len() - from);
        buffer[..n].copy_from_slice(&self.kept[from..from + n]);
        Ok(n)
    }

    /// Decompresses a little more; 0 at the end.
    fn step(&mut self) -> io::Result<usize> {
        if self.kept.len() >= 2 * KEPT_BYTES {
            self.kept.drain(..KEPT_BYTES);
        }
        let len = self.kept.len();
        self.kept.resize(len + STEP_BYTES, 0);
        let read = self.reader.read(&mut self.kept[len..]);
        self.kept.truncate(len + read.as_ref().map_or(0, |n| *n));
        let read = read?;
        self.at += read as u64;
        Ok(read)
    }

    /// Length of the content: as gzip tells it at its end, or by reading all.
    fn len(&mut self, size: u64) -> io::Result<u64> {
        if self.packing == Packing::Gzip && size >= 18 {
            let mut told = [0; 4];
            file::read_at(&self.file, &mut told, size - 4)?;
            return Ok(u64::from(u32::from_le_bytes(told)));
        }
        while self.step()? > 0 {}
        Ok(self.at)
    }
}

/// Reads a file from its begin, whatever others do with the same handle.
struct Source {
    file: Arc<File>,
    at: u64,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}
