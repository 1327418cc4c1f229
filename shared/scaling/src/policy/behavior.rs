//! How fast a policy scales: `behavior`.

use super::read::required;
use crate::quantity::Quantity;
use serde_json::Value;
use skerry_yaml::values::{Checks, Mapping, items};
use std::time::Duration;

/// How fast a target grows and shrinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behavior {
    /// Growing; by default at most the larger of 4 replicas and 100 % in 15 s, without a window.
    pub up: Rules,
    /// Shrinking; by default at most 100 % in 15 s, with the controller's window.
    pub down: Rules,
}

/// How fast a target changes in one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// How far back recommendations count, at most an hour; `None` is the controller's own: 0 upwards.
    pub window: Option<Duration>,
    /// Which of the rates counts.
    pub select: Select,
    /// How much may change in which time: 1 to 16.
    pub rates: Vec<Rate>,
    /// How far beside its target a metric may be without a change, in millionths of the target; `None` is the
    /// controller's.
    pub tolerance_ppm: Option<u32>,
}

/// Which of several rates counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    /// The one that lets change most.
    Max,
    /// The one that lets change least.
    Min,
    /// None: there is no change in this direction.
    Disabled,
}

/// How much may change in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In which unit.
    pub kind: RateKind,
    /// How much, at least 1.
    pub value: u32,
    /// In which time: 1 s to 30 min.
    pub period: Duration,
}

/// Units of rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateKind {
    /// Replicas.
    Pods,
    /// Percent of the replicas that there were at the begin of the period.
    Percent,
}

const DEFAULT_PERIOD: Duration = Duration::from_secs(15);

impl Default for Behavior {
    fn default() -> Self {
        let rate = |kind, value| Rate { kind, value, period: DEFAULT_PERIOD };
        let rules = |rates| Rules { window: None, select: Select::Max, rates, tolerance_ppm: None };
        Self {
            up: rules(vec![rate(RateKind::Pods, 4), rate(RateKind::Percent, 100)]),
            down: rules(vec![rate(RateKind::Percent, 100)]),
        }
    }
}

/// Longest window.
const WINDOW_SECONDS_MAX: i64 = 3600;
/// Longest period of a rate.
const PERIOD_SECONDS_MAX: i64 = 1800;
/// Most rates of a direction.
const RATES_MAX: usize = 16;
/// Largest tolerance, as a multiple of the target.
const TOLERANCE_MAX: f64 = 1000.0;

impl Behavior {
    /// Reads `behavior`. What is left out is as Kubernetes sets it; a list of policies replaces the whole default.
    pub(super) fn read(behavior: Option<Mapping<'_>>, checks: &mut Checks<'_>) -> Self {
        let mut read = Self::default();
        if let Some(mut behavior) = behavior {
            for (key, rules) in [("scaleUp", &mut read.up), ("scaleDown", &mut read.down)] {
                if let Some(mapping) = behavior.child(key, checks) {
                    rules.read(mapping, checks);
                }
            }
            behavior.finish(checks);
        }
        read
    }
}

impl Rules {
    fn read(&mut self, mut rules: Mapping<'_>, checks: &mut Checks<'_>) {
        let window = rules.number("stabilizationWindowSeconds", 0, WINDOW_SECONDS_MAX, checks);
        self.window = window.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
        match rules.text("selectPolicy", checks).as_deref() {
            None => {}
            Some("Max") => self.select = Select::Max,
            Some("Min") => self.select = Select::Min,
            Some("Disabled") => self.select = Select::Disabled,
            Some(_) => checks.fault(&rules.at("selectPolicy"), "one of Max, Min, Disabled is expected"),
        }
        if let Some(value) = rules.take("policies") {
            let at = rules.at("policies");
            let items = items(value, &at, checks);
            if items.is_empty() || items.len() > RATES_MAX {
                checks.fault(&at, format!("1 to {RATES_MAX} policies are expected"));
            }
            let rates = items.into_iter().take(RATES_MAX);
            self.rates = rates.filter_map(|(key, item)| rate(&key, item, checks)).collect();
        }
        if let Some(text) = rules.text("tolerance", checks) {
            self.tolerance_ppm = ppm(&text);
            if self.tolerance_ppm.is_none() {
                let problem = "a share of the target is expected, such as 0.05; 0 to 1000";
                checks.fault(&rules.at("tolerance"), problem);
            }
        }
        rules.finish(checks);
    }
}

fn rate(key: &str, item: &Value, checks: &mut Checks<'_>) -> Option<Rate> {
    let mut item = Mapping::new(Some(item), key, checks);
    let is_there = ["type", "value", "periodSeconds"].map(|name| required(&mut item, name, checks));
    let [has_kind, has_value, has_period] = is_there;
    let kind = match item.text("type", checks).as_deref() {
        Some("Pods") => Some(RateKind::Pods),
        Some("Percent") => Some(RateKind::Percent),
        _ => {
            if has_kind {
                checks.fault(&item.at("type"), "one of Pods, Percent is expected");
            }
            None
        }
    };
    let value = if has_value { item.number("value", 1, i32::MAX.into(), checks) } else { None };
    let period = if has_period { item.number("periodSeconds", 1, PERIOD_SECONDS_MAX, checks) } else { None };
    item.finish(checks);
    let value = u32::try_from(value?).ok()?;
    Some(Rate { kind: kind?, value, period: Duration::from_secs(period?.unsigned_abs()) })
}

/// A share as millionths: a decimal number, or a quantity such as `50m`.
fn ppm(text: &str) -> Option<u32> {
    let share = match text.parse::<f64>() {
        Ok(share) => share,
        Err(_) => text.parse::<Quantity>().ok()?.milli as f64 / 1000.0,
    };
    (0.0..=TOLERANCE_MAX).contains(&share).then(|| (share * 1e6).round() as u32)
}
