//! A forecast written down: version, whole numbers, fractions, and three bytes a slot.

use super::{Forecast, Slot};

/// No clock shows so many slots.
const SLOTS_MAX: i64 = 1 << 40;
const VERSION: u8 = 1;

impl Forecast {
    /// Written down, to be kept over a restart: at most 3 KiB. Forecasts whose time has not come are left out,
    /// and the level of the last minutes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.profile.is_empty() {
            return Vec::new();
        }
        let mut bytes = vec![VERSION];
        for number in [self.since_ms, self.slot, i64::from(self.count), i64::from(self.compared)] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.sum, self.today, self.usual, self.error, self.flat_error] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for slot in &self.profile {
            bytes.extend_from_slice(&slot.steps.to_le_bytes());
            bytes.push(slot.seen);
        }
        bytes
    }

    /// Read back; `None` of bytes that are none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let (head, slots) = bytes.strip_prefix(&[VERSION])?.split_at_checked(9 * 8)?;
        let words: Vec<[u8; 8]> = head.chunks_exact(8).filter_map(|word| word.try_into().ok()).collect();
        let whole = |at: usize| i64::from_le_bytes(words[at]);
        let number = |at: usize| Some(f64::from_le_bytes(words[at])).filter(|n| n.is_finite() && *n >= 0.0);
        let is_profile = slots.len() == 288 * 3 || slots.len() == 672 * 3;
        let slot = |slot: &[u8]| Slot { steps: u16::from_le_bytes([slot[0], slot[1]]), seen: slot[2] };
        Some(Self {
            profile: is_profile.then(|| slots.chunks_exact(3).map(slot).collect())?,
            since_ms: whole(0),
            slot: Some(whole(1)).filter(|slot| (0..SLOTS_MAX).contains(slot))?,
            count: u32::try_from(whole(2)).ok()?,
            compared: u16::try_from(whole(3)).ok()?,
            sum: number(4)?,
            today: number(5)?,
            usual: number(6)?,
            error: number(7)?,
            flat_error: number(8)?,
            ..Self::default()
        })
    }
}
