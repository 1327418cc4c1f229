//! Pushgateway's groups: what programs that end bring before they do.
//!
//! ```text
//! path ─> labels of the group      body ─> families ─> consistent? ─> held ─> each interval to the store
//! ```
//!
//! PUT replaces a group, POST the metrics of the same names in it, DELETE removes it. Each group tells when it was
//! changed last and when that failed last. What is held survives a restart: it is kept in the store's state.

mod body;
mod path;

pub use path::Path;

use body::{Families, read};
use serde::{Deserialize, Serialize};
use skerry_model::{Labels, MetricKind, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};

/// Keys of the store's state begin so.
pub const PREFIX: &str = "push/";
/// Most groups.
const GROUPS_MAX: usize = 512;
/// Most bytes of all labels together.
const LABEL_BYTES_MAX: usize = 2 << 20;
/// Longest state of one group, in bytes.
const STATE_BYTES_MAX: usize = 1 << 20;

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// The group becomes this.
    Replace,
    /// Metrics of these names become this.
    Update,
    /// The group goes.
    Delete,
}

/// Why a push is not taken, in words for whoever pushed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// The groups.
#[derive(Debug, Default)]
pub struct Gate {
    groups: BTreeMap<Labels, Group>,
    series_max: usize,
    /// Groups that changed since they were kept last.
    changed: BTreeSet<Labels>,
}

#[derive(Debug, Clone, Default)]
struct Group {
    families: Families,
    pushed: Option<UnixMillis>,
    failed: Option<UnixMillis>,
}

/// A group as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    labels: Labels,
    pushed: Option<i64>,
    failed: Option<i64>,
    families: Vec<KeptFamily>,
}

/// Name, type, and series with the bits of their values, of which JSON cannot write all as numbers.
type KeptFamily = (String, String, Vec<(Labels, u64)>);
/// Keys of the store's state with their new values; `None` deletes one.
pub type Changes = Vec<(String, Option<Vec<u8>>)>;

impl Gate {
    /// Begins with what was kept. What cannot be read is left out, and its keys are told.
    #[must_use]
    pub fn restore(series_max: usize, state: &[(String, Vec<u8>)]) -> (Self, Vec<String>) {
        let (mut gate, mut unread) = (Self { series_max, ..Self::default() }, Vec::new());
        for (key, bytes) in state {
            match serde_json::from_slice::<Kept>(bytes) {
                Ok(kept) if gate.groups.len() < GROUPS_MAX => {
                    let (labels, group) = kept.into_group();
                    gate.groups.insert(labels, group);
                }
                _ => unread.push(key.clone()),
            }
        }
        (gate, unread)
    }

    /// Groups held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Does what a request wants.
    ///
    /// # Errors
    /// [`Refusal`]: nothing changed but, where the body could be read, the time of the group's last failure.
    pub fn push(&mut self, verb: Verb, path: &Path, body: &[u8], now: UnixMillis) -> Result<(), Refusal> {
        let labels = path.labels();
        if verb == Verb::Delete {
            if self.groups.remove(labels).is_some() {
                self.changed.insert(labels.clone());
            }
            return Ok(());
        }
        if !self.groups.contains_key(labels) && self.groups.len() >= GROUPS_MAX {
            return Err(Refusal(format!("there are {GROUPS_MAX} groups already: delete one first")));
        }
        let (families, problem) = read(body, labels)?;
        let outcome = problem.map_or_else(|| self.fits(labels, verb, &families), Err);
        let group = self.groups.entry(labels.clone()).or_default();
        self.changed.insert(labels.clone());
        if outcome.is_err() {
            group.failed = Some(now);
            return outcome;
        }
        group.pushed = Some(now);
        if verb == Verb::Replace {
            group.families.clear();
        }
        group.families.extend(families);
        Ok(())
    }

