//! A bloom filter over the tokens of a block's lines, so that a search opens only the blocks that may match.
//!
//! A token is a longest run of ASCII letters, digits, `_` and bytes above 127, of 3 to 64 bytes, with ASCII letters in
//! lower case. Each sets [`PROBES`] bits. The filter is made at its largest size and halved, by laying one half over the
//! other, as long as no more than half of its bits are set: 0.1 to 3 % false answers. One that is too full at its largest
//! size is left out.
//!
//! The hash is part of the format. It begins as the token's length; pieces of eight bytes, little-endian, the last filled
//! up with zeros, are each taken in by multiplying (hash xor piece) with [`FACTOR`] to 128 bits, whose halves xor each
//! other. A token's bits are `(low half + i * (high half | 1)) mod bits`, `i` from 0.

/// Largest filter, in bytes.
pub const BYTES_MAX: usize = 16 << 10;
/// Smallest filter, in bytes.
const BYTES_MIN: usize = 8;
/// Shortest and longest token, in bytes.
pub const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 3..=64;
const PROBES: u64 = 5;
/// Of the hash: 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// Part of set bits, of eight, above which the largest filter is not worth its bytes: a quarter of its answers are false.
const FULL_EIGHTHS: usize = 6;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x80 * ONES;

/// Whether a byte belongs to a token.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte > 127
}

/// The tokens of a line, as they stand (not yet in lower case).
pub fn tokens(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| !is_token(*byte)).filter(|token| TOKEN_BYTES.contains(&token.len()))
}

/// Eight bytes at once: those that belong to a token by their high bits, and all with letters in lower case.
fn classified(word: u64) -> (u64, u64) {
    // Without their high bits the bytes do not carry into each other: a sum's high bit says that a byte reaches a bound.
    let low = word & !HIGHS;
    let reaches = |bytes: u64, bound: u8| bytes + u64::from(0x80 - bound) * ONES;
    let cased = low | (0x20 * ONES);
    let letter = reaches(cased, b'a') & !reaches(cased, b'z' + 1) & !word & HIGHS;
    let digit = reaches(low, b'0') & !reaches(low, b'9' + 1);
    let underscore = !reaches(low ^ (u64::from(b'_') * ONES), 1);
    let upper = letter & !(word << 2);
    ((letter | digit | underscore | word) & HIGHS, word | upper >> 2)
}

/// Makes a filter: tokens are set as lines come, which costs no memory but the filter.
#[derive(Debug, Clone)]
pub(crate) struct BloomBuilder {
    bits: Vec<u64>,
    /// The line in lower case, with eight zeros behind it.
    lower: Vec<u8>,
    /// Bit `n` of word `w` says that byte `64 w + n` belongs to a token.
    members: Vec<u64>,
}

