//! Rules and budgets as an operator writes them, and as the router asks them.

use super::super::config::Policy;
use super::{Budget, Tag};
use crate::store::ship;
use serde::{Deserialize, Serialize};
use skerry_model::{Bytes, Level, Span};
use skerry_promql::{Matcher, Query};

/// What happens to the log records that a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogPolicy {
    /// All go to the fleet.
    All,
    /// Those of at least this level go to the fleet; the others stay here.
    Level,
    /// One of so many goes to the fleet; the others stay here.
    Sample,
    /// All stay here.
    Keep,
    /// All stay here, and those around an alert go to the fleet.
    OnAlert,
}

/// A rule of `store.log_ship`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRule {
    /// A selector of streams, such as `{container="web",level=~"debug|trace"}`; `{}` and none match every record.
    #[serde(rename = "match", default = "every")]
    pub selector: String,
    /// What happens to them.
    pub policy: LogPolicy,
    /// Of `level`: the lowest that goes to the fleet.
    #[serde(default = "error")]
    pub at_least: Level,
    /// Of `sample`: one of how many goes to the fleet.
    #[serde(default = "ten")]
    pub one_of: u32,
    /// Of `on-alert`: a PromQL expression over what this node keeps; there is an alert while it gives anything.
    #[serde(default = "ship::firing", skip_serializing_if = "ship::is_firing")]
    pub when: String,
    /// Of `on-alert`: how much before and after an alert is shipped.
    #[serde(default = "ship::five_minutes")]
    pub around: Span,
}

/// A budget of `store.log_budgets`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogBudget {
    /// As [`LogRule::selector`].
    #[serde(rename = "match")]
    pub selector: String,
    /// Room for the blocks of these records.
    pub max_bytes: Bytes,
    /// What happens when it is full of what the fleet has not acknowledged.
    #[serde(default = "drop_oldest")]
    pub policy: Policy,
}

fn every() -> String {
    "{}".into()
}

const fn error() -> Level {
    Level::Error
}

const fn ten() -> u32 {
    10
}

const fn drop_oldest() -> Policy {
    Policy::DropOldest
}

/// Most rules: each is asked once for each new label set and level.
const RULES_MAX: usize = 200;
/// Most budgets, and most rules that wait for an alert: each has blocks of its own, and many small blocks compress badly.
const LANES_MAX: usize = 16;
/// Most records of which one is shipped.
const ONE_OF_MAX: u32 = 1_000_000;

/// Where a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Ship,
    Keep,
    /// Stays until an alert releases it.
    Hold(Tag),
    Sample {
        rule: u16,
        one_of: u32,
    },
}

#[derive(Debug, Clone, Copy)]
enum Class {
    Always(Way),
    Level(Level),
}

/// A rule, ready to be asked.
#[derive(Debug)]
pub(in crate::store) struct Ready {
    pub(super) matchers: Vec<Matcher>,
    class: Class,
}

impl Ready {
    pub(super) fn way(&self, level: Level) -> Way {
        match self.class {
            Class::Always(way) => way,
            Class::Level(at_least) => {
                if level >= at_least {
                    Way::Ship
                } else {
                    Way::Keep
                }
            }
        }
    }
}

fn matchers(selector: &str) -> Result<Vec<Matcher>, String> {
    // PromQL wants a condition; for log records it is natural to say "all".
    if selector.trim() == "{}" {
        return Ok(Vec::new());
    }
    Query::parse(selector)
        .and_then(|query| query.matchers())
        .map_err(|error| format!("{selector:?} is no selector, one such as {{container=\"web\"}} is expected: {error}"))
}

/// A tag from the text that names it, so that other rules may come and go; moved on where it is taken.
fn tag(text: &str, taken: &[Tag]) -> Tag {
    let sum = crc32fast::hash(text.as_bytes());
    let mut tag = (sum ^ (sum >> 16)) as Tag;
    while tag == 0 || taken.contains(&tag) {
        tag = tag.wrapping_add(1);
    }
    tag
}

/// Tags of the rules that wait for an alert; 0 for the others.
pub(in crate::store) fn tags(rules: &[LogRule]) -> Vec<Tag> {
    let mut taken = Vec::new();
    for rule in rules {
        taken.push(match rule.policy {
            LogPolicy::OnAlert => tag(&format!("{} {}", rule.selector, rule.when), &taken),
            _ => 0,
        });
    }
    taken
}

type Faults = Vec<(String, String)>;

