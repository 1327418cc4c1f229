//! A series of a vector, over all steps.

use crate::error::{QueryError, execution};
use skerry_model::{Labels, is_stale, stale_nan};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};

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
    labels.retained(|name| names.iter().any(|wanted| wanted.as_ref() == name))
}

/// The labels of all other names.
pub(super) fn without<S: AsRef<str>>(labels: &Labels, names: &[S]) -> Labels {
    labels.retained(|name| !names.iter().any(|unwanted| unwanted.as_ref() == name))
}

/// Which labels count.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice<'a> {
    names: Vec<&'a str>,
    /// The names are those that count, or those that do not.
    is_only: bool,
}

impl<'a> Choice<'a> {
    pub(super) fn only(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { names: names.into_iter().collect(), is_only: true }
    }

    pub(super) fn without(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { names: names.into_iter().collect(), is_only: false }
    }

    /// What counts of a label set.
    pub(super) const fn of(&'a self, labels: &'a Labels) -> Chosen<'a> {
        Chosen { labels, choice: self }
    }
}

/// What counts of a label set: compared, hashed and ordered as the label set that it would be, which most never become.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chosen<'a> {
    labels: &'a Labels,
    choice: &'a Choice<'a>,
}

impl<'a> Chosen<'a> {
    fn pairs(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.labels.iter().filter(move |(name, _)| self.choice.names.contains(name) == self.choice.is_only)
    }

    pub(super) fn labels(self) -> Labels {
        self.labels.retained(|name| self.choice.names.contains(&name) == self.choice.is_only)
    }
}

impl PartialEq for Chosen<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.pairs().eq(other.pairs())
    }
}

impl Eq for Chosen<'_> {}

impl Hash for Chosen<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pairs().for_each(|pair| pair.hash(state));
    }
}

impl PartialOrd for Chosen<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Chosen<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.pairs().cmp(other.pairs())
    }
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
