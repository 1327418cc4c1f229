//! Benchmarks: what is measured, on what, beside which peer. Each prints figures and the limits they are held to.

pub mod disk;
pub mod footprint;
pub mod logs;
pub mod process;
pub mod promql;
pub mod recording;
pub mod remote;
pub mod rules;
pub mod scaling;
pub mod scrape;
pub mod tsdb;

use serde::Serialize;
use std::collections::BTreeMap;

/// The bound of one figure.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// At most.
    Max(f64),
    /// At least.
    Min(f64),
}

/// What a benchmark found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Figures by name; the name ends with the unit.
    pub figures: BTreeMap<String, f64>,
    /// Bounds of some of them.
    pub limits: BTreeMap<String, Limit>,
    /// The same figures of other programs that did the same work in the same run.
    pub peer: BTreeMap<String, f64>,
}

impl Report {
    /// Notes a figure.
    pub fn figure(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_owned(), rounded(value));
    }

    /// Notes a figure with the bound it is held to.
    pub fn limited(&mut self, name: &str, value: f64, limit: Limit) {
        self.figure(name, value);
        self.limits.insert(name.to_owned(), limit);
    }

    /// Notes a peer's figure.
    pub fn peer(&mut self, name: &str, value: f64) {
        self.peer.insert(name.to_owned(), rounded(value));
    }

    /// A table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.figures {
            let verdict = match self.limits.get(name) {
                None => String::new(),
                Some(Limit::Max(max)) => format!("at most {max}: {}", if value <= max { "met" } else { "MISSED" }),
                Some(Limit::Min(min)) => format!("at least {min}: {}", if value >= min { "met" } else { "MISSED" }),
            };
            text.push_str(format!("{name:<36} {value:>16}   {verdict}").trim_end());
            text.push('\n');
        }
        for (name, value) in &self.peer {
            text.push_str(&format!("peer {name:<31} {value:>16}\n"));
        }
        text
    }
}

/// The middle value; zero of none.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Four significant places are more than these machines' noise allows.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
