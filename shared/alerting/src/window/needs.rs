//! What rules need, and which series it concerns: decided once per series.

use super::SLACK_MS;
use skerry_model::{Labels, UnixMillis};
use skerry_promql::{MatchOp, Matcher, matches_all};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What one selector of a rule reads.
#[derive(Debug, Clone)]
pub struct Need {
    /// Its conditions.
    pub matchers: Vec<Matcher>,
    /// How far behind the rule's time it looks, in milliseconds: range or lookback, offsets and the query offset in sum.
    pub back_ms: i64,
}

/// A need and what is known of it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) matchers: Vec<Matcher>,
    pub(super) back_ms: i64,
    /// From when on every sample is here.
    pub(super) since: UnixMillis,
    /// When it was left out for want of memory.
    pub(super) left_out: Option<UnixMillis>,
    /// Its series; the first `sorted` of them by labels.
    pub(super) series: Vec<u32>,
    pub(super) sorted: usize,
}

impl Known {
    /// Its selector, as one may write it.
    pub(super) fn text(&self) -> String {
        let op = |op| match op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        };
        let condition = |matcher: &Matcher| format!("{}{}{:?}", matcher.label(), op(matcher.op()), matcher.value());
        let conditions: Vec<String> = self.matchers.iter().map(condition).collect();
        format!("{{{}}}", conditions.join(","))
    }
}

/// All needs, by what they ask for. Each set of conditions stands once.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) all: Vec<Known>,
    /// By the metric that they demand.
    by_metric: HashMap<Box<str>, Vec<u32>>,
    /// Those that demand none.
    others: Vec<u32>,
    /// By a hash of their conditions.
    by_matchers: HashMap<u64, Vec<u32>>,
    /// How far back the farthest-looking one looks.
    pub(super) back_ms: i64,
}

/// From when on all is seen by one who begins now: clocks of nodes may lead, and what they sent was not seen.
pub(super) fn seen_from(now: UnixMillis) -> UnixMillis {
    UnixMillis(now.0.saturating_add(SLACK_MS))
}

fn hash(matchers: &[Matcher]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for matcher in matchers {
        (matcher.label(), matcher.op() as u8, matcher.value()).hash(&mut hasher);
    }
    hasher.finish()
}

fn are_same(left: &[Matcher], right: &[Matcher]) -> bool {
    let parts = |matcher: &Matcher| (matcher.op() as u8, matcher.label().len(), matcher.value().len());
    let is_same = |(left, right): (&Matcher, &Matcher)| {
        parts(left) == parts(right) && left.label() == right.label() && left.value() == right.value()
    };
    left.len() == right.len() && left.iter().zip(right).all(is_same)
}

impl Needs {
    /// Those of `needs`, with what `before` knows of them.
    pub(super) fn new(needs: &[Need], before: &Self, now: UnixMillis) -> Self {
        let mut new = Self::default();
        for need in needs {
            let back_ms = need.back_ms.max(0);
            new.back_ms = new.back_ms.max(back_ms);
            if let Some(same) = new.find(&need.matchers) {
                let same = &mut new.all[same as usize];
                same.back_ms = same.back_ms.max(back_ms);
                continue;
            }
            let number = new.all.len() as u32;
            let metric = need.matchers.iter().find_map(|matcher| matcher.demanded("__name__"));
            match metric {
                Some(metric) => new.by_metric.entry(metric.into()).or_default().push(number),
                None => new.others.push(number),
            }
            new.by_matchers.entry(hash(&need.matchers)).or_default().push(number);
            let (matchers, since) = (need.matchers.clone(), seen_from(now));
            new.all.push(Known { matchers, back_ms, since, left_out: None, series: Vec::new(), sorted: 0 });
        }
        for known in &mut new.all {
            if let Some(old) = before.find(&known.matchers) {
                let old = &before.all[old as usize];
                let reaches = UnixMillis(now.0.saturating_sub(old.back_ms.min(known.back_ms)));
                known.since = if known.back_ms <= old.back_ms { old.since } else { old.since.max(reaches) };
                known.left_out = old.left_out;
            }
        }
        new
    }

    /// The need with these conditions.
    pub(super) fn find(&self, matchers: &[Matcher]) -> Option<u32> {
        let same = self.by_matchers.get(&hash(matchers))?;
        same.iter().copied().find(|number| are_same(&self.all[*number as usize].matchers, matchers))
    }

    /// Whether some need may read a metric of that name.
    pub(super) fn may_read(&self, metric: &str) -> bool {
        !self.others.is_empty() || self.by_metric.contains_key(metric)
    }

    /// The needs that read a series, by rising number, and how far back they look together.
    pub(super) fn of(&self, labels: &Labels) -> (Box<[u32]>, i64) {
        let by_metric = self.by_metric.get(labels.metric()).map_or(&[][..], Vec::as_slice);
        let known = |number: &u32| &self.all[*number as usize];
        let reads = |number: &&u32| known(number).left_out.is_none() && matches_all(&known(number).matchers, labels);
        let mut found: Vec<u32> = by_metric.iter().chain(&self.others).filter(reads).copied().collect();
        found.sort_unstable();
        let back_ms = found.iter().map(|number| known(number).back_ms).max().unwrap_or(0);
        (found.into(), back_ms)
    }
}
