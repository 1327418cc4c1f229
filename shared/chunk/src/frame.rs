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

/// Unpacks one block after the other with the same memory: making a decompressor anew takes longer than a small block.
pub struct Unpacker(Option<zstd::bulk::Decompressor<'static>>);

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
        Self(None)
    }

    fn unpack(&mut self, compressed: &[u8], raw_len: usize) -> std::io::Result<Vec<u8>> {
        let unpacker = match &mut self.0 {
            Some(unpacker) => unpacker,
            none => none.insert(zstd::bulk::Decompressor::new()?),
        };
        unpacker.decompress(compressed, raw_len)
    }
}

/// Writes a block.
pub(crate) fn seal(kind: Kind, header: &[u8], raw: &[u8], level: i32) -> Result<Vec<u8>, EncodeError> {
    let body = zstd::bulk::compress(raw, level).map_err(|e| EncodeError::Compression(e.to_string()))?;
    let mut out = Vec::with_capacity(header.len() + body.len() + 24);
    out.extend_from_slice(&kind.magic);
    out.push(kind.version);
    out.extend_from_slice(header);
    put_varint(&mut out, raw.len() as u64);
    out.extend_from_slice(&body);
    out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
    Ok(out)
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