impl BloomBuilder {
    pub(crate) fn new() -> Self {
        Self { bits: vec![0; BYTES_MAX / 8], lower: Vec::new(), members: Vec::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.bits.fill(0);
    }

    /// Sets the tokens of a line.
    pub(crate) fn add_line(&mut self, line: &[u8]) {
        let (mut lower, mut members) = (std::mem::take(&mut self.lower), std::mem::take(&mut self.members));
        lower.clear();
        members.clear();
        let (words, rest) = line.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let mut member = 0;
        for (at, word) in words.iter().chain([&last, &[0; 8]]).enumerate() {
            let (tokens, bytes) = classified(u64::from_le_bytes(*word));
            lower.extend_from_slice(&bytes.to_le_bytes());
            // Gathers the eight high bits in the top byte.
            member |= ((tokens >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (at % 8 * 8);
            if at % 8 == 7 {
                members.push(member);
                member = 0;
            }
        }
        members.push(member);
        let (mut start, mut carry) = (usize::MAX, 0);
        for (at, member) in members.iter().enumerate() {
            let mut edges = member ^ (member << 1 | carry);
            carry = member >> 63;
            while edges != 0 {
                let edge = at * 64 + edges.trailing_zeros() as usize;
                edges &= edges - 1;
                if start == usize::MAX {
                    start = edge;
                } else {
                    if TOKEN_BYTES.contains(&(edge - start)) {
                        self.set(hash(&lower[start..], edge - start));
                    }
                    start = usize::MAX;
                }
            }
        }
        (self.lower, self.members) = (lower, members);
    }

    fn set(&mut self, hash: u64) {
        for bit in probes(hash, BYTES_MAX) {
            self.bits[bit / 64] |= 1 << (bit % 64);
        }
    }

    /// The filter; empty where it could rule out too little.
    pub(crate) fn finish(&self) -> Vec<u8> {
        let ones = |words: &[u64]| words.iter().map(|word| word.count_ones() as usize).sum::<usize>();
        if ones(&self.bits) > BYTES_MAX * FULL_EIGHTHS {
            return Vec::new();
        }
        let mut bits = self.bits.clone();
        while bits.len() * 8 > BYTES_MIN {
            let (low, high) = bits.split_at(bits.len() / 2);
            let folded: Vec<u64> = low.iter().zip(high).map(|(a, b)| a | b).collect();
            if ones(&folded) * 2 > folded.len() * 64 {
                break;
            }
            bits = folded;
        }
        bits.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

/// Hash of the token of so many bytes that stands at the begin of `bytes`, which go on for eight more at least.
fn hash(bytes: &[u8], len: usize) -> u64 {
    let (pieces, _) = bytes.as_chunks::<8>();
    let mut hash = len as u64;
    let mut left = len;
    for piece in pieces {
        let piece = u64::from_le_bytes(*piece);
        let piece = if left < 8 { piece & ((1 << (left * 8)) - 1) } else { piece };
        let product = u128::from(hash ^ piece) * u128::from(FACTOR);
        hash = product as u64 ^ (product >> 64) as u64;
        left = left.saturating_sub(8);
        if left == 0 {
            break;
        }
    }
    hash
}

/// The filter as it stands in a block; empty where nothing can be ruled out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bloom<'a>(&'a [u8]);

impl<'a> Bloom<'a> {
    /// `None` where the bytes are no filter.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let fits =
            bytes.is_empty() || (bytes.len().is_power_of_two() && (BYTES_MIN..=BYTES_MAX).contains(&bytes.len()));
        fits.then_some(Self(bytes))
    }

    pub(crate) fn might_contain(&self, token: &[u8]) -> bool {
        if self.0.is_empty() || !TOKEN_BYTES.contains(&token.len()) {
            return true;
        }
        let mut lower = [0; *TOKEN_BYTES.end() + 8];
        lower[..token.len()].copy_from_slice(token);
        lower.make_ascii_lowercase();
        probes(hash(&lower, token.len()), self.0.len()).all(|bit| self.0[bit / 8] >> (bit % 8) & 1 == 1)
    }
}

/// Bit positions of a token in a filter whose length is a power of two: double hashing with an odd step.
fn probes(hash: u64, bytes: usize) -> impl Iterator<Item = usize> {
    let last = bytes as u64 * 8 - 1;
    let (start, step) = (hash & 0xffff_ffff, hash >> 32 | 1);
    (0..PROBES).map(move |i| (start.wrapping_add(i.wrapping_mul(step)) & last) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn eight_bytes_at_once_are_classified_as_each_alone() {
        for byte in 0..=255u8 {
            for (place, other) in [(0, 0), (3, 0x7f), (7, 0xff)] {
                let mut bytes = [other; 8];
                bytes[place] = byte;
                let (tokens, lower) = classified(u64::from_le_bytes(bytes));
                let told = tokens.to_le_bytes().into_iter().zip(lower.to_le_bytes());
                for (byte, (token, lower)) in bytes.into_iter().zip(told) {
                    assert_eq!(token, if is_token(byte) { 0x80 } else { 0 }, "byte {byte:#x}");
                    assert_eq!(lower, byte.to_ascii_lowercase());
                }
            }
        }
    }

    #[test]
    fn the_size_follows_the_number_of_tokens() {
        let sizes = [0, 10, 1000, 20_000, 200_000].map(|tokens| {
            let mut builder = BloomBuilder::new();
            for token in 0..tokens {
                builder.add_line(format!("tok{token}").as_bytes());
            }
            builder.finish().len()
        });
        assert_eq!(sizes, [8, 16, 1024, BYTES_MAX, 0], "the largest is left out when it is too full");
    }

    proptest! {
        #[test]
        fn every_token_of_every_line_is_found(
            lines in proptest::collection::vec(proptest::collection::vec(prop_oneof![4 => proptest::char::range('A', 'z').prop_map(|c| c as u8), 1 => any::<u8>()], 0..200), 0..20),
        ) {
            let mut builder = BloomBuilder::new();
            for line in &lines {
                builder.add_line(line);
            }
            let bytes = builder.finish();
            let bloom = Bloom::read(&bytes).unwrap();
            for token in lines.iter().flat_map(|line| tokens(line)) {
                prop_assert!(bloom.might_contain(token));
                prop_assert!(bloom.might_contain(&token.to_ascii_uppercase()));
            }
        }
    }
}
