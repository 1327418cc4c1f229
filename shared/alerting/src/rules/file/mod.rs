//! Rule files: Prometheus's format, read strictly and checked as a whole.
//!
//! A file is read key by key out of its YAML tree, so that all of its faults are said at once, each with line and column,
//! and with what is expected there. Of an expression and a template the place is the fault's own, not the key's.
//!
//! Invariants:
//! - What exists has been checked: names can be names, expressions are parsed, templates can be.
//! - A file has [`RULES_MAX`] rules at most, aliases counted as often as they stand.

mod check;
mod lint;
mod read;
#[cfg(test)]
mod tests;

use skerry_promql::Query;
use skerry_yaml::{Fault, Faults};
use std::sync::Arc;
use std::time::Duration;

/// Most rules of one file.
const RULES_MAX: usize = 20_000;

/// A rule file that has been checked.
#[derive(Debug, Clone, Default)]
pub struct RuleFile {
    /// Its groups, each name once.
    pub groups: Vec<GroupSpec>,
}

/// A group of rules.
#[derive(Debug, Clone)]
pub struct GroupSpec {
    /// Its name, not empty.
    pub name: Arc<str>,
    /// Time between two evaluations; zero is none.
    pub interval: Option<Duration>,
    /// How far before their moment evaluations look.
    pub query_offset: Option<Duration>,
    /// Most alerts or series of each of its rules; 0 is no limit.
    pub limit: usize,
    /// Labels that its rules set where they set none of that name.
    pub labels: Vec<(String, String)>,
    /// Its rules.
    pub rules: Vec<RuleSpec>,
    /// Line of its name.
    pub line: u64,
}

/// A rule.
#[derive(Debug, Clone)]
pub struct RuleSpec {
    /// The metric it records, or the alert.
    pub name: Arc<str>,
    /// Its expression as it is written.
    pub expr: String,
    /// Its expression.
    pub query: Query,
    /// Labels that it sets, as written; of an alerting rule they are templates.
    pub labels: Vec<(String, String)>,
    /// What kind of rule it is.
    pub kind: Kind,
    /// Line of its name.
    pub line: u64,
}

/// Kinds of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Its results are series of its name.
    Recording,
    /// Its results are alerts.
    Alerting {
        /// `for`: how long the condition has to be met.
        hold: Duration,
        /// `keep_firing_for`: how long it fires on when it is no longer met.
        keep_firing: Duration,
        /// Templates of what people are told.
        annotations: Vec<(String, String)>,
    },
}

/// How strictly a file is read. By default as Prometheus 3 does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// Whether keys that nobody knows are passed over.
    pub ignore_unknown_fields: bool,
    /// Whether names of metrics, labels and annotations have to be of ASCII letters, digits and `_`, as before UTF-8.
    pub legacy_names: bool,
}

impl RuleFile {
    /// Reads a file. The remarks that come with it are no faults: the file means something, but perhaps not what was
    /// meant.
    ///
    /// # Errors
    /// Every fault, with its line.
    pub fn parse(file: &str, text: &str) -> Result<(Self, Vec<Fault>), Faults> {
        Self::read(file, text, Reading::default())
    }

    /// As [`Self::parse`], more or less strictly.
    ///
    /// # Errors
    /// Every fault, with its line.
    pub fn read(file: &str, text: &str, reading: Reading) -> Result<(Self, Vec<Fault>), Faults> {
        read::Reader::new(text, reading).file().map_err(|faults| Faults { file: file.to_owned(), faults })
    }
}
