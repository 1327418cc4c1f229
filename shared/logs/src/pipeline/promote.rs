//! Labels made of fields, so few that they never make streams without end.
//!
//! A label set stands for a stream: each new one costs memory here, in the store and at the centre. So one pipeline makes at
//! most [`SETS_MAX`]; beyond it, and where a value is too long for a label, the field becomes structured metadata.

use super::work::Work;
use skerry_model::{Labels, Mono};
use std::collections::HashMap;

/// Most label sets that the fields of one pipeline make at a time.
pub(super) const SETS_MAX: usize = 1000;
/// Longest value of a label that is made of a field.
pub(super) const VALUE_BYTES_MAX: usize = 256;
/// A set that nobody made for so long makes room for another.
const IDLE_MS_MAX: u64 = 3_600_000;
/// Time between two looks for such sets.
const SWEEP_MS: u64 = 60_000;

#[derive(Debug)]
struct Made {
    labels: Labels,
    used: Mono,
}

/// The label sets that were made.
#[derive(Debug, Default)]
pub(super) struct Promoter {
    /// Sets as they came, the one used last in front, with what was made of them by the names and values added.
    bases: Vec<(Labels, HashMap<String, Made>)>,
    count: usize,
    swept: Mono,
    key: String,
}

impl Promoter {
    /// Gives the record these labels. False where it could not: too many sets, or too many or long labels.
    pub(super) fn set(&mut self, work: &mut Work<'_>, added: &[(&str, String)], now: Mono) -> bool {
        if added.iter().any(|(_, value)| value.len() > VALUE_BYTES_MAX) {
            return false;
        }
        self.key.clear();
        for (name, value) in added {
            for part in [*name, value.as_str()] {
                self.key.push_str(part);
                self.key.push('\0');
            }
        }
        let base = &work.record.labels;
        match self.bases.iter().position(|(labels, _)| labels == base) {
            Some(at) => self.bases.swap(0, at),
            None => {
                self.sweep(now);
                if self.count >= SETS_MAX || self.bases.len() >= SETS_MAX {
                    return false;
                }
                self.bases.insert(0, (base.clone(), HashMap::new()));
            }
        }
        if let Some(made) = self.bases[0].1.get_mut(&self.key) {
            made.used = now;
            work.record.labels = made.labels.clone();
            return true;
        }
        if self.count >= SETS_MAX {
            self.sweep(now);
            if self.count >= SETS_MAX {
                return false;
            }
        }
        let kept = base.iter().filter(|(name, _)| added.iter().all(|(new, _)| new != name));
        let Ok(labels) = Labels::new(kept.chain(added.iter().map(|(name, value)| (*name, value.as_str())))) else {
            return false;
        };
        let base = base.clone();
        work.record.labels = labels.clone();
        // The sweep may have taken the base away with its sets.
        if self.bases.first().is_none_or(|(labels, _)| *labels != base) {
            self.bases.insert(0, (base, HashMap::new()));
        }
        self.bases[0].1.insert(self.key.clone(), Made { labels, used: now });
        self.count += 1;
        true
    }

    fn sweep(&mut self, now: Mono) {
        let due = self.count + self.bases.len() >= SETS_MAX && now.0 >= self.swept.0 + SWEEP_MS;
        if !due {
            return;
        }
        self.swept = now;
        for (_, sets) in &mut self.bases {
            sets.retain(|_, made| made.used.0 + IDLE_MS_MAX > now.0);
        }
        self.bases.retain(|(_, sets)| !sets.is_empty());
        self.count = self.bases.iter().map(|(_, sets)| sets.len()).sum();
    }
}
