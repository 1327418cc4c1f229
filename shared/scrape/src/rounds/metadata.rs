//! What a target says about its metrics.

use crate::exposition::Entry;
use skerry_model::{MetricKind, MetricMeta};
use std::collections::BTreeMap;

/// Most metrics of one target that are remembered.
const METRICS_MAX: usize = 1000;
/// Longest name, help and unit that is, in bytes; what is longer is cut, and a longer name left out.
const TEXT_BYTES_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Metadata {
    by_name: BTreeMap<Box<str>, Known>,
    round: u32,
    version: u64,
}

#[derive(Debug)]
struct Known {
    kind: MetricKind,
    help: Box<str>,
    unit: Box<str>,
    seen: u32,
}

impl Metadata {
    pub(super) const fn begin(&mut self, round: u32) {
        self.round = round;
    }

    pub(super) fn note(&mut self, entry: &Entry<'_>) {
        let name = match entry {
            Entry::Help { name, .. } | Entry::Type { name, .. } | Entry::Unit { name, .. } => &**name,
            Entry::Sample(_) => return,
        };
        if !self.by_name.contains_key(name) {
            if self.by_name.len() >= METRICS_MAX || name.len() > TEXT_BYTES_MAX {
                return;
            }
            let nothing = Known { kind: MetricKind::Untyped, help: "".into(), unit: "".into(), seen: 0 };
            self.by_name.insert(name.into(), nothing);
            self.version += 1;
        }
        let Some(known) = self.by_name.get_mut(name) else { return };
        known.seen = self.round;
        let is_new = match entry {
            Entry::Help { help, .. } => learn(&mut known.help, help),
            Entry::Unit { unit, .. } => learn(&mut known.unit, unit),
            Entry::Type { kind, .. } => std::mem::replace(&mut known.kind, *kind) != *kind,
            Entry::Sample(_) => false,
        };
        self.version += u64::from(is_new);
    }

    /// Forgets what this round did not say.
    pub(super) fn forget_absent(&mut self) {
        let before = self.by_name.len();
        self.by_name.retain(|_, known| known.seen == self.round);
        self.version += u64::from(self.by_name.len() < before);
    }

    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn all(&self) -> impl Iterator<Item = MetricMeta> {
        self.by_name.iter().map(|(name, known)| MetricMeta {
            name: name.to_string().into(),
            kind: known.kind,
            help: known.help.to_string().into(),
            unit: known.unit.to_string().into(),
        })
    }
}

/// Whether what was told is new.
fn learn(held: &mut Box<str>, told: &str) -> bool {
    let told = &told[..told.floor_char_boundary(TEXT_BYTES_MAX)];
    let is_new = **held != *told;
    if is_new {
        *held = told.into();
    }
    is_new
}
