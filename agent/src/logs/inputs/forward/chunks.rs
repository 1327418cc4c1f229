//! Which chunks were taken: what makes acknowledged delivery happen once.
//!
//! Invariants:
//! - The stored form has at most 4 KiB.
//! - A chunk is worked on by one connection at a time.

use ring::digest;
use std::collections::VecDeque;

/// Most chunks that are remembered as taken.
pub(in crate::logs::inputs) const DONE_MAX: usize = 384;
/// Most chunks of which a part was taken.
const PARTS_MAX: usize = 32;
const VERSION: u8 = 1;

/// A chunk's id in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChunkId(u64);

impl ChunkId {
    pub(super) fn of(id: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, id);
        // A digest of SHA-256 has 32 bytes.
        Self(digest.as_ref().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }
}

/// What is known of a chunk that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// All of it was taken: acknowledge it, once that is on the disk.
    Done,
    /// This many of its events were taken; zero of a new one. The chunk is busy now.
    Part(u64),
    /// Another connection works on it.
    Busy,
}

/// The chunks of one input.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// Oldest first.
    done: VecDeque<ChunkId>,
    parts: VecDeque<(ChunkId, u64)>,
    busy: Vec<ChunkId>,
}

impl Chunks {
    /// Those of a stored form; none where it is damaged, which may double chunks and loses none.
    pub(super) fn decode(state: &[u8]) -> Self {
        Self::read(state).unwrap_or_default()
    }

    fn read(state: &[u8]) -> Option<Self> {
        let (body, sum) = state.split_last_chunk::<4>()?;
        let (version, rest) = body.split_first()?;
        if *version != VERSION || u32::from_le_bytes(*sum) != crc32fast::hash(body) {
            return None;
        }
        let (count, rest) = rest.split_first_chunk::<2>()?;
        let (done, parts) = rest.split_at_checked(usize::from(u16::from_le_bytes(*count)) * 8)?;
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        let done = done.chunks_exact(8).map(|id| ChunkId(number(id))).collect();
        let parts = parts.chunks_exact(16).map(|part| (ChunkId(number(&part[..8])), number(&part[8..]))).collect();
        Some(Self { done, parts, busy: Vec::new() })
    }

    /// The stored form: version, count and ids of what is done, ids and counts of parts, checksum.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend(u16::try_from(self.done.len()).unwrap_or(0).to_le_bytes());
        self.done.iter().for_each(|id| out.extend(id.0.to_le_bytes()));
        for (id, count) in &self.parts {
            out.extend(id.0.to_le_bytes());
            out.extend(count.to_le_bytes());
        }
        let sum = crc32fast::hash(&out);
        out.extend(sum.to_le_bytes());
        out
    }

    /// Takes a chunk up. What is busy must be let go of with [`Self::release`].
    pub(super) fn begin(&mut self, id: ChunkId) -> Known {
        if self.busy.contains(&id) {
            return Known::Busy;
        }
        if self.done.contains(&id) {
            return Known::Done;
        }
        self.busy.push(id);
        Known::Part(self.parts.iter().find(|(part, _)| *part == id).map_or(0, |(_, count)| *count))
    }

    /// Notes that this many of its events are in what is handed on now.
    pub(super) fn advance(&mut self, id: ChunkId, count: u64) {
        self.parts.retain(|(part, _)| *part != id);
        if self.parts.len() >= PARTS_MAX {
            self.parts.pop_front();
        }
        self.parts.push_back((id, count));
    }

    /// Notes that all of them are.
    pub(super) fn finish(&mut self, id: ChunkId) {
        self.parts.retain(|(part, _)| *part != id);
        if self.done.len() >= DONE_MAX {
            self.done.pop_front();
        }
        self.done.push_back(id);
    }

    /// Lets go of a chunk, taken whole or not.
    pub(super) fn release(&mut self, id: ChunkId) {
        self.busy.retain(|busy| *busy != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_chunk_goes_on_where_it_ended() {
        let mut chunks = Chunks::default();
        let (a, b) = (ChunkId::of(b"a"), ChunkId::of(b"b"));
        assert_eq!(chunks.begin(a), Known::Part(0));
        assert_eq!(chunks.begin(a), Known::Busy);
        chunks.advance(a, 1000);
        chunks.release(a);
        assert_eq!(chunks.begin(b), Known::Part(0));
        chunks.finish(b);
        chunks.release(b);
        let mut again = Chunks::decode(&chunks.encode());
        assert_eq!(again.begin(a), Known::Part(1000));
        assert_eq!(again.begin(b), Known::Done);
        again.finish(a);
        again.release(a);
        assert_eq!(Chunks::decode(&again.encode()).begin(a), Known::Done);
    }

    #[test]
    fn the_stored_form_is_bounded() {
        let mut chunks = Chunks::default();
        for n in 0..2000u32 {
            chunks.finish(ChunkId::of(&n.to_le_bytes()));
            chunks.advance(ChunkId::of(&(n + 10_000).to_le_bytes()), 1);
        }
        assert!(chunks.encode().len() <= 4096, "{}", chunks.encode().len());
        let mut again = Chunks::decode(&chunks.encode());
        assert_eq!(again.begin(ChunkId::of(&1999u32.to_le_bytes())), Known::Done);
        assert_eq!(again.begin(ChunkId::of(&0u32.to_le_bytes())), Known::Part(0));
    }

    proptest! {
        #[test]
        fn damage_forgets_and_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            assert!(Chunks::decode(&bytes).done.is_empty());
            let sum = crc32fast::hash(&bytes);
            bytes.extend(sum.to_le_bytes());
            Chunks::decode(&bytes).encode();
        }
    }
}
