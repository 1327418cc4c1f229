//! Where a log record goes and on whose account: ship policies and budgets of log records.
//!
//! A lane is a place and an account. The place is the shipped stream or the node; the account names the budget that the
//! record's source has and the `on-alert` rule that holds it back, if there are such. Every block holds the records of
//! one lane, so that retention, release and budgets work on whole blocks and never have to look inside.
//!
//! ```text
//! record ── Router ──┬─> shipped: a block of the current epoch, a number, an acknowledgement
//!                    └─> kept:    a block of the kept epoch, which nobody ships ── release ─> shipped
//! ```
//!
//! Unlike samples, kept records stand in the store's own database, in an epoch of their own that counts as delivered.
//! So one transaction holds all that a read brought, wherever it goes, with the position behind it, and a release moves
//! records from one place to the other in one transaction too.
//!
//! Invariants:
//! - A record is in one lane, and on this node only once, before and after a release and whatever a crash interrupts.
//! - The shipped stream's numbers have no gaps: what stays here has no number in it.
//! - Without rules and budgets there is no router, and no record is looked at.

mod release;
mod room;
mod rules;

pub(super) use release::{Move, Released};
pub(super) use room::Room;
pub use rules::{LogBudget, LogPolicy, LogRule};
pub(super) use rules::{check, tags};

use rules::Way;
use skerry_model::{Epoch, Labels, Level, OutputStream, SeriesId, stream_labels};
use skerry_promql::{Matcher, matches_all};
use std::collections::HashMap;

use super::config::{Config, Policy};

/// The epoch of the records that stay here. Nobody is told of it. Its blocks look to an agent that knows no ship policies
/// for log records like what the fleet has: it keeps them as history.
pub(super) const KEPT: Epoch = Epoch(0);
/// Label sets whose ways are remembered; then all are forgotten and judged anew.
const JUDGED_MAX: usize = 10_000;
/// Levels times outputs.
const SHAPES: usize = 7 * 3;

/// Names a budget or an `on-alert` rule, stable over restarts and over changes to other rules; 0 is none.
pub type Tag = u16;

/// Place and account of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Lane {
    /// It stays here.
    pub(super) is_kept: bool,
    /// Its source's budget.
    pub(super) budget: Tag,
    /// The `on-alert` rule that holds it back.
    pub(super) held_by: Tag,
}

impl Lane {
    /// As a block's row says it, in the column in which blocks of samples have their highest series.
    pub(super) fn column(self) -> Option<SeriesId> {
        let number = u32::from(self.held_by) << 16 | u32::from(self.budget);
        (number != 0).then_some(SeriesId(number))
    }

    /// Of a block's row.
    pub(super) fn from_column(epoch: Epoch, column: Option<SeriesId>) -> Self {
        let number = column.map_or(0, |number| number.0);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the number")]
        let (budget, held_by) = (number as Tag, (number >> 16) as Tag);
        Self { is_kept: epoch == KEPT, budget, held_by }
    }
}

/// A budget, ready to be asked.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) tag: Tag,
    pub(super) matchers: Vec<Matcher>,
    pub(super) max_bytes: u64,
    pub(super) policy: Policy,
}

/// What is known of a label set with a level and an output.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    way: Way,
    budget: Tag,
}

type Verdicts = Box<[Option<Verdict>; SHAPES]>;

/// Decides on records.
#[derive(Debug)]
pub(super) struct Router {
    rules: Vec<rules::Ready>,
    budgets: Vec<Budget>,
    /// How many records each `sample` rule has seen.
    seen: Vec<u32>,
    /// Records of one source come in runs, so most ask for the label set of the one before.
    last: Option<(Labels, Verdicts)>,
    judged: HashMap<Labels, Verdicts>,
}