    /// Whether the push and what stays of the groups go together: each name is of one type, and there is room.
    fn fits(&self, labels: &Labels, verb: Verb, families: &Families) -> Result<(), Refusal> {
        let stays =
            |held: &Labels, name: &String| held != labels || (verb == Verb::Update && !families.contains_key(name));
        let bytes = |series: &[(Labels, f64)]| -> usize {
            let pairs = series.iter().flat_map(|(labels, _)| labels.iter());
            pairs.map(|(name, value)| name.len() + value.len()).sum()
        };
        let mut count: usize = families.values().map(|(_, series)| series.len()).sum();
        let mut size: usize = families.values().map(|(_, series)| bytes(series)).sum();
        for (held, group) in &self.groups {
            for (name, (kind, series)) in &group.families {
                if held != labels
                    && let Some((pushed, _)) = families.get(name)
                    && pushed != kind
                {
                    let (pushed, kind) = (pushed.as_str(), kind.as_str());
                    let what =
                        format!("pushed metrics are inconsistent with existing metrics: {name} is a {pushed} here");
                    return Err(Refusal(format!("{what} and a {kind} in group {held}")));
                }
                if stays(held, name) {
                    (count, size) = (count + series.len(), size + bytes(series));
                }
            }
        }
        if count > self.series_max {
            let most = self.series_max;
            return Err(Refusal(format!("{count} series are more than push.gateway_series_max, {most}, allows")));
        }
        if size > LABEL_BYTES_MAX {
            return Err(Refusal(format!("labels of {size} bytes in all are more than {LABEL_BYTES_MAX}")));
        }
        Ok(())
    }

    /// All series now: those of the groups, and when each was pushed and failed last, in seconds since 1970.
    #[must_use]
    pub fn series(&self) -> Vec<(Labels, f64)> {
        let mut all = Vec::new();
        for (labels, group) in &self.groups {
            let seconds = |at: Option<UnixMillis>| at.map_or(0.0, UnixMillis::as_secs_f64);
            for (name, value) in
                [("push_time_seconds", seconds(group.pushed)), ("push_failure_time_seconds", seconds(group.failed))]
            {
                // A group's labels leave room for a name.
                all.extend(labels.with("__name__", name).ok().map(|labels| (labels, value)));
            }
            all.extend(group.families.values().flat_map(|(_, series)| series.iter().map(|(l, v)| (l.clone(), *v))));
        }
        all
    }

    /// Changes of the state that keep what changed since this was asked last, and the groups that are too large for it.
    pub fn keep(&mut self) -> (Changes, Vec<Labels>) {
        let (mut changes, mut large) = (Vec::new(), Vec::new());
        for labels in std::mem::take(&mut self.changed) {
            let kept = self.groups.get(&labels).map(|group| Kept::of(&labels, group));
            match kept.map(|kept| serde_json::to_vec(&kept)) {
                None => changes.push((key(&labels), None)),
                Some(Ok(bytes)) if bytes.len() <= STATE_BYTES_MAX => changes.push((key(&labels), Some(bytes))),
                Some(_) => {
                    changes.push((key(&labels), None));
                    large.push(labels);
                }
            }
        }
        (changes, large)
    }

    /// Marks everything as not kept, after a failure of what [`Gate::keep`] gave.
    pub fn keep_again(&mut self, keys: &[(String, Option<Vec<u8>>)]) {
        let is_meant = |labels: &&Labels| keys.iter().any(|(held, _)| *held == key(labels));
        let again: Vec<Labels> = self.groups.keys().filter(is_meant).cloned().collect();
        self.changed.extend(again);
    }
}

/// Under which a group is kept: its labels may be longer than a key should be.
fn key(labels: &Labels) -> String {
    let hash = skerry_seal::sha256(labels.to_string().as_bytes());
    format!("{PREFIX}{}", skerry_seal::hex(&hash[..16]))
}

impl Kept {
    fn of(labels: &Labels, group: &Group) -> Self {
        let bits = |series: &Vec<(Labels, f64)>| series.iter().map(|(l, v)| (l.clone(), v.to_bits())).collect();
        let families = group.families.iter();
        Self {
            labels: labels.clone(),
            pushed: group.pushed.map(|at| at.0),
            failed: group.failed.map(|at| at.0),
            families: families
                .map(|(name, (kind, series))| (name.clone(), kind.as_str().to_owned(), bits(series)))
                .collect(),
        }
    }

    fn into_group(self) -> (Labels, Group) {
        let values = |series: Vec<(Labels, u64)>| series.into_iter().map(|(l, v)| (l, f64::from_bits(v))).collect();
        let families = self.families.into_iter().map(|(name, kind, series)| {
            (name, (MetricKind::from_name(&kind).unwrap_or(MetricKind::Untyped), values(series)))
        });
        let (pushed, failed) = (self.pushed.map(UnixMillis), self.failed.map(UnixMillis));
        (self.labels, Group { families: families.collect(), pushed, failed })
    }
}

#[cfg(test)]
mod tests;
