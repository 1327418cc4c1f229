//! Which policy a series has.

use crate::store::lanes::{self, LogRule, Tag};
use serde::{Deserialize, Serialize};
use skerry_model::{Labels, Span};
use skerry_promql::{Matcher, Query, matches_all};

/// What happens to the samples of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShipPolicy {
    /// All go to the fleet.
    All,
    /// The last one of each window goes to the fleet, for gauges also the window's smallest and largest value, sum and
    /// count; all stay here.
    Downsampled,
    /// All stay here.
    Keep,
    /// All stay here, and those around an alert go to the fleet.
    OnAlert,
}

/// A rule of `store.ship`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A PromQL selector, such as `{__name__=~"node_netstat_.*"}`.
    #[serde(rename = "match")]
    pub selector: String,
    /// What happens to the series that it selects.
    pub policy: ShipPolicy,
    /// Length of a window of `downsampled`.
    #[serde(default = "five_minutes")]
    pub resolution: Span,
    /// Of `on-alert`: a PromQL expression over what this node keeps; there is an alert while it gives anything.
    #[serde(default = "firing", skip_serializing_if = "is_firing")]
    pub when: String,
    /// Of `on-alert`: how much before and after an alert is shipped.
    #[serde(default = "five_minutes")]
    pub around: Span,
}

/// The series that alert rules write, wherever they are evaluated on the node.
const FIRING: &str = "ALERTS{alertstate=\"firing\"}";

pub(in crate::store) fn firing() -> String {
    FIRING.into()
}

pub(in crate::store) fn is_firing(when: &str) -> bool {
    when == FIRING
}

/// What an `on-alert` rule holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The samples of the rule at this place.
    Samples(usize),
    /// The log records of the rule with this tag.
    Records(Tag),
}

/// What an `on-alert` rule waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnAlert {
    /// What it holds back until then.
    pub held: Held,
    /// There is an alert while this expression gives anything.
    pub when: String,
    /// How much before and after is shipped, in milliseconds.
    pub around_ms: i64,
}

impl OnAlert {
    /// Those among the rules.
    #[must_use]
    pub fn among(rules: &[Rule], log_rules: &[LogRule]) -> Vec<Self> {
        let waits = |held, when: &str, around: Span| {
            let around_ms = i64::try_from(around.0.as_millis()).unwrap_or(i64::MAX);
            Self { held, when: when.to_owned(), around_ms }
        };
        let samples = rules.iter().enumerate().filter(|(_, rule)| rule.policy == ShipPolicy::OnAlert);
        let records = log_rules.iter().zip(lanes::tags(log_rules)).filter(|(_, tag)| *tag != 0);
        let samples = samples.map(|(at, rule)| waits(Held::Samples(at), &rule.when, rule.around));
        samples.chain(records.map(|(rule, tag)| waits(Held::Records(tag), &rule.when, rule.around))).collect()
    }
}

pub(in crate::store) const fn five_minutes() -> Span {
    Span::secs(300)
}

/// Most rules: each is asked once for each new series.
const RULES_MAX: usize = 200;

/// A policy with what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    All,
    Keep,
    /// With the length of its windows, in milliseconds.
    Downsampled(i64),
}

/// Rules, ready to be asked.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<(Vec<Matcher>, Class)>);

impl Rule {
    fn ready(&self) -> Result<(Vec<Matcher>, Class), String> {
        let shown = &self.selector;
        let selector = Query::parse(shown).and_then(|query| query.matchers());
        let matchers = selector.map_err(|error| format!("match: {shown:?} is no selector: {error}"))?;
        let class = match self.policy {
            ShipPolicy::All => Class::All,
            ShipPolicy::Keep => Class::Keep,
            ShipPolicy::Downsampled => {
                if !(Span::secs(30)..=Span::secs(86_400)).contains(&self.resolution) {
                    return Err(format!("resolution: {} is out of range, 30s to 1d is expected", self.resolution));
                }
                Class::Downsampled(i64::try_from(self.resolution.0.as_millis()).unwrap_or(i64::MAX))
            }
            ShipPolicy::OnAlert => {
                Query::parse(&self.when).map_err(|error| format!("when: {:?} is no expression: {error}", self.when))?;
                if !(Span::secs(15)..=Span::secs(3600)).contains(&self.around) {
                    return Err(format!("around: {} is out of range, 15s to 1h is expected", self.around));
                }
                Class::Keep
            }
        };
        Ok((matchers, class))
    }
}

impl Rules {
    pub(super) fn new(rules: &[Rule]) -> Result<Self, String> {
        if rules.len() > RULES_MAX {
            return Err(format!("{} rules, at most {RULES_MAX} are taken", rules.len()));
        }
        let ready = |(at, rule): (usize, &Rule)| rule.ready().map_err(|problem| format!("rule {}: {problem}", at + 1));
        Ok(Self(rules.iter().enumerate().map(ready).collect::<Result<_, _>>()?))
    }

    pub(super) fn class(&self, labels: &Labels) -> Class {
        self.first(labels).map_or(Class::All, |at| self.0[at].1)
    }

    /// Place of the rule that decides.
    pub(super) fn first(&self, labels: &Labels) -> Option<usize> {
        self.0.iter().position(|(matchers, _)| matches_all(matchers, labels))
    }

    pub(super) fn matchers(&self, rule: usize) -> Option<&[Matcher]> {
        self.0.get(rule).map(|(matchers, _)| matchers.as_slice())
    }

    pub(super) fn longest_ms(&self) -> Option<i64> {
        let spans = self.0.iter().filter_map(|(_, class)| match class {
            Class::Downsampled(resolution) => Some(*resolution),
            Class::All | Class::Keep => None,
        });
        spans.max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_named() {
        let rule = |selector: &str, policy, secs| {
            let (selector, span) = (selector.to_owned(), Span::secs(secs));
            Rule { selector, policy, resolution: span, when: firing(), around: span }
        };
        let fault = |rules: &[Rule]| Rules::new(rules).unwrap_err();
        let good = rule("up", ShipPolicy::Keep, 0);
        assert!(fault(&[good.clone(), rule("up{", ShipPolicy::All, 0)]).starts_with("rule 2: match: "));
        assert!(fault(&[rule("sum(up)", ShipPolicy::All, 0)]).contains("no selector"));
        assert!(fault(&[rule("up", ShipPolicy::Downsampled, 1)]).contains("30s to 1d"));
        assert!(fault(&[rule("up", ShipPolicy::OnAlert, 1)]).contains("15s to 1h"));
        let bad = Rule { when: "up >".into(), ..rule("up", ShipPolicy::OnAlert, 60) };
        assert!(fault(&[bad]).contains("when: "));
        assert!(Rules::new(&[rule("up", ShipPolicy::OnAlert, 60)]).is_ok());
        assert!(fault(&vec![good; RULES_MAX + 1]).contains("at most"));
    }
}
