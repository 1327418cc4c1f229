//! From the config to stages.

use super::condition::Condition;
use super::dedup::Dedup;
use super::gate::{RateLimit, Sample};
use super::metric::ToMetric;
use super::modify::Modify;
use super::parser::Parser;
use super::reader::{Faults, Reader, single};
use super::{Stage, Step};
use crate::redact::Redact;
use crate::time::ReadZone;
use serde_json::Value;
use std::collections::BTreeSet;

/// Most stages of one pipeline, those below `if` counted too.
const STAGES_MAX: usize = 256;
/// Deepest nesting of `if`.
const DEPTH_MAX: usize = 4;
const KINDS: &str = "parser, if, drop, keep, sample, rate_limit, dedup, modify, redact or to_metric";

/// What is the same for all stages that are built.
pub(super) struct Builder<'a> {
    pub(super) zones: ReadZone<'a>,
    pub(super) faults: Faults,
    /// Stages so far.
    pub(super) count: usize,
    /// Names of metrics so far.
    pub(super) metrics: BTreeSet<String>,
}

impl Builder<'_> {
    /// The stages of one list.
    pub(super) fn list(&mut self, stages: &[Stage], key: &str) -> Vec<Step> {
        let build = |(at, stage): (usize, &Stage)| self.stage(&stage.0, &format!("{key}[{at}]"), 0);
        stages.iter().enumerate().filter_map(build).collect()
    }

    fn stage(&mut self, value: &Value, key: &str, depth: usize) -> Option<Step> {
        self.count += 1;
        if self.count > STAGES_MAX {
            if self.count == STAGES_MAX + 1 {
                self.faults.push((key.to_owned(), format!("more than {STAGES_MAX} stages: fewer are expected")));
            }
            return None;
        }
        if value.get("if").is_some() {
            return self.branch(value, key, depth);
        }
        let (name, inner) = single(value, key, KINDS, &mut self.faults)?;
        let below = format!("{key}.{name}");
        let faults = &mut self.faults;
        match name {
            "parser" => Parser::read(inner, &below, self.zones, faults).map(|parser| Step::Parser(Box::new(parser))),
            "drop" => Some(Step::Drop(Condition::read(inner, &below, faults))),
            "keep" => Some(Step::Keep(Condition::read(inner, &below, faults))),
            "sample" => Sample::read(inner, &below, faults).map(Step::Sample),
            "rate_limit" => RateLimit::read(inner, &below, faults).map(|limit| Step::RateLimit(Box::new(limit))),
            "dedup" => Dedup::read(inner, &below, faults).map(|dedup| Step::Dedup(Box::new(dedup))),
            "modify" => Modify::read(inner, &below, faults).map(|modify| Step::Modify(Box::new(modify))),
            "redact" => Redact::read(inner, &below, faults).map(|redact| Step::Redact(Box::new(redact))),
            "to_metric" => {
                let metric = ToMetric::read(inner, &below, faults)?;
                // Two stages would each tell a value for the same series.
                if !self.metrics.insert(metric.name().to_owned()) {
                    let problem = "stands in another stage too: one stage for each metric is expected";
                    faults.push((format!("{below}.name"), problem.to_owned()));
                }
                Some(Step::ToMetric(Box::new(metric)))
            }
            _ => {
                faults.push((below, format!("is no stage: {KINDS} is expected")));
                None
            }
        }
    }

    /// `{if: CONDITION, then: [STAGE], else: [STAGE]}`.
    fn branch(&mut self, value: &Value, key: &str, depth: usize) -> Option<Step> {
        if depth == DEPTH_MAX {
            self.faults.push((key.to_owned(), format!("`if` is nested deeper than {DEPTH_MAX}")));
            return None;
        }
        let mut reader = Reader::new(value, key, &mut self.faults)?;
        let condition = reader.value("if").map(|value| Condition::read(value, &reader.at("if"), &mut self.faults));
        let mut branches = Vec::new();
        for name in ["then", "else"] {
            let items = reader.list(name, &mut self.faults);
            let below = reader.at(name);
            let build = |(at, item): (usize, &Value)| self.stage(item, &format!("{below}[{at}]"), depth + 1);
            branches.push(items.iter().enumerate().filter_map(build).collect::<Vec<_>>());
        }
        if !reader.has("then") && !reader.has("else") {
            self.faults.push((key.to_owned(), "does nothing: `then` or `else` with stages is expected".to_owned()));
        }
        reader.finish(&mut self.faults);
        let otherwise = branches.pop()?;
        Some(Step::If { condition: Box::new(condition?), then: branches.pop()?, otherwise })
    }
}
