//! How far a file and its rotated generations were read, in the form that is stored.
//!
//! Invariants:
//! - At most [`STATE_BYTES_MAX`] bytes, whatever was read.
//! - A state that was cut or changed is refused by its checksum, never half understood.

use skerry_model::{OutputStream, UnixMillis};

/// Most bytes of an encoded position; the store takes no more.
#[cfg(test)]
const STATE_BYTES_MAX: usize = 4096;
/// Most generations of one file that are read at a time.
pub(super) const GENERATIONS_MAX: usize = 24;
/// Most finished siblings that are remembered one by one.
const KNOWN_MAX: usize = 100;
/// Bytes at a file's begin, and before the offset, that identify its content.
pub(super) const PRINT_BYTES: usize = 256;

const VERSION: u8 = 2;
/// Without the content of siblings.
const VERSION_1: u8 = 1;
const NO_MARK: u8 = u8::MAX;
/// Outputs whose partial entries are joined, by [`output_index`].
pub(super) const OUTPUTS: usize = 3;

/// What the file system calls a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ident {
    pub(super) dev: u64,
    pub(super) ino: u64,
    /// Time of birth in nanoseconds, which tells a reused inode; 0 where the file system has none.
    pub(super) born_ns: i64,
}

impl Ident {
    /// Whether both are one inode, as far as known. The device is left out: its number changes over reboots with
    /// btrfs, overlayfs and NFS.
    pub(super) fn same_inode(self, other: Self) -> bool {
        self.ino == other.ino && (self.born_ns == other.born_ns || self.born_ns == 0 || other.born_ns == 0)
    }
}

/// How far one generation was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) ident: Ident,
    /// Bytes before this are in stored records.
    pub(super) offset: u64,
    /// Digest of the first bytes, at most [`PRINT_BYTES`] and none at or behind the offset.
    pub(super) head: u64,
    /// Digest of the last bytes before the offset, at most [`PRINT_BYTES`].
    pub(super) tail: u64,
    /// When it was read last.
    pub(super) read_at: UnixMillis,
    /// The offset stands within a line that was cut; the rest of the line is to be skipped.
    pub(super) skipping: bool,
    /// It was rotated away and read to its end: if it is gone now, nothing is missing as far as known.
    pub(super) finished: bool,
}

/// Where an unfinished joined record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartialMark {
    /// Index into the marks.
    pub(super) mark: usize,
    /// Offset of its first entry.
    pub(super) start: u64,
}

/// A rotated file that needs no more reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sibling {
    /// Digest of its identity.
    pub(super) id: u64,
    pub(super) modified_ms: i64,
    /// Digest of its first bytes and its length; 0 where nobody looked.
    pub(super) content: u64,
}

/// Rotated siblings that need no more reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    siblings: Vec<Sibling>,
    /// Past the limit the oldest are forgotten, and all that is as old as they counts as known.
    floor_ms: i64,
}

impl Default for Known {
    fn default() -> Self {
        Self { siblings: Vec::new(), floor_ms: i64::MIN }
    }
}

impl Known {
    pub(super) fn contains(&self, sibling: Sibling) -> bool {
        sibling.modified_ms <= self.floor_ms || self.siblings.iter().any(|known| known.id == sibling.id)
    }

    /// Whether a file of this content was read.
    pub(super) fn has_content(&self, content: u64) -> bool {
        content != 0 && self.siblings.iter().any(|known| known.content == content)
    }

    /// Whether a file of this time of change is known, as far as a compressor keeps it.
    pub(super) fn has_time(&self, modified_ms: i64) -> bool {
        self.siblings.iter().any(|known| known.modified_ms / 1000 == modified_ms / 1000)
    }

    /// Whether a change was made.
    pub(super) fn insert(&mut self, sibling: Sibling) -> bool {
        if self.contains(sibling) {
            return false;
        }
        self.siblings.push(sibling);
        if self.siblings.len() > KNOWN_MAX
            && let Some(oldest) = (0..self.siblings.len()).min_by_key(|at| self.siblings[*at].modified_ms)
        {
            let oldest = self.siblings.swap_remove(oldest);
            self.floor_ms = self.floor_ms.max(oldest.modified_ms);
        }
        true
    }

    /// Forgets what is not among `present`.
    pub(super) fn retain(&mut self, present: &[Sibling]) {
        let same = |known: &Sibling, there: &Sibling| {
            there.id == known.id || (known.content != 0 && there.content == known.content)
        };
        self.siblings.retain(|known| present.iter().any(|there| same(known, there)));
        if present.is_empty() {
            self.floor_ms = i64::MIN;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.siblings.is_empty() && self.floor_ms == i64::MIN
    }
}

/// The position in one path: its generations, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Position {
    pub(super) marks: Vec<Mark>,
    pub(super) partials: [Option<PartialMark>; OUTPUTS],
    pub(super) known: Known,
}

/// Why stored bytes are no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidPosition {
    #[error("the checksum does not match")]
    Checksum,
    #[error("version {0} is not known, {VERSION} is expected")]
    Version(u8),
    #[error("the fields do not fit together")]
    Fields,
}

