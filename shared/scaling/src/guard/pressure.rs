//! Heat and power: whether a node is at its limits, with a distance between where that begins and where it ends.

use super::{NodeState, Settings};
use skerry_model::Mono;
use std::time::Duration;

/// What was begun ends so much below: degrees, part of the charge, part of the power, part of the memory.
const COOLER_CELSIUS: f64 = 5.0;
const FULLER: f64 = 0.05;
const POWER_PART: f64 = 0.95;
const MEMORY_PART: f64 = 0.05;
/// Hardware that slows itself down says so for moments only.
const THROTTLED_FOR: Duration = Duration::from_secs(60);

/// Limits that a node is at.
#[derive(Debug, Clone, Default)]
pub(super) struct Pressure {
    is_hot: bool,
    is_drawing: bool,
    is_empty: bool,
    is_full: bool,
    throttled_at: Option<Mono>,
    /// Since when any of them is, and what it is.
    since: Option<Mono>,
    why: String,
}

impl Pressure {
    /// Takes in a round's measurements.
    pub(super) fn update(&mut self, now: Mono, settings: &Settings, node: &NodeState) {
        let mut reasons = Vec::new();
        let hot_max = settings.temperature_max_celsius;
        if let Some(celsius) = gate(&mut self.is_hot, node.temperature_celsius, hot_max, hot_max - COOLER_CELSIUS) {
            reasons.push(format!("{celsius:.0} °C, at most {hot_max:.0} °C"));
        }
        self.throttled_at = if node.is_throttled && settings.throttled { Some(now) } else { self.throttled_at };
        self.throttled_at = self.throttled_at.filter(|at| now.since(*at) < THROTTLED_FOR);
        if self.throttled_at.is_some() {
            reasons.push("the hardware slows itself down".to_owned());
        }
        // What is lacking of the charge, so that more of it is worse as with the others.
        let lacking = node.battery_ratio.filter(|_| node.is_on_battery).map(|ratio| 1.0 - ratio);
        let lacking_max = 1.0 - settings.battery_min_ratio;
        if let Some(lacking) = gate(&mut self.is_empty, lacking, lacking_max, lacking_max - FULLER) {
            let (left, least) = ((1.0 - lacking) * 100.0, settings.battery_min_ratio * 100.0);
            reasons.push(format!("battery {left:.0} %, at least {least:.0} %"));
        }
        let power_max = settings.power_max_watts.unwrap_or(f64::INFINITY);
        if let Some(watts) = gate(&mut self.is_drawing, node.power_watts, power_max, power_max * POWER_PART) {
            reasons.push(format!("{watts:.1} W, at most {power_max:.1} W"));
        }
        let memory = node.allocatable.zip(node.used).filter(|(all, _)| all.memory_bytes > 0);
        let used = memory.map(|(all, used)| used.memory_bytes as f64 / all.memory_bytes as f64);
        let full = settings.memory_max_ratio;
        if let Some(used) = gate(&mut self.is_full, used, full, full - MEMORY_PART) {
            reasons.push(format!("{:.0} % of memory, at most {:.0} %", used * 100.0, full * 100.0));
        }
        self.since = if reasons.is_empty() { None } else { self.since.or(Some(now)) };
        self.why = reasons.join(", ");
    }

    /// What the node is short of, and since when.
    pub(super) fn get(&self) -> Option<(&str, Mono)> {
        self.since.map(|since| (self.why.as_str(), since))
    }
}

/// On from `begin`, off below `end` or where nothing is known; the value while it is on.
fn gate(is_on: &mut bool, value: Option<f64>, begin: f64, end: f64) -> Option<f64> {
    *is_on = value.is_some_and(|value| value >= if *is_on { end } else { begin });
    value.filter(|_| *is_on)
}