impl Router {
    /// By a config; `None` where every record is shipped and no source has a budget.
    ///
    /// # Errors
    /// Every fault, as key below `store` and what was expected.
    pub(super) fn new(config: &Config) -> Result<Option<Self>, Vec<(String, String)>> {
        let (rules, budgets) = check(&config.log_ship, &config.log_budgets)?;
        if rules.is_empty() && budgets.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { seen: vec![0; rules.len()], rules, budgets, last: None, judged: HashMap::new() }))
    }

    pub(super) fn budgets(&self) -> &[Budget] {
        &self.budgets
    }

    /// Place and account of a record.
    pub(super) fn lane(&mut self, labels: &Labels, output: OutputStream, level: Level) -> Lane {
        if self.last.as_ref().is_none_or(|(last, _)| last != labels) {
            if let Some((labels, verdicts)) = self.last.take() {
                if self.judged.len() >= JUDGED_MAX {
                    self.judged.clear();
                }
                self.judged.insert(labels, verdicts);
            }
            let known = self.judged.remove_entry(labels);
            self.last = Some(known.unwrap_or_else(|| (labels.clone(), Box::new([None; SHAPES]))));
        }
        let shape = level as usize * 3 + output as usize;
        let known = self.last.as_ref().and_then(|(_, verdicts)| verdicts[shape]);
        let verdict = known.unwrap_or_else(|| self.judge(labels, output, level));
        if known.is_none()
            && let Some((_, verdicts)) = &mut self.last
        {
            verdicts[shape] = Some(verdict);
        }
        let (is_kept, held_by) = match verdict.way {
            Way::Ship => (false, 0),
            Way::Keep => (true, 0),
            Way::Hold(tag) => (true, tag),
            Way::Sample { rule, one_of } => {
                let seen = &mut self.seen[usize::from(rule)];
                let is_first = *seen == 0;
                *seen = (*seen + 1) % one_of;
                (!is_first, 0)
            }
        };
        Lane { is_kept, budget: verdict.budget, held_by }
    }

    fn judge(&self, labels: &Labels, output: OutputStream, level: Level) -> Verdict {
        // A label set that is full to its bounds has no room for two more labels and is asked as it is.
        let told = stream_labels(labels, output, level).unwrap_or_else(|_| labels.clone());
        let rule = self.rules.iter().find(|rule| matches_all(&rule.matchers, &told));
        let budget = self.budgets.iter().find(|budget| matches_all(&budget.matchers, &told));
        Verdict { way: rule.map_or(Way::Ship, |rule| rule.way(level)), budget: budget.map_or(0, |budget| budget.tag) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_model::Bytes;

    fn router(rules: &str, budgets: &str) -> Router {
        let config = Config {
            log_ship: serde_json::from_str(rules).unwrap(),
            log_budgets: serde_json::from_str(budgets).unwrap(),
            ..Config::default()
        };
        Router::new(&config).unwrap().unwrap()
    }

    fn labels(source: &str) -> Labels {
        Labels::new([("source", source)]).unwrap()
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let mut router = router(
            r#"[{"match": "{level=\"fatal\"}", "policy": "all"}, {"match": "{source=\"app\"}", "policy": "level", "at_least": "warn"},
                {"match": "{source=~\"de.*\"}", "policy": "keep"}, {"match": "{stream=\"stderr\"}", "policy": "on-alert"}]"#,
            "[]",
        );
        let mut kept = |source: &str, output, level| router.lane(&labels(source), output, level).is_kept;
        let (none, err) = (OutputStream::None, OutputStream::Stderr);
        for _ in 0..2 {
            assert!(kept("app", none, Level::Info) && kept("app", none, Level::Unknown));
            assert!(!kept("app", none, Level::Warn) && !kept("app", none, Level::Error));
            assert!(kept("debug", none, Level::Error) && !kept("debug", none, Level::Fatal));
            assert!(!kept("other", none, Level::Info) && kept("other", err, Level::Info));
        }
        assert_ne!(router.lane(&labels("other"), err, Level::Info).held_by, 0);
    }

    #[test]
    fn a_sample_ships_one_of_so_many_and_keeps_the_rest() {
        let mut router = router(r#"[{"policy": "sample", "one_of": 5}]"#, "[]");
        let kept = |n: usize| router.lane(&labels(["a", "b"][n % 2]), OutputStream::None, Level::Info).is_kept;
        let kept: Vec<bool> = (0..10).map(kept).collect();
        assert_eq!(kept.iter().filter(|kept| !**kept).count(), 2);
        assert!(!kept[0] && !kept[5]);
    }

    #[test]
    fn a_budget_is_told_apart_from_the_place_and_survives_in_the_row() {
        let mut router = router(
            r#"[{"match": "{source=\"a\"}", "policy": "on-alert"}]"#,
            r#"[{"match": "{source=~\"a|b\"}", "max_bytes": "1MiB"}, {"match": "{source=\"c\"}", "max_bytes": "1MiB", "policy": "block"}]"#,
        );
        let mut lane = |source: &str| router.lane(&labels(source), OutputStream::None, Level::Info);
        let [a, b, c, d] = ["a", "b", "c", "d"].map(&mut lane);
        assert_eq!((a.budget, a.is_kept, b.is_kept), (b.budget, true, false));
        assert!(b.budget != c.budget && c.budget != 0 && a.held_by != 0 && b.held_by == 0);
        assert_eq!(d, Lane::default());
        for lane in [a, b, c, d] {
            let epoch = if lane.is_kept { KEPT } else { Epoch(7) };
            assert_eq!(Lane::from_column(epoch, lane.column()), lane);
        }
        assert_eq!(d.column(), None);
    }

    #[test]
    fn many_label_sets_are_judged_right_and_memory_is_bounded() {
        let mut router = router(r#"[{"match": "{source=~\"keep.*\"}", "policy": "keep"}]"#, "[]");
        for round in 0..2 {
            for n in 0..JUDGED_MAX + 10 {
                let name = if n % 3 == 0 { format!("keep{n}") } else { n.to_string() };
                let lane = router.lane(&labels(&name), OutputStream::None, Level::Info);
                assert_eq!(lane.is_kept, n % 3 == 0, "{round} {n}");
            }
        }
        assert!(router.judged.len() <= JUDGED_MAX);
    }

    #[test]
    fn without_rules_there_is_no_router() {
        assert!(Router::new(&Config::default()).unwrap().is_none());
        let budget = LogBudget { selector: "{}".into(), max_bytes: Bytes::mib(1), policy: Policy::DropOldest };
        assert!(Router::new(&Config { log_budgets: vec![budget], ..Config::default() }).unwrap().is_some());
    }
}