impl Position {
    /// The stored form, little-endian: version, partials, floor, marks, siblings, checksum.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for partial in &self.partials {
            let (mark, start) = partial.map_or((NO_MARK, 0), |p| (u8::try_from(p.mark).unwrap_or(NO_MARK), p.start));
            out.push(mark);
            out.extend(start.to_le_bytes());
        }
        out.extend(self.known.floor_ms.to_le_bytes());
        let marks = &self.marks[..self.marks.len().min(GENERATIONS_MAX)];
        out.push(u8::try_from(marks.len()).unwrap_or(0));
        for mark in marks {
            for number in [mark.ident.dev, mark.ident.ino, mark.offset, mark.head, mark.tail] {
                out.extend(number.to_le_bytes());
            }
            out.extend(mark.ident.born_ns.to_le_bytes());
            out.extend(mark.read_at.0.to_le_bytes());
            out.push(u8::from(mark.skipping) | u8::from(mark.finished) << 1);
        }
        out.push(u8::try_from(self.known.siblings.len()).unwrap_or(0));
        for sibling in &self.known.siblings {
            out.extend(sibling.id.to_le_bytes());
            out.extend(sibling.modified_ms.to_le_bytes());
            out.extend(sibling.content.to_le_bytes());
        }
        let sum = digest(&out);
        out.extend(sum.to_le_bytes());
        out
    }

    /// Reads the stored form.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, InvalidPosition> {
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or(InvalidPosition::Checksum)?;
        if u64::from_le_bytes(*sum) != digest(body) {
            return Err(InvalidPosition::Checksum);
        }
        let (version, rest) = body.split_first().ok_or(InvalidPosition::Fields)?;
        if ![VERSION, VERSION_1].contains(version) {
            return Err(InvalidPosition::Version(*version));
        }
        Self::fields(&mut Fields(rest), *version).ok_or(InvalidPosition::Fields)
    }

    fn fields(fields: &mut Fields<'_>, version: u8) -> Option<Self> {
        let mut partials = [None; OUTPUTS];
        for partial in &mut partials {
            let (mark, start) = (fields.byte()?, fields.number()?);
            *partial = (mark != NO_MARK).then(|| PartialMark { mark: usize::from(mark), start });
        }
        let floor_ms = fields.signed()?;
        let mut marks = Vec::new();
        for _ in 0..fields.byte()? {
            let [dev, ino, offset, head, tail] =
                [fields.number()?, fields.number()?, fields.number()?, fields.number()?, fields.number()?];
            let (born_ns, read_at, flags) = (fields.signed()?, UnixMillis(fields.signed()?), fields.byte()?);
            let ident = Ident { dev, ino, born_ns };
            marks.push(Mark { ident, offset, head, tail, read_at, skipping: flags & 1 != 0, finished: flags & 2 != 0 });
        }
        let mut siblings = Vec::new();
        for _ in 0..fields.byte()? {
            let (id, modified_ms) = (fields.number()?, fields.signed()?);
            let content = if version == VERSION_1 { 0 } else { fields.number()? };
            siblings.push(Sibling { id, modified_ms, content });
        }
        let in_range = partials.iter().flatten().all(|partial| partial.mark < marks.len());
        let known = Known { siblings, floor_ms };
        (fields.0.is_empty() && in_range && marks.len() <= GENERATIONS_MAX).then_some(Self { marks, partials, known })
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn signed(&mut self) -> Option<i64> {
        self.number().map(u64::cast_signed)
    }
}

/// FNV-1a with a closing mix, 64 bits: the same on every machine and in every version. It guards against accidents,
/// not against an author of collisions, who could only confuse the tail of their own log.
pub(super) fn digest(bytes: &[u8]) -> u64 {
    let mut digest = Digest::default();
    digest.add(bytes);
    digest.value()
}

/// A [`digest`] of bytes that come in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(super) fn value(self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// Place of an output in the table of partial records.
pub(super) fn output_index(output: OutputStream) -> usize {
    match output {
        OutputStream::None => 0,
        OutputStream::Stdout => 1,
        OutputStream::Stderr => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mark(seed: u64) -> Mark {
        let ident = Ident { dev: seed, ino: !seed, born_ns: -1 };
        let read_at = UnixMillis(seed.cast_signed());
        Mark {
            ident,
            offset: seed << 3,
            head: seed ^ 5,
            tail: 7,
            read_at,
            skipping: seed.is_multiple_of(2),
            finished: true,
        }
    }

    fn full() -> Position {
        let mut known = Known::default();
        for id in 0..1000 {
            known.insert(Sibling { id, modified_ms: id.cast_signed(), content: id });
        }
        let partials = [None, Some(PartialMark { mark: 3, start: 9 }), Some(PartialMark { mark: 23, start: u64::MAX })];
        Position { marks: (0..24).map(mark).collect(), partials, known }
    }

    #[test]
    fn the_largest_position_fits_and_reads_back() {
        let bytes = full().encode();
        assert!(bytes.len() <= STATE_BYTES_MAX, "{} bytes", bytes.len());
        assert_eq!(Position::decode(&bytes), Ok(full()));
        assert_eq!(Position::decode(&Position::default().encode()), Ok(Position::default()));
    }

    #[test]
    fn siblings_past_the_limit_stay_known_by_their_age() {
        let known = full().known;
        assert!(known.contains(Sibling { id: 5000, modified_ms: 3, content: 0 }));
        assert!(known.contains(Sibling { id: 999, modified_ms: 999, content: 0 }));
        assert!(!known.contains(Sibling { id: 5000, modified_ms: 2000, content: 0 }));
    }

    proptest! {
        #[test]
        fn damage_is_refused(at in 0usize..10_000, bit in 0u8..8, cut in 0usize..10_000) {
            let mut bytes = full().encode();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(Position::decode(&bytes).is_err());
            bytes[at] ^= 1 << bit;
            bytes.truncate(cut % bytes.len());
            prop_assert!(Position::decode(&bytes).is_err());
        }

        #[test]
        fn any_bytes_are_safe(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let sum = digest(&bytes);
            bytes.extend(sum.to_le_bytes());
            let _refused_or_valid = Position::decode(&bytes);
        }
    }
}
