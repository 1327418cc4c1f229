//! Settings of the guard: `scaling.guard` of a NodeConfig.

use serde::{Deserialize, Serialize};

/// What a node may be used up to. A bound that is not set does not limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Off: everything is granted.
    pub enabled: bool,
    /// Part of memory up to which replicas are added.
    pub memory_max_ratio: f64,
    /// Part of the cores that requests may add up to.
    pub cpu_max_ratio: f64,
    /// From here on nothing is added, and low priorities give way.
    pub temperature_max_celsius: f64,
    /// Below this charge, on battery, nothing is added, and low priorities give way.
    pub battery_min_ratio: f64,
    /// Power from which on nothing is added, and low priorities give way.
    pub power_max_watts: Option<f64>,
    /// Whether a node that slows itself down counts as too hot.
    pub throttled: bool,
}

/// Every default is a bound that a healthy node does not reach.
impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            memory_max_ratio: 0.9,
            cpu_max_ratio: 1.0,
            // A Raspberry Pi slows down softly from 80 °C.
            temperature_max_celsius: 80.0,
            battery_min_ratio: 0.2,
            power_max_watts: None,
            throttled: true,
        }
    }
}

/// No bound is NaN: settings are checked.
impl Eq for Settings {}

/// Key below `scaling`, default and meaning of every setting, for the reference in README.md.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    ("guard.enabled", "true", "whether replicas are added only while the node has room, is cool and has power"),
    ("guard.memory_max_ratio", "0.9", "part of the node's memory up to which replicas are added; 0.1 to 1"),
    ("guard.cpu_max_ratio", "1", "part of the node's cores that CPU requests of replicas may add up to; 0.1 to 100"),
    (
        "guard.temperature_max_celsius",
        "80",
        "from here on no replica is added, and lower priorities give way to higher ones, until it is 5 °C cooler; 20 to 150",
    ),
    ("guard.throttled", "true", "whether a node whose hardware slows itself down is taken as too hot"),
    ("guard.battery_min_ratio", "0.2", "the same below this charge, while on battery; 0 to 1"),
    ("guard.power_max_watts", "", "the same from this power on; 0.1 to 100000"),
];

impl Settings {
    /// Every fault, as key below `scaling` and what was expected.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let numbers = [
            ("memory_max_ratio", Some(self.memory_max_ratio), 0.1, 1.0),
            ("cpu_max_ratio", Some(self.cpu_max_ratio), 0.1, 100.0),
            ("temperature_max_celsius", Some(self.temperature_max_celsius), 20.0, 150.0),
            ("battery_min_ratio", Some(self.battery_min_ratio), 0.0, 1.0),
            ("power_max_watts", self.power_max_watts, 0.1, 100_000.0),
        ];
        let is_bad = |value: Option<f64>, least: f64, most: f64| value.is_some_and(|v| !(least..=most).contains(&v));
        let bad = numbers.into_iter().filter(|(_, value, least, most)| is_bad(*value, *least, *most));
        bad.map(|(key, _, least, most)| (format!("guard.{key}"), format!("{least} to {most} is expected"))).collect()
    }
}
