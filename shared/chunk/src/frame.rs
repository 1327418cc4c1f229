//! The frame around every block: magic, version, header, compressed body, checksum.

use crate::bytes::{Cursor, put_varint};
use crate::{DecodeError, EncodeError};

const CRC_BYTES: usize = 4;

/// Which kind of block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) magic: [u8; 2],
    pub(crate) name: &'static str,
    /// The one version that is written and read.
    pub(crate) version: u8,
}

/// Unpacks one block after the other with the same memory: making a decompressor anew takes longer than a small block,
/// and so does fresh memory for a large one. Bodies of log records stay in it until the next; they are bounded by the
/// reader's limits.
pub struct Unpacker {
    unpacker: Option<zstd::bulk::Decompressor<'static>>,
    body: Vec<u8>,
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unpacker")
    }
}

impl Default for Unpacker {
    fn default() -> Self {
        Self::new()
    }
}

impl Unpacker {
    /// One that holds no memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { unpacker: None, body: Vec::new() }
    }

    fn unpacker(&mut self) -> std::io::Result<&mut zstd::bulk::Decompressor<'static>> {
        match &mut self.unpacker {
            Some(unpacker) => Ok(unpacker),
            none => Ok(none.insert(zstd::bulk::Decompressor::new()?)),
        }
    }

    fn unpack(&mut self, compressed: &[u8], raw_len: usize) -> std::io::Result<Vec<u8>> {
        self.unpacker()?.decompress(compressed, raw_len)
    }

    fn unpack_here(&mut self, compressed: &[u8], raw_len: usize) -> std::io::Result<&[u8]> {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        body.reserve(raw_len);
        let unpacked = self.unpacker()?.decompress_to_buffer(compressed, &mut body);
        self.body = body;
        unpacked.map(|_| self.body.as_slice())
    }
}

/// Levels above this search for matches in tables that take megabytes at zstd's own sizes. Of this size (two logarithms,
/// 256 KiB each) they find as much in blocks like ours: at level 9 and 250 to 500 KiB of mixed service lines 0.3 % more
/// bytes at most, and a fifth less time.
const PLAIN_LEVEL_MAX: i32 = 3;
const TABLE_LOG_MAX: u32 = 16;

fn pack(raw: &[u8], level: i32) -> std::io::Result<Vec<u8>> {
    let mut packer = zstd::bulk::Compressor::new(level)?;
    if level > PLAIN_LEVEL_MAX {
        packer.set_parameter(zstd::zstd_safe::CParameter::HashLog(TABLE_LOG_MAX))?;
        packer.set_parameter(zstd::zstd_safe::CParameter::ChainLog(TABLE_LOG_MAX))?;
    }
    packer.compress(raw)
}

/// Writes a block.
pub(crate) fn seal(kind: Kind, header: &[u8], raw: &[u8], level: i32) -> Result<Vec<u8>, EncodeError> {
    let body = pack(raw, level).map_err(|e| EncodeError::Compression(e.to_string()))?;
    let mut out = Vec::with_capacity(header.len() + body.len() + 24);
    out.extend_from_slice(&kind.magic);
    out.push(kind.version);
    out.extend_from_slice(header);
    put_varint(&mut out, raw.len() as u64);
    out.extend_from_slice(&body);
    out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
    Ok(out)
}

/// Checksum of a header that checks itself, with what stands before it.
pub(crate) fn crc_of_header(kind: Kind, header: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&kind.magic);
    hasher.update(&[kind.version]);
    hasher.update(header);
    hasher.finalize()
}

/// Checks magic and version alone: the header is one that checks itself, with [`check_header`] at its end. What follows
/// the header is checked by [`checked_body`].
pub(crate) fn begin(kind: Kind, bytes: &[u8]) -> Result<Cursor<'_>, DecodeError> {
    let (start, rest) = bytes.split_at_checked(3).ok_or(DecodeError::Truncated("frame"))?;
    if start[..2] != kind.magic {
        return Err(DecodeError::Magic(kind.name));
    }
    if start[2] != kind.version {
        return Err(DecodeError::Version(start[2]));
    }
    Ok(Cursor::new(rest, "header"))
}

/// Reads the checksum at which the cursor stands, and compares.
pub(crate) fn check_header(bytes: &[u8], cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
    let crc = crc32fast::hash(&bytes[..bytes.len() - cursor.remaining()]);
    if cursor.take(CRC_BYTES)? == crc.to_le_bytes() { Ok(()) } else { Err(DecodeError::Crc) }
}

/// Checks the whole frame, and decompresses its body, at which the cursor stands.
pub(crate) fn checked_body<'u>(
    bytes: &[u8],
    mut cursor: Cursor<'_>,
    raw_bytes_max: usize,
    unpacker: &'u mut Unpacker,
) -> Result<&'u [u8], DecodeError> {
    let end = cursor.remaining().checked_sub(CRC_BYTES).ok_or(DecodeError::Truncated("frame"))?;
    let (content, crc) = bytes.split_at(bytes.len() - CRC_BYTES);
    if crc32fast::hash(content).to_le_bytes() != crc {
        return Err(DecodeError::Crc);
    }
    let mut cursor = Cursor::new(cursor.take(end)?, "body");
    let raw_len = cursor.count("decompressed length", raw_bytes_max)?;
    let compressed = cursor.take(cursor.remaining())?;
    let raw = unpacker.unpack_here(compressed, raw_len).map_err(|e| DecodeError::Compression(e.to_string()))?;
    if raw.len() == raw_len { Ok(raw) } else { Err(DecodeError::Invalid("decompressed length")) }
}

/// Checks magic, version and checksum; gives what stands behind the version byte, up to the checksum.
pub(crate) fn open<'a>(kind: Kind, bytes: &'a [u8]) -> Result<Cursor<'a>, DecodeError> {
    let end = bytes.len().checked_sub(CRC_BYTES).filter(|end| *end >= 3).ok_or(DecodeError::Truncated("frame"))?;
    let (content, crc) = bytes.split_at(end);
    if content[..2] != kind.magic {
        return Err(DecodeError::Magic(kind.name));
    }
    if crc32fast::hash(content).to_le_bytes() != crc {
        return Err(DecodeError::Crc);
    }
    if content[2] != kind.version {
        return Err(DecodeError::Version(content[2]));
    }
    Ok(Cursor::new(&content[3..], "header"))
}

/// Decompresses the body at which the cursor stands behind the header.
pub(crate) fn body(
    mut cursor: Cursor<'_>,
    raw_bytes_max: usize,
    unpacker: &mut Unpacker,
) -> Result<Vec<u8>, DecodeError> {
    let raw_len = cursor.count("decompressed length", raw_bytes_max)?;
    let compressed = cursor.take(cursor.remaining())?;
    let raw = unpacker.unpack(compressed, raw_len).map_err(|e| DecodeError::Compression(e.to_string()))?;
    if raw.len() == raw_len { Ok(raw) } else { Err(DecodeError::Invalid("decompressed length")) }
}
