//! A bloom filter over the tokens of a block's lines, so that a search opens only the blocks that may match.
//!
//! A token is a longest run of ASCII letters, digits, `_` and bytes above 127, of 3 to 64 bytes, with ASCII letters in
//! lower case. Eight bits per distinct token and five probes give about 2 % false answers. A block with so many tokens
//! that the filter would exceed [`BYTES_MAX`] at half that density goes without.

use std::collections::HashSet;

/// Largest filter, in bytes.
pub const BYTES_MAX: usize = 16 << 10;
/// Shortest and longest token, in bytes.
pub const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 3..=64;
const BITS_PER_TOKEN: usize = 8;
const PROBES: u64 = 5;

/// The filter; empty where it could rule nothing out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bloom(Vec<u8>);

/// Whether a byte belongs to a token.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte > 127
}

/// The tokens of a line, as they stand (not yet in lower case).
pub fn tokens(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| !is_token(*byte)).filter(|token| TOKEN_BYTES.contains(&token.len()))
}

/// FNV-1a over the lower-case token, with a final mix so that all bits depend on all bytes.
fn hash(token: &[u8]) -> u64 {
    let fnv = token.iter().fold(0xcbf2_9ce4_8422_2325, |h: u64, b| {
        (h ^ u64::from(b.to_ascii_lowercase())).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (fnv ^ fnv >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 32
}

impl Bloom {
    pub(crate) fn of_lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let hashes: HashSet<u64> = lines.flat_map(tokens).map(hash).collect();
        if hashes.len() * BITS_PER_TOKEN > BYTES_MAX * 8 * 2 {
            return Self(Vec::new());
        }
        let bytes = (hashes.len() * BITS_PER_TOKEN).div_ceil(8).min(BYTES_MAX);
        let mut filter = Self(vec![0; bytes]);
        for hash in hashes {
            for bit in probes(hash, bytes) {
                filter.0[bit / 8] |= 1 << (bit % 8);
            }
        }
        filter
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn might_contain(&self, token: &[u8]) -> bool {
        self.0.is_empty()
            || !TOKEN_BYTES.contains(&token.len())
            || probes(hash(token), self.0.len()).all(|bit| self.0[bit / 8] >> (bit % 8) & 1 == 1)
    }
}

/// Bit positions of a token: double hashing with an odd step.
fn probes(hash: u64, bytes: usize) -> impl Iterator<Item = usize> {
    let bits = (bytes.max(1) * 8) as u64;
    let (start, step) = (hash & 0xffff_ffff, hash >> 32 | 1);
    (0..PROBES).map(move |i| (start.wrapping_add(i.wrapping_mul(step)) % bits) as usize)
}