/// Makes rules and budgets ready.
///
/// # Errors
/// Every fault, as key below `store` and what was expected.
pub(in crate::store) fn check(rules: &[LogRule], budgets: &[LogBudget]) -> Result<(Vec<Ready>, Vec<Budget>), Faults> {
    let mut faults = Faults::new();
    let mut demand = |holds: bool, key: String, problem: String| {
        if !holds {
            faults.push((key, problem));
        }
    };
    let waiting = rules.iter().filter(|rule| rule.policy == LogPolicy::OnAlert).count();
    demand(
        rules.len() <= RULES_MAX && waiting <= LANES_MAX,
        "log_ship".into(),
        format!("{} rules, {waiting} of them on-alert; at most {RULES_MAX} and {LANES_MAX} are expected", rules.len()),
    );
    demand(
        budgets.len() <= LANES_MAX,
        "log_budgets".into(),
        format!("{} budgets, at most {LANES_MAX} are expected", budgets.len()),
    );
    let (mut ready, mut accounts) = (Vec::new(), Vec::new());
    for (at, (rule, tag)) in rules.iter().zip(tags(rules)).enumerate() {
        let key = |field: &str| format!("log_ship[{at}].{field}");
        let class = match rule.policy {
            LogPolicy::All => Class::Always(Way::Ship),
            LogPolicy::Keep => Class::Always(Way::Keep),
            LogPolicy::Level => Class::Level(rule.at_least),
            LogPolicy::Sample => {
                let is_fine = (2..=ONE_OF_MAX).contains(&rule.one_of);
                demand(
                    is_fine,
                    key("one_of"),
                    format!("{} is out of range, 2 to {ONE_OF_MAX} is expected", rule.one_of),
                );
                Class::Always(Way::Sample { rule: u16::try_from(at).unwrap_or(0), one_of: rule.one_of.max(1) })
            }
            LogPolicy::OnAlert => {
                if let Err(error) = Query::parse(&rule.when) {
                    demand(false, key("when"), format!("{:?} is no expression: {error}", rule.when));
                }
                demand(
                    (Span::secs(15)..=Span::secs(3600)).contains(&rule.around),
                    key("around"),
                    format!("{} is out of range, 15s to 1h is expected", rule.around),
                );
                Class::Always(Way::Hold(tag))
            }
        };
        match matchers(&rule.selector) {
            Ok(matchers) => ready.push(Ready { matchers, class }),
            Err(problem) => demand(false, key("match"), problem),
        }
    }
    let mut taken = Vec::new();
    for (at, budget) in budgets.iter().enumerate() {
        let key = |field: &str| format!("log_budgets[{at}].{field}");
        demand(
            budget.max_bytes >= Bytes::kib(64),
            key("max_bytes"),
            format!("{} is too small, at least 64KiB is expected", budget.max_bytes),
        );
        let tag = tag(&budget.selector, &taken);
        taken.push(tag);
        match matchers(&budget.selector) {
            Ok(matchers) => {
                accounts.push(Budget { tag, matchers, max_bytes: budget.max_bytes.0, policy: budget.policy });
            }
            Err(problem) => demand(false, key("match"), problem),
        }
    }
    if faults.is_empty() { Ok((ready, accounts)) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(rules: &str, budgets: &str) -> Vec<String> {
        let rules: Vec<LogRule> = serde_json::from_str(rules).unwrap();
        let budgets: Vec<LogBudget> = serde_json::from_str(budgets).unwrap();
        match check(&rules, &budgets) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.into_iter().map(|(key, _)| key).collect(),
        }
    }

    #[test]
    fn every_fault_is_told_with_its_key() {
        let rules = r#"[{"policy": "all"}, {"match": "{a=", "policy": "keep"}, {"policy": "sample", "one_of": 1},
            {"policy": "on-alert", "when": "up >", "around": "1s"}, {"match": "sum(up)", "policy": "level"}]"#;
        let budgets = r#"[{"match": "{}", "max_bytes": "1KiB"}, {"match": "x y", "max_bytes": "1MiB"}]"#;
        assert_eq!(
            faults(rules, budgets),
            [
                "log_ship[1].match",
                "log_ship[2].one_of",
                "log_ship[3].when",
                "log_ship[3].around",
                "log_ship[4].match",
                "log_budgets[0].max_bytes",
                "log_budgets[1].match"
            ]
        );
        let many = |one: &str, count: usize| format!("[{}]", vec![one; count].join(","));
        assert_eq!(faults(&many(r#"{"policy": "on-alert"}"#, 17), "[]"), ["log_ship"]);
        assert_eq!(faults("[]", &many(r#"{"match": "{}", "max_bytes": "1MiB"}"#, 17)), ["log_budgets"]);
        assert!(faults(&many(r#"{"policy": "on-alert"}"#, 16), "[]").is_empty());
        assert!(serde_json::from_str::<LogRule>(r#"{"policy": "keep", "mach": "{}"}"#).is_err());
    }

    #[test]
    fn tags_differ_and_do_not_depend_on_the_others() {
        let rule = |selector: &str, policy| LogRule {
            selector: selector.into(),
            policy,
            at_least: error(),
            one_of: 10,
            when: "up".into(),
            around: Span::secs(60),
        };
        let (a, b) = (rule("{a=\"1\"}", LogPolicy::OnAlert), rule("{b=\"1\"}", LogPolicy::OnAlert));
        let both = tags(&[a.clone(), rule("{}", LogPolicy::Keep), b.clone()]);
        assert_eq!(both[1], 0);
        assert!(both[0] != 0 && both[2] != 0 && both[0] != both[2]);
        assert_eq!(tags(&[b, a.clone()]), [both[2], both[0]]);
        let twice = tags(&[a.clone(), a]);
        assert_ne!(twice[0], twice[1]);
    }
}
