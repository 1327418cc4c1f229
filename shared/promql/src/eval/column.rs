//! A series of a vector, over all steps.

use crate::error::{QueryError, execution};
use skerry_model::{Labels, is_stale, stale_nan};
use std::collections::HashMap;

/// Labels that go with a metric's name: what it measures does not survive a change of its meaning.
pub(super) const RESERVED: [&str; 3] = ["__name__", "__type__", "__unit__"];

/// No value.
pub(super) fn absent() -> f64 {
    stale_nan()
}

/// Whether there is no value.
pub(super) fn is_absent(value: f64) -> bool {
    is_stale(value)
}

/// A label set with one value per step.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) labels: Labels,
    /// The name is dropped at the end, unless a label function sets it anew.
    pub(super) drop_name: bool,
    pub(super) values: Vec<f64>,
}

impl Column {
    pub(super) fn new(labels: Labels, steps: usize) -> Self {
        Self { labels, drop_name: false, values: vec![absent(); steps] }
    }

    /// Each value turned into another; the name goes.
    pub(super) fn mapped(mut self, mut change: impl FnMut(f64) -> f64) -> Self {
        for value in self.values.iter_mut().filter(|value| !is_absent(**value)) {
            *value = change(*value);
        }
        self.drop_name = true;
        self
    }

    pub(super) fn without_dropped_name(mut self) -> Self {
        if self.drop_name {
            self.labels = without(&self.labels, &RESERVED);
            self.drop_name = false;
        }
        self
    }
}

/// The labels of these names.
pub(super) fn only<S: AsRef<str>>(labels: &Labels, names: &[S]) -> Labels {
    let kept = labels.iter().filter(|(name, _)| names.iter().any(|wanted| wanted.as_ref() == *name));
    // Part of a sound set is a sound set.
    Labels::new(kept).unwrap_or_default()
}

/// The labels of all other names.
pub(super) fn without<S: AsRef<str>>(labels: &Labels, names: &[S]) -> Labels {
    let kept = labels.iter().filter(|(name, _)| !names.iter().any(|unwanted| unwanted.as_ref() == *name));
    Labels::new(kept).unwrap_or_default()
}

/// Labels with one of them set.
pub(super) fn with(labels: &Labels, name: &str, value: &str) -> Result<Labels, QueryError> {
    labels.with(name, value).map_err(|error| execution(error.to_string()))
}

/// Columns of the same labels made one.
///
/// # Errors
/// If two of them have a value at the same step.
pub(super) fn merged(columns: Vec<Column>) -> Result<Vec<Column>, QueryError> {
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(columns.len());
    let mut merged: Vec<Column> = Vec::with_capacity(columns.len());
    for column in columns {
        if column.values.iter().all(|value| is_absent(*value)) {
            continue;
        }
        let Some(place) = places.get(&column.labels).copied() else {
            places.insert(column.labels.clone(), merged.len());
            merged.push(column);
            continue;
        };
        let held = &mut merged[place];
        held.drop_name |= column.drop_name;
        for (held, value) in held.values.iter_mut().zip(column.values) {
            if is_absent(value) {
                continue;
            }
            if !is_absent(*held) {
                return Err(execution("vector cannot contain metrics with the same labelset"));
            }
            *held = value;
        }
    }
    Ok(merged)
}
