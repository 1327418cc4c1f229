//! Ship policies: which samples go to the fleet, which stay on the node, which go downsampled.
//!
//! Rules name series by selectors; the first that matches decides, and what none matches is shipped whole. What does
//! not go whole is kept in a database of its own beside the store's, `agent-kept.db`, with the same tables and the
//! same writer, whose streams nobody ships. So the shipped stream stays one of whole blocks that go out as they are,
//! and questions to the node read both.
//!
//! ```text
//! scrape ── Splitter ──┬─> store (shipped)
//!                      ├─> kept (keep, downsampled: every sample)
//!                      └─ windows ─> store: last of each window and, for gauges, its aggregates
//! ```
//!
//! Invariants:
//! - Every sample is in one of the two databases or in the loss ledger.
//! - A window is given out at least once and always with the same samples at the same times, so that giving it out
//!   again after a restart changes nothing at the centre.

mod rules;
mod windows;

pub use rules::{Held, OnAlert, Rule, ShipPolicy};
pub(super) use rules::{firing, five_minutes, is_firing};

use rules::{Class, Rules};
use skerry_model::{Labels, Sample, Scrape, UnixMillis};
use skerry_promql::Matcher;
use std::collections::HashMap;
use windows::Windows;

/// Label sets whose class is remembered; then all are forgotten and judged anew.
const JUDGED_MAX: usize = 50_000;

/// A scrape by where it goes.
#[derive(Debug, Default)]
pub(super) struct Parted {
    /// To the fleet, whole.
    pub(super) shipped: Scrape,
    /// Stays here.
    pub(super) kept: Scrape,
    /// To the fleet in place of what stays, by time.
    pub(super) windows: Vec<Scrape>,
}

/// Parts scrapes by the rules.
#[derive(Debug)]
pub(super) struct Splitter {
    rules: Rules,
    judged: HashMap<Labels, Class>,
    windows: Windows,
}

impl Splitter {
    /// By checked rules.
    ///
    /// # Errors
    /// What is wrong with the first rule that cannot be used.
    pub(super) fn new(rules: &[Rule]) -> Result<Self, String> {
        let rules = Rules::new(rules)?;
        Ok(Self { rules, judged: HashMap::new(), windows: Windows::default() })
    }

    fn class(&mut self, labels: &Labels) -> Class {
        if let Some(class) = self.judged.get(labels) {
            return *class;
        }
        if self.judged.len() >= JUDGED_MAX {
            self.judged.clear();
        }
        let class = self.rules.class(labels);
        self.judged.insert(labels.clone(), class);
        class
    }

    /// Parts a scrape.
    pub(super) fn part(&mut self, scrape: Scrape) -> Parted {
        let at = scrape.at;
        let of = |values| Scrape { at, values };
        let (mut shipped, mut kept) = (Vec::with_capacity(scrape.values.len()), Vec::new());
        let mut windows = self.windows.advance(at);
        for (labels, value) in scrape.values {
            match self.class(&labels) {
                Class::All => shipped.push((labels, value)),
                Class::Keep => kept.push((labels, value)),
                Class::Downsampled(resolution) => {
                    self.windows.add(&labels, Sample { at, value }, resolution, &mut windows);
                    kept.push((labels, value));
                }
            }
        }
        Parted { shipped: of(shipped), kept: of(kept), windows: windows.into_scrapes() }
    }

    /// Takes in again what was kept before a restart, oldest first, so that windows go on where they were.
    pub(super) fn replay(&mut self, series: Vec<(Labels, Vec<Sample>)>) -> Vec<Scrape> {
        let mut all: Vec<(UnixMillis, Labels, f64)> = Vec::new();
        for (labels, samples) in series {
            if matches!(self.class(&labels), Class::Downsampled(_)) {
                all.extend(samples.into_iter().map(|sample| (sample.at, labels.clone(), sample.value)));
            }
        }
        all.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let mut out = windows::Given::default();
        for (at, labels, value) in all {
            out.join(self.windows.advance(at));
            if let Class::Downsampled(resolution) = self.class(&labels) {
                self.windows.add(&labels, Sample { at, value }, resolution, &mut out);
            }
        }
        out.into_scrapes()
    }

    /// The conditions of a rule.
    pub(super) fn matchers(&self, rule: usize) -> Option<Vec<Matcher>> {
        self.rules.matchers(rule).map(<[Matcher]>::to_vec)
    }

    /// Samples of the series that a rule decides on, as scrapes, oldest first.
    pub(super) fn of_rule(&self, rule: usize, series: Vec<(Labels, Vec<Sample>)>) -> Vec<Scrape> {
        let mut given = windows::Given::default();
        for (labels, samples) in series.into_iter().filter(|(labels, _)| self.rules.first(labels) == Some(rule)) {
            for sample in samples {
                given.put(sample.at, labels.clone(), sample.value);
            }
        }
        given.into_scrapes()
    }

    /// Longest window of all rules, in milliseconds; `None` where nothing is downsampled.
    pub(super) fn longest_ms(&self) -> Option<i64> {
        self.rules.longest_ms()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_model::{LabelsBuilder, Span};

    fn rule(selector: &str, policy: ShipPolicy) -> Rule {
        let around = Span::secs(60);
        Rule { selector: selector.into(), policy, resolution: around, when: "up".into(), around }
    }

    fn scrape(at_s: i64, values: &[(&str, f64)]) -> Scrape {
        let values = values.iter().map(|(name, value)| (LabelsBuilder::metric(name).build(), *value)).collect();
        Scrape { at: UnixMillis(at_s * 1000), values }
    }

    fn shown(scrapes: &[Scrape]) -> Vec<String> {
        let lines = scrapes.iter().flat_map(|s| s.values.iter().map(|(l, v)| format!("{} {l} {v}", s.at.0 / 1000)));
        lines.collect()
    }

    #[test]
    fn each_sample_goes_where_the_first_matching_rule_says() {
        let mut splitter = Splitter::new(&[
            rule("node_load1", ShipPolicy::All),
            rule("{__name__=~\"node_load.*\"}", ShipPolicy::Keep),
            rule("hits_total", ShipPolicy::Downsampled),
        ])
        .unwrap();
        let parted = splitter.part(scrape(1, &[("node_load1", 1.0), ("node_load5", 5.0), ("hits_total", 7.0)]));
        assert_eq!(shown(&[parted.shipped]), ["1 node_load1 1"]);
        assert_eq!(shown(&[parted.kept]), ["1 node_load5 5", "1 hits_total 7"]);
        assert!(parted.windows.is_empty());
        let parted = splitter.part(scrape(61, &[("hits_total", 9.0)]));
        assert_eq!(shown(&parted.windows), ["1 hits_total 7"]);
    }

    #[test]
    fn a_replay_goes_on_with_the_open_window() {
        let rules = [rule("g", ShipPolicy::Downsampled)];
        let (mut first, mut second) = (Splitter::new(&rules).unwrap(), Splitter::new(&rules).unwrap());
        let mut expected = Vec::new();
        for at in (0..180).step_by(15) {
            expected.extend(first.part(scrape(at, &[("g", at as f64)])).windows);
        }
        let samples = (0..100).step_by(15).map(|at| Sample { at: UnixMillis(at * 1000), value: at as f64 }).collect();
        let mut told = second.replay(vec![(LabelsBuilder::metric("g").build(), samples)]);
        for at in (105..180).step_by(15) {
            told.extend(second.part(scrape(at, &[("g", at as f64)])).windows);
        }
        assert_eq!(shown(&told), shown(&expected));
        assert_eq!(shown(&told)[..2], ["45 g 45", "45 g:count_1m 4"]);
    }
}
