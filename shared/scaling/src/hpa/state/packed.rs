//! A state as bytes: a version, counts, and whole numbers of seven bits a byte.

use super::{Change, Changes, InvalidState, Recommendation, State};
use crate::hpa::rates::CHANGES_MAX;
use crate::hpa::windows::RECOMMENDATIONS_MAX;
use crate::policy::METRICS_MAX;
use skerry_model::UnixMillis;

const VERSION: u8 = 1;

impl State {
    /// As it is kept: at most [`super::STATE_BYTES_MAX`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        put(&mut bytes, self.recommendations.len() as u64);
        for one in &self.recommendations {
            put(&mut bytes, u64::from(one.replicas));
            put_moment(&mut bytes, one.at);
        }
        for changes in [&self.changes.up, &self.changes.down] {
            put(&mut bytes, changes.len() as u64);
            for one in changes {
                put(&mut bytes, u64::from(one.by));
                put_moment(&mut bytes, one.at);
            }
        }
        put(&mut bytes, u64::from(self.active_at.is_some()));
        put_moment(&mut bytes, self.active_at.unwrap_or_default());
        put(&mut bytes, self.failures.len() as u64);
        for count in &self.failures {
            put(&mut bytes, u64::from(*count));
        }
        bytes
    }

    /// What was kept.
    ///
    /// # Errors
    /// [`InvalidState`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidState> {
        let mut reader = Reader(bytes);
        let state = reader.state().ok_or(InvalidState)?;
        if reader.0.is_empty() { Ok(state) } else { Err(InvalidState) }
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn put_moment(bytes: &mut Vec<u8>, at: UnixMillis) {
    put(bytes, ((at.0 << 1) ^ (at.0 >> 63)) as u64);
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn state(&mut self) -> Option<State> {
        if self.byte()? != VERSION {
            return None;
        }
        let mut state = State::default();
        for _ in 0..self.count(RECOMMENDATIONS_MAX)? {
            state.recommendations.push(Recommendation { replicas: self.small()?, at: self.moment()? });
        }
        let (up, down) = (self.changes()?, self.changes()?);
        state.changes = Changes { up, down };
        let is_active = self.count(1)? == 1;
        state.active_at = Some(self.moment()?).filter(|_| is_active);
        for _ in 0..self.count(METRICS_MAX)? {
            state.failures.push(self.small()?);
        }
        Some(state)
    }

    fn changes(&mut self) -> Option<Vec<Change>> {
        let count = self.count(CHANGES_MAX)?;
        (0..count).map(|_| Some(Change { by: self.small()?, at: self.moment()? })).collect()
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn count(&mut self, most: usize) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|count| *count <= most)
    }

    fn moment(&mut self) -> Option<UnixMillis> {
        let number = self.number()?;
        Some(UnixMillis((number >> 1) as i64 ^ -((number & 1) as i64)))
    }
}
