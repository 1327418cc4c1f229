//! Ids and spread from a seed.

/// SplitMix64: small, and good enough for ids that need not be secret and waits that need not fall together.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A UUID of version 4.
    pub(super) fn uuid(&mut self) -> String {
        let (a, b) = (self.number(), self.number());
        let (time, rest) = ((a >> 32) as u32, (b & 0xffff_ffff_ffff));
        let (mid, version, variant) = ((a >> 16) & 0xffff, a & 0xfff, 0x8000 | ((b >> 48) & 0x3fff));
        format!("{time:08x}-{mid:04x}-4{version:03x}-{variant:04x}-{rest:012x}")
    }
}
